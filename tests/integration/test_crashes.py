"""Nodes die under load: nothing that was acknowledged is lost, nothing is stored twice, and all
replicas are equal afterwards.

CYCLES and SEED in the environment repeat or lengthen a run.
"""
import os
import random
import time

CYCLES = int(os.environ.get("CYCLES", "2"))
SEED = int(os.environ.get("SEED", str(random.randrange(1 << 30))))


def finish(load):
    output, _ = load.communicate(timeout=180)
    print(output)
    assert load.returncode == 0, output
    assert "lost 0, doubled 0, invented 0" in output, output


def load_for(cluster, seconds, *arguments):
    return cluster.load("--duration", str(seconds), "--series", "2000", "--batch", "500",
                        "--verify", *arguments)


def test_random_nodes_are_killed_under_load(cluster):
    print(f"SEED={SEED} CYCLES={CYCLES}")
    chance = random.Random(SEED)
    load = load_for(cluster, CYCLES * 3 + 1)
    for _ in range(CYCLES):
        time.sleep(0.5 + chance.random())
        victim = chance.choice(cluster.nodes + [cluster.wait_leader(chance.randrange(4))] * 3)
        victim.kill()
        time.sleep(0.2 + chance.random())
        victim.start()
        cluster.wait_ready()
    finish(load)
    cluster.wait_ready()
    cluster.wait_equal()


def test_all_nodes_are_killed_at_once(cluster):
    for cycle in range(CYCLES):
        load = load_for(cluster, 5, "--seed", str(cycle))
        time.sleep(1.5)
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:
            node.start()
        cluster.wait_ready()
        finish(load)
    cluster.wait_equal()


def test_a_leader_dies_and_the_next_one_takes_over_in_time(cluster):
    load = load_for(cluster, 6, "--rate", "5000")
    time.sleep(2)
    leader = cluster.wait_leader(0)
    leader.kill()
    deadline = time.monotonic() + 20
    while True:
        now = cluster.leader(0)
        if now is not None and now is not leader:
            break
        assert time.monotonic() < deadline
        time.sleep(0.005)
    leader.start()
    cluster.wait_ready()
    finish(load)
    cluster.wait_equal()


def test_a_planned_restart_fails_no_request(cluster):
    load = load_for(cluster, 8, "--rate", "5000")
    time.sleep(1)
    for node in cluster.nodes:
        assert node.stop() == 0, node.tail()
        node.start()
        cluster.wait_ready()
        time.sleep(0.3)
    finish(load)
    cluster.wait_equal()


def test_what_was_sealed_is_there_after_a_restart(make_cluster):
    cluster = make_cluster(settings="storage: {seal_bytes: 64KiB}\n")
    cluster.start()
    finish(cluster.load("--duration", "4", "--series", "5000", "--verify"))
    deadline = time.monotonic() + 60
    while not all(s["segments"] > 0 for s in cluster.nodes[0].status()["shards"]):
        assert time.monotonic() < deadline, "nothing was sealed"
        time.sleep(0.2)
    before = cluster.wait_equal()
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    after = cluster.wait_equal()
    assert [s["rows"] for s in after] == [s["rows"] for s in before]
    assert [s["series"] for s in after] == [s["series"] for s in before]
    count = cluster.run("query", "--table", "load_rows", "--agg", "count", "--field", "f0",
                        "--format", "csv")
    assert count.returncode == 0, count.stderr
    assert int(count.stdout.split()[-1].split(",")[-1]) == sum(s["rows"] for s in before)
