#!/usr/bin/env python3
"""Millrace beside VictoriaMetrics, one node each on loopback: compare.py BIN [--rows N] [--json FILE]

The same lines go to both over HTTP, one server after the other, so that neither takes the other's
cores: sensors (a row of four fields every 10 s: two decimals, one decimal, a counter, a state) and
the cpu-only case of the Time Series Benchmark Suite (ten integers, ten tags). Printed are points/s
taken in (python sends, so this is a floor for both), bytes a value on disk, and query times, median
of five. Millrace runs as it always does: acknowledged means synced. VictoriaMetrics acknowledges
from memory. Its package comes from the distribution; it is unpacked into build/peers, not installed,
so that no service starts.
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
CONNECTIONS = 2
LINES_A_REQUEST = 10_000
REPEATS = 5
DEADLINE_S = 120


# ---- Data ----------------------------------------------------------------------------------------

def sensors(rows):
    """200 devices that report every 10 s, a few ms early or late."""
    chance = random.Random(7)
    devices = 200
    temperature = [20 + chance.random() * 5 for _ in range(devices)]
    counter = [0] * devices
    for step in range(rows // devices):
        for device in range(devices):
            temperature[device] += chance.gauss(0, 0.05)
            counter[device] += 290 + chance.randrange(121)
            at = START + step * 10 * SECOND + chance.randrange(-5, 6) * 1_000_000
            yield (f"sensors,device=d{device},site=s{device % 8} temperature="
                   f"{temperature[device]:.2f},humidity={40 + step % 50 / 10:.1f},"
                   f"count={counter[device]}i,state={step // 60 % 2}i {at}\n")


def tsbs(rows):
    """100 hosts that report ten integers every 10 s."""
    chance = random.Random(8)
    hosts = 100
    names = ["user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal", "guest",
             "guest_nice"]
    values = [[chance.randrange(101) for _ in names] for _ in range(hosts)]
    tags = [f"cpu,arch=x64,datacenter=eu-west-1{'abc'[host % 3]},hostname=host_{host},os=Debian12,"
            f"rack={host % 20},region=eu-west-1,service={host % 10},service_environment=test,"
            f"service_version=1,team=SF" for host in range(hosts)]
    for step in range(rows // hosts):
        for host in range(hosts):
            row = values[host]
            for i in range(len(names)):
                row[i] = min(100, max(0, row[i] + chance.randrange(-1, 2)))
            fields = ",".join(f"usage_{name}={value}i" for name, value in zip(names, row))
            yield f"{tags[host]} {fields} {START + step * 10 * SECOND}\n"


SETS = {"sensors": (sensors, 4), "tsbs": (tsbs, 10)}


def requests_of(lines):
    """The lines, as bodies of requests."""
    batch = []
    for line in lines:
        batch.append(line)
        if len(batch) == LINES_A_REQUEST:
            yield "".join(batch).encode()
            batch = []
    if batch:
        yield "".join(batch).encode()


# ---- Servers -------------------------------------------------------------------------------------

def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read()


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} within {DEADLINE_S} s")
        time.sleep(0.1)


def bytes_below(directory):
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


class Server:
    """A process of our own: started, asked, ended by its handle."""

    def start(self, command, log):
        with open(log, "wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output,
                                            stdin=subprocess.DEVNULL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


class Millrace(Server):
    name = "millrace"
    write_path = "/write?precision=ns"

    def __init__(self, programs, directory):
        self.programs = programs
        self.directory = directory
        self.native, self.port, self.peer, self.admin = (free_port() for _ in range(4))
        config = directory / "node.yaml"
        config.write_text(
            f"node: {{id: 1, data_dir: {directory / 'data'}}}\n"
            f"cluster: {{id: peers, shards: 2, nodes: [{{id: 1, host: 127.0.0.1, native_port: "
            f"{self.native}, http_port: {self.port}, peer_port: {self.peer}}}]}}\n"
            f"listen: {{host: 127.0.0.1, native_port: {self.native}, http_port: {self.port}, "
            f"peer_port: {self.peer}, admin_port: {self.admin}}}\n"
            "storage: {seal_bytes: 512KiB}\n")
        self.start([programs / "millraced", "--config", config], directory / "log.txt")
        wait_for(lambda: get(self.admin, "/ready"), "millraced is not ready")

    def bytes_a_value(self, points):
        """Of the segments: what no seal has taken in yet stands in the log."""
        shards = json.loads(get(self.admin, "/status"))["shards"]
        rows = sum(shard["rows"] for shard in shards)
        sealed = sum(shard["segment_rows"] for shard in shards)
        size = sum(shard["segment_bytes"] for shard in shards)
        return size / (points * sealed / rows) if sealed else float("nan")

    def query(self, question):
        table, field, aggregate, every, where = question
        command = [self.programs / "millrace", "query", "--node", f"127.0.0.1:{self.native}",
                   "--table", table, "--field", field, "--agg", aggregate, "--every", every,
                   "--format", "csv"]
        if where:
            command += ["--where", "{}={}".format(*where)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return len(result.stdout.splitlines()) - 1


class VictoriaMetrics(Server):
    name = "victoria-metrics"
    write_path = "/write"

    def __init__(self, program, directory):
        self.directory = directory
        self.port = free_port()
        self.start([program, f"-storageDataPath={directory / 'data'}", "-retentionPeriod=10y",
                    f"-httpListenAddr=127.0.0.1:{self.port}"], directory / "log.txt")
        wait_for(lambda: get(self.port, "/health"), "victoria-metrics is not ready")

    def bytes_a_value(self, points):
        get(self.port, "/internal/force_flush")
        get(self.port, "/internal/force_merge")
        time.sleep(2)
        return bytes_below(self.directory / "data") / points

    def query(self, question):
        table, field, aggregate, every, where = question
        selector = f"{table}_{field}" + ("{{{}=\"{}\"}}".format(*where) if where else "")
        over_time = {"mean": "avg", "max": "max"}[aggregate]
        expression = f"{over_time}({over_time}_over_time({selector}[{every}]))"
        parameters = urllib.parse.urlencode({
            "query": expression, "start": START // SECOND, "end": START // SECOND + self.span,
            "step": every, "nocache": 1})
        data = json.loads(get(self.port, f"/api/v1/query_range?{parameters}"))["data"]["result"]
        return len(data[0]["values"]) if data else 0

    span = 0


# ---- One run -------------------------------------------------------------------------------------

def send(port, path, bodies):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for body in bodies:
        for _ in range(200):
            connection.request("POST", path, body)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (429, 503):
                break
            time.sleep(0.05)
        if answer.status >= 300:
            raise RuntimeError(f"{path}: HTTP {answer.status}")


def fill(server, bodies):
    """Seconds that it took to write everything, over a few connections."""
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(send, server.port, server.write_path, bodies[i::CONNECTIONS])
                     for i in range(CONNECTIONS)]:
            done.result()
    return time.monotonic() - started


QUESTIONS = {
    "sensors": {"one device, hourly mean": ("sensors", "temperature", "mean", "1h",
                                            ("device", "d7")),
                "all devices, hourly mean": ("sensors", "temperature", "mean", "1h", None),
                "all devices, daily max": ("sensors", "count", "max", "1d", None)},
    "tsbs": {"one host, hourly max": ("cpu", "usage_user", "max", "1h", ("hostname", "host_7")),
             "all hosts, hourly max": ("cpu", "usage_user", "max", "1h", None)},
}


def measure(server, name, bodies, points):
    seconds = fill(server, bodies)
    result = {"data": name, "server": server.name, "points": points,
              "points_per_s": points / seconds, "query_ms": {}}
    for title, question in QUESTIONS[name].items():
        times = []
        for _ in range(REPEATS):
            started = time.monotonic()
            if server.query(question) < 1:
                raise RuntimeError(f"{server.name}: no result of \"{title}\"")
            times.append((time.monotonic() - started) * 1e3)
        result["query_ms"][title] = statistics.median(times)
    result["bytes_per_value"] = server.bytes_a_value(points)
    print(f"{name:8} {server.name:17} {result['points_per_s'] / 1e6:6.2f} M points/s  "
          f"{result['bytes_per_value']:6.3f} B/value  " +
          "  ".join(f"{title} {ms:.0f} ms" for title, ms in result["query_ms"].items()), flush=True)
    return result


def unpacked(package):
    """The program of a package of the distribution, unpacked once."""
    directory = pathlib.Path(__file__).resolve().parents[3] / "build" / "peers"
    program = directory / "usr" / "bin" / package
    if not program.exists():
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-q", "download", package], cwd=directory, check=True,
                       stdout=sys.stderr)
        archive = max(directory.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
        subprocess.run(["dpkg-deb", "-x", archive, directory], check=True)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", help="directory with Millrace's programs", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each data set")
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()

    peer = unpacked("victoria-metrics")
    results = []
    for name, (make, fields) in SETS.items():
        bodies = list(requests_of(make(arguments.rows)))
        points = sum(body.count(b"\n") for body in bodies) * fields
        VictoriaMetrics.span = arguments.rows // (200 if name == "sensors" else 100) * 10
        for kind, program in ((Millrace, arguments.bin), (VictoriaMetrics, peer)):
            with tempfile.TemporaryDirectory(prefix="millrace-peers.") as directory:
                directory = pathlib.Path(directory)
                server = kind(program, directory)
                try:
                    results.append(measure(server, name, bodies, points))
                finally:
                    server.stop()
    print(f"load average {os.getloadavg()[0]:.1f}; both answer over HTTP or TCP on loopback; "
          "millrace's query times include the start of its command line")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
