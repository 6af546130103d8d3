"""Nodes that have lost their log, their disk or their state, or that the others have left behind, begin
again from the other nodes, and are whole replicas afterwards: they carry the site when another one dies.

DAMAGES (rounds) and SEED in the environment repeat or lengthen a run.
"""
import os
import random
import shutil
import signal
import struct
import time

from cluster import BIN, replica_files, total, wait_until
from test_repair_log import HEADER, MAGIC, end_of, flip, logs, read, write_rows

SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
ROUNDS = int(os.environ.get("DAMAGES", "3"))
SMALL = "storage: {seal_bytes: 64KiB, head_bytes_max: 8MiB}\n"
assert BIN


def count_of(lines):
    return len(lines) - 1  # The heading.


def fill(cluster, turns=4, count=5000):
    """Rows that do not pack, so that shards seal; all of them."""
    chance = random.Random(SEED)
    for turn in range(turns):
        text = "".join(f"d,k=k{i % 50} v={chance.random()},w={chance.random()} "
                       f"{1_700_000_000_000_000_000 + turn * count + i}\n" for i in range(count))
        code, body = cluster.nodes[turn % 3].post("/write", text.encode())
        assert code == 204, body
    wait_until(lambda: min(total(cluster, "segments")) > 0, "nothing was sealed")
    cluster.wait_equal()
    whole = read(cluster, cluster.nodes[0])
    assert count_of(whole) == turns * count
    return whole


def in_a_record(node, chance):
    """A file and a byte of a record in it, of which a later record says that it was synced. What was
    written last may have nobody to say so, and a file that was just begun nothing else in it."""
    synced, places = 0, []
    for path, _ in logs(node):
        data = path.read_bytes()
        file_id, at = data[16:24], data.find(MAGIC, 4096)
        while at >= 0:
            position, says = struct.unpack_from("<QQ", data.ljust(at + HEADER), at + 48)
            if at % 8 == 0 and data[at + 64:at + 72] == file_id and position & 0xffffffff == at:
                synced = max(synced, says)
                places.append((position, path, at, HEADER + struct.unpack_from("<I", data, at + 8)[0]))
            at = data.find(MAGIC, at + 4)
    _, path, at, size = chance.choice([place for place in places if place[0] < synced])
    return path, at + chance.randrange(size)


def wait_rejoined(cluster, node, seconds=60):
    """Until it serves, and has all that it may have promised before."""
    def is_whole():
        try:
            return node.get("/ready")[0] == 200 and not node.status()["rejoining"]
        except (OSError, ValueError):
            assert node.is_up(), node.tail()
            return False
    wait_until(is_whole, lambda: node.tail(30), seconds)
    cluster.wait_ready()
    cluster.wait_equal()


def rejoining(node):
    try:
        return node.status()["rejoining"]
    except OSError:
        assert node.is_up(), node.tail()
        return []


def carries_the_site(cluster, node, whole):
    """Another node dies: what it and the third one have is all there was, and they take more."""
    other = next(n for n in cluster.nodes if n is not node)
    other.kill()
    cluster.wait_ready()
    assert read(cluster, node, "linearizable") == whole
    assert read(cluster, node, "any") == whole
    write_rows(node, 1000 + other.number, 10)
    other.start()
    cluster.wait_ready()
    cluster.wait_equal()


def test_a_log_that_is_damaged_while_its_node_is_down(make_cluster):
    chance = random.Random(SEED)
    print(f"SEED={SEED} DAMAGES={ROUNDS}")
    cluster = make_cluster(shards=2, workers=2)
    cluster.start()
    began = torn = 0
    took = []
    for turn in range(ROUNDS):
        node = chance.choice(cluster.nodes)
        write_rows(chance.choice(cluster.nodes), turn)
        cluster.wait_equal()
        whole = read(cluster, node)
        if chance.randrange(2):
            node.kill()
        else:
            assert node.stop() == 0
        path, end = chance.choice(logs(node))
        flip(path, chance.choice((chance.randrange(44), 4096 + chance.randrange(end - 4096))), chance)
        start = time.monotonic()
        said = len(node.log.read_bytes())
        node.start()
        wait_rejoined(cluster, node)
        if b"is set aside" in node.log.read_bytes()[said:]:
            began += 1
            took.append(time.monotonic() - start)
        else:  # At the very end it looks like a torn write; the padding is not of a record.
            torn += 1
        wait_until(lambda: not [*node.dir.glob("log.damaged-*"), *node.dir.glob("rejoin.mrj*")],
                   "what is not needed any more stays")  # It goes behind the last entry of status.
        assert read(cluster, node, "any") == whole, (turn, path)
    if took:
        took.sort()
        print(f"{began} logs set aside, {torn} flips at the end; start to whole: median "
              f"{took[len(took) // 2]:.2f} s, longest {took[-1]:.2f} s")
    carries_the_site(cluster, node, whole)


