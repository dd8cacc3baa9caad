"""Builds what tests will need before they come to it, at the lowest priority: a cold build takes minutes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from tests.cluster.base import ClusterError, silent
from tests.cluster.build import ensure_programs, is_built
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


def build_ahead(tests: Iterable[str]) -> threading.Thread:
    """Build what tests need and what is not built, one after the other, in a thread that ends with the process.

    A build that fails is tried again by the test that needs it, which says why.
    """
    ids = list(tests)
    modules = [module for module, places in NEEDED.items() if any(one.startswith(places) for one in ids)]

    def build() -> None:
        for module in modules:
            try:
                if not is_built(module):
                    ensure_programs(module, silent)
            except (ClusterError, OSError):
                return

    thread = threading.Thread(target=build, name="builds", daemon=True)
    thread.start()
    return thread
