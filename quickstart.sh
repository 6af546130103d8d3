#!/bin/sh
# Millrace in about two minutes: builds it, starts three nodes on this machine, lets them take in live
# data, kills the leader of a shard under load, and shows that nothing was lost.
#
#   ./quickstart.sh           stops the nodes at the end
#   ./quickstart.sh --keep    leaves them running, and says how to go on
set -eu
cd "$(dirname "$0")"

keep=no
case "${1:-}" in
"") ;;
--keep) keep=yes ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac

step() { printf '\n== %s\n' "$*"; }

step "Installing what is missing, building (release)"
tests/support/install_deps.sh
mkdir -p build
for task in "cmake --preset release" \
    "cmake --build --preset release --target millraced millrace_cli millrace-loadgen"; do
    $task >build/quickstart-build.log 2>&1 || {
        tail -n 30 build/quickstart-build.log >&2
        echo "the build failed; all of its output is in build/quickstart-build.log" >&2
        exit 1
    }
done

bin=build/release/bin
dir=$(mktemp -d "${TMPDIR:-/tmp}/millrace-quickstart.XXXXXX")
port=7400
# Another site on this machine? Take the next free hundred.
while python3 - "$port" <<'PORTS'
import socket, sys
base = int(sys.argv[1])
for port in range(base, base + 30):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            sys.exit(0)
sys.exit(1)
PORTS
do port=$((port + 100)); done
MILLRACE_NODE=127.0.0.1:$port,127.0.0.1:$((port + 10)),127.0.0.1:$((port + 20))
export MILLRACE_NODE

stop() {
    if [ "$keep" = no ]; then
        "$bin/millrace" local down --dir "$dir" >/dev/null 2>&1 || true
        rm -rf "$dir"
    fi
}
trap stop EXIT
trap 'keep=no; exit 130' INT TERM

step "Three nodes, four shards, each on three disks"
"$bin/millrace" local up --nodes 3 --shards 4 --workers 1 --dir "$dir" --base-port "$port"

step "Six seconds of this machine's own telemetry, ten times a second"
"$bin/millrace" collect --every 100ms --duration 6s

step "Full load for 5 seconds; the leader of shard 0 is killed in the middle (SIGKILL)"
"$bin/millrace-loadgen" --duration 5 --verify --json "$dir/load.json" >"$dir/load.txt" 2>&1 &
load=$!
sleep 2
leader=$("$bin/millrace" status --json | python3 -c '
import json, sys
status = json.load(sys.stdin)
print(next(s["leader"] for n in status["nodes"] for s in n["shards"] if s["shard"] == 0 and s["leader"]))')
"$bin/millrace" local kill "$((leader - 1))" --dir "$dir"
sleep 1
"$bin/millrace" local start "$((leader - 1))" --dir "$dir"
if ! wait "$load"; then
    cat "$dir/load.txt"
    echo "the load generator found faults, or could not read back" >&2
    exit 1
fi
cat "$dir/load.txt"

step "CPU use while the telemetry was collected"
"$bin/millrace" query --table cpu --field usage_user,usage_system --where cpu=cpu-total \
    --from -5m --agg mean --every 200ms --format plot

step "The cluster"
"$bin/millrace" status

python3 - "$dir/load.json" <<'SUMMARY'
import json, sys
load = json.load(open(sys.argv[1]))
verify = load["verify"]
print(f"\n{load['acknowledged_points_per_s'] / 1e6:.2f} M points/s acknowledged on a majority's disks, "
      f"{load['acknowledged_rows_per_s'] / 1e3:.0f} k rows/s, with a leader killed under way")
print(f"acknowledged {verify['acknowledged']}, read back {verify['read']}, "
      f"lost {verify['lost']}, doubled {verify['doubled']}")
SUMMARY

if [ "$keep" = yes ]; then
    cat <<NEXT

The cluster runs on. Try

    export MILLRACE_NODE=$MILLRACE_NODE
    $bin/millrace query --table mem --last
    curl -i 'http://127.0.0.1:$((port + 1))/write?precision=s' --data-binary 'room,place=hall temp=21.5'
    $bin/millrace query --table room --format csv
    $bin/millrace local down --dir $dir        stops it; its data stays in $dir
NEXT
else
    cat <<NEXT

Try next
    ./quickstart.sh --keep              the same, and the cluster stays
    $bin/millrace --help     write, query, collect, local
    docs/life-of-a-row.md               how it works; ./check.sh runs every test
NEXT
fi
