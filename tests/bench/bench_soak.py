#!/usr/bin/env python3
"""Full load for minutes: bench_soak.py BIN [--minutes M] [--retention 2GiB] [--svg FILE]

Three nodes on this machine, sealing and whatever else runs in the background on, and the load
generator at full speed. Each second: points acknowledged; resident memory of the largest node, that
of its own and that of mapped files; blocks in memory; shards that seal; compactions that wait; CPU
time of the nodes, what a sync of the log took, elections, requests refused; bytes of segments and of
the log. At the end a plot, how memory went, what the slowest seconds coincide with, and what the
seconds say together: mean, slowest second, memory, bytes a value, segments of a node, and how many
bytes a node wrote to its files for each byte of entries that came to be logged.
"""
import argparse
import json
import os
import pathlib
import queue
import re
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))

PROGRESS = re.compile(r"\s*(\d+) s\s+(\d+) points/s")
COUNTERS = re.compile(r"^millrace_(log_sync_seconds_sum|log_sync_seconds_count|"
                      r"raft_elections_total|ingest_refused_requests_total) (\S+)", re.M)
PANEL_W, PANEL_H, LEFT, TOP = 760, 130, 90, 30


def written_bytes(process):
    """Bytes that this process gave to the disk."""
    text = pathlib.Path(f"/proc/{process.pid}/io").read_text()
    return int(re.search(r"^write_bytes: (\d+)", text, re.M)[1])


def sample(cluster):
    """Of all nodes at this moment."""
    status = [node.status() for node in cluster.nodes]
    shards = [shard for one in status for shard in one["shards"]]
    largest = max(status, key=lambda one: one["memory_bytes"])
    return {"memory_bytes": largest["memory_bytes"],
            "anon_bytes": largest["memory_anon_bytes"],
            "file_bytes": largest["memory_file_bytes"],
            "head_bytes": [sum(shard["head_bytes"] for shard in one["shards"]) for one in status],
            "fullest_head_bytes": max(shard["head_bytes"] for shard in shards),
            "sealing": [sum(shard["sealing"] for shard in one["shards"]) for one in status],
            "compactions": sum(shard["compactions"] for shard in shards),
            "cpu_s": sum(one["cpu_s"] for one in status),
            "counters": [dict((name, float(value)) for name, value in COUNTERS.findall(
                node.get("/metrics")[1])) for node in cluster.nodes],
            "segment_bytes": sum(shard["segment_bytes"] for shard in shards),
            "segments": sum(shard["segments"] for shard in shards),
            "disk_bytes": sum(path.stat().st_size for node in cluster.nodes
                              for path in node.dir.rglob("*") if path.is_file())}


# ---- The plot ------------------------------------------------------------------------------------

def panel(number, title, values, unit, scale):
    """One curve over the seconds, as SVG."""
    top = TOP + number * (PANEL_H + 50)
    most = max(values) * 1.05 or 1
    points = " ".join(
        f"{LEFT + i * PANEL_W / max(len(values) - 1, 1):.1f},{top + PANEL_H * (1 - v / most):.1f}"
        for i, v in enumerate(values))
    return (f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{title}</text>'
            f'<rect x="{LEFT}" y="{top}" width="{PANEL_W}" height="{PANEL_H}" fill="#f6f6f6"/>'
            f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most / scale:.4g} {unit}</text>'
            f'<text x="{LEFT - 6}" y="{top + PANEL_H}" text-anchor="end">0</text>'
            f'<text x="{LEFT + PANEL_W}" y="{top + PANEL_H + 16}" text-anchor="end">'
            f'{len(values)} s</text>'
            f'<polyline points="{points}" fill="none" stroke="#0a5" stroke-width="1.5"/>')


def draw(result):
    seconds = result["seconds"]
    panels = [panel(0, "points acknowledged a second", [s["points"] for s in seconds], "M", 1e6),
              panel(1, "resident memory of the largest node",
                    [s["memory_bytes"] for s in seconds], "MiB", 1 << 20),
              panel(2, "segments of all nodes", [s["segment_bytes"] for s in seconds], "MiB", 1 << 20),
              panel(3, "all files of all nodes", [s["disk_bytes"] for s in seconds], "MiB", 1 << 20)]
    height = TOP + len(panels) * (PANEL_H + 50)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + PANEL_W + 20}" '
            f'height="{height}" font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(panels)}</svg>\n')


# ---- In words ------------------------------------------------------------------------------------

def mib(size):
    return f"{size / (1 << 20):.0f}"


def grown(before, after, name):
    """By how much a counter of each node grew."""
    return [new[name] - old[name] for old, new in zip(before["counters"], after["counters"])]


