"""The work of rendering and planning grows with the app, and not with its square."""

from __future__ import annotations

import cProfile

import pytest

from bench.plan import CLUSTERS

SMALL, LARGE = 30, 120


def calls(cluster: str, size: int, method: str) -> int:
    """Function calls, which, unlike seconds, are the same on every machine."""
    work = getattr(CLUSTERS[cluster](size), method)
    work()
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("method", ["render", "plan"])
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_four_times_the_services_are_four_times_the_work(cluster: str, method: str) -> None:
    ratio = calls(cluster, LARGE, method) / calls(cluster, SMALL, method)
    assert ratio < 1.15 * LARGE / SMALL
