#!/usr/bin/env python3
"""From SIGKILL to serving: bench_start.py BIN [--tail MIB] [--series N] [--rounds N] [--json FILE]

One node, four shards, a million series under full load, until so many bytes of blocks stand in the
log that no segment holds. Then the process is killed and started: how long from its start to the
first 200 of /ready, and to the first acknowledged write that has rows for every shard, which a
leader takes when it has applied all that is in its log.
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))

MIB = 1 << 20
LINES = "".join(f"probe,host=h{i} value={i}\n" for i in range(200)).encode()  # For every shard.
SETTINGS = ("storage: {head_bytes_max: 4GiB, seal_bytes: 512MiB}\n"
            "raft: {election: 300ms, heartbeat: 40ms}\n")


def head_bytes(node):
    return sum(shard["head_bytes"] for shard in node.status()["shards"])


def fill(cluster, arguments):
    """Load until the tail is there; returns its bytes."""
    process = cluster.load("--workload", "random", "--series", str(arguments.series), "--fields",
                           "1", "--duration", "600")
    node = cluster.nodes[0]
    try:
        while head_bytes(node) < arguments.tail * MIB:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
    return head_bytes(node)


def start(node):
    """Milliseconds from the start of the process to the first good answer of /ready, and to the
    first acknowledged write that has rows for every shard."""
    begin = time.monotonic()
    node.start()
    ready = None
    while True:
        try:
            if ready is None and node.get("/ready")[0] == 200:
                ready = (time.monotonic() - begin) * 1e3
            if ready is not None and node.post("/write?db=start", LINES)[0] == 204:
                return ready, (time.monotonic() - begin) * 1e3
        except OSError:
            pass
        assert node.is_up(), node.tail()
        time.sleep(0.002)


def spread(values):
    return {"median": statistics.median(values), "max": max(values)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", help="directory with the programs")
    parser.add_argument("--tail", type=int, default=256, help="MiB of blocks in the log")
    parser.add_argument("--series", type=int, default=1000000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    os.environ["MILLRACE_BIN"] = str(pathlib.Path(arguments.bin).resolve())
    from cluster import Cluster  # pylint: disable=import-outside-toplevel  # Reads MILLRACE_BIN.

    with tempfile.TemporaryDirectory(prefix="millrace-start.") as directory:
        cluster = Cluster(pathlib.Path(directory) / "site", nodes=1, shards=4, workers=2,
                          settings=SETTINGS)
        cluster.start()
        node = cluster.nodes[0]
        try:
            tail = fill(cluster, arguments)
            times, first_status = [], node.status()
            for _ in range(arguments.rounds):
                node.kill()
                times.append(start(node))
                print(f"round {len(times)}: ready {times[-1][0]:.0f} ms, first write "
                      f"{times[-1][1]:.0f} ms", flush=True)
            status = node.status()
            while any(shard["applied"] < shard["commit"] for shard in status["shards"]):
                time.sleep(0.1)  # What it tells is some milliseconds old.
                status = node.status()
        finally:
            cluster.close()
    series = sum(shard["series"] for shard in status["shards"])
    for before, after in zip(first_status["shards"], status["shards"]):
        for what in ("applied", "series", "rows"):
            assert after[what] >= before[what], f"{what}: {before} before, {after} after"
    result = {"bench": "start", "series": series, "tail_bytes": tail,
              "rows": sum(shard["rows"] for shard in status["shards"]),
              "ready_ms": spread([ready for ready, _ in times]),
              "first_write_ms": spread([write for _, write in times]),
              "load_average": os.getloadavg()[0]}
    print(f"SIGKILL with {tail / MIB:.0f} MiB of log to apply, {result['rows']} rows of {series} "
          f"series: ready after {result['ready_ms']['median']:.0f} ms, first write acknowledged after "
          f"{result['first_write_ms']['median']:.0f} ms (medians of {len(times)}); "
          f"load average {result['load_average']:.1f}")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
