"""The chart on a real node: its pods get ready, contain a model, and survive an upgrade of the release."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.charts.helm import CHART, RELEASE, Helm, ensure_helm, packaged
from tests.cluster.install import NAMESPACE
from tests.conftest import progress
from tests.integration.world import TestNamespace, ladder
from tests.node import report
from tests.node.answers import stopped_by_a_breach
from tests.node.installation import Installation
from tests.patience import PATIENCE

CONFINED = "pod-security.kubernetes.io/enforce=restricted"
RELEASE_OPTIONS = (f"--namespace={NAMESPACE}", "--wait", f"--timeout={PATIENCE:.0f}s")


@pytest.fixture
def helm(request: pytest.FixtureRequest, installation: Installation, tmp_path: Path) -> Helm:
    return Helm(4, ensure_helm(progress(request.config))[4], tmp_path, installation.node.kubeconfig)


@pytest.mark.usefixtures("nothing_installed")
async def test_chart_contains_a_model(
    helm: Helm, installation: Installation, world: TestNamespace, tmp_path: Path
) -> None:
    archive = str(packaged(helm, CHART, tmp_path))
    await installation.kubectl("create", "namespace", NAMESPACE)
    await installation.kubectl("label", "namespace", NAMESPACE, CONFINED)
    since = time.monotonic()
    await asyncio.to_thread(helm, "install", RELEASE, archive, *RELEASE_OPTIONS)
    took = time.monotonic() - since
    assert len(await installation.pods()) == 2
    await world.apply(ladder(lock=True))
    await world.ladder_ready()
    stopped, _ = await stopped_by_a_breach(world)
    await asyncio.to_thread(helm, "test", RELEASE, f"--namespace={NAMESPACE}", f"--timeout={PATIENCE:.0f}s")
    values = "--set=components.keda=true,operator.podAnnotations.changed=yes"
    await asyncio.to_thread(helm, "upgrade", RELEASE, archive, values, *RELEASE_OPTIONS)
    [escalation] = await world.escalations("scorer")
    await world.verified(escalation)
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 0
    await asyncio.to_thread(helm, "uninstall", RELEASE, f"--namespace={NAMESPACE}", "--wait")
    assert [e["metadata"]["uid"] for e in await world.escalations("scorer")] == [escalation["metadata"]["uid"]]
    await world.verified(escalation)
    report.note("the chart", f"installed and ready in {took:.1f} s, stopped a model {stopped:.2f} s after the signal")
