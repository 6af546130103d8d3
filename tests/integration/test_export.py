"""`millrace export` and `millrace import` on real clusters: every row comes back to the bit, whatever
its names and values, also when a leader is killed on the way; no cut file is taken for whole."""
import json
import os
import random
import signal
import subprocess
import time

import pytest

from cluster import BIN, ENVIRONMENT, wait_until

SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
ODD = 'ab ,="\\:é{}[]#日\n\t\r'


def odd(chance, least=1):
    return "".join(chance.choice(ODD) for _ in range(chance.randint(least, 8)))


def value(chance, kind, plain):
    """A value as JSON lines have it."""
    if kind == "float":
        if not plain and chance.random() < 0.2:
            return {"float": chance.choice(["nan", "inf", "-inf", "0x7ff8000000000001"])}
        return chance.choice([0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, chance.random()])
    if kind == "integer":
        return chance.choice([0, -1, 2**63 - 1, -2**63, chance.randrange(1000)])
    if kind == "unsigned":
        return {"unsigned": chance.choice([0, 2**64 - 1, chance.getrandbits(64)])}
    if kind == "boolean":
        return chance.random() < 0.5
    return chance.choice(["", odd(chance, 0), "x" * 3000, "\0\1"])


def rows(chance, count, plain):
    """JSON lines of two tables. Plain: what line protocol can say, too."""
    def name():
        while True:
            text = odd(chance)
            if not plain or (min(text) >= " " and text[-1] != "\\" and text[0] != "#"):
                return text

    kinds = ["float", "integer", "unsigned", "boolean", "string"]
    tables = {name() + str(i): {name() + str(f): kinds[f % 5] for f in range(10)}
              for i in range(2)}
    tags = [name() + str(i) for i in range(4)]
    lines = []
    for i in range(count):
        table, fields = chance.choice(list(tables.items()))
        has = chance.sample(list(fields), chance.randint(1, 6))
        lines.append(json.dumps({
            "time": "1677-09-21T00:12:43.145224192Z" if not plain and i % 50 == 0 else
                    f"2026-01-{1 + i % 28:02}T00:00:{i % 60:02}.{chance.randrange(10**9):09}Z",
            "table": table,
            "tags": {tag: name() for tag in chance.sample(tags, chance.randint(0, 4))},
            "fields": {field: value(chance, fields[field], plain) for field in has}},
            ensure_ascii=chance.random() < 0.5))
    return "\n".join(lines) + "\n", list(tables)


def drop(cluster, database):
    assert cluster.run("db", "drop", database).returncode == 0
    deadline = time.monotonic() + 30
    while cluster.run("db", "create", database).returncode != 0:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    # Each shard orders the drop at its next look.
    wait_until(lambda: not cluster.run("export", "--db", database).stdout, "its rows are still seen")


@pytest.mark.parametrize("form", ["lp", "csv", "jsonl"])
def test_what_is_exported_comes_back_byte_for_byte(cluster, tmp_path, form):
    print("SEED", SEED)
    chance = random.Random(SEED)
    text, tables = rows(chance, 2000, plain=form == "lp")
    start = tmp_path / "start.jsonl"
    start.write_text(text)
    result = cluster.run("import", "--db", "odd", str(start))
    assert result.returncode == 0, result.stderr
    for table in tables if form == "csv" else [None]:
        only = ["--table", table] if table else []
        first, second = tmp_path / f"first.{form}", tmp_path / f"second.{form}"
        result = cluster.run("export", "--db", "odd", "--format", form, *only, str(first))
        assert result.returncode == 0 and not result.stdout, result.stderr
        drop(cluster, "odd")
        result = cluster.run("export", "--db", "odd", "--format", form, *only)
        assert result.returncode == 0 and not result.stdout.count("2026"), result
        result = cluster.run("import", "--db", "odd", *only, str(first))
        assert result.returncode == 0, result.stderr
        result = cluster.run("export", "--db", "odd", "--format", form, *only, str(second))
        assert result.returncode == 0, result.stderr
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size > 10000 and not list(tmp_path.glob("*.tmp"))
        assert cluster.run("import", "--db", "odd", str(start)).returncode == 0


