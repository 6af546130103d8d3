"""Disks that fill up or fail, nodes that hang, senders that send too much: every fault has its
answer, what was acknowledged stays, and service resumes by itself."""
import errno
import json
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

SECOND = 1_700_000_000_000_000_000
MIB = 1 << 20
EXIT_LOG_FAILED = 74
ERR_TOO_LARGE = 14
SMALL_LOG = "log: {file_bytes: 32MiB, bytes_max: 128MiB}\n"


def wait_until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def post_rows(node, first, count):
    text = "".join(f"d,k=k{i % 20} v={i}i {SECOND + i}\n" for i in range(first, first + count))
    return node.post("/write", text.encode())


def count_rows(cluster, node=None):
    """Rows of the table d, as a query says; of all nodes, or one alone."""
    result = cluster.run("query", "--table", "d", "--agg", "count", "--field", "v", "--format",
                         "csv", node=node)
    assert result.returncode == 0, result.stderr
    return int(result.stdout.split()[-1].split(",")[-1])


def finish(load):
    output, _ = load.communicate(timeout=120)
    print(output)
    assert load.returncode == 0, output
    assert "lost 0, doubled 0, invented 0" in output, output


# ---- Full disks ----------------------------------------------------------------------------------


class Disk:
    """A small disk of its own under a directory."""

    def __init__(self, directory, size):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.ballast = directory / "ballast"
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory],
                               capture_output=True, check=False)
        if mount.returncode != 0:
            pytest.skip("a small disk needs the right to mount one")

    def fill(self, leave):
        """Until so many bytes are free. (The node may take some of them meanwhile.)"""
        deadline = time.monotonic() + 20
        while True:
            stat = os.statvfs(self.directory)
            try:
                with open(self.ballast, "wb") as file:
                    os.posix_fallocate(file.fileno(), 0, stat.f_bavail * stat.f_frsize - leave)
                return
            except OSError as error:
                self.ballast.unlink()
                assert error.errno == errno.ENOSPC and time.monotonic() < deadline, error

    def free(self):
        self.ballast.unlink()


@pytest.fixture
def make_disk():
    disks = []

    def make(node, size=384 * MIB):
        disks.append(Disk(node.dir, size))
        return disks[-1]

    yield make
    for disk in disks:
        subprocess.run(["umount", disk.directory], check=True)