def line(seconds, at):
    second, before = seconds[at], seconds[max(at - 1, 0)]
    heads = "+".join(mib(size) for size in second["head_bytes"])
    syncs = zip(grown(before, second, "log_sync_seconds_sum"),
                grown(before, second, "log_sync_seconds_count"))
    return (f"{at + 1:6} {second['points'] / 1e6:9.2f} {mib(second['anon_bytes']):>6} "
            f"{mib(second['file_bytes']):>6} {heads:>13} {mib(second['fullest_head_bytes']):>8} "
            f"{'+'.join(map(str, second['sealing'])):>8} {second['compactions']:7} "
            f"{second['cpu_s'] - before['cpu_s']:6.2f} "
            f"{max(1000 * time / max(count, 1) for time, count in syncs):8.2f} "
            f"{sum(grown(before, second, 'raft_elections_total')):10.0f} "
            f"{sum(grown(before, second, 'ingest_refused_requests_total')):8.0f}")


def tell(seconds):
    """Every tenth part of the run, and the slowest seconds."""
    print("second  M points   anon   file    heads, MiB  fullest  sealing  merges  CPU s  sync ms"
          "  elections  refused")
    step = max(len(seconds) // 10, 1)
    for at in range(step - 1, len(seconds), step):
        print(line(seconds, at))
    settled = range(min(5, len(seconds) - 1), len(seconds) - 1)
    print("the slowest:")
    for at in sorted(sorted(settled, key=lambda at: seconds[at]["points"])[:10]):
        print(line(seconds, at))


# ---- The run -------------------------------------------------------------------------------------

def run(cluster, arguments):
    command = [cluster_bin(arguments) / "millrace-loadgen", "--nodes", cluster.natives(),
               "--db", "soak", "--duration", str(arguments.minutes * 60), "--json",
               cluster.dir / "load.json",
               *(["--verify"] if arguments.verify else [])]
    told = queue.SimpleQueue()
    seconds = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        def read_progress():
            for text in process.stderr:
                match = PROGRESS.match(text)
                if match:
                    told.put(int(match[2]))
            told.put(None)

        reader = threading.Thread(target=read_progress)
        reader.start()
        # The nodes are looked at when a second's points are told, so that they belong together. If
        # that takes longer than a second, the next one has the same look.
        points = told.get()
        while points is not None:
            state = sample(cluster)
            seconds.append(dict(state, points=points))
            points = told.get()
            while points is not None and not told.empty():
                seconds.append(dict(state, points=points))
                points = told.get()
        summary = process.stdout.read()
        reader.join()
    print(summary)
    if process.returncode != 0:
        raise SystemExit("the load generator found faults")
    return seconds


def cluster_bin(arguments):
    return arguments.bin.resolve()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", type=pathlib.Path, help="directory with the programs")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--settings", default="", help="lines of YAML for each node")
    parser.add_argument("--retention", default="0", help="bytes of a node, as 2GiB; 0: for ever")
    parser.add_argument("--verify", action="store_true", help="read everything back at the end")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--svg", help="file for the plot")
    arguments = parser.parse_args()
    os.environ["MILLRACE_BIN"] = str(cluster_bin(arguments))
    from cluster import Cluster  # pylint: disable=import-outside-toplevel  # Reads MILLRACE_BIN.

    with tempfile.TemporaryDirectory(prefix="millrace-soak.") as directory:
        cluster = Cluster(pathlib.Path(directory) / "site", nodes=3, shards=4, workers=1,
                          settings=arguments.settings.replace("\\n", "\n"))
        cluster.start()
        try:
            made = cluster.run("db", "create", "soak", "--retention-bytes", arguments.retention)
            if made.returncode != 0:
                raise SystemExit(made.stderr)
            seconds = run(cluster, arguments)
            load = json.loads((cluster.dir / "load.json").read_text())
            status = [node.status() for node in cluster.nodes]
            shards = status[0]["shards"]
            written = sum(written_bytes(node.process) for node in cluster.nodes)
        finally:
            cluster.close()
    tell(seconds)
    points = [second["points"] for second in seconds]
    # The first seconds meet all series for the first time; the last one may be cut short.
    settled = sorted(points[5:-1] or points)
    rows = sum(shard["rows"] for shard in shards)
    sealed_rows = sum(shard["segment_rows"] for shard in shards)
    sealed_bytes = sum(shard["segment_bytes"] for shard in shards)
    result = {
        "bench": "soak", "load_average": os.getloadavg()[0],
        "points_per_s": {"mean": load["acknowledged_points_per_s"], "slowest": settled[0],
                         "median": settled[len(settled) // 2]},
        "memory_bytes": {"max": max(second["memory_bytes"] for second in seconds),
                         "last": seconds[-1]["memory_bytes"]},
        "bytes_per_value": sealed_bytes / (load["acknowledged_points"] * sealed_rows / rows)
                           if sealed_rows else None,
        "disk_bytes_written_per_point": written / 3 / load["acknowledged_points"],
        "write_amplification": max(one["write_amplification"] for one in status),
        "segments": sum(shard["segments"] for shard in shards),
        "seconds": seconds}
    print(json.dumps({key: value for key, value in result.items() if key != "seconds"}, indent=2))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    if arguments.svg:
        pathlib.Path(arguments.svg).write_text(draw(result))


if __name__ == "__main__":
    main()
