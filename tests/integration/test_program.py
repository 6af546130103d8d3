"""The millrace program against a site that it has brought up itself."""
import csv
import io
import json
import subprocess

import pytest

from cluster import BIN, ENVIRONMENT, free_ports, give_back

LINES = "\n".join(f"pump,plant=north,pump={i % 5} pressure={i / 4},rpm={i}i {1700000000 + i}"
                  for i in range(1000)) + "\n"


class Site:
    """`millrace local` in a directory; run() is the program with the site's addresses."""

    def __init__(self, path):
        self.dir = path
        self.base = free_ports(34)
        self.nodes = ",".join(f"127.0.0.1:{self.base + 10 * i}" for i in range(3))

    def run(self, *arguments, text=None, code=0):
        done = subprocess.run([BIN / "millrace", *map(str, arguments)], input=text, timeout=90,
                              capture_output=True, text=True,
                              env=dict(ENVIRONMENT, MILLRACE_NODE=self.nodes))
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stderr}"
        return done.stdout

    def local(self, *arguments, code=0):
        return self.run("local", *arguments, "--dir", self.dir, code=code)

    def rows(self, *arguments):
        return list(csv.DictReader(io.StringIO(self.run("query", "--format", "csv", *arguments))))


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path / "site")
    site.local("up", "--nodes", "3", "--base-port", site.base)
    yield site
    site.local("down")
    give_back(site.base)


def test_program_stores_lines_and_asks_for_them(site):
    site.run("write", "--precision", "s", text=LINES)
    rows = site.rows("--table", "pump", "--where", "pump=3")
    assert [int(row["rpm"]) for row in rows] == list(range(3, 1000, 5))
    assert rows[0]["time"] == "2023-11-14T22:13:23Z" and rows[0]["plant"] == "north"
    assert len(site.rows("--table", "pump", "--where", "pump!=3,plant=north")) == 800
    assert len(site.rows("--table", "pump", "--where", "pump=~[34],plant!~s.*")) == 400
    assert len(site.rows("--table", "pump", "--from", "1700000500s")) == 500
    assert [row["rpm"] for row in site.rows("--table", "pump", "--last")] == [
        "995", "996", "997", "998", "999"]


def test_program_tells_series_labels_and_values(site):
    site.run("write", "--precision", "s", text=LINES)
    series = site.rows("--table", "pump", "--series")
    assert [(row["plant"], row["pump"]) for row in series] == [("north", str(i)) for i in range(5)]
    assert site.rows("--table", "pump", "--labels") == [{"label": "plant"}, {"label": "pump"}]
    assert [row["pump"] for row in site.rows("--table", "pump", "--values", "pump", "--where",
                                             "pump!=3", "--limit", "3")] == ["0", "1", "2"]


def test_program_answers_aggregates(site):
    site.run("write", "--precision", "s", text=LINES)
    counts = site.rows("--table", "pump", "--agg", "count", "--group-by", "pump", "--field", "rpm")
    assert [(row["pump"], row["rpm"]) for row in counts] == [(str(i), "200") for i in range(5)]
    means = site.rows("--table", "pump", "--agg", "mean", "--every", "100s", "--field", "pressure")
    assert len(means) == 10 + 1 - (1700000000 % 100 == 0)
    total = site.rows("--table", "pump", "--agg", "sum", "--field", "rpm")
    assert float(total[0]["rpm"]) == sum(range(1000))


def test_program_names_bad_lines_and_stores_the_others(site):
    out = site.run("write", "--json", text="t v=1 1\nt nothing 2\nt v=3 3\nt v=4i 4\n", code=1)
    said = json.loads(out)
    assert said.pop("seconds") > 0
    assert said == {"rows": 2, "stored": 2, "points": 2, "failed": 0, "bad_lines": 2}
    assert [row["v"] for row in site.rows("--table", "t")] == ["1", "3"]


def test_program_writes_on_while_a_node_is_dead(site):
    site.run("write", "--precision", "s", text=LINES)
    site.local("kill", "1")
    assert json.loads(site.run("status", "--json", code=1))["unreachable"] == [2]
    site.run("write", text="t v=1 1\n")
    assert len(site.rows("--table", "pump")) == 1000
    site.local("start", "1")
    status = json.loads(site.run("status", "--json"))
    assert [node["server"] for node in status["nodes"]] == [1, 2, 3]
    assert len(site.rows("--table", "pump", "--consistency", "linearizable")) == 1000


def test_program_collects_what_this_machine_does(site):
    summary = json.loads(site.run("collect", "--every", "50ms", "--duration", "1s", "--host", "me",
                                  "--tables", "cpu,mem,system", "--json"))
    assert summary["samples"] >= 1 and summary["dropped"] == 0
    assert len(site.rows("--table", "mem", "--where", "host=me")) == summary["samples"]
    usage = site.rows("--table", "cpu", "--where", "cpu=cpu-total", "--field", "usage_idle")
    assert all(0 <= float(row["usage_idle"]) <= 100 for row in usage)
    assert "usage_idle" in site.run("query", "--table", "cpu", "--field", "usage_idle",
                                    "--format", "plot")


def test_program_tells_usage_from_failure(site):
    site.run("query", code=2)
    site.run("query", "--table", "t", "--agg", "median", code=1)
    site.run("query", "--table", "t", "--from", "yesterday", code=2)
    site.run("write", "/no/such/file", code=1)
    site.run("status", "--node", "127.0.0.1:1", code=3)
    site.run("no-such-command", code=2)
    site.local("up", "--shards", "7", code=1)
    site.local("start", "0", code=1)
    for command in ("status", "write", "query", "collect", "local"):
        assert "Examples" in site.run(command, "--help")
