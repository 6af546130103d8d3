#!/bin/sh
# Does the codec write and read the same bytes on other architectures, and do frames hold? Builds the
# programs here for each with Debian's cross compilers, runs them under qemu-user. Installs what is missing.
#
#   tests/cross/run.sh [arm64] [armhf] [riscv64]        default: all
#
# One line an architecture, and a JUnit file if JUNIT names one; exit code 0 only if all agree with
# tests/golden/columns_v2.bin and columns_v3.bin.
set -u
cd "$(dirname "$0")/../.." || exit 1

architectures=${*:-arm64 armhf riscv64}
out=build/cross
mkdir -p "$out"

# Sets triplet, emulator and packages.
describe() {
    case $1 in
    arm64) triplet=aarch64-linux-gnu emulator=qemu-aarch64 ;;
    armhf) triplet=arm-linux-gnueabihf emulator=qemu-arm ;;
    riscv64) triplet=riscv64-linux-gnu emulator=qemu-riscv64 ;;
    *) echo "$1: unknown; known are arm64, armhf, riscv64" >&2; exit 2 ;;
    esac
    packages="gcc-$triplet libc6-dev-$1-cross qemu-user libxxhash-dev"
}

install() {
    # shellcheck disable=SC2086  # A list of words.
    [ -z "$(dpkg-query -W -f '${db:Status-Status}\n' $packages 2>&1 | grep -vx installed)" ] && return
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends \
        $packages >"$out/install.log" 2>&1
}

sources="tests/cross/columns.c tests/support/golden_columns.c
    storage/base/bytes.c storage/base/check.c storage/base/cpu.c storage/base/err.c
    storage/base/types.c
    storage/block/column.c storage/block/column_aggregate.c storage/block/column_float.c
    storage/block/column_int.c storage/block/column_int_read.c storage/block/column_string.c
    storage/block/column_time.c storage/block/lanes.c storage/block/lanes_kernels.c
    storage/block/pack.c"
frame_sources="tests/cross/frames.c client/wire/message.c storage/block/tombstone.c
    storage/base/bytes.c storage/base/check.c storage/base/err.c storage/base/types.c"

# build ARCHITECTURE PROGRAM SOURCE...
build() {
    log=$out/$1.log
    program=$2
    shift 2
    "$triplet-gcc" -std=gnu11 -O2 -ffp-contract=off -Wall -Wextra -Werror -I. -D_GNU_SOURCE \
        -DLANES_TABLE=lanes_kernels_scalar -idirafter /usr/include -static "$@" -lm \
        -o "$program" 2>>"$log"
}

failed=0
cases=
for architecture in $architectures; do
    describe "$architecture"
    # xxhash.h is the same everywhere; behind all other folders, so that nothing else is found there.
    # shellcheck disable=SC2086
    if : >"$out/$architecture.log" && install &&
        build "$architecture" "$out/columns-$architecture" $sources &&
        build "$architecture" "$out/frames-$architecture" $frame_sources &&
        answer=$("$emulator" "$out/columns-$architecture" tests/golden 2>&1 &&
            "$emulator" "$out/frames-$architecture" 2>&1); then
        echo "$architecture: $answer"
        cases="$cases<testcase name=\"cross.$architecture\" status=\"run\"/>"
    else
        echo "$architecture: FAILED: ${answer:-see $out/$architecture.log}"
        cases="$cases<testcase name=\"cross.$architecture\" status=\"fail\"><failure/></testcase>"
        failed=1
    fi
    answer=
done
[ -z "${JUNIT:-}" ] || echo "<testsuite>$cases</testsuite>" >"$JUNIT"
exit "$failed"
