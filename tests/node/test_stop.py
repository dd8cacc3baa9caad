"""When a contained model answers for the last time: measured for every safe state, and every way to take a SIGTERM.

What is written does stop the model, and no pod answers once the record says that it is gone. How long it takes is
printed at the end of the run, since other tests share the cores.
"""

from __future__ import annotations

import pytest

from riskladder.api.record import entries_of
from riskladder.cluster import resources
from tests.integration.world import TestNamespace
from tests.node import report
from tests.node.answers import STOPS, Case, Models
from tests.node.installation import Installation

COMPONENTS = ("fallback", "isolate", "prompt-stop")
GRACE = 10
REPLICAS = 2
KINDS = ("Deployment", "StatefulSet")

CASES = {
    "ScaleToZero": [Case("ScaleToZero", kind, mode) for kind in KINDS for mode in ("honor", "drain", "ignore")],
    "Rollback": [Case("Rollback", kind, "drain") for kind in KINDS],
    # Their pods get no SIGTERM.
    "Fallback": [Case("Fallback", kind, "honor") for kind in KINDS],
    "Isolate": [Case("Isolate", kind, "honor") for kind in KINDS],
    "Isolate, closing": [Case("Isolate", kind, "honor", "Close") for kind in KINDS],
}


@pytest.mark.parametrize("action", CASES)
async def test_last_answer_of_a_contained_model(action: str, world: TestNamespace, installation: Installation) -> None:
    await installation.use(components=COMPONENTS)
    models = Models(world, installation.node.kubeconfig, CASES[action], replicas=REPLICAS, grace=GRACE)
    await models.serve()
    rows = await models.contain()
    report.ROWS.extend(rows)
    records = await world.client.list(resources.RECORDS, world.namespace)
    said = {entry["event"] for record in records for entry in entries_of(record["spec"])}
    assert "PodsUnconfirmed" not in said, "the kubelet says of each pod that it has ended"
    for row in rows:
        assert row.written is not None
        assert "new" not in row.goes_on, f"{row.case}: new connections reach the contained pods for good"
        if action == "ScaleToZero":
            last = max(row.new or 0, row.kept or 0)
            assert "endpointsEmptyAt" in row.recorded
            gone = row.recorded["podsGoneAt"]
            assert gone >= last - 1, f"{row.case}: recorded as gone at {gone:.2f} s, and it answered until {last:.2f} s"
        if action in STOPS or row.case.connections == "Close":
            assert "kept" not in row.goes_on, f"{row.case}: kept connections reach the contained pods for good"
