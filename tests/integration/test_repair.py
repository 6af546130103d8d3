"""Files of one node are damaged, while it runs and while it is stopped: every damage is found, no
reader sees it, and the node mends itself from the others."""
import hashlib
import json
import os
import random
import shutil
import time

import pytest

SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
# Damages of each kind of file: few for each change, 1000 by hand.
COUNT = int(os.environ.get("DAMAGES", "6"))
SECOND = 1_700_000_000_000_000_000
SETTINGS = "storage: {seal_bytes: 64KiB}\n"
KINDS = {"segment": "shard-*/*.mrs", "catalog": "shard-*/*.mrc", "manifest": "shard-*/*.mrm*",
         "meta": "meta.mrc*"}
LEVELS = ("leader", "linearizable", "any")


class Site:
    """Three nodes with sealed rows, at rest, and what they answer."""

    def __init__(self, make_cluster, **options):
        self.cluster = make_cluster(shards=2, workers=2, settings=SETTINGS, **options)
        self.cluster.start()
        self.nodes = self.cluster.nodes
        for turn in range(6):
            self.write(turn)
        deadline = time.monotonic() + 60
        while not all(s["segments"] >= 2 for s in self.nodes[0].status()["shards"]):
            assert time.monotonic() < deadline, "nothing was sealed"
            turn += 1
            self.write(turn)
            time.sleep(0.05)
        self.settle()
        time.sleep(6)  # The schema is saved some seconds after it changed.
        self.whole = self.read(self.nodes[0], "leader")
        assert len(self.whole.splitlines()) > 1000

    def write(self, turn):
        text = "".join(f"d,k=k{i % 97},t={turn % 7} v={turn * 4000 + i},w={i % 11} "
                       f"{SECOND + turn * 4000 + i}\n" for i in range(4000))
        code, body = self.nodes[turn % 3].post("/write", text.encode())
        assert code == 204, body

    def settle(self):
        """Until replicas are equal and no seal runs."""
        deadline = time.monotonic() + 60
        while True:
            self.cluster.wait_equal()
            shards = [s for n in self.nodes for s in n.status()["shards"]]
            if not any(s["sealing"] for s in shards) and self.is_equal():
                return
            assert time.monotonic() < deadline, "the replicas' files do not become equal"
            time.sleep(0.1)

    def digests(self, node):
        """Of all files that replicas have in common."""
        return {str(path.relative_to(node.dir)): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(node.dir.glob("shard-*/*"))}

    def is_equal(self):
        return len({json.dumps(self.digests(node)) for node in self.nodes}) == 1

    def ask(self, node, level):
        return self.cluster.run("query", "--table", "d", "--format", "csv", "--consistency", level,
                                "--node", f"127.0.0.1:{node.native}")

    def read(self, node, level):
        result = self.ask(node, level)
        assert result.returncode == 0, (node.number, level, result.stderr)
        return "\n".join(sorted(result.stdout.splitlines()))

    def files(self, node, kind):
        return [path for path in sorted(node.dir.glob(KINDS[kind])) if path.stat().st_size > 0]

    def wait_mended(self, node, timeout=30):
        """Seconds until nothing is damaged there."""
        start = time.monotonic()
        while node.status()["damaged"]:
            assert time.monotonic() < start + timeout, node.status()["damaged"]
            time.sleep(0.02)
        return time.monotonic() - start

    def scrub(self, node):
        result = self.cluster.run("scrub")
        assert result.returncode == 0, (result.stdout, result.stderr, node.tail())


def flip(path, chance):
    at = chance.randrange(path.stat().st_size)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    return at


@pytest.fixture(name="site", scope="function")
def make_site(make_cluster):
    return Site(make_cluster)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_while_it_runs(site, kind):
    """Found by the scrub or by a reader; mended; nobody sees it."""
    chance = random.Random(SEED)
    print(f"SEED={SEED} DAMAGES={COUNT} {kind}")
    good = site.digests(site.nodes[0])
    took, reads = [], 0
    for turn in range(COUNT):
        node = chance.choice(site.nodes)
        path = chance.choice(site.files(node, kind))
        found = node.status()["scrub"]["found"]
        before = path.read_bytes()
        at = flip(path, chance)
        start = time.monotonic()
        if kind == "segment" and turn % 2:  # A reader may be the first to meet it.
            level = chance.choice(LEVELS)
            assert site.read(node, level) == site.whole, (path, at, level)
            reads += 1
        site.scrub(node)
        took.append(time.monotonic() - start)
        assert node.status()["scrub"]["found"] > found, (path, at)
        if kind == "meta":  # Its owner writes it again at its next tick.
            deadline = time.monotonic() + 5
            while path.read_bytes() != before:
                assert time.monotonic() < deadline, path
                time.sleep(0.02)
        assert path.read_bytes() == before, (path, at)
        if turn % 10 == 0 or COUNT < 50:
            for level in LEVELS:
                reader = chance.choice(site.nodes)
                assert site.read(reader, level) == site.whole, (path, at, level)
                reads += 1
    for node in site.nodes:
        for level in LEVELS:
            assert site.read(node, level) == site.whole, (node.number, level)
            reads += 1
        assert site.digests(node) == good
    print(f"{kind}: {COUNT} flips, all found and mended; {reads} reads, 0 wrong; seconds from flip "
          f"to mended: median {sorted(took)[len(took) // 2]:.2f}, longest {max(took):.2f}")
