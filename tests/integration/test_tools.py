"""`millrace segment` and `millrace fsck` on the files of real nodes: what is good is said to be good,
every flipped bit is found and named, what is printed can be written again, nothing is changed."""
import csv
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import time

import pytest

from cluster import BIN, ENVIRONMENT

SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
FLIPS = int(os.environ.get("FLIPS", "60"))
SECOND = 1_700_000_000_000_000_000
DOUBLE = "\\"


def tool(*arguments):
    return subprocess.run([BIN / "millrace", *map(str, arguments)], capture_output=True, text=True,
                          timeout=120, env=ENVIRONMENT, check=False)


def rows(count):
    """Line protocol of two tables with every type, names that need escapes and absent fields."""
    lines = []
    for i in range(count):
        fields = [f"v={i / 4}", f"n={i - 50}i", f"u={i}u", f"b={'true' if i % 3 else 'false'}"]
        if i % 5 == 0:
            fields.append(f'note="say {DOUBLE}"{i}{DOUBLE}", ok"')
        lines.append(f"t{i % 2},host=h{DOUBLE} {i % 7},k=a{DOUBLE}=b {','.join(fields)} {SECOND + i}")
    return "\n".join(lines) + "\n"


def records(text):
    """Rows of a CSV, whichever columns it has: the values that are there. Segments' columns say of
    which type they are, a query's do not."""
    return {frozenset((name.split(":")[0], value) for name, value in row.items() if value)
            for row in csv.DictReader(io.StringIO(text))}


def digests(directory):
    return {path.relative_to(directory): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(directory.rglob("*")) if path.is_file()}


def flip(path, at, mask):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


@pytest.fixture
def stopped(make_cluster):
    """A stopped node with sealed rows in two shards and a tail in its log; and what it answered."""
    cluster = make_cluster(nodes=1, shards=2, workers=1, settings="storage: {seal_bytes: 64KiB}\n")
    node = cluster.nodes[0]
    cluster.start()
    count = 4000
    assert node.post("/write", rows(count).encode())[0] == 204
    deadline = time.monotonic() + 60
    while not all(s["segments"] for s in node.status()["shards"]):
        assert time.monotonic() < deadline, "nothing was sealed"
        assert node.post("/write", rows(count).encode())[0] == 204
        time.sleep(0.05)
    answers = {}
    for table in ("t0", "t1"):
        result = cluster.run("query", "--table", table, "--format", "csv")
        assert result.returncode == 0, result.stderr
        answers[table] = result.stdout
    time.sleep(6)  # The schema is saved some seconds after it changed.
    assert node.stop() == 0
    return cluster, node, answers


def test_a_good_directory_is_good_and_stays_as_it_is(stopped):
    _, node, answers = stopped
    before = digests(node.dir)
    segments = sorted(node.dir.glob("shard-*/*.mrs"))
    result = tool("fsck", node.dir)
    assert result.returncode == 0, result
    assert "2 shards" in result.stdout and result.stdout.endswith(": good\n"), result.stdout
    report = json.loads(tool("fsck", "--json", node.dir).stdout)
    assert report["good"] and not report["faults"] and report["segments"] == len(segments)

    result = tool("segment", "verify", *segments)
    assert result.returncode == 0 and result.stdout.count(": good: ") == len(segments), result
    assert json.loads(tool("segment", "verify", "--json", *segments).stdout)["good"]

    infos = json.loads(tool("segment", "info", "--json", *segments).stdout)
    assert sum(info["rows"] for info in infos) == report["rows"]
    assert {table["table"] for info in infos for table in info["tables"]} == {"default/t0",
                                                                            "default/t1"}
    for info in infos:
        parts = sum(column["bytes"] for table in info["tables"] for column in table["columns"])
        assert 0 < parts < info["bytes"]
        assert info["values"] == sum(column["values"] for table in info["tables"]
                                     for column in table["columns"][2:])
    text = tool("segment", "info", segments[0]).stdout
    assert "default/t0" in text and "host" not in text and "note" in text, text

    # Rows of a query are rows of some segment, or of the head.
    for table, answer in answers.items():
        shown = set()
        for segment in segments:
            result = tool("segment", "cat", "--table", table, "--format", "csv", segment)
            assert result.returncode == 0, result.stderr
            shown |= records(result.stdout)
        assert shown and shown <= records(answer), table
    assert digests(node.dir) == before


def test_what_cat_prints_can_be_written_again(stopped, make_cluster):
    _, node, answers = stopped
    segments = sorted(node.dir.glob("shard-*/*.mrs"))
    result = tool("segment", "cat", *segments)
    assert result.returncode == 0, result.stderr
    limited = tool("segment", "cat", "--limit", 7, "--from", "2023-01-01", segments[0])
    assert limited.stdout.count("\n") == 7
    assert tool("segment", "cat", "--to", "2023-01-01", segments[0]).stdout == ""
    several = tool("segment", "cat", "--format", "csv", segments[0])
    assert several.returncode == 2 and "choose with --table" in several.stderr
    for line in tool("segment", "cat", "--format", "jsonl", segments[0]).stdout.splitlines():
        row = json.loads(line)
        assert row["database"] == "default" and row["tags"]["k"] == "a=b" and "v" in row["fields"]

    other = make_cluster(nodes=1, shards=1, workers=1)
    other.start()
    written = other.run("write", data=result.stdout)
    assert written.returncode == 0, written.stderr
    for table, answer in answers.items():
        again = records(other.run("query", "--table", table, "--format", "csv").stdout)
        assert again and again <= records(answer)


