"""What is built ahead: everything that any test builds when it comes to it, and only for those tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import ahead
from tests.cluster.versions import KEDA, KUBE_ROUTER, NODE, OLM, PEERS, ROLLOUTS

ROOT = Path(__file__).parents[2]
OF_THE_NODE = {NODE, KUBE_ROUTER, OLM}
"""Built before the first test, or only when asked for."""


def test_every_program_is_built_ahead_for_tests_that_exist() -> None:
    assert set(ahead.NEEDED) == set(PEERS) - OF_THE_NODE
    assert all((ROOT / place).exists() for places in ahead.NEEDED.values() for place in places)


def test_only_what_the_chosen_tests_need_is_built_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "is_built", lambda module: module is KEDA)
    assert ahead.needed(["tests/integration/test_peers.py::test_x", "tests/unit/test_y.py::test_z"]) == [ROLLOUTS]
    assert ahead.needed(["tests/unit/test_y.py::test_z"]) == []
    assert ahead.build_ahead(["tests/unit/test_y.py::test_z"]) is None