def test_a_full_disk_refuses_writes_until_there_is_space(make_disk, make_cluster):
    cluster = make_cluster(nodes=1, shards=2, workers=2, settings=SMALL_LOG)
    node = cluster.nodes[0]
    disk = make_disk(node)
    cluster.start()
    assert post_rows(node, 0, 1000)[0] == 204
    disk.fill(leave=20 * MIB)
    wait_until(lambda: node.get("/ready")[0] == 503, "the node does not say that it is full")
    with socket.create_connection(("127.0.0.1", node.http), timeout=20) as sender:
        sender.sendall(b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nd,k=a v=1i")
        answer = sender.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 503") and "disk" in answer, answer
    assert "\r\nRetry-After: " in answer, answer
    assert count_rows(cluster) == 1000, "reads go on"
    result = cluster.run("write", "-", "--timeout", "2", data=f"d,k=k1 v=1i {SECOND}\n")
    assert result.returncode != 0 and "disk" in result.stderr, result
    disk.free()
    wait_until(lambda: node.get("/ready")[0] == 200, "the node does not notice the space")
    wait_until(lambda: post_rows(node, 1000, 100)[0] == 204, "writes are not taken again")
    assert count_rows(cluster) >= 1100
    assert node.stop() == 0, node.tail()


def test_a_node_starts_on_a_full_disk_and_serves_reads(make_disk, make_cluster):
    cluster = make_cluster(nodes=1, shards=2, workers=1, settings=SMALL_LOG)
    node = cluster.nodes[0]
    disk = make_disk(node)
    cluster.start()
    assert post_rows(node, 0, 1000)[0] == 204
    assert node.stop() == 0
    disk.fill(leave=0)
    node.start()
    wait_until(lambda: node.log.read_text().count(" runs: node 1") == 2 or not node.is_up(),
               "it does not come up")
    assert node.is_up(), node.tail()
    wait_until(lambda: "writes are refused until there is space" in node.log.read_text(),
               "it does not notice that the disk is full")
    assert post_rows(node, 1000, 1)[0] == 503
    assert count_rows(cluster) == 1000
    disk.free()
    cluster.wait_ready()
    wait_until(lambda: post_rows(node, 1000, 10)[0] == 204, "writes are not taken again")
    assert count_rows(cluster) >= 1010


def test_a_node_on_a_full_disk_leaves_its_shards_to_others_and_catches_up(make_disk, make_cluster):
    cluster = make_cluster(settings=SMALL_LOG)
    disk = make_disk(cluster.nodes[2])
    cluster.start()
    assert post_rows(cluster.nodes[0], 0, 1000)[0] == 204
    disk.fill(leave=20 * MIB)
    wait_until(lambda: cluster.nodes[2].get("/ready")[0] == 503, "the node does not say it is full")
    wait_until(lambda: all(s["leader"] not in (0, 3) for s in cluster.nodes[0].status()["shards"]),
               "it goes on leading")
    finish(cluster.load("--duration", "4", "--series", "1000", "--batch", "200", "--rate", "5000",
                        "--verify"))
    assert cluster.nodes[2].is_up()
    applied = [[s["applied"] for s in node.status()["shards"]] for node in cluster.nodes]
    assert applied[2] != applied[0], "it took rows that it had no room for"
    disk.free()
    cluster.wait_ready()
    cluster.wait_equal()


# ---- Failing disks -------------------------------------------------------------------------------


def test_a_failing_log_ends_the_node_and_loses_nothing(cluster):
    victim = cluster.nodes[1]
    assert victim.stop() == 0
    victim.start(environment={"MILLRACE_FAULT": "disk.sync:fail:400"})
    cluster.wait_ready()
    # How many syncs a second of load makes is the disk's affair: load until the fault is met.
    loads = 0
    while victim.is_up():
        loads += 1
        assert loads <= 40, "the fault was not met"
        finish(cluster.load("--duration", "1.5", "--series", "1000", "--batch", "100",
                            "--seed", str(loads), "--verify"))
    assert victim.process.returncode == EXIT_LOG_FAILED, victim.tail()
    assert "the log failed" in victim.tail(3)
    victim.start()
    cluster.wait_ready()
    cluster.wait_equal()


@pytest.mark.parametrize("fault", ["disk.sync:fail:60", "disk.write:fail:60", "disk.full:fail:60"])
def test_a_node_acknowledges_nothing_after_its_log_has_failed(make_cluster, fault):
    cluster = make_cluster(nodes=1, shards=2, workers=2, settings=SMALL_LOG)
    node = cluster.nodes[0]
    cluster.start()
    assert node.stop() == 0
    # The log's files are there: what is written from now on are records.
    node.start(environment={"MILLRACE_FAULT": fault})
    cluster.wait_ready()
    acknowledged = 0
    while node.is_up():
        try:
            code, _ = post_rows(node, acknowledged * 10, 10)
        except OSError:
            break
        assert code == 204
        acknowledged += 1
        assert acknowledged < 1000, "the fault was not met"
    assert node.process.wait(timeout=10) == EXIT_LOG_FAILED, node.tail()
    node.start()
    cluster.wait_ready()
    assert acknowledged * 10 <= count_rows(cluster) <= acknowledged * 10 + 10


def test_seals_that_fail_leave_the_rows_in_memory_and_in_the_log(make_cluster):
    cluster = make_cluster(nodes=1, shards=1, workers=1,
                           settings="storage: {seal_bytes: 64KiB, head_bytes_max: 8MiB}\n")
    node = cluster.nodes[0]
    node.start(environment={"MILLRACE_FAULT": "seal.manifest:broken:1"})
    cluster.wait_ready()
    rows = 0
    while "seal failed" not in node.log.read_text():
        assert post_rows(node, rows, 2000)[0] == 204
        rows += 2000
        assert rows < 2_000_000, "nothing was sealed"
    assert post_rows(node, rows, 2000)[0] == 204, "writes go on"
    rows += 2000
    assert count_rows(cluster) == rows, "reads go on"
    assert node.status()["shards"][0]["segments"] == 0
    assert node.stop() == 0, node.tail()
    node.start()
    cluster.wait_ready()
    assert count_rows(cluster) == rows
    wait_until(lambda: node.status()["shards"][0]["segments"] > 0, "it is not sealed now")
    assert count_rows(cluster) == rows


def test_a_count_of_starts_that_is_damaged_stops_a_start(make_cluster):
    """Taken for a lower one, numbers of an earlier start would be given again."""
    cluster = make_cluster(nodes=1, shards=1, workers=1)
    cluster.start()
    node = cluster.nodes[0]
    assert node.stop() == 0, node.tail()
    (epoch,) = cluster.dir.glob("node1*/**/epoch")
    good = epoch.read_text()
    for bad in ("1p0\n", "-1\n", "\n", "5\0\n", "0\n", "99999999999\n"):
        epoch.write_text(bad)
        node.start()
        assert node.process.wait(timeout=30) == 1, bad
        assert "is not a count of starts; write a number larger" in node.tail(2), node.tail(2)
    epoch.write_text(good)
    cluster.start()
    assert post_rows(node, 0, 10)[0] == 204


# ---- Nodes that hang -----------------------------------------------------------------------------


def hang(node, seconds):
    node.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    node.process.send_signal(signal.SIGCONT)


def another_leader(cluster, asked):
    """One that leads a shard and is not the node that is asked. That one may win all elections: it
    keeps what it prefers, and hands the rest over after some seconds."""
    found = []

    def look():
        leaders = {s["leader"] for s in asked.status()["shards"]}
        found[:] = [n for n in cluster.nodes if n is not asked and n.number in leaders]
        return found

    wait_until(look, "one node leads all shards")
    return found[0]


@pytest.mark.parametrize("whom", ["leader", "follower"])
def test_a_node_that_hangs_loses_nothing_and_catches_up(make_cluster, whom):
    """One shard, so that a node leads all or nothing."""
    cluster = make_cluster(shards=1)
    cluster.start()
    leader = cluster.wait_leader(0)
    victim = leader if whom == "leader" else next(n for n in cluster.nodes if n is not leader)
    load = cluster.load("--duration", "8", "--series", "1000", "--batch", "200", "--rate", "5000",
                        "--verify")
    time.sleep(2)
    hang(victim, 3)
    finish(load)
    cluster.wait_ready()
    cluster.wait_equal()


def test_text_goes_on_when_the_leader_hangs(cluster):
    """Other nodes' requests that the leader had taken in are answered by the next one."""
    sender = cluster.nodes[0]
    assert post_rows(sender, 0, 100)[0] == 204
    victim = another_leader(cluster, sender)
    victim.process.send_signal(signal.SIGSTOP)
    try:
        for i in range(1, 20):
            code, body = post_rows(sender, i * 100, 100)
            assert code == 204, (code, body)
    finally:
        victim.process.send_signal(signal.SIGCONT)
    cluster.wait_ready()
    cluster.wait_equal()
    assert count_rows(cluster) == 2000


@pytest.mark.parametrize("how", ["hangs", "dies"])
def test_a_query_goes_on_when_a_leader(make_cluster, how):
    """Who was asked asks the next leader: it does not wait for the one that is gone until the
    query's time is up."""
    cluster = make_cluster(settings="limits: {query_time: 60s}\n")
    cluster.start()
    asked = cluster.nodes[0]
    assert post_rows(asked, 0, 1000)[0] == 204
    victim = another_leader(cluster, asked)
    if how == "dies":
        victim.kill()
    else:
        victim.process.send_signal(signal.SIGSTOP)
    try:
        assert count_rows(cluster, asked) == 1000
    finally:
        if how == "dies":
            victim.start()
        else:
            victim.process.send_signal(signal.SIGCONT)
    cluster.wait_ready()


# ---- Too much ------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_answered_as_such(make_cluster):
    cluster = make_cluster(nodes=1, shards=1, settings="limits: {body_bytes: 64KiB}\n")
    cluster.start()
    node = cluster.nodes[0]
    body = b"d,k=a v=1\n" * 10000
    for head, chunk in ((b"Content-Length: %d\r\n\r\n" % len(body), body),
                        (b"Transfer-Encoding: chunked\r\n\r\n",
                         b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))):
        with socket.create_connection(("127.0.0.1", node.http), timeout=20) as sender:
            sender.sendall(b"POST /write HTTP/1.1\r\nHost: a\r\n" + head)
            try:
                sender.sendall(chunk)
            except OSError:
                pass  # It may stop to listen.
            assert sender.recv(4096).startswith(b"HTTP/1.1 413"), head
    assert node.post("/write", b"d,k=a v=1")[0] == 204


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def frame(kind, request, payload=b"", size=None):
    """docs/protocol.md. With `size`: a header that announces so much."""
    tail = struct.pack("<IHHQ", len(payload) if size is None else size, kind, 0, request)
    return b"MRF1" + struct.pack("<I", crc32c(tail + payload)) + tail + payload