def test_a_log_that_cannot_be_read(make_cluster):
    cluster = make_cluster(shards=2, workers=2)
    cluster.start()
    write_rows(cluster.nodes[0], 0)
    cluster.wait_equal()
    node = cluster.nodes[1]
    whole = read(cluster, node)
    node.kill()
    # Read ahead, at the first try, at the second one.
    node.start(environment={"MILLRACE_FAULT": ",".join(f"log.read:fail:{i}" for i in (1, 2, 3))})
    wait_until(lambda: "is set aside as" in node.log.read_text(errors="replace"), node.tail)
    wait_rejoined(cluster, node)
    assert read(cluster, node, "any") == whole
    carries_the_site(cluster, node, whole)


def test_a_log_that_is_damaged_under_load(make_cluster):
    """The flip is where it cannot be taken for a torn write, so the node has to begin again, while rows
    come in that are verified at the end, and other nodes die behind it."""
    chance = random.Random(SEED)
    print(f"SEED={SEED}")
    cluster = make_cluster(shards=2, workers=2, settings=SMALL)
    cluster.start()
    load = cluster.load("--workload", "rows", "--duration", "12", "--series", "200", "--rate", "50000",
                        "--verify")
    for node in cluster.nodes:
        time.sleep(1)
        node.kill()
        path, at = in_a_record(node, chance)
        flip(path, at, chance)
        said = len(node.log.read_bytes())
        node.start()
        wait_until(lambda: b"is set aside" in node.log.read_bytes()[said:], (path, node.tail))
        wait_rejoined(cluster, node)
    output = load.communicate(timeout=120)[0]
    assert load.returncode == 0, output
    cluster.wait_equal()
    replica_files(cluster)


def test_a_new_disk(make_cluster):
    cluster = make_cluster(shards=2, workers=2, settings=SMALL)
    cluster.start()
    whole = fill(cluster, 8)
    node = cluster.nodes[1]
    node.kill()
    shutil.rmtree(node.dir)
    node.start("--rejoin")
    wait_rejoined(cluster, node)
    assert read(cluster, node, "any") == whole
    carries_the_site(cluster, node, whole)
    # A log says what was promised: it is not thrown away by mistake.
    assert node.stop() == 0
    node.start("--rejoin")
    assert node.process.wait(timeout=10) == 1
    assert "start it without --rejoin" in node.tail(3)
    node.start()
    cluster.wait_ready()


def test_a_state_of_which_both_copies_are_damaged(make_cluster):
    cluster = make_cluster(shards=2, workers=2, settings=SMALL)
    cluster.start()
    whole = fill(cluster)
    node = cluster.nodes[2]
    wait_until(lambda: (node.dir / "meta.mrc.copy").exists(), "the meta group was not saved")
    for name in ("shard-1/manifest.mrm", "meta.mrc"):
        assert node.stop() == 0
        for copy in (name, name + ".copy"):
            (node.dir / copy).write_bytes(b"nothing of the kind")
        node.start()
        wait_rejoined(cluster, node)
        assert read(cluster, node, "any") == whole, name
    carries_the_site(cluster, node, whole)


