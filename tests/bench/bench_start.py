#!/usr/bin/env python3
"""From its start to serving: bench_start.py BIN [--warm] [--tail MIB] [--series N] [--nodes N]
                                             [--rounds N] [--json FILE]

Four shards, a million series under full load, until so many bytes of blocks stand in the log that
no segment holds. Then node 1 is killed (SIGKILL) and started: how long from its start to the first 200
of /ready, and to the first acknowledged write that has rows for every shard, which a leader takes
when it has applied all that is in its log. Its own log says where the time went: stores opened, log
read, entries applied (the slower worker), leaders found.

--warm: instead, the series are sealed as they come, and the node is stopped by SIGTERM.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))

MIB = 1 << 20
LINES = "".join(f"probe,host=h{i} value={i}\n" for i in range(200)).encode()  # For every shard.
SHARDS, WORKERS = 4, 2
TAIL = ("storage: {head_bytes_max: 4GiB, seal_bytes: 512MiB}\n"
        "raft: {election: 300ms, heartbeat: 40ms}\n")
WARM = ("storage: {head_bytes_max: 1GiB, seal_bytes: 16MiB}\n"
        "raft: {election: 300ms, heartbeat: 40ms}\n")
READ = re.compile(r"stores opened in (\d+) ms; log replayed: \d+ records, (\d+) bytes in \d+ "
                  r"files, in (\d+) ms")
SERVES = re.compile(r"group=(\d+) serves (\d+) ms after the log was replayed: a leader after "
                    r"(\d+) ms, \d+ entries applied in (\d+) ms")


def total(node, what):
    return sum(shard[what] for shard in node.status()["shards"])


def fill(cluster, arguments):
    """Load until the tail, or the series, are there; returns the bytes of the tail."""
    process = cluster.load("--workload", "random", "--series", str(arguments.series), "--fields",
                           "1", "--duration", "600")
    node = cluster.nodes[0]
    what, wanted = (("series", arguments.series * 0.99) if arguments.warm else
                    ("head_bytes", arguments.tail * MIB))
    try:
        while total(node, what) < wanted:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
    return total(node, "head_bytes")


def where(node, begin):
    """What the node's log, from byte `begin` on, tells of its start."""
    deadline = time.monotonic() + 30
    while True:
        text = node.log.read_text(errors="replace")[begin:]
        read, serves = READ.search(text), SERVES.findall(text)
        if read and len(serves) > SHARDS:
            break
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    applied = [0] * WORKERS
    for group, _, _, apply_ms in serves:
        applied[int(group) % WORKERS] += int(apply_ms)
    return {"stores_ms": int(read[1]), "log_ms": int(read[3]), "log_bytes": int(read[2]),
            "apply_ms": max(applied), "leaders_ms": max(int(leader) for _, _, leader, _ in serves)}


def start(node):
    """Milliseconds from the start of the process to the first good answer of /ready and to the
    first acknowledged write that has rows for every shard, and where they went."""
    from_byte = len(node.log.read_text(errors="replace"))
    begin = time.monotonic()
    node.start()
    ready = None
    while True:
        try:
            if ready is None and node.get("/ready")[0] == 200:
                ready = (time.monotonic() - begin) * 1e3
            if ready is not None and node.post("/write?db=start", LINES)[0] == 204:
                write = (time.monotonic() - begin) * 1e3
                return {"ready_ms": ready, "first_write_ms": write, **where(node, from_byte)}
        except OSError:
            pass
        assert node.is_up(), node.tail()
        time.sleep(0.002)


def spread(values):
    return {"median": statistics.median(values), "max": max(values)}


def run(arguments, directory):
    from cluster import Cluster  # pylint: disable=import-outside-toplevel  # Reads MILLRACE_BIN.

    cluster = Cluster(pathlib.Path(directory) / "site", nodes=arguments.nodes, shards=SHARDS,
                      workers=WORKERS, settings=WARM if arguments.warm else TAIL)
    cluster.start()
    node = cluster.nodes[0]
    try:
        tail = fill(cluster, arguments)
        starts, before = [], node.status()
        for _ in range(arguments.rounds):
            if arguments.warm:
                assert node.stop() == 0
            else:
                node.kill()
            starts.append(start(node))
            print("round {}: ready {ready_ms:.0f} ms, first write {first_write_ms:.0f} ms; stores "
                  "{stores_ms}, log {log_ms}, apply {apply_ms}, leaders {leaders_ms} ms".format(
                      len(starts), **starts[-1]), flush=True)
        after = node.status()
        while any(shard["applied"] < shard["commit"] for shard in after["shards"]):
            time.sleep(0.1)  # What it tells is some milliseconds old.
            after = node.status()
    finally:
        cluster.close()
    for shard, later in zip(before["shards"], after["shards"]):
        for what in ("applied", "series", "rows"):
            assert later[what] >= shard[what], f"{what}: {shard} before, {later} after"
    return tail, starts, after["shards"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", help="directory with the programs")
    parser.add_argument("--warm", action="store_true", help="sealed series, SIGTERM")
    parser.add_argument("--tail", type=int, default=256, help="MiB of blocks in the log")
    parser.add_argument("--series", type=int, default=1000000)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    os.environ["MILLRACE_BIN"] = str(pathlib.Path(arguments.bin).resolve())
    with tempfile.TemporaryDirectory(prefix="millrace-start.") as directory:
        tail, starts, shards = run(arguments, directory)
    result = {"bench": "start", "warm": arguments.warm, "nodes": arguments.nodes,
              "series": sum(shard["series"] for shard in shards), "tail_bytes": tail,
              "rows": sum(shard["rows"] for shard in shards),
              **{what: spread([times[what] for times in starts]) for what in starts[0]},
              "load_average": os.getloadavg()[0]}
    print("{} with {:.0f} MiB in memory, {} rows of {} series: ready after {:.0f} ms, first write "
          "acknowledged after {:.0f} ms; stores opened in {:.0f}, log read in {:.0f}, entries "
          "applied in {:.0f}, leaders found in {:.0f} ms (medians of {}); load average {:.1f}".format(
              "SIGTERM" if arguments.warm else "SIGKILL", tail / MIB, result["rows"],
              result["series"],
              *(result[what]["median"] for what in ("ready_ms", "first_write_ms", "stores_ms",
                                                    "log_ms", "apply_ms", "leaders_ms")),
              len(starts), result["load_average"]))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
