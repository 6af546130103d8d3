"""Nodes die at each named place of sealing, compacting, dropping and replacing files, under load:
nothing that was acknowledged is lost or doubled, all replicas have the same files, and no others.

CYCLES (deaths) and SEED in the environment repeat or lengthen a run.
"""
import itertools
import os
import random
import signal
import subprocess
import time

from cluster import BIN, ENVIRONMENT, replica_files, total, wait_until

# A node dies at a visit up to this one: renames are of segments, catalogs and manifests.
POINTS = {"seal.segment": 3, "seal.catalog": 2, "seal.manifest": 3, "seal.remove": 3,
          "compact.merge": 1, "compact.segment": 1, "compact.manifest": 1, "compact.remove": 2,
          "disk.rename": 9}
CYCLES = int(os.environ.get("CYCLES", str(len(POINTS))))
SEED = int(os.environ.get("SEED", str(random.randrange(1 << 30))))
SMALL = "storage: {seal_bytes: 64KiB, head_bytes_max: 8MiB, erase_after: 1s}\n"
DEATH_SECONDS = 60


class Deaths:
    """Every node that runs has a place to die at; one that has died starts again with the next."""

    def __init__(self, cluster, chance):
        self.cluster = cluster
        self.chance = chance
        self.due = itertools.cycle(POINTS)
        self.armed = {}  # By node: its place, and since when.
        self.hits = dict.fromkeys(POINTS, 0)
        for node in cluster.nodes:
            node.kill()
            self.arm(node)

    def count(self):
        return sum(self.hits.values())

    def arm(self, node):
        point = next(self.due)
        nth = self.chance.randint(1, POINTS[point])
        self.armed[node] = (point, time.monotonic())
        node.start(environment={"MILLRACE_FAULT": f"{point}:kill:{nth}"})

    def turn(self):
        for node in self.cluster.nodes:
            point, since = self.armed[node]
            if node.is_up():
                assert time.monotonic() - since < DEATH_SECONDS, f"{point} was not met"
                continue
            assert node.process.returncode == -signal.SIGKILL, node.tail()
            self.hits[point] += 1
            time.sleep(self.chance.random() / 4)
            self.arm(node)

    def during(self, process):
        """Nodes die until the process has ended; what it says."""
        while process.poll() is None:
            self.turn()
            time.sleep(0.02)
        return process.stdout.read()

    def command(self, *arguments):
        """A command of `millrace`, until it works."""
        deadline = time.monotonic() + 30
        while True:
            process = subprocess.Popen(
                [BIN / "millrace", *arguments, "--node", self.cluster.natives()], text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT)
            output = self.during(process)
            # It may have been done when its answer was lost.
            if process.returncode == 0 or "exists" in output or "dropped" in output:
                return
            assert time.monotonic() < deadline, (arguments, output)


def load_and_drop(deaths, run):
    """A load into a database of its own; then the rows of an earlier one go, or some of them."""
    database = f"run{run}"
    deaths.command("db", "create", database, "--retention", "2m")
    load = deaths.cluster.load("--db", database, "--duration", "8", "--series", "500", "--batch",
                               "250", "--rate", "10000", "--verify")
    output = deaths.during(load)
    assert load.returncode == 0, output
    assert "lost 0, doubled 0, invented 0" in output, output
    if run % 2 == 0:
        deaths.command("db", "drop", database)
    else:
        deaths.command("delete", "--db", database, "--table", "load_rows", "--where", "device=d3")


def test_nodes_die_at_every_named_place(make_cluster):
    print(f"SEED={SEED} CYCLES={CYCLES}")
    cluster = make_cluster(shards=2, settings=SMALL)
    cluster.start()
    deaths = Deaths(cluster, random.Random(SEED))
    start = time.monotonic()
    for run in itertools.count():
        load_and_drop(deaths, run)
        if deaths.count() >= CYCLES and all(deaths.hits.values()):
            break
        assert time.monotonic() - start < 30 + 10 * CYCLES, deaths.hits
    print(deaths.hits)
    for node in cluster.nodes:
        if node.is_up():
            node.kill()
        node.start()
    cluster.wait_ready()
    cluster.wait_equal()
    wait_until(lambda: not any(total(cluster, "compactions")), "compactions do not end")
    replica_files(cluster)
