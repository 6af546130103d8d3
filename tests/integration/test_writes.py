"""What goes in over each protocol comes out of a query, and what is wrong is named."""
import gzip
import json

SECOND = 1_700_000_000_000_000_000


def csv(cluster, *arguments):
    result = cluster.run("query", "--format", "csv", *arguments)
    assert result.returncode == 0, result.stderr
    return [line.split(",") for line in result.stdout.splitlines()]


def test_a_line_is_found_on_every_node(cluster):
    code, body = cluster.nodes[1].post(
        "/write?db=default", f"weather,place=sea temp=21.5,wet=t,n=7i,u=8u,s=\"a b\" {SECOND}".encode())
    assert code == 204, body
    for node in cluster.nodes:
        result = cluster.run("query", "--table", "weather", "--format", "json", node=node)
        assert result.returncode == 0, result.stderr
        assert "21.5" in result.stdout and "a b" in result.stdout, result.stdout


def test_bad_lines_are_named_and_good_ones_stored(cluster):
    text = f"m,a=1 x=1 {SECOND}\nm,a=1 x= {SECOND}\n\n# nothing\nm,a=2 x=2 {SECOND}\nm,a=2 x=\"text\" {SECOND}\n"
    code, body = cluster.nodes[0].post("/write", text.encode())
    assert code == 400, body
    answer = json.loads(body)
    assert answer["accepted"] == 2 and answer["rejected"] == 2, body
    assert [line["line_number"] for line in answer["lines"]] == [2, 6], body
    assert "string" in body and "float" in body, body
    rows = csv(cluster, "--table", "m", "--field", "x")
    assert len(rows) == 3, rows


def test_gzip_precision_and_databases(cluster):
    body = gzip.compress(b"t,k=v f=1 1700000000\n")
    code, answer = cluster.nodes[2].post("/api/v2/write?bucket=other&precision=s", body,
                                         {"Content-Encoding": "gzip"})
    assert code == 204, answer
    rows = csv(cluster, "--db", "other", "--table", "t")
    assert rows[1][0].startswith("2023-11-14T22:13:20"), rows
    assert len(csv(cluster, "--table", "t")) <= 1, "another database's rows"


def test_the_command_line_writes_and_aggregates(cluster):
    lines = "".join(f"cpu,host=h{h} use={h * 10 + i} {SECOND + i * 1000000000}\n"
                    for h in range(4) for i in range(10))
    result = cluster.run("write", "-", data=lines)
    assert result.returncode == 0, result.stderr
    start, end = "1700000000s", "1700000010s"
    for agg, expected in (("count", 10), ("min", 20), ("max", 29), ("sum", 245), ("mean", 24.5),
                          ("first", 20), ("last", 29)):
        rows = csv(cluster, "--table", "cpu", "--field", "use", "--agg", agg, "--group-by", "host",
                   "--where", "host=h2", "--from", start, "--to", end)
        assert float(rows[1][-1]) == expected, (agg, rows)
    rows = csv(cluster, "--table", "cpu", "--field", "use", "--agg", "max", "--every", "5s",
               "--from", start, "--to", end)
    assert [float(row[-1]) for row in rows[1:]] == [34, 39], rows
    rows = csv(cluster, "--table", "cpu", "--last")
    assert sorted(float(row[-1]) for row in rows[1:]) == [9, 19, 29, 39], rows


def test_the_same_row_twice_is_one_and_the_later_wins(cluster):
    for value in (1, 2):
        code, _ = cluster.nodes[value].post("/write", f"d,a=b x={value},y{value}=5 {SECOND}".encode())
        assert code == 204
    rows = csv(cluster, "--table", "d")
    assert len(rows) == 2, rows
    by_name = dict(zip(rows[0], rows[1]))
    assert by_name["x"] == "2" and by_name["y1"] == "5" and by_name["y2"] == "5", rows


def test_reads_at_all_levels(cluster):
    assert cluster.nodes[0].post("/write", f"c,a=b x=1 {SECOND}".encode())[0] == 204
    for level in ("leader", "linearizable"):
        assert len(csv(cluster, "--table", "c", "--consistency", level)) == 2
    cluster.wait_equal()
    assert len(csv(cluster, "--table", "c", "--consistency", "any")) == 2


def known_parts(cluster):
    """Parts of queries for last values that needed no scan, of all nodes."""
    total = 0
    for node in cluster.nodes:
        for line in node.get("/metrics")[1].splitlines():
            if line.startswith("millrace_query_last_known_total "):
                total += int(line.split()[1])
    return total


def test_last_values_are_known_once_they_were_asked_for(cluster):
    def last(*more):
        rows = csv(cluster, "--table", "gauge", "--last", *more)
        return sorted(tuple(row[1:]) for row in rows[1:])

    def write(host, value, second):
        line = f"gauge,host={host} v={value} {SECOND + second * 1000000000}"
        assert cluster.nodes[second % 3].post("/write", line.encode())[0] == 204

    for host in ("a", "b"):
        write(host, 1, 10)
    assert last("--where", "host=a") == [("a", "1")]
    before = known_parts(cluster)
    for level in ("leader", "linearizable"):
        assert last("--where", "host=a", "--consistency", level) == [("a", "1")]
    assert known_parts(cluster) > before, "each question was answered by scans"
    for value, second, want in ((2, 9, 1), (3, 10, 3), (4, 11, 4), (5, 13, 5), (6, 12, 5)):
        write("a", value, second)
        assert last("--where", "host=a") == [("a", str(want))], (value, second)
        assert last() == [("a", str(want)), ("b", "1")]
    result = cluster.run("delete", "--table", "gauge", "--where", "host=a", "--from",
                         f"{SECOND // 1000000000 + 12}s")
    assert result.returncode == 0, result.stderr
    assert last("--where", "host=a") == [("a", "4")]
    assert last("--where", "host=z") == []
    write("z", 7, 10)
    assert last("--where", "host=z") == [("z", "7")]


def test_ready_metrics_and_status(cluster):
    for node in cluster.nodes:
        assert node.get("/ready")[0] == 200
        assert node.get("/health")[0] == 200
        code, text = node.get("/metrics")
        assert code == 200 and "millrace_raft_term{shard=\"0\"}" in text
        assert "\nmillrace_memory_file_bytes " in text
        memory = node.status()
        assert memory["memory_anon_bytes"] > 0 and memory["memory_file_bytes"] > 0
        assert memory["memory_anon_bytes"] + memory["memory_file_bytes"] == memory["memory_bytes"]
        assert node.get("/ping", port=node.http)[0] == 204
    result = cluster.run("status", "--json")
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)["nodes"]) == 3