def test_an_export_has_what_was_asked_for(cluster, tmp_path):
    lines = [f"t{i % 2},host=h{i % 3} v={i}i {1_700_000_000 + i}000000000" for i in range(100)]
    assert cluster.run("write", data="\n".join(lines)).returncode == 0
    result = cluster.run("export", "--table", "t0", "--where", "host=h1", "--from", "1700000010s",
                         "--to", "1700000050s", "--consistency", "linearizable")
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.splitlines()) == [
        line for i, line in enumerate(lines) if i % 2 == 0 and i % 3 == 1 and 10 <= i < 50]
    assert sorted(cluster.run("export").stdout.splitlines()) == sorted(lines)
    whole = tmp_path / "file"
    whole.write_text("old")
    assert cluster.run("export", "--table", "none", str(whole)).returncode == 1
    assert cluster.run("export", "--db", "none", str(whole)).returncode == 1
    assert cluster.run("export", "--consistency", "odd", str(whole)).returncode == 1
    assert cluster.run("export", "--format", "csv", str(whole)).returncode == 2
    assert whole.read_text() == "old" and list(tmp_path.glob("*.tmp")) == []
    assert cluster.run("export", "--format", "jsonl", str(whole)).returncode == 0
    assert len(whole.read_text().splitlines()) == 100


def test_bad_lines_are_named_and_the_others_stored(cluster, tmp_path):
    good = '{"time":"2026-01-31T00:00:00Z","table":"t","tags":{},"fields":{"v":1}}'
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([good, "{", good.replace("-31T", "-30T"), good.replace("1}", "true}")]))
    result = cluster.run("import", "--json", str(path))
    assert result.returncode == 1
    assert json.loads(result.stdout)["stored"] == 2 and json.loads(result.stdout)["bad_lines"] == 2
    assert "rows.jsonl: line 2: " in result.stderr and "line 4: " in result.stderr, result.stderr
    result = cluster.run("import", "--format", "csv", "--table", "u",
                         data="time,a:integer\n2026-01-31,1\n\"2026-01-31\n,2\n2026-02-01,3\n")
    assert result.returncode == 1 and "line 3: " in result.stderr, result.stderr
    assert cluster.run("export", "--table", "u").stdout.count("a=") == 2


def test_an_import_survives_its_leaders(cluster):
    count, pieces = 60_000, 12
    command = subprocess.Popen(
        [BIN / "millrace", "import", "--json", "--node", cluster.natives()], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    leader = None
    for piece in range(pieces):
        part = range(piece * count // pieces, (piece + 1) * count // pieces)
        command.stdin.write("".join(
            f"m,host=h{i % 500} v={i}i {1_700_000_000_000_000_000 + i}\n" for i in part))
        command.stdin.flush()
        if piece % 4 == 1:  # Its batches are on the way.
            leader = cluster.wait_leader(piece % 3)
            leader.kill()
        elif piece % 4 == 3:
            leader.start()
            cluster.wait_ready()
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, err
    assert json.loads(out)["stored"] == count
    result = cluster.run("export")
    assert result.returncode == 0, result.stderr
    values = sorted(int(line.split("v=")[1].split("i")[0]) for line in result.stdout.splitlines())
    assert values == list(range(count))
    # Nothing doubled in the log either: the rows that the shards have applied are those.
    shards = cluster.wait_equal()
    assert len(shards) == 4
    applied = sum(shard["rows"] for shard in shards)
    assert applied == count, applied


def test_an_export_goes_on_when_a_node_hangs(make_cluster):
    # A node that hangs leads for longer than a question may take.
    cluster = make_cluster(settings="limits: {query_time: 1s}\nraft: {election: 4s}\n")
    cluster.start()
    text = "".join(f"m,host=h{i % 500},note={'x' * 60} v={i}i {1_700_000_000_000_000_000 + i}\n"
                   for i in range(60_000))
    result = cluster.run("import", data=text)
    assert result.returncode == 0, result.stderr
    whole = cluster.run("export").stdout
    assert len(whole.splitlines()) == 60_000

    # It leads a shard whose rows come late, and the first ones wait to be read.
    command = [BIN / "millrace", "export", "--again", "1", "--node", cluster.natives()]
    export = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=ENVIRONMENT)
    first = export.stdout.readline()
    node = cluster.wait_leader(3)
    node.process.send_signal(signal.SIGSTOP)
    try:
        rest = export.stdout.read()
        assert export.wait(timeout=100) == 0, export.stderr.read()
        assert first + rest == whole
    finally:
        node.process.send_signal(signal.SIGCONT)
    cluster.wait_equal()
