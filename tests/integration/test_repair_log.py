"""The log of a node is damaged on its disk while it runs: the scrub finds it, what stands in that file
is sealed, the file goes away, and a restart has all rows."""
import os
import random
import struct
import time

from cluster import BIN, wait_until

SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
COUNT = int(os.environ.get("DAMAGES", "6"))
SECOND = 1_700_000_000_000_000_000
HEADER = 72
MAGIC = b"MRR1"
assert BIN


def write_rows(node, turn, count=500):
    text = "".join(f"d,k=k{i % 50} v={turn},w={i} {SECOND + turn * count + i}\n"
                   for i in range(count))
    code, body = node.post("/write", text.encode())
    assert code == 204, body


def read(cluster, node, level="leader"):
    result = cluster.run("query", "--table", "d", "--format", "csv", "--consistency", level,
                         node=node)
    assert result.returncode == 0, (node.number, level, result.stderr, node.tail())
    return sorted(result.stdout.splitlines())


def end_of(data):
    """Where the last record of this life of the file ends."""
    file_id, at, end = data[16:24], data.find(MAGIC, 4096), 4096
    while at >= 0:
        if at % 8 == 0 and data[at + 64:at + 72] == file_id and \
                struct.unpack_from("<Q", data, at + 48)[0] & 0xffffffff == at:
            end = at + HEADER + struct.unpack_from("<I", data, at + 8)[0]
        at = data.find(MAGIC, at + 4)
    return end


def logs(node):
    """(path, end) of those with records."""
    found = [(path, end_of(path.read_bytes())) for path in sorted(node.dir.glob("log/*.log"))]
    return [(path, end) for path, end in found if end > 4096]


def flip(path, at, chance):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))


def wait_mended(node, path, timeout=30):
    deadline = time.monotonic() + timeout
    while node.status()["damaged"] or path.exists():
        assert time.monotonic() < deadline, (node.status()["damaged"], path, node.tail())
        time.sleep(0.02)


def damage(cluster, chance, node, turn):
    path, end = chance.choice(logs(node))
    at = chance.choice((chance.randrange(4096), 4096 + chance.randrange(end - 4096)))
    status = node.status()["scrub"]
    flip(path, at, chance)
    start = time.monotonic()
    assert cluster.run("scrub", "--no-wait").returncode == 0
    deadline = start + 30
    while node.status()["scrub"]["passes"] == status["passes"]:
        assert time.monotonic() < deadline, node.status()["scrub"]
        time.sleep(0.02)
    assert node.status()["scrub"]["found"] > status["found"], (path, at, end, turn)
    wait_mended(node, path)
    return time.monotonic() - start


def damage_often(make_cluster, nodes, count):
    chance = random.Random(SEED)
    print(f"SEED={SEED} DAMAGES={count}")
    cluster = make_cluster(nodes=nodes, shards=2, workers=2)
    cluster.start()
    took = []
    for turn in range(count):
        node = chance.choice(cluster.nodes)
        write_rows(chance.choice(cluster.nodes), turn)
        took.append(damage(cluster, chance, node, turn))
        if turn % 10 == 0 or count < 50:  # What was in the log is in a segment now.
            whole = read(cluster, node)
            assert len(whole) == (turn + 1) * 500 + 1
            node.kill()
            node.start()
            cluster.wait_ready()
            assert read(cluster, node) == whole
    took.sort()
    print(f"log: {count} flips, all found and mended; flip to mended: median "
          f"{took[len(took) // 2]:.2f} s, longest {took[-1]:.2f} s")
    whole = read(cluster, cluster.nodes[0])
    assert len(whole) == count * 500 + 1
    for node in cluster.nodes:
        assert node.stop() == 0
    cluster.start()
    for node in cluster.nodes:
        for level in ("leader", "linearizable", "any"):
            assert read(cluster, node, level) == whole, (node.number, level)


def test_a_damaged_log_is_sealed_out(make_cluster):
    damage_often(make_cluster, 3, COUNT)


def test_a_damaged_log_of_a_node_that_is_alone(make_cluster):
    damage_often(make_cluster, 1, max(COUNT // 3, 2))


def test_who_lacks_what_is_damaged_gets_it_from_another_leader(make_cluster):
    chance = random.Random(SEED)
    cluster = make_cluster(shards=1, workers=1)
    cluster.start()
    for turn in range(3):
        write_rows(cluster.nodes[0], turn)
    cluster.wait_equal()
    # The one that leads in the end: another one would hand over for that alone.
    leader, late = cluster.nodes[1], cluster.nodes[0]
    wait_until(lambda: cluster.leader(0) is leader, "the preferred node does not lead")
    late.kill()
    write_rows(leader, 3)
    write_rows(leader, 4)
    path, end = logs(leader)[-1]
    flip(path, end - 20, chance)  # An entry that the late one lacks.
    assert cluster.run("scrub", "--no-wait").returncode == 0
    deadline = time.monotonic() + 30
    while leader.status()["shards"][0]["leader"] == leader.number:
        assert time.monotonic() < deadline, (leader.status(), leader.tail())
        time.sleep(0.05)
    assert "is handed over" in leader.tail(50), leader.tail(50)
    late.start()
    cluster.wait_ready()
    wait_mended(leader, path)
    cluster.wait_equal()
    whole = read(cluster, late)
    assert len(whole) == 5 * 500 + 1
    leader.kill()
    leader.start()
    cluster.wait_ready()
    assert read(cluster, leader, "any") == whole