def read_frame(sender):
    head = b""
    while len(head) < 24:
        head += sender.recv(24 - len(head)) or pytest.fail("closed")
    size, kind, _, request = struct.unpack("<IHHQ", head[8:])
    payload = b""
    while len(payload) < size:
        payload += sender.recv(size - len(payload)) or pytest.fail("closed")
    return kind, request, payload


HELLO, HELLO_OK, ERROR, PING, PONG, WRITE = 1, 2, 3, 4, 5, 10
GREETING = struct.pack("<IBQQI", 1, 1, 0, 0, 0) + b"\x04test"


def test_a_frame_that_is_too_large_is_answered_and_passed_over(cluster):
    with socket.create_connection(("127.0.0.1", cluster.nodes[0].native), timeout=20) as sender:
        sender.sendall(frame(HELLO, 7, size=8192) + b"\0" * 8192)
        kind, request, payload = read_frame(sender)
        assert (kind, request, payload[:4]) == (ERROR, 7, struct.pack("<I", ERR_TOO_LARGE))
        sender.sendall(frame(HELLO, 8, GREETING))
        assert read_frame(sender)[0] == HELLO_OK
        for size in (17 * MIB, 40 * MIB):
            sender.sendall(frame(WRITE, size, size=size))
            kind, request, payload = read_frame(sender)
            assert (kind, request, payload[:4]) == (ERROR, size, struct.pack("<I", ERR_TOO_LARGE))
            sender.sendall(b"\0" * size)
            sender.sendall(frame(PING, 9, b"still there"))
            assert read_frame(sender) == (PONG, 9, b"still there")


def test_nonsense_on_the_native_port_harms_nobody(cluster):
    node = cluster.nodes[0]
    for nonsense in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0" * 100, frame(PING, 1),
                     frame(HELLO, 1, b"\xff" * 40), frame(HELLO, 1, GREETING)[:-1] + b"\xff"):
        with socket.create_connection(("127.0.0.1", node.native), timeout=20) as sender:
            sender.sendall(nonsense)
            sender.shutdown(socket.SHUT_WR)
            while sender.recv(4096):
                pass
    with socket.create_connection(("127.0.0.1", node.native), timeout=20) as sender:
        sender.sendall(frame(HELLO, 1, GREETING))
        assert read_frame(sender)[0] == HELLO_OK
        for kind in (0, WRITE, 12, 32, 33, 36, 500):
            sender.sendall(frame(kind, kind, b"\x80" * 100))
            assert read_frame(sender)[:2] == (ERROR, kind)
        sender.sendall(frame(PING, 9))
        assert read_frame(sender) == (PONG, 9, b"")
    assert json.loads(node.get("/status")[1])["ready"]
