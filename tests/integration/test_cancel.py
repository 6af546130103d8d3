"""Questions whose askers are gone: the pool does not work for them any more, on any node."""
import subprocess

from cluster import BIN, ENVIRONMENT, wait_until

CLIENTS = 24
SHARDS = 4
SETTINGS = "pool_threads: 1\n"


def metric(node, name):
    line = next(line for line in node.get("/metrics")[1].splitlines()
                if line.startswith(name + " "))
    return int(line.split()[1])


def total(cluster, name):
    return sum(metric(node, name) for node in cluster.nodes)


def test_scans_end_with_the_clients_that_wait_for_them(make_cluster):
    cluster = make_cluster(shards=SHARDS, settings=SETTINGS)
    cluster.start()
    process = cluster.load("--workload", "rows", "--series", "2000", "--duration", "6")
    assert process.wait(timeout=120) == 0, process.stdout.read()
    ended = total(cluster, "millrace_scan_ended_total")

    # Each node has a client of its own to ask, and asks the others for their shards.
    clients = [
        subprocess.Popen(
            [BIN / "millrace", "query", "--node", f"127.0.0.1:{cluster.nodes[i % 3].native}",
             "--table", "load_rows", "--agg", "mean", "--every", "1ms", "--group-by", "series"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        for i in range(CLIENTS)]
    try:
        wait_until(lambda: total(cluster, "millrace_scan_open") >= CLIENTS * SHARDS / 2,
                   "the questions were not asked")
    finally:
        for client in clients:
            client.kill()
        for client in clients:
            client.wait()
    wait_until(lambda: total(cluster, "millrace_scan_open") == 0, "scans go on")

    # All that were asked have ended; most of them without an answer.
    ended = total(cluster, "millrace_scan_ended_total") - ended
    canceled = total(cluster, "millrace_scan_canceled_total")
    print(f"{ended} scans, {canceled} canceled")
    assert ended <= CLIENTS * SHARDS
    assert canceled >= CLIENTS * SHARDS / 4
    assert total(cluster, "millrace_query_canceled_total") >= CLIENTS / 4

    # Whoever still asks is answered.
    result = cluster.run("query", "--table", "load_rows", "--last", "--limit", "1")
    assert result.returncode == 0, result.stderr
