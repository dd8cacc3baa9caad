"""Builds what tests will need before they come to it, at the lowest priority: a cold build takes minutes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.cluster.base import silent
from tests.cluster.build import ensure_programs, is_built
from tests.cluster.launcher import dying_with_us
from tests.cluster.versions import (
    ACTIONLINT,
    ALERTMANAGER,
    HELM,
    KEDA,
    KREW,
    KUBECONFORM,
    OPERATOR_VERIFY,
    ROLLOUTS,
    Module,
)

NEEDED: Mapping[Module, tuple[str, ...]] = {
    HELM[4]: ("tests/node/test_helm.py", "tests/integration/test_helm.py", "tests/charts/"),
    HELM[3]: ("tests/integration/test_helm.py", "tests/charts/"),
    ALERTMANAGER: tuple(
        f"tests/integration/test_{name}.py" for name in ("alertmanager", "monitoring", "monitors_page")
    ),
    KREW: ("tests/release/test_plugin.py",),
    ROLLOUTS: ("tests/integration/test_argo_rollouts.py", "tests/integration/test_peers.py"),
    KEDA: ("tests/integration/test_keda.py", "tests/integration/test_peers.py"),
    OPERATOR_VERIFY: ("tests/charts/test_bundle.py",),
    KUBECONFORM: ("tests/charts/test_schemas.py",),
    ACTIONLINT: ("tests/release/test_workflows.py",),
}
"""By module, where in the tests its programs are used; about in the order in which they are."""


def needed(tests: Iterable[str]) -> list[Module]:
    """The modules of which tests use a program, and that are not built."""
    ids = list(tests)
    used = [module for module, places in NEEDED.items() if any(one.startswith(places) for one in ids)]
    return [module for module in used if not is_built(module)]


def build_ahead(tests: Iterable[str]) -> subprocess.Popen[bytes] | None:
    """Build what tests need, one after the other, in a process that ends with this one; `None` for nothing.

    A process, since tests change the environment of theirs. A build that fails is tried again by the test that needs
    it, which says why.
    """
    places = [str(list(NEEDED).index(module)) for module in needed(tests)]
    if not places:
        return None
    return subprocess.Popen(
        dying_with_us([sys.executable, "-m", "tests.cluster.ahead", *places]),
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    for place in sys.argv[1:]:
        ensure_programs(list(NEEDED)[int(place)], silent)
