"""Databases with retention: what is over goes on all replicas alike, whoever dies meanwhile."""
import json
import random
import time

from cluster import replica_files, total, wait_until

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
SMALL_HEADS = "storage: {seal_bytes: 64KiB, head_bytes_max: 8MiB}\n"


def db(cluster, *arguments):
    return cluster.run("db", *arguments)


def must(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


def post(node, database, times, series=20):
    text = "".join(f"d,k=k{i % series} v={i}i {at}\n" for i, at in enumerate(times))
    return node.post(f"/write?db={database}", text.encode())


def count(cluster, database="plant", node=None):
    where = ("--consistency", "any") if node else ()
    out = must(cluster.run("query", "--db", database, "--table", "d", "--agg", "count", "--field",
                           "v", "--format", "csv", *where, node=node))
    lines = out.split()  # A header, then the count, if there are rows.
    return int(lines[1].split(",")[-1]) if len(lines) > 1 else 0


def spread(first, last, rows):
    return [first + (last - first) * i // rows for i in range(rows)]


def test_databases_are_made_altered_and_listed_through_any_node(cluster):
    must(db(cluster, "create", "plant", "--retention", "30d", "--retention-bytes", "10GiB"))
    result = db(cluster, "create", "plant")
    assert result.returncode == 1 and "exists" in result.stderr, result
    must(db(cluster, "alter", "plant", "--retention", "12h", "--series-max", "5000"))
    assert post(cluster.nodes[1], "made", [time.time_ns()])[0] == 204
    for node in cluster.nodes:
        listed = json.loads(must(cluster.run("db", "list", "--json", node=node)))
        plant = next(d for d in listed if d["name"] == "plant")
        assert plant == {"name": "plant", "retention_ns": 12 * HOUR, "retention_bytes": 10 << 30,
                         "series_max": 5000, "window_ns": HOUR // 2, "series": 0, "rows": 0,
                         "head_rows": 0, "segments": 0, "bytes": 0}
        made = next(d for d in listed if d["name"] == "made")
        assert made["retention_ns"] == 0 and made["rows"] == made["series"] == 1, made
        assert made["time_min_ns"] == made["time_max_ns"] > time.time_ns() - HOUR, made
    for node in cluster.nodes:  # They are there after a start, from files and log.
        assert node.stop() == 0
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    assert "12h" in must(db(cluster, "list"))


def test_a_shorter_retention_drops_what_is_over_on_all_replicas(make_cluster):
    cluster = make_cluster(settings=SMALL_HEADS)
    cluster.start()
    must(db(cluster, "create", "plant"))
    now = time.time_ns()
    for first, last in ((now - 100 * HOUR, now - 90 * HOUR), (now - HOUR // 2, now)):
        assert post(cluster.nodes[0], "plant", spread(first, last, 4000))[0] == 204
    assert post(cluster.nodes[0], "other", spread(now - 100 * HOUR, now, 1000))[0] == 204
    assert count(cluster) == 8000
    listed = {d["name"]: d for d in json.loads(must(db(cluster, "list", "--json")))}
    assert listed["plant"]["rows"] == 8000 and listed["plant"]["series"] == 20, listed
    assert listed["other"]["rows"] == 1000 and listed["other"]["series"] == 20, listed
    assert listed["plant"]["time_min_ns"] == now - 100 * HOUR, listed
    assert now - MINUTE < listed["plant"]["time_max_ns"] < now, listed
    must(db(cluster, "alter", "plant", "--retention", "2h"))
    wait_until(lambda: count(cluster) == 4000, "old rows are still seen")
    assert count(cluster, "other") == 1000
    # Late rows are refused, by line; others of the same text are stored.
    code, body = post(cluster.nodes[1], "plant", [now - 3 * HOUR, now])
    assert code == 400 and "retention" in body and "partial write" in body, (code, body)
    result = cluster.run("write", "-", "--db", "plant", data=f"d,k=k1 v=1i {now - 90 * HOUR}\n")
    assert result.returncode == 1 and "too old" in result.stderr, result
    # So are those of a native block, and the others of the block are stored.
    mixed = [now - 90 * HOUR if i % 4 == 0 else now + i for i in range(1000)]
    text = "".join(f"d,k=k{i % 20} v={i}i {at}\n" for i, at in enumerate(mixed))
    result = cluster.run("write", "-", "--db", "plant", "--json", data=text)
    assert result.returncode == 1 and "250 rows were not stored: " in result.stderr, result
    assert "too old" in result.stderr and json.loads(result.stdout)["stored"] == 750, result
    assert count(cluster) == 4751
    wait_until(lambda: all(rows == total(cluster, "segment_rows")[0] and rows <= 5751
                           for rows in total(cluster, "segment_rows")), "segments are not dropped")
    cluster.wait_equal()
    replica_files(cluster)


def test_the_oldest_rows_go_when_a_database_has_too_many_bytes(make_cluster):
    cluster = make_cluster(shards=1, settings=SMALL_HEADS)
    cluster.start()
    must(db(cluster, "create", "plant", "--retention-bytes", "64KiB"))
    now, rows = time.time_ns(), 0
    while rows < 2_000_000:
        times = [now - HOUR + (rows + i) * 1000 for i in range(5000)]
        text = "".join(f"d,k=k{at % 97} v={random.random()} {at}\n" for at in times)
        assert cluster.nodes[0].post("/write?db=plant", text.encode())[0] in (204, 400)
        rows += 5000
        if rows > 50_000 and max(total(cluster, "segment_bytes")) > 0 and count(cluster) < rows - 20_000:
            break
    assert count(cluster) < rows, "nothing was dropped"
    cluster.wait_equal()
    wait_until(lambda: max(total(cluster, "segments")) <= 3, "it keeps more than its bytes")
    replica_files(cluster)


def test_a_dropped_database_is_gone_and_can_be_made_again(make_cluster):
    cluster = make_cluster(settings=SMALL_HEADS)
    cluster.start()
    now = time.time_ns()
    for database in ("plant", "other"):
        assert post(cluster.nodes[0], database, spread(now - HOUR, now, 3000))[0] == 204
    must(db(cluster, "drop", "plant"))
    # A follower of the meta group hears of it a heartbeat later.
    wait_until(lambda: post(cluster.nodes[2], "plant", [now])[0] == 404, "it takes rows")
    assert "dropped" in post(cluster.nodes[2], "plant", [now])[1]
    result = cluster.run("write", "-", "--db", "plant", data="d,k=k1 v=1i\n")
    assert result.returncode == 1 and "dropped" in result.stderr, result
    wait_until(lambda: count(cluster) == 0, "its rows are still seen")
    must(db(cluster, "create", "plant"))  # Waits until all have heard of the drop.
    assert post(cluster.nodes[1], "plant", spread(now - HOUR, now, 500))[0] == 204
    time.sleep(2)
    assert count(cluster) == 500
    assert count(cluster, "other") == 3000
    replica_files(cluster)


def test_deleted_rows_are_gone_everywhere_and_stay_gone(make_cluster):
    cluster = make_cluster(settings=SMALL_HEADS)
    cluster.start()
    now = time.time_ns() // SECOND * SECOND
    assert post(cluster.nodes[0], "plant", spread(now - HOUR, now, 4000))[0] == 204
    result = cluster.run("delete", "--db", "plant", "--table", "d")
    assert result.returncode == 2 and "--all" in result.stderr, result
    must(cluster.run("delete", "--db", "plant", "--table", "d", "--where", "k=k3"))
    assert count(cluster) == 3800
    must(cluster.run("delete", "--db", "plant", "--table", "d", "--from",
                     f"{(now - HOUR // 2) // 1_000_000}ms"))
    assert count(cluster) == 1900
    assert post(cluster.nodes[1], "plant", [now])[0] == 204
    assert count(cluster) == 1901
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    assert count(cluster) == 1901
    assert max(total(cluster, "tombstones")) > 0
    must(cluster.run("delete", "--db", "plant", "--table", "d", "--all"))
    assert count(cluster) == 0
    cluster.wait_equal()
    replica_files(cluster)
