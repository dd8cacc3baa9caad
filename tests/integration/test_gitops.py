"""What GitOps tools do to us, done with kubectl on a real API server; Argo CD and Flux themselves are not run."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
import yaml

from demo.install import InstallError
from riskladder.api.kinds import KINDS
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Conflict, Object, Refused
from tests.cluster import ControlPlane
from tests.cluster.install import kubectl, render
from tests.gitops.argo import KEY, health, script
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import LABEL, TestNamespace, deployment, ladder, signal

HELD = "is contained by Escalation scorer-"
SERVER_SIDE = ("--server-side", "--field-manager=argocd-controller")
CLIENT_SIDE = ("--field-manager=argocd-controller",)
FORCED = (*SERVER_SIDE, "--force-conflicts")
WAYS = pytest.mark.parametrize("way", [CLIENT_SIDE, FORCED], ids=["client-side", "server-side"])
TRACKING = {
    "labels": {
        "app.kubernetes.io/instance": "scoring",
        "kustomize.toolkit.fluxcd.io/name": "scoring",
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    },
    "annotations": {"argocd.argoproj.io/tracking-id": "scoring:apps/Deployment:models/scorer"},
}
"""What Argo CD and Flux put on the objects that they apply, to know them again."""


SERVICE: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "scorer"},
    "spec": {"selector": {"app": "scorer"}, "ports": [{"port": 80}]},
}


class Git:
    """A GitOps tool's way to apply a manifest."""

    def __init__(self, plane: ControlPlane, world: TestNamespace, way: tuple[str, ...]) -> None:
        self.plane, self.world, self.way = plane, world, way

    async def kubectl(self, *arguments: str, given: Object) -> str:
        return await asyncio.to_thread(
            kubectl,
            self.plane.kubeconfig,
            "-n",
            self.world.namespace,
            *arguments,
            "-f",
            "-",
            given=yaml.safe_dump(given),
        )

    async def apply(self, manifest: Object, *more: str) -> str:
        return await self.kubectl("apply", *self.way, *more, given=manifest)

    async def refused(self, manifest: Object, *more: str) -> str:
        with pytest.raises(InstallError) as caught:
            await self.apply(manifest, *more)
        return str(caught.value)


def manifest(replicas: int | None = 2, image: str = "registry.example/model:1") -> Object:
    """A full manifest of the model, as in Git."""
    body = deployment("scorer", replicas=replicas or 0, image=image)
    if replicas is None:
        del body["spec"]["replicas"]
    return body


async def contained(git: Git, body: Object, *, action: str = "ScaleToZero", replicas: int = 2) -> Object:
    """A model that is applied from Git, then contained and locked; its Escalation."""
    world = git.world
    await world.apply(ladder(action=action, lock=True))
    await world.apply(SERVICE)
    await git.apply(body)
    await world.ready("scorer", replicas)
    if action == "Rollback":
        await world.known_good("fairness", "scorer")
        await git.apply(manifest(replicas, "registry.example/model:2"))
        await world.ready("scorer", replicas)
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True")
    return await world.escalation_says("scorer", "Locked", "True", "Locked")


# --- A sync that meets the lock ---------------------------------------------------------------------------------------


@WAYS
async def test_full_manifest_is_refused_while_the_model_is_contained(
    world: TestNamespace, installed: ControlPlane, way: tuple[str, ...]
) -> None:
    git = Git(installed, world, way)
    escalation = await contained(git, manifest())
    name = escalation["metadata"]["name"]
    said = await git.refused(manifest())
    assert (
        'deployments.apps "scorer" is forbidden: '
        "ValidatingAdmissionPolicy 'riskladder-lock' with binding 'riskladder-lock' denied request: Deployment scorer "
        f"cannot have more than 0 replicas, and 2 are asked for: it is contained by Escalation {name} (tier high). It "
        f"is restored by a decision: kubectl riskladder show {name} -n {world.namespace} says whose it is"
    ) in said
    assert "Error from server (Forbidden): " in said
    assert "immutable" not in said, "which Flux would take for a reason to delete it, with spec.force"
    assert HELD in await git.refused(manifest(), "--dry-run=server"), (
        "so Flux, which tries first, applies nothing at all"
    )
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 0
    assert not (await world.escalations("scorer"))[0]["status"]["containments"][0].get("drift")


