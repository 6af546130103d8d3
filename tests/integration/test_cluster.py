"""The clusters of these tests do not get into each other's way."""
from cluster import free_ports, give_back


def test_ports_are_given_once_before_anybody_listens_there():
    bases = [free_ports(30) for _ in range(5)]
    for base in bases:
        give_back(base)
    bases.sort()
    assert all(after - before >= 30 for before, after in zip(bases, bases[1:])), bases
