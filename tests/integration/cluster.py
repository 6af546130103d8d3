"""Clusters of real millraced processes on loopback: start, kill, stop, ask.

Each test gets directories and ports of its own. Only processes that were started here are ever
signalled, by the handle of their start.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

BIN = pathlib.Path(os.environ["MILLRACE_BIN"])

# A sanitizer's report must fail the test that provoked it.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="exitcode=99", UBSAN_OPTIONS="halt_on_error=1")


# Below those that the system gives to connections, which come and go at any time.
EPHEMERAL = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
PORTS = range(10000, (EPHEMERAL if EPHEMERAL > 16384 else 32768) - 64, 64)


# Each base in use has a socket of its own at a port that no node takes, so that others who look at
# the same time go on, while the nodes are about to start, or dead.
GUARD = 9
guards = {}


def free_ports(count):
    """A base such that base to base + count - 1 are free, until give_back(). Tests that run at the
    same time look in different places."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    first = worker * len(PORTS) // 4 + os.getpid() % (len(PORTS) // 4)
    for at in range(len(PORTS)):
        base = PORTS[(first + at) % len(PORTS)]
        guard, sockets = socket.socket(), []
        try:
            guard.bind(("127.0.0.1", base + GUARD))
            for port in range(base, base + count):
                if port != base + GUARD:
                    sockets.append(socket.socket())
                    sockets[-1].bind(("127.0.0.1", port))
            guards[base] = guard
            return base
        except OSError:
            guard.close()
        finally:
            for taken in sockets:
                taken.close()
    raise RuntimeError("no free ports")


def give_back(base):
    guards.pop(base).close()


class Node:
    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number  # From 1: the server id.
        self.dir = cluster.dir / f"node{number}"
        self.config = cluster.dir / f"node{number}.yaml"
        self.log = cluster.dir / f"node{number}.log"
        self.native, self.http, self.peer, self.admin = (
            cluster.base + (number - 1) * 10 + i for i in range(4))
        self.process = None

    def start(self, *arguments, environment=None):
        assert self.process is None or self.process.poll() is not None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [BIN / "millraced", "--config", self.config, *arguments],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=dict(ENVIRONMENT, **(environment or {})))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def is_up(self):
        return self.process is not None and self.process.poll() is None

    def tail(self, lines=20):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def get(self, path, port=None):
        """Status code and body of a GET at the admin port."""
        url = f"http://127.0.0.1:{port or self.admin}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def post(self, path, body, headers=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=body,
                                         headers=headers or {}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self):
        return json.loads(self.get("/status")[1])


