"""Segments become fewer and larger, alike on all replicas, and what was deleted leaves the files."""
import subprocess
import time

from cluster import BIN, ENVIRONMENT, replica_files, total, wait_until

SECOND = 1_000_000_000
SMALL = "storage: {seal_bytes: 64KiB, head_bytes_max: 8MiB, erase_after: 1s}\n"


def must(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


def count(cluster, table):
    out = must(cluster.run("query", "--db", "plant", "--table", table, "--agg", "count", "--field",
                           "v", "--format", "csv")).split()
    return int(out[1].split(",")[-1]) if len(out) > 1 else 0


def metric(node, name):
    lines = [line for line in node.get("/metrics")[1].splitlines() if line.startswith(name + " ")]
    return float(lines[0].split()[1])


def write(cluster, rows, table="d", series=50, first=0):
    """Rows of the last hour, in batches that take turns of the nodes."""
    start = time.time_ns() // SECOND * SECOND - 3600 * SECOND
    for at in range(0, rows, 2000):
        text = "".join(f"{table},k=k{i % series} v={i * 7919 % 100003}i,w={i * 104729 % 999983}i "
                       f"{start + (first + i) * 50_000}\n" for i in range(at, at + 2000))
        node = cluster.nodes[at // 2000 % len(cluster.nodes)]
        assert node.post("/write?db=plant", text.encode())[0] == 204


def test_segments_become_fewer_and_stay_equal(make_cluster):
    cluster = make_cluster(shards=2, settings=SMALL)
    cluster.start()
    rows = 0
    while min(metric(node, "millrace_segment_compacted_total") for node in cluster.nodes) < 16:
        assert rows < 4_000_000, "nothing was compacted"
        write(cluster, 40_000, first=rows)
        rows += 40_000
    assert count(cluster, "d") == rows
    cluster.wait_equal()
    wait_until(lambda: not any(total(cluster, "compactions")), "compactions do not end")
    replica_files(cluster)
    for node in cluster.nodes:
        assert metric(node, "millrace_storage_write_amplification") < 6
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    assert count(cluster, "d") == rows
    cluster.wait_equal()
    wait_until(lambda: not any(total(cluster, "compactions")), "compactions do not end")
    replica_files(cluster)


def rows_in_files(cluster, series):
    """Rows of a series in the segments of all nodes, by the tool that needs no node."""
    found = 0
    for node in cluster.nodes:
        for path in node.dir.glob("shard-*/*.mrs"):
            result = subprocess.run([BIN / "millrace", "segment", "cat", path], check=False,
                                    capture_output=True, text=True, env=ENVIRONMENT)
            if result.returncode == 0:  # It may have become part of another one.
                found += sum(series in line for line in result.stdout.splitlines())
    return found


def test_deleted_rows_leave_the_files(make_cluster):
    cluster = make_cluster(shards=1, settings=SMALL)
    cluster.start()
    write(cluster, 60_000)
    wait_until(lambda: all(total(cluster, "segments")), "nothing was sealed")
    must(cluster.run("delete", "--db", "plant", "--table", "d", "--where", "k=k3"))
    assert count(cluster, "d") == 60_000 - 1_200
    wait_until(lambda: rows_in_files(cluster, "k=k3 ") == 0, "deleted rows are not erased", 60)
    wait_until(lambda: not any(total(cluster, "tombstones")), "a tombstone is still there")
    cluster.wait_equal()
    replica_files(cluster)
    assert rows_in_files(cluster, "k=k3 ") == 0
    assert rows_in_files(cluster, "k=k4 ") > 0
    assert count(cluster, "d") == 60_000 - 1_200


DAYS = 30


def write_days(cluster, gone):
    """A segment a day, once it is sealed: 2000 rows of 50 series, and on some days a host that goes.
    Its id is among the others': of the later half of them only the later days know."""
    first = time.time_ns() // (86400 * SECOND) - DAYS - 1
    rows = 0
    for day in range(DAYS):
        names = [f"k{i}" for i in range(50 if day >= DAYS // 2 else 25)]
        names += ["gone"] if day in gone else []
        text = "".join(f"d,k={name} v={i * 7919 % 100003}i {((first + day) * 86400 + 60 * i) * SECOND}\n"
                       for i in range(40) for name in names)
        rows += 40 * len(names)
        assert cluster.nodes[day % 3].post("/write?db=plant", text.encode())[0] == 204
    return rows


def delete_host(cluster, name):
    must(cluster.run("delete", "--db", "plant", "--table", "d", "--where", f"k={name}"))
    wait_until(lambda: all(total(cluster, "tombstones")), "nobody knows of the delete")


def settled(cluster, what):
    wait_until(lambda: not any(total(cluster, "tombstones")), what, 60)
    wait_until(lambda: not any(total(cluster, "compactions")), "compactions do not end")
    cluster.wait_equal()
    replica_files(cluster)


def test_a_delete_leaves_segments_alone_that_have_no_such_rows(make_cluster):
    gone = (3, 17, 21)
    cluster = make_cluster(shards=1, settings="storage: {erase_after: 2s}\n")
    cluster.start()
    rows = write_days(cluster, gone)
    # Of nothing, but it seals what there is.
    must(cluster.run("delete", "--db", "plant", "--table", "nothing", "--all"))
    wait_until(lambda: total(cluster, "segments") == [DAYS] * 3, "not a segment a day")
    delete_host(cluster, "nobody")
    settled(cluster, "a delete of nothing stays")
    files = [{path.name for path in node.dir.glob("shard-0/*.mrs")} for node in cluster.nodes]
    for node in cluster.nodes:
        assert metric(node, "millrace_storage_compacted_bytes_total") == 0
        assert metric(node, "millrace_segment_spared_total") == DAYS
    delete_host(cluster, "gone")
    settled(cluster, "what was deleted is not erased")
    for node, before in zip(cluster.nodes, files):
        after = {path.name for path in node.dir.glob("shard-0/*.mrs")}
        assert len(before - after) == len(after - before) == len(gone), (before, after)
        assert metric(node, "millrace_segment_compacted_total") == len(gone)
        assert metric(node, "millrace_segment_spared_total") == 2 * DAYS - len(gone)
    assert rows_in_files(cluster, "k=gone ") == 0
    assert count(cluster, "d") == rows - 40 * len(gone)
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    assert count(cluster, "d") == rows - 40 * len(gone)
    settled(cluster, "a delete is back")


def test_a_replica_with_a_damaged_input_takes_what_others_made(make_cluster):
    """The others have merged it and removed it: nobody has it in a good state any more."""
    cluster = make_cluster(shards=1, settings=SMALL)
    cluster.start()
    late = cluster.nodes[2]
    late.kill()
    late.start(environment={"MILLRACE_FAULT": "compact.merge:broken:1"})
    cluster.wait_ready()
    rows = 0
    while min(metric(node, "millrace_segment_compacted_total") for node in cluster.nodes[:2]) < 8:
        assert rows < 4_000_000, "nothing was compacted"
        write(cluster, 40_000, first=rows)
        rows += 40_000
    wait_until(lambda: not any(total(cluster, "compactions")[:2]), "compactions do not end")
    cluster.wait_equal()
    names = [{path.name for path in node.dir.glob("shard-0/*.mrs")} for node in cluster.nodes]
    only = sorted(names[2] - names[0] - names[1])
    assert only, names
    with open(late.dir / "shard-0" / only[0], "r+b") as file:
        file.seek(100)
        byte = file.read(1)[0]
        file.seek(100)
        file.write(bytes([byte ^ 1]))
    must(cluster.run("scrub", "--no-wait"))
    wait_until(lambda: not (late.dir / "shard-0" / only[0]).exists() and
               not late.status()["damaged"], "it is not mended", 60)
    assert "which node" in late.log.read_text(errors="replace")
    assert count(cluster, "d") == rows
    late.kill()
    late.start()
    cluster.wait_ready()
    cluster.wait_equal()
    wait_until(lambda: not any(total(cluster, "compactions")), "compactions do not end")
    replica_files(cluster)
    result = cluster.run("query", "--db", "plant", "--table", "d", "--agg", "count", "--field", "v",
                         "--format", "csv", "--consistency", "any", node=late)
    assert must(result).split()[1].endswith(str(rows))
