"""When a contained model answers for the last time: measured for every safe state and way to take a SIGTERM.

How long it takes is printed at the end of the run and asserted nowhere; that what is written does stop the model is.
"""

from __future__ import annotations

import pytest

from tests.integration.world import TestNamespace
from tests.node import report
from tests.node.answers import STOPS, Case, Models
from tests.node.installation import Installation

COMPONENTS = ("fallback", "isolate")
GRACE = 10
REPLICAS = 2
KINDS = ("Deployment", "StatefulSet")

CASES = {
    "ScaleToZero": [Case("ScaleToZero", kind, mode) for kind in KINDS for mode in ("honor", "drain", "ignore")],
    "Rollback": [Case("Rollback", kind, mode) for kind in KINDS for mode in ("honor", "drain", "ignore")],
    # Their pods get no SIGTERM.
    "Fallback": [Case("Fallback", kind, "honor") for kind in KINDS],
    "Isolate": [Case("Isolate", kind, "honor") for kind in KINDS],
}


@pytest.mark.parametrize("action", CASES)
async def test_last_answer_of_a_contained_model(action: str, world: TestNamespace, installation: Installation) -> None:
    await installation.use(components=COMPONENTS)
    models = Models(world, installation.node.kubeconfig, CASES[action], replicas=REPLICAS, grace=GRACE)
    await models.serve()
    rows = await models.contain()
    report.ROWS.extend(rows)
    for row in rows:
        assert row.written is not None
        assert "new" not in row.goes_on, f"{row.case}: new connections reach the contained pods for good"
        if action in STOPS:
            assert "kept" not in row.goes_on, f"{row.case}: kept connections reach the contained pods for good"
