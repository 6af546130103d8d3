"""Limits of series: what is new is refused by line, the rest is stored."""
import time

from cluster import wait_until

SERIES = 200


def lines(first, last, value):
    return "".join(f"d,k=k{i},r=r{i % 3} v={value}\n" for i in range(first, last)).encode()


def count(cluster, database):
    out = cluster.run("query", "--db", database, "--table", "d", "--agg", "count", "--field", "v",
                      "--format", "csv")
    assert out.returncode == 0, out.stderr
    words = out.stdout.split()
    return int(words[1].split(",")[-1]) if len(words) > 1 else 0


def post_until(node, database, text, codes):
    """A request that meets a limit first is to be sent again."""
    for _ in range(100):
        code, body = node.post(f"/write?db={database}", text)
        if code in codes:
            return code, body
        assert code == 503, (code, body)
        time.sleep(0.1)
    raise AssertionError("503 for ever")


def test_a_database_takes_no_more_series_than_it_may(make_cluster):
    cluster = make_cluster(workers=2)  # Each learns for itself which series are there.
    cluster.start()
    made = cluster.run("db", "create", "plant", "--series-max", "40")
    assert made.returncode == 0, made.stderr
    node = cluster.nodes[0]
    assert node.post("/write?db=plant", lines(0, 20, 1))[0] == 204
    code, body = post_until(node, "plant", lines(0, SERIES, 2), (400,))
    assert "partial write" in body and '\\"plant\\"' in body and "--series-max" in body, body
    assert '\\"k\\"' in body, body  # The label with the most values.
    assert count(cluster, "plant") >= 40  # Two rows, or more, of each that was there.
    # Another database is not concerned, and what is there goes on.
    assert post_until(node, "other", lines(0, SERIES, 1), (204,))[0] == 204
    assert count(cluster, "other") == SERIES
    assert node.post("/write?db=plant", lines(0, 20, 3))[0] == 204
    assert cluster.run("db", "alter", "plant", "--series-max", "0").returncode == 0
    wait_until(lambda: node.post("/write?db=plant", lines(0, SERIES, 4))[0] == 204,
               "refused without a limit")
    assert count(cluster, "plant") >= SERIES
