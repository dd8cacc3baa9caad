"""A kustomize installation on a real node: what doctor says of it, kinds of another version, and its removal."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object
from riskladder.cluster.definitions import CRDS, Definitions, State
from tests.cluster.install import ROOT
from tests.integration.doctor import Doctor, commands, failed, run
from tests.integration.world import TestNamespace, condition, ladder, signal
from tests.node.answers import service, workload
from tests.node.installation import Installation

ESCALATIONS = "escalations.riskladder.dev"


async def test_kind_of_another_version_is_said_and_mended_and_everything_is_removed(
    installation: Installation, admin: Client, world: TestNamespace, tmp_path: Path
) -> None:
    await installation.use()
    kubeconfig = installation.node.kubeconfig
    doctor = Doctor(kubeconfig)
    await world.apply(ladder(lock=True))
    await world.ladder_ready()
    assert failed((await doctor())[1]) == {}

    older = await admin.get(CRDS, None, ESCALATIONS)
    del older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["rung"]
    older["spec"]["versions"][0]["additionalPrinterColumns"] = []
    await admin.replace(CRDS, None, ESCALATIONS, older)

    async def outdated() -> Object | None:
        found = condition(await world.get(resources.LADDERS, "credit"), "CustomResourcesCurrent")
        return found if found["reason"] == "CustomResourcesOutdated" else None

    said = (await world.until(outdated, "the ladder to say that a kind is outdated"))["message"]
    assert f"{ESCALATIONS} lacks status.rung" in said
    assert failed((await doctor("-n", world.namespace))[1])["custom resources"].endswith(said)
    await asyncio.to_thread(run, "kubectl apply --server-side --force-conflicts -k crds", kubeconfig, ROOT)
    await world.ladder_ready()

    await world.apply(service("scorer"))
    await world.apply(workload("Deployment", "scorer", "credit", replicas=1, grace=2))
    await world.until(lambda: world.endpoints("scorer"), "scorer to serve")
    await world.apply(signal("scorer", "scorer", 0.31))
    escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    name = escalation["metadata"]["name"]
    decided = f"{name} -n {world.namespace} --role legal"
    await asyncio.to_thread(run, f"riskladder resume {decided} -m Again", kubeconfig, tmp_path)
    await world.until(lambda: world.endpoints("scorer"), "scorer to serve again")
    await asyncio.to_thread(run, f"riskladder close {decided} --resolution Remediated -m Done", kubeconfig, tmp_path)
    await world.quiet()

    for directory in ("manifests", "crds"):
        shutil.copytree(ROOT / directory, tmp_path / directory)
    _, _, stopping, *removing = commands("Uninstall")
    assert "component=operator" in stopping, "which keeps the rest, and the operator runs while everything is removed"
    for command in removing:
        code = 1 if command == "riskladder doctor --uninstall" else 0  # nothing is exported yet
        await asyncio.to_thread(run, command, kubeconfig, tmp_path, code=code)
    assert {one.state for one in await Definitions(admin).look()} == {State.MISSING}
    assert await installation.pods() == []
    assert failed((await doctor("--uninstall"))[1]) == {}
    assert await world.endpoints("scorer"), "the model serves on"
    await installation.remove()
