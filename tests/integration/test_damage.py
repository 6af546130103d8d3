"""Damaged files: a node starts and serves what is right, or refuses with a line that says what is
wrong. It never crashes, and never serves wrong data."""
import os
import random
import shutil
import subprocess
import time

from cluster import BIN, ENVIRONMENT

SEED = int(os.environ.get("SEED", "1"))
ROUNDS = int(os.environ.get("DAMAGES", "24"))
SECOND = 1_700_000_000_000_000_000


def write_rows(node, count):
    text = "".join(f"d,k=k{i % 50} v={i} {SECOND + i}\n" for i in range(count))
    code, body = node.post("/write", text.encode())
    assert code == 204, body


def digest(cluster):
    result = cluster.run("query", "--table", "d", "--format", "csv")
    assert result.returncode == 0, result.stderr
    return result.stdout


def damage(path, kind, chance):
    size = path.stat().st_size
    if kind == "empty":
        os.truncate(path, 0)
    elif kind == "cut":
        os.truncate(path, chance.randrange(size))
    else:
        # Where bytes are: most of a log file is zeros that nobody has written yet.
        data = path.read_bytes().rstrip(b"\0")
        at = chance.randrange(max(len(data), 1))
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ (1 << chance.randrange(8))]))


def test_every_kind_of_file_damaged_in_every_way(make_cluster):
    """One node, so that nobody else could answer for it."""
    chance = random.Random(SEED)
    cluster = make_cluster(nodes=1, shards=2, workers=1, settings="storage: {seal_bytes: 64KiB}\n")
    node = cluster.nodes[0]
    cluster.start()
    for _ in range(20):
        write_rows(node, 5000)
    deadline = time.monotonic() + 30
    while not all(s["segments"] for s in node.status()["shards"]):
        assert time.monotonic() < deadline, "nothing was sealed"
        write_rows(node, 5000)
        time.sleep(0.1)
    write_rows(node, 200)
    time.sleep(6)  # The schema is saved some seconds after it changed.
    whole = digest(cluster)
    assert node.stop() == 0
    good = node.dir.with_suffix(".good")
    shutil.copytree(node.dir, good)
    files = [p.relative_to(good) for p in sorted(good.rglob("*"))
             if p.is_file() and p.name != "lock"]
    assert {p.suffix for p in files} >= {".log", ".mrc", ".mrs"}
    refused = healed = 0
    for round_number in range(max(ROUNDS, len(files))):
        name = files[round_number % len(files)]
        kind = ("empty", "cut", "flip")[(round_number // len(files) + round_number) % 3]
        shutil.rmtree(node.dir)
        shutil.copytree(good, node.dir)
        if (node.dir / name).stat().st_size == 0:
            continue
        damage(node.dir / name, kind, chance)
        node.start()
        deadline = time.monotonic() + 30
        while node.is_up():
            try:
                if node.get("/ready")[0] == 200:
                    break
            except OSError:
                pass
            assert time.monotonic() < deadline, (name, kind, node.tail())
            time.sleep(0.02)
        if not node.is_up():
            assert node.process.returncode == 1, (name, kind, node.process.returncode, node.tail())
            assert "does not start" in node.tail(3), (name, kind, node.tail())
            refused += 1
            continue
        result = cluster.run("query", "--table", "d", "--format", "csv")
        if result.returncode == 0:
            # Only a cut log may have forgotten its unsealed end; what is shown must be right.
            shown = set(result.stdout.splitlines())
            assert shown <= set(whole.splitlines()), (name, kind)
            if name.suffix != ".log":
                assert result.stdout == whole, (name, kind)
            healed += 1
        else:
            assert "corrupt" in result.stderr, (name, kind, result.stderr)
            refused += 1
        node.kill()
    print(f"SEED={SEED}: {refused} refused, {healed} served")
    assert refused > 0


def test_wrong_settings_are_named_with_their_line(tmp_path):
    for text, message in (
            ("node: {id: 1, data_dir: /x}\nlimits: {body_bites: 1MiB}\n", "body_bytes"),
            ("node: {id: 1, data_dir: /x}\nlimits: {body_bytes: 32 gigs}\n", "is not a size"),
            ("node: {id: one, data_dir: /x}\n", "node.id"),
            ("node: [1\n", "node.yaml:1")):
        path = tmp_path / "node.yaml"
        path.write_text(text)
        result = subprocess.run([BIN / "millraced", "--config", path, "--check"],
                                capture_output=True, text=True, env=ENVIRONMENT, check=False)
        assert result.returncode == 2, (text, result)
        assert message in result.stderr, (text, result.stderr)
