"""A cluster for each test, stopped at its end; its logs are shown when the test failed."""
import signal

import pytest

from cluster import Cluster


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    setattr(item, "report_" + outcome.get_result().when, outcome.get_result())


@pytest.fixture
def make_cluster(tmp_path, request):
    clusters = []

    def make(**options):
        clusters.append(Cluster(tmp_path / f"cluster{len(clusters)}", **options))
        return clusters[-1]

    yield make
    failed = getattr(request.node, "report_call", None) is None or request.node.report_call.failed
    for cluster in clusters:
        codes = cluster.close()
        if failed:
            for node in cluster.nodes:
                if node.log.exists():
                    print(f"--- node {node.number}\n{node.tail(40)}")
        else:
            # 2: it refused to start, as the test has asserted.
            assert all(code in (0, 1, 2, -signal.SIGKILL) for code in codes), codes


@pytest.fixture
def cluster(make_cluster):
    cluster = make_cluster()
    cluster.start()
    return cluster