class Cluster:
    def __init__(self, directory, nodes=3, shards=4, workers=2, settings=""):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.base = free_ports(nodes * 10)
        self.nodes = [Node(self, i + 1) for i in range(nodes)]
        members = "".join(
            f"    - {{id: {n.number}, host: 127.0.0.1, native_port: {n.native}, "
            f"http_port: {n.http}, peer_port: {n.peer}}}\n" for n in self.nodes)
        for node in self.nodes:
            node.config.write_text(
                f"node: {{id: {node.number}, data_dir: {node.dir}}}\n"
                f"cluster:\n  id: test\n  shards: {shards}\n  nodes:\n{members}"
                f"listen: {{host: 127.0.0.1, native_port: {node.native}, http_port: {node.http}, "
                f"peer_port: {node.peer}, admin_port: {node.admin}}}\n"
                f"workers: {workers}\n{settings}")

    def start(self):
        for node in self.nodes:
            node.start()
        self.wait_ready()

    def wait_ready(self, timeout=30):
        """Until every running node says that it can acknowledge."""
        deadline = time.monotonic() + timeout
        for node in self.nodes:
            while node.is_up():
                try:
                    if node.get("/ready")[0] == 200:
                        break
                except OSError:
                    pass
                assert time.monotonic() < deadline, f"not ready: {node.tail()}"
                time.sleep(0.02)
            else:
                assert not node.process or node.process.poll() in (None, -signal.SIGKILL), node.tail()

    def leader(self, shard=0):
        """The node that leads, as the others say."""
        for node in self.nodes:
            if node.is_up():
                server = node.status()["shards"][shard]["leader"]
                if server:
                    return self.nodes[server - 1]
        return None

    def wait_leader(self, shard=0, timeout=30):
        """The node that leads, as soon as one does: on a busy machine there are elections."""
        deadline = time.monotonic() + timeout
        while True:
            leader = self.leader(shard)
            if leader:
                return leader
            assert time.monotonic() < deadline, f"nobody leads shard {shard}"
            time.sleep(0.02)

    def wait_equal(self, timeout=30):
        """Until all replicas of each shard have applied the same; their chains must be equal."""
        start = time.monotonic()
        deadline = start + timeout
        while True:
            # Figures from before this call may lack the caller's last write.
            age_max = (time.monotonic() - start) * 1000 - 1
            all_shards = [node.status()["shards"] for node in self.nodes if node.is_up()]
            fresh = all(shard["age_ms"] < age_max for shards in all_shards for shard in shards)
            same = all(len({s[i]["applied"] for s in all_shards}) == 1
                       for i in range(len(all_shards[0])))
            if fresh and same:
                break
            assert time.monotonic() < deadline, "replicas did not converge"
            time.sleep(0.1)
        for i in range(len(all_shards[0])):
            assert len({s[i]["chain"] for s in all_shards}) == 1, f"shard {i} differs"
            assert len({s[i]["rows"] for s in all_shards}) == 1, f"shard {i} differs"
        return all_shards[0]

    def natives(self):
        return ",".join(f"127.0.0.1:{n.native}" for n in self.nodes)

    def run(self, *arguments, node=None, timeout=60, data=None):
        """A `millrace` command, through all nodes or one alone."""
        asked = f"127.0.0.1:{node.native}" if node else self.natives()
        return subprocess.run([BIN / "millrace", *arguments, "--node", asked],
                              capture_output=True, text=True, timeout=timeout, input=data,
                              env=ENVIRONMENT, check=False)

    def load(self, *arguments):
        """Start the load generator."""
        return subprocess.Popen(
            [BIN / "millrace-loadgen", "--nodes", self.natives(), "--quiet", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)

    def close(self):
        """Stop everything; every node that was not killed must end well."""
        codes = []
        for node in self.nodes:
            if node.is_up():
                node.process.send_signal(signal.SIGTERM)
        for node in self.nodes:
            if node.process is not None:
                try:
                    codes.append(node.process.wait(timeout=40))
                except subprocess.TimeoutExpired:
                    node.kill()
                    codes.append("hung")
        give_back(self.base)
        return codes


# ---- For tests -----------------------------------------------------------------------------------


def wait_until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def total(cluster, what):
    """A figure of status, of all shards together, on each node that runs."""
    return [sum(s[what] for s in node.status()["shards"]) for node in cluster.nodes if node.is_up()]


def shard_files(node):
    """What the folders of its shards hold; a seal may take files away meanwhile."""
    contents = {}
    for path in node.dir.glob("shard-*/*"):
        try:
            contents[str(path.relative_to(node.dir))] = path.read_bytes()
        except FileNotFoundError:
            pass
    return contents


def replica_files(cluster):
    """After all is sealed alike, the folders of all replicas are equal, with no file too many."""
    wait_until(lambda: all(len(set(total(cluster, what))) == 1
                           for what in ("applied", "sealed", "segments", "segment_rows")),
               "replicas do not agree")
    contents, seen = [], {}

    def equal():
        contents[:] = [shard_files(node) for node in cluster.nodes]
        return all(c == contents[0] for c in contents)

    def as_many():  # What status says is of a moment ago: a drop or a merge may lie between.
        seen["files"] = sorted(shard_files(cluster.nodes[0]))
        seen["said"] = total(cluster, "segments")[0]
        return seen["said"] == sum(name.endswith(".mrs") for name in seen["files"])

    wait_until(equal, "the files of replicas differ")
    assert not [name for name in contents[0] if name.endswith(".tmp")], contents[0].keys()
    wait_until(as_many, seen)
