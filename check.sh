#!/bin/sh
# Everything that has to hold before a change goes in, on one machine, in under 20 minutes:
#
#   style        layers, sizes, names, format                        preset dev
#   unit, fuzz   unit and property tests, seeds of the fuzzers       presets dev and asan
#   stress       threads against each other                          preset tsan
#   fuzz         each decoder for 10 seconds                         preset fuzz
#   sim          2000 seeds of groups in one process                 preset release (asan: 200)
#   integration  clusters of real processes                          presets release and asan
#   cross        the codec on arm64, armhf and riscv64, emulated; only when asked for
#
#   ./check.sh              all of it; logs are in build/check/
#   ./check.sh unit style   only these
#   ./check.sh --cross      only the codec elsewhere; installs what it needs
#
# The last line is "N passed, N failed" over all tests; the exit code is 0 only if none failed.
set -u
cd "$(dirname "$0")" || exit 1

jobs=$(nproc)
logs=build/check
stages=${*:-style unit stress fuzz sim integration}
export CTEST_PARALLEL_LEVEL="$jobs"

tests/support/install_deps.sh || exit 1
rm -rf "$logs"
mkdir -p "$logs"

wanted() {
    case " $stages " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

# run NAME COMMAND...: into a log; one line says how it went.
run() {
    name=$1
    shift
    started=$(date +%s)
    if timeout 1200 "$@" >"$logs/$name.log" 2>&1 </dev/null; then
        result=ok
    else
        result=FAILED
        echo "$name" >>"$logs/failed-steps"
    fi
    printf '%-24s %-6s %4d s   %s\n' "$name" "$result" "$(($(date +%s) - started))" \
        "$logs/$name.log"
    [ "$result" = ok ]
}

# build PRESET TARGET: once, whoever asks first.
build() {
    [ ! -e "$logs/$1-build-$2.code" ] || return "$(cat "$logs/$1-build-$2.code")"
    run "$1-build-$2" sh -c "cmake --preset $1 && cmake --build --preset $1 --target $2"
    code=$?
    echo "$code" >"$logs/$1-build-$2.code"
    return "$code"
}

# tests PRESET TARGET LABEL: build the target, run the tests of this label; their results go to an
# XML file.
tests() {
    build "$1" "$2" || return 1
    run "$1-$3" ctest --preset "$1" --label-regex "^($3)\$" --no-tests=ignore \
        --test-output-size-passed 4000 --test-output-truncation head \
        --output-junit "$PWD/$logs/$1-$3.xml"
}

# cluster_tests PRESET: pytest, against the programs of this preset. They wait more than they work.
cluster_tests() {
    ls tests/integration/test_*.py >/dev/null 2>&1 || return 0
    build "$1" programs || return 1
    python=python3
    python3 -c 'import pytest, xdist' 2>/dev/null || python=/usr/bin/python3
    kept=$(mktemp -d "${TMPDIR:-/tmp}/millrace-clusters.XXXXXX") # Some 20 GB: gone unless one fails.
    run "$1-integration" env MILLRACE_BIN="$PWD/build/$1/bin" \
        "$python" -m pytest tests/integration -p no:cacheprovider -n "$((jobs + 1))" \
        --basetemp "$kept" --junit-xml "$logs/$1-integration.xml" && rm -rf "$kept"
}

if wanted style; then tests dev all style; fi
if wanted unit; then
    tests dev all unit
    tests dev all fuzz
    tests asan all unit
    tests asan all fuzz
fi
if wanted stress; then tests tsan stress stress; fi
if wanted fuzz; then tests fuzz fuzzers fuzz; fi
if wanted sim; then
    tests release millrace-sim sim
    tests asan millrace-sim sim
fi
if wanted integration; then
    cluster_tests release
    cluster_tests asan
fi

if wanted cross || wanted --cross; then
    run cross env JUNIT="$PWD/$logs/cross.xml" tests/cross/run.sh
fi

python3 tests/support/summary.py "$logs"