def test_without_a_catalog_series_have_numbers(stopped, tmp_path):
    _, node, _ = stopped
    segment = sorted(node.dir.glob("shard-*/*.mrs"))[0]
    alone = tmp_path / "any name"
    shutil.copy(segment, alone)
    result = tool("segment", "cat", "--limit", 1, alone)
    assert result.returncode == 0 and result.stdout.startswith("table_0,series="), result
    named = tool("segment", "cat", "--limit", 1, "--catalog", segment.parent, alone)
    assert named.stdout.startswith("t"), named
    assert "host=" in named.stdout
    assert tool("segment", "verify", alone).returncode == 0
    assert tool("segment", "verify", tmp_path / "none").returncode == 1
    assert tool("segment").returncode == 2
    assert tool("segment", "frob", alone).returncode == 2
    assert tool("fsck").returncode == 2


def test_every_flipped_bit_is_found_where_it_is(stopped):
    _, node, _ = stopped
    chance = random.Random(SEED)
    print(f"SEED={SEED}")
    files = [path for path in sorted(node.dir.rglob("*")) if path.is_file() and
             path.suffix in (".mrs", ".mrm", ".mrc")]
    assert {path.suffix for path in files} == {".mrs", ".mrm", ".mrc"}
    for round_number in range(FLIPS):
        path = files[round_number % len(files)]
        at = chance.randrange(path.stat().st_size)
        mask = 1 << chance.randrange(8)
        flip(path, at, mask)
        where = (SEED, path.name, at, mask)
        result = tool("fsck", node.dir)
        assert result.returncode == 1, where
        assert str(path) in result.stdout and result.stdout.endswith(": damaged\n"), (where, result)
        assert "What to do" in result.stderr
        if path.suffix == ".mrs":
            result = tool("segment", "verify", "--json", path)
            report = json.loads(result.stdout)
            assert result.returncode == 1 and not report["good"], where
            assert report["faults"][0]["file"] == str(path), (where, report)
            assert report["faults"][0]["offset"] <= at, (where, report)
        flip(path, at, mask)
    assert tool("fsck", node.dir).returncode == 0


def test_salvage_prints_the_rest_and_names_what_is_missing(stopped):
    _, node, _ = stopped
    segment = sorted(node.dir.glob("shard-*/*.mrs"))[0]
    whole = tool("segment", "cat", segment).stdout.splitlines()
    flip(segment, 72, 1)  # In the first frame behind the header: times, or series.
    result = tool("segment", "cat", segment)
    assert result.returncode == 1 and "salvage" in result.stderr, result
    result = tool("segment", "salvage", segment)
    assert result.returncode == 1 and "left out" in result.stderr, result.stderr
    rest = result.stdout.splitlines()
    assert 0 < len(rest) < len(whole) and set(rest) <= set(whole)
    out = segment.with_suffix(".out")
    assert tool("segment", "salvage", "--out", out, segment).returncode == 1
    assert out.read_text().splitlines() == rest
    assert tool("segment", "salvage", "--out", out, segment).returncode == 1  # It is there.
    flip(segment, 72, 1)
    flip(segment, segment.stat().st_size - 90, 1)  # The footer's checksum.
    result = tool("segment", "salvage", segment)
    assert result.returncode == 0 and result.stdout.splitlines() == whole, result.stderr


def test_fsck_finds_what_is_missing_left_over_or_older(stopped):
    _, node, _ = stopped
    good = node.dir.with_suffix(".good")
    shutil.copytree(node.dir, good)

    def fsck():
        result = tool("fsck", node.dir)
        shutil.rmtree(node.dir)
        shutil.copytree(good, node.dir)
        return result.returncode, result.stdout + result.stderr

    shard = node.dir / "shard-0"
    (shard / "00000999.mrs").write_bytes(b"x")
    code, text = fsck()
    assert code == 0 and "note: " in text and "00000999.mrs" in text, text
    for path in (*sorted(shard.iterdir()), shard, node.dir / "shard-1", node.dir / "log"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        code, text = fsck()
        assert code == 1 and str(path) in text, (path, text)
    # A shard of before everything: its manifest joins the log no more.
    for path in shard.iterdir():
        path.unlink()
    code, text = fsck()
    assert code == 1 and "manifest.mrm" in text and "older copy" in text, text
    first = sorted((node.dir / "log").glob("*.log"))[0]
    flip(first, 8, 1)
    code, text = fsck()
    assert code == 1 and str(first) in text, text
    (node.dir / "lock").unlink()
    code, text = fsck()
    assert code == 1 and "is this the data directory" in text, text


def test_fsck_is_polite_to_a_running_node(cluster):
    result = tool("fsck", cluster.nodes[0].dir)
    assert result.returncode == 1 and "a node runs in it" in result.stderr, result
    assert cluster.nodes[0].is_up()