def test_who_was_left_behind(make_cluster):
    """The others write more than their logs keep while a node is down."""
    settings = SMALL + "log: {file_bytes: 32MiB, bytes_max: 128MiB}\n"
    cluster = make_cluster(shards=1, workers=1, settings=settings)
    cluster.start()
    write_rows(cluster.nodes[0], 0)
    cluster.wait_equal()
    node = cluster.nodes[2]
    node.kill()
    first = min((cluster.nodes[0].dir / "log").glob("*.log")).name
    load = cluster.load("--workload", "random", "--duration", "40")
    wait_until(lambda: load.poll() is not None or all(
        min((n.dir / "log").glob("*.log")).name > first for n in cluster.nodes[:2]),
               "the log keeps it all", 60)
    load.send_signal(signal.SIGINT)
    load.communicate(timeout=60)
    assert all(min((n.dir / "log").glob("*.log")).name > first for n in cluster.nodes[:2])
    node.start()
    wait_until(lambda: "stops to start again" in node.log.read_text(errors="replace"), node.tail, 30)
    wait_rejoined(cluster, node)
    assert count_of(read(cluster, node, "any")) == 500


def test_one_that_dies_while_it_begins_again(make_cluster):
    cluster = make_cluster(shards=2, workers=2, settings=SMALL)
    cluster.start()
    whole = fill(cluster)
    node = cluster.nodes[0]
    node.kill()
    shutil.rmtree(node.dir)
    for turn, point in enumerate(("rejoin.file:kill:2", "rejoin.manifest:kill:1", "rejoin.manifest:kill:2",
                                  "rejoin.ready:kill:1", "rejoin.again:kill:1", "rejoin.done:kill:1")):
        node.start(*(["--rejoin"] if turn == 0 else []), environment={"MILLRACE_FAULT": point})
        assert node.process.wait(timeout=60) == -signal.SIGKILL, (point, node.tail())
    node.start()
    wait_rejoined(cluster, node)
    assert read(cluster, node, "any") == whole
    carries_the_site(cluster, node, whole)


def test_it_waits_for_whom_it_has_to_ask(make_cluster):
    """A node that has forgotten its votes must hear all others; until then it says for whom it waits."""
    cluster = make_cluster(shards=1, workers=1)
    cluster.start()
    write_rows(cluster.nodes[0], 0)
    cluster.wait_equal()
    node, away, third = cluster.nodes
    whole = read(cluster, node)
    node.kill()
    away.kill()
    shutil.rmtree(node.dir)
    node.start("--rejoin")
    wait_until(lambda: "node 2 has to say which term it is in" in str(rejoining(node)), node.tail)
    status = cluster.run("status").stdout
    assert "rejoins: group 1 lost its log" in status, status
    # No majority without a vote of the lost one.
    wait_until(lambda: third.status()["shards"][0]["leader"] == 0, third.tail)
    away.start()
    wait_rejoined(cluster, node)
    assert read(cluster, node, "any") == whole


def test_a_new_disk_that_nobody_told_of(make_cluster):
    """An empty directory under a known id could vote a second time: the others know that it ran before."""
    cluster = make_cluster(shards=2, workers=2, settings=SMALL)
    cluster.start()
    whole = fill(cluster)
    node = cluster.nodes[1]
    for lost in (node.dir, node.dir / "log"):
        node.kill()
        shutil.rmtree(lost)
        said = len(node.log.read_bytes())
        node.start()
        wait_until(lambda: b"has heard of this node before" in node.log.read_bytes()[said:], node.tail)
        wait_rejoined(cluster, node)
        assert read(cluster, node, "any") == whole
    carries_the_site(cluster, node, whole)


def test_a_first_start(make_cluster):
    """Two of three begin without the third one, which begins later; none of them starts anew for that."""
    cluster = make_cluster(shards=2, workers=2)
    first, second, late = cluster.nodes
    first.start()
    wait_until(lambda: "has to be said by node 2 3" in str(rejoining(first)), first.tail)
    assert "is not started" in cluster.run("status").stdout
    assert first.stop() == 0
    first.start()
    second.start()
    cluster.wait_ready()
    write_rows(first, 0)
    # It may have run before, for all that is known: the one that could know is away.
    second.kill()
    late.start()
    wait_until(lambda: "has to be said by node 2" in str(rejoining(late)), late.tail)
    second.start()
    cluster.wait_ready()
    cluster.wait_equal()
    whole = read(cluster, late, "any")
    assert whole == read(cluster, first, "any") and count_of(whole) > 0
    for node in cluster.nodes:
        assert "stops to start again" not in node.log.read_text(errors="replace"), node.tail(40)
