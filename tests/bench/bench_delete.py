#!/usr/bin/env python3
"""What a delete of one host of many has written anew: bench_delete.py BIN [--rows N] [--json FILE]

Three nodes, one shard, a segment for each of 30 days with so many rows of so many hosts; one more host
has rows on three of them, and is deleted, after one that has none. Beside the bytes that each of
them has written: those of all segments, and the seconds until nothing of the delete is left.
"""
import argparse
import json
import os
import pathlib
import random
import re
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))

DAYS, GONE, SECOND = 30, (3, 17, 21), 1_000_000_000


def write(cluster, rows, hosts):
    """All that is written, in batches of ten rows of each host."""
    dice = random.Random(1)
    values = [dice.randrange(10_000) / 100 for _ in range(10_007)]
    first = time.time_ns() // (86400 * SECOND) - DAYS - 1
    for day in range(DAYS):
        names = [f"host{i}" for i in range(hosts)] + (["gone"] if day in GONE else [])
        for at in range(0, rows // hosts, 10):
            text = "".join(
                f"cpu,host={name} user={values[(number * 7919 + at + i) % 10007]},system="
                f"{values[(number * 104729 + at + i) % 10007]} "
                f"{((first + day) * 86400 + at + i) * SECOND}\n"
                for number, name in enumerate(names) for i in range(10))
            assert cluster.nodes[0].post("/write?db=plant", text.encode())[0] == 204


def wait(condition):
    while not condition():
        time.sleep(0.1)


def metric(node, name):
    lines = [line for line in node.get("/metrics")[1].splitlines() if line.startswith(name + " ")]
    return int(float(lines[0].split()[1]))


def measure(cluster, rows, hosts, total):
    cluster.start()
    write(cluster, rows, hosts)
    # Of nothing: it seals what there is.
    assert cluster.run("delete", "--db", "plant", "--table", "nothing",
                       "--all").returncode == 0
    wait(lambda: min(total(cluster, "segments")) >= DAYS and not any(total(cluster, "tombstones")) and
         not any(total(cluster, "compactions")))
    node = cluster.nodes[0]
    segments = sum(path.stat().st_size for path in node.dir.glob("shard-0/*.mrs"))
    result = {"bench": "delete", "rows": DAYS * rows, "hosts": hosts,
              "segments": total(cluster, "segments")[0],
              "segment_bytes": segments}
    for host in ("nobody", "gone"):
        before = metric(node, "millrace_storage_compacted_bytes_total")
        start = time.monotonic()
        assert cluster.run("delete", "--db", "plant", "--table", "cpu", "--where",
                           f"host={host}").returncode == 0
        wait(lambda: any(total(cluster, "tombstones")))
        wait(lambda: not any(total(cluster, "tombstones")))
        result[host] = {
            "seconds": round(time.monotonic() - start, 1),
            "bytes": metric(node, "millrace_storage_compacted_bytes_total") - before}
    logs = "".join(node.log.read_text(errors="replace") for node in cluster.nodes)
    result["proofs_ms"] = [int(ms) for ms in re.findall(r"segments: found in (\d+) ms", logs)]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", help="directory with the programs")
    parser.add_argument("--rows", type=int, default=100_000, help="a day")
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    os.environ["MILLRACE_BIN"] = str(pathlib.Path(arguments.bin).resolve())
    from cluster import Cluster, total  # pylint: disable=import-outside-toplevel

    with tempfile.TemporaryDirectory(prefix="millrace-delete.") as directory:
        cluster = Cluster(pathlib.Path(directory) / "site", nodes=3, shards=1, workers=1,
                          settings="storage: {seal_bytes: 512MiB, head_bytes_max: 1GiB, "
                                   "erase_after: 1s}\n")
        try:
            result = measure(cluster, arguments.rows, arguments.hosts, total)
        finally:
            cluster.close()
    print(json.dumps(result))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
