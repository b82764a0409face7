"""No test here waits for a proxy, which is a fake one, to read labels."""

from __future__ import annotations

import pytest

from deploytool.backends.swarm.rollout import probe


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SETTLED", 0.0)
