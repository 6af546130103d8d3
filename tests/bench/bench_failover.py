#!/usr/bin/env python3
"""How long writers wait when a leader dies: bench_failover.py BIN [--rounds N] [--json FILE]

Each round: three nodes and four shards under a fixed rate of rows; the leader of a shard is killed
with SIGKILL. The longest latency of the round, from the time at which a row was due to its answer,
is the time from the death to the first new acknowledgement of what that node led. Beside it: the
longest latency of the same load without a death. Nothing may be lost, or the program fails.
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


def load(cluster, directory, kill):
    """The longest latency in ms of three seconds of load, with a leader's death in the middle."""
    summary = directory / "load.json"
    process = cluster.load("--duration", "3", "--rate", "5000", "--batch", "50", "--series", "1000",
                           "--verify", "--json", str(summary))
    time.sleep(1.5)
    victim = cluster.leader(0) if kill else None
    if victim:
        victim.kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    if victim:
        victim.start()
        cluster.wait_ready()
    return json.loads(summary.read_text())["latency_us"]["max"] / 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", help="directory with the programs")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    os.environ["MILLRACE_BIN"] = str(pathlib.Path(arguments.bin).resolve())
    from cluster import Cluster  # pylint: disable=import-outside-toplevel  # Reads MILLRACE_BIN.

    figures = []
    with tempfile.TemporaryDirectory(prefix="millrace-failover.") as directory:
        directory = pathlib.Path(directory)
        cluster = Cluster(directory / "site", nodes=3, shards=4, workers=1)
        cluster.start()
        try:
            calm = load(cluster, directory, kill=False)
            for number in range(arguments.rounds):
                figures.append(load(cluster, directory, kill=True))
                print(f"round {number + 1}: {figures[-1]:.0f} ms", flush=True)
        finally:
            cluster.close()
    result = {"bench": "failover", "rounds": len(figures), "calm_max_ms": calm,
              "first_ack_ms": {"median": statistics.median(figures), "max": max(figures)},
              "load_average": os.getloadavg()[0]}
    print(f"first new acknowledgement after a leader's death: median "
          f"{result['first_ack_ms']['median']:.0f} ms, longest {max(figures):.0f} ms of "
          f"{len(figures)}; without a death the longest answer took {calm:.0f} ms; "
          f"load average {result['load_average']:.1f}")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