async def test_server_side_apply_without_force_meets_a_conflict_with_riskladder(
    world: TestNamespace, installed: ControlPlane
) -> None:
    git = Git(installed, world, SERVER_SIDE)
    await contained(git, manifest())
    said = await git.refused(manifest())
    assert 'conflict with "riskladder"' in said
    assert ".spec.replicas" in said


@WAYS
async def test_full_manifest_is_refused_while_a_rollback_holds(
    world: TestNamespace, installed: ControlPlane, way: tuple[str, ...]
) -> None:
    git = Git(installed, world, way)
    await contained(git, manifest(1), action="Rollback", replicas=1)
    said = await git.refused(manifest(1, "registry.example/model:2"))
    assert "what Deployment scorer serves cannot be changed, nor how it is rolled out: it" in said
    assert HELD in said
    # What Git says of the revision that runs is no change, and replicas are free.
    await git.apply(manifest(2, "registry.example/model:1"))
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 2


# --- What passes ------------------------------------------------------------------------------------------------------


@WAYS
async def test_manifest_without_replicas_passes_and_leaves_the_model_at_zero(
    world: TestNamespace, installed: ControlPlane, way: tuple[str, ...]
) -> None:
    git = Git(installed, world, way)
    await contained(git, manifest(None), replicas=1)
    await git.apply(manifest(None, "registry.example/model:9"))
    now = await world.deployment("scorer")
    assert now["spec"]["replicas"] == 0
    assert now["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/model:9"


@WAYS
async def test_manifest_with_the_live_replicas_passes(
    world: TestNamespace, installed: ControlPlane, way: tuple[str, ...]
) -> None:
    """As Argo CD applies with ignoreDifferences and RespectIgnoreDifferences=true."""
    git = Git(installed, world, way)
    await contained(git, manifest())
    await git.apply(manifest(0, "registry.example/model:9"))
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 0


async def test_replicas_taken_out_of_git_during_a_containment_are_refused_client_side_only(
    world: TestNamespace, installed: ControlPlane
) -> None:
    """Removed by client-side apply, the field falls back to its default, 1."""
    git = Git(installed, world, CLIENT_SIDE)
    await contained(git, manifest())
    said = await git.refused(manifest(None))
    assert "cannot have more than 0 replicas, and 1 are asked for" in said


async def test_replicas_taken_out_of_git_during_a_containment_pass_server_side(
    world: TestNamespace, installed: ControlPlane
) -> None:
    git = Git(installed, world, FORCED)
    await contained(git, manifest())
    await git.apply(manifest(None))
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 0


def owners(obj: Object, *path: str) -> set[str]:
    """The field managers of a field."""

    def has(fields: Any, names: tuple[str, ...]) -> bool:
        return not names or (f"f:{names[0]}" in fields and has(fields[f"f:{names[0]}"], names[1:]))

    return {entry["manager"] for entry in obj["metadata"]["managedFields"] if has(entry.get("fieldsV1", {}), path)}


async def test_replicas_belong_to_riskladder_from_the_containment_on_and_after_a_resume(
    world: TestNamespace, installed: ControlPlane
) -> None:
    """So managedFieldsManagers: [riskladder] ignores them, and goes on to after the model is back."""
    git = Git(installed, world, FORCED)
    escalation = await contained(git, manifest())
    assert owners(await world.deployment("scorer"), "spec", "replicas") == {"riskladder"}
    await _decide(world, escalation, "Resume", "resume")
    await world.escalation_says("scorer", "Decided", "True", "Resumed")
    await world.ready("scorer", 2)
    assert owners(await world.deployment("scorer"), "spec", "replicas") == {"riskladder"}
    await git.apply(manifest())
    assert owners(await world.deployment("scorer"), "spec", "replicas") == {"riskladder", "argocd-controller"}
    await git.apply(manifest(3))
    assert owners(await world.deployment("scorer"), "spec", "replicas") == {"argocd-controller"}


async def test_owner_of_the_pod_template_is_riskladder_after_a_rollback(
    world: TestNamespace, installed: ControlPlane
) -> None:
    git = Git(installed, world, FORCED)
    await contained(git, manifest(1), action="Rollback", replicas=1)
    now = await world.deployment("scorer")
    assert "riskladder" in owners(now, "spec", "template", "spec", "containers")


# --- What the operator creates ----------------------------------------------------------------------------------------


async def test_what_the_operator_creates_belongs_to_no_application(
    world: TestNamespace, installed: ControlPlane
) -> None:
    def tracked(body: Object) -> Object:
        metadata = body["metadata"]
        return {
            **body,
            "metadata": metadata
            | {"labels": {**metadata.get("labels", {}), **TRACKING["labels"]}, "annotations": TRACKING["annotations"]},
        }

    await world.apply(tracked(ladder(lock=True)))
    await world.apply(SERVICE)
    await world.apply(tracked(manifest(1)))
    await world.ready("scorer", 1)
    await world.apply(tracked(signal("fairness", "scorer", 0.31)))
    await world.escalation_says("scorer", "Contained", "True")
    await world.quiet()
    [escalation] = await world.escalations("scorer")
    created = [escalation, *await world.records(escalation["metadata"]["name"]), *await world.events()]
    assert len(created) > 5
    for obj in created:
        metadata = obj["metadata"]
        assert not metadata.get("ownerReferences")
        assert not metadata.get("annotations")
        assert {label.partition("/")[0] for label in metadata.get("labels") or {}} <= {"riskladder.dev"}
    contained_now = (await world.deployment("scorer"))["metadata"]
    held = {"riskladder.dev/contained-by": escalation["metadata"]["name"], "riskladder.dev/lock": "ScaleToZero"}
    assert contained_now["labels"] == {LABEL: "credit", **TRACKING["labels"], **held}, "what is tracked stays as it is"
    assert TRACKING["annotations"].items() <= contained_now["annotations"].items()


# --- Ladders ----------------------------------------------------------------------------------------------------------


@WAYS
async def test_applied_ladder_shows_no_diff_after_the_operator_has_written_its_status(
    world: TestNamespace, installed: ControlPlane, way: tuple[str, ...]
) -> None:
    git = Git(installed, world, way)
    body = ladder(lock=True)
    await git.apply(body)
    await world.ladder_ready()
    differs = ("diff", *(w for w in way if w != "--force-conflicts"))
    assert await git.kubectl(*differs, given=body) == "", "exit code 0"
    before = await world.get(resources.LADDERS, "credit")
    # Client-side apply replaces the lists of custom resources each time, and the API server finds them equal.
    assert ("configured" if way is CLIENT_SIDE else "serverside-applied") in await git.apply(body)
    after = await world.get(resources.LADDERS, "credit")
    assert (after["metadata"]["generation"], after["spec"]) == (before["metadata"]["generation"], before["spec"])
    changed = copy.deepcopy(body)
    changed["spec"]["drillWithin"] = "3h"
    with pytest.raises(InstallError):
        await git.kubectl(*differs, given=changed)


async def test_two_managers_each_keep_their_entries_of_one_ladder(world: TestNamespace) -> None:
    whole = ladder()
    tiers = whole["spec"]["tiers"]
    mine = {**whole, "spec": {**whole["spec"], "stakeholders": [{"role": "data-science"}], "tiers": tiers[:1]}}
    legal = {"role": "legal", "notify": ["pager"]}
    channel = {"name": "pager", "type": "Webhook", "url": "https://pager.example/hook", "secretKey": "pager"}
    theirs = {**whole, "spec": {"stakeholders": [legal], "channels": [channel], "tiers": tiers[1:]}}

    async def names() -> tuple[list[str], list[str], list[str]]:
        spec = (await world.get(resources.LADDERS, "credit"))["spec"]
        return (
            [s["role"] for s in spec["stakeholders"]],
            [c["name"] for c in spec.get("channels", ())],
            [t["name"] for t in spec["tiers"]],
        )

    async def apply(body: Object, manager: str) -> None:
        path = resources.LADDERS.path(world.namespace, "credit")
        await world.client.request(
            "PATCH",
            path,
            verb="patch",
            resource=resources.LADDERS.title,
            body=body,
            content_type="application/apply-patch+yaml",
            params={"fieldManager": manager},
        )

    await apply(mine, "platform")
    await apply(theirs, "compliance")
    both = (["data-science", "legal"], ["pager"], ["moderate", "high"])
    assert await names() == both
    await world.ladder_ready()
    # Each applies again, with a change to its own entries: the other's stay.
    again = copy.deepcopy(mine)
    again["spec"]["tiers"][0]["triggers"][0]["above"] = 0.12
    await apply(again, "platform")
    assert await names() == both
    # An entry of the other's cannot be changed without force, and what its owner leaves out goes.
    meddled = copy.deepcopy(again)
    meddled["spec"]["tiers"].append(copy.deepcopy(tiers[1]))
    meddled["spec"]["tiers"][1]["triggers"][0]["above"] = 0.5
    with pytest.raises(Conflict):
        await apply(meddled, "platform")
    fewer = copy.deepcopy(theirs)
    fewer["spec"]["stakeholders"] = [{"role": "legal"}]
    del fewer["spec"]["channels"]
    await apply(fewer, "compliance")
    assert await names() == (both[0], [], both[2])


async def test_tiers_of_two_managers_stand_in_the_order_in_which_they_were_applied(world: TestNamespace) -> None:
    """So one manager should own all tiers of a ladder: from lowest to highest is their meaning."""
    whole = ladder()
    low, high = whole["spec"]["tiers"]
    await world.client.apply(
        resources.LADDERS, world.namespace, {**whole, "spec": {**whole["spec"], "tiers": [high]}}, manager="compliance"
    )
    with pytest.raises(Refused, match="thresholds above must grow from each tier to the next higher one"):
        await world.client.apply(
            resources.LADDERS, world.namespace, {**whole, "spec": {"tiers": [low]}}, manager="platform"
        )


# --- Argo CD's health checks, of real objects -------------------------------------------------------------------------


async def _decide(world: TestNamespace, escalation: Object, action: str, name: str) -> None:
    """An administrator holds every role; the policy that proves who decided may have come a moment ago."""
    body = {
        "apiVersion": resources.DECISIONS.api_version,
        "kind": "EscalationDecision",
        "metadata": {"name": name},
        "spec": {
            "escalation": escalation["metadata"]["name"],
            "action": action,
            "role": "legal",
            "rationale": "because of the complaints",
        },
    }
    await world.client.create(resources.DECISIONS, world.namespace, body)


async def test_argocd_health_of_real_objects(world: TestNamespace, operator: OperatorProcess) -> None:
    async def says(resource: resources.Resource, name: str, expected: str, part: str) -> None:
        async def check() -> bool:
            found, message = health(await world.get(resource, name))
            return found == expected and part in message

        await world.until(check, f"{resource.kind} {name} to be {expected}: {part}")

    created = await world.apply(ladder(lock=True))
    assert health({**created, "status": None})[0] == "Progressing"
    await says(resources.LADDERS, "credit", "Healthy", "In force; open escalations: 0")
    await world.apply(signal("lost", "nobody", 0.31))
    await says(resources.SIGNALS, "lost", "Degraded", "TargetNotFound: ")
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.05))
    await says(resources.SIGNALS, "fairness", "Healthy", "in tier baseline")
    await world.apply(signal("fairness", "scorer", 0.31))
    escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    name = escalation["metadata"]["name"]
    await says(resources.SIGNALS, "fairness", "Healthy", "in tier high (ThresholdBreached: ")
    await says(resources.SIGNALS, "fairness", "Healthy", f"see Escalation {name}")
    await says(resources.ESCALATIONS, name, "Suspended", "contained (ScaledToZero); waits for legal, due 20")
    await says(resources.LADDERS, "credit", "Healthy", "open escalations: 1")
    await _decide(world, escalation, "Object", "object")
    await says(resources.DECISIONS, "object", "Healthy", "Objected: ")
    await _decide(world, escalation, "Resume", "too-early")
    await says(resources.DECISIONS, "too-early", "Degraded", "ObjectionStands: ")
    for record in await world.chain(name):
        assert health(record)[0] == "Healthy"
    await world.apply(ladder(lock=True, suspended=True))
    await says(resources.LADDERS, "credit", "Suspended", "acts on nothing")


async def test_health_checks_are_added_to_an_argocd_that_is_there(
    admin: Client, world: TestNamespace, installed: ControlPlane
) -> None:
    git = Git(installed, world, ("--server-side", "--field-manager=helm"))
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}},
        "data": {"url": "https://argocd.example"},
    }
    await git.apply(theirs)
    [fragment] = render("manifests/argocd/server-side")
    del fragment["metadata"]["namespace"]
    ours = Git(installed, world, ("--server-side", "--field-manager=riskladder-health"))
    await ours.apply(fragment)
    await git.apply(theirs)
    text = await asyncio.to_thread(
        kubectl, installed.kubeconfig, "-n", world.namespace, "get", "configmap", "argocd-cm", "-o", "yaml"
    )
    found = yaml.safe_load(text)
    assert found["data"] == {"url": "https://argocd.example", **{KEY + kind: script(kind) for kind in KINDS}}
    assert found["metadata"]["labels"] == {"app.kubernetes.io/part-of": "argocd"}
