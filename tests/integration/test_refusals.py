"""What admission refuses, on a real API server: said in its words, whatever its code."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from riskladder.api.chain import noted_heads, verify_chains
from riskladder.cluster import authority, resources
from riskladder.cluster.client import ApiError, Client, NamespaceMissing, Object, Terminating
from riskladder.cluster.resources import Resource
from tests.integration.world import TestNamespace, condition, ladder, signal

POLICIES = authority.POLICIES
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
CODES = {"Invalid": 422, "Forbidden": 403, "RequestEntityTooLarge": 413}
WHY = "production workloads need at least 2 replicas"
FULL = "the archive is full"

Try = Callable[[Client], Awaitable[object]]


@asynccontextmanager
async def denying(
    world: TestNamespace, denied: Sequence[Resource], rule: Object, tried: Try, *, reason: str = "Invalid"
) -> AsyncIterator[None]:
    """Admission that refuses something in this namespace, for a reason that decides about the code."""
    name = f"denying-{denied[0].plural}-{world.namespace}"
    groups = ({"apiGroups": [r.group], "resources": [r.plural]} for r in denied)
    rules = [group | {"apiVersions": ["*"], "operations": ["CREATE", "UPDATE"]} for group in groups]
    policy = {"matchConstraints": {"resourceRules": rules}, "validations": [rule | {"reason": reason}]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}
    bound = {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector}}
    dry = Client(world.client._connection, dry_run=True)

    async def refuses() -> bool:
        try:
            await tried(dry)
        except ApiError as error:
            return error.status == CODES[reason] and error.is_denial
        return False

    await world.client.create(POLICIES, None, {"metadata": {"name": name}, "spec": policy})
    await world.client.create(authority.BINDINGS, None, {"metadata": {"name": name}, "spec": bound})
    try:
        await world.until(refuses, "the policy to be in force")
        yield
    finally:
        await world.client.delete(authority.BINDINGS, None, name)
        await world.client.delete(POLICIES, None, name)


@pytest.mark.parametrize("reason", list(CODES))
async def test_stop_that_admission_refuses_is_said_in_its_words_and_made_once_it_may_be(
    world: TestNamespace, reason: str
) -> None:
    await world.apply(ladder())
    await world.serve("scorer", replicas=2)
    one = {"spec": {"replicas": 1}}
    rule: Object = {"expression": "oldObject == null || object.spec.replicas >= 2", "message": WHY}

    async def tried(dry: Client) -> None:
        await dry.merge_patch(resources.DEPLOYMENTS, world.namespace, "scorer", one)

    async with denying(world, [resources.DEPLOYMENTS], rule, tried, reason=reason):
        await world.apply(signal("fairness", "scorer", 0.31))
        found = await world.escalation_says("scorer", "Contained", "False", "ContainmentImpossible")
        assert WHY in condition(found, "Contained")["message"]
        assert WHY in " ".join(event["note"] for event in await world.events())
        said = [r["spec"]["detail"]["message"] for r in await world.verified(found)]
        assert any(WHY in text for text in said)
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")


async def test_records_that_are_refused_are_said_by_the_signal_and_the_model_is_stopped(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    rule: Object = {"expression": "false", "message": FULL}

    async def tried(dry: Client) -> None:
        await dry.create(CONFIGMAPS, world.namespace, {"metadata": {"name": "trial"}})

    async with denying(world, [resources.RECORDS, CONFIGMAPS], rule, tried):
        await world.apply(signal("fairness", "scorer", 0.31))
        await world.stopped("scorer")

        async def says_why() -> bool:
            found = condition(await world.signal("fairness"), "Contained")
            return found["reason"] == "EscalationRefused" and FULL in found["message"]

        await world.until(says_why, "the signal to say why nobody is notified")
        await world.signal_says("fairness", "Contained", "True", "EscalationRefused")
        assert "EscalationRefused" in {event["reason"] for event in await world.events()}
    await world.verified(await world.escalation_says("scorer", "Contained", "True", "ScaledToZero"))
    await world.signal_says("fairness", "Contained", "True", "ScaledToZero")


async def test_pods_of_a_model_that_was_orphaned_before_anything_was_contained_are_named(
    world: TestNamespace,
) -> None:
    """The usual way to change a selector leaves pods behind that serve on."""
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.15))
    await world.apply(signal("fairness", "scorer", 0.16))
    await world.escalation_says("scorer", "Contained", "False", "ContainmentNotRequired")
    path = resources.DEPLOYMENTS.path(world.namespace, "scorer")
    orphan = {"propagationPolicy": "Orphan"}
    await world.client.request("DELETE", path, verb="delete", resource="deployments.apps", body=orphan)
    found = await world.escalation_says("scorer", "Contained", "False", "TargetDeleted")
    assert "1 pod that its selector matches" in condition(found, "Contained")["message"]


@pytest.mark.usefixtures("operator")
async def test_namespace_that_is_deleted_under_a_breach_leaves_nothing_to_the_next_of_its_name(admin: Client) -> None:
    """Its Escalations go first, while the breach and the model are still there: nothing new can be recorded in it."""
    name = f"comes-back-{uuid.uuid4().hex[:8]}"
    kept = {"metadata": {"finalizers": ["example.com/kept"]}}
    async with TestNamespace(admin, name) as world:
        await world.apply(ladder())
        await world.serve("scorer", replicas=2)
        await world.apply(signal("fairness", "scorer", 0.31))
        await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
        objects = ((resources.LADDERS, "credit"), (resources.SIGNALS, "fairness"), (resources.DEPLOYMENTS, "scorer"))
        for resource, of in objects:
            await admin.merge_patch(resource, name, of, kept)

    async def bare() -> bool:
        return not await world.escalations("scorer") and not await admin.list(resources.RECORDS, name)

    async def create() -> Object:
        return await admin.create(CONFIGMAPS, name, {"metadata": {"name": "trial"}})

    await world.until(bare, "the namespace to lose its escalations and records")
    with pytest.raises(Terminating):
        await create()
    await world.apply(signal("fairness", "scorer", 0.33))
    for resource, of in reversed(objects):
        await admin.merge_patch(resource, name, of, {"metadata": {"finalizers": None}})
    await world.gone()
    with pytest.raises(NamespaceMissing):
        await create()
    async with TestNamespace(admin, name) as world:
        await world.apply(ladder())
        await world.serve("scorer", replicas=1)
        await world.ladder_ready()
        await world.apply(signal("fairness", "scorer", 0.31))
        escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
        assert escalation["spec"]["evidence"]["replicas"] == 1
        [of_it] = await world.escalations("scorer")
        records = await admin.list(resources.RECORDS, name)
        assert {r["spec"]["escalation"] for r in records} == {of_it["metadata"]["name"]}
        assert [chain.error for chain in verify_chains(records, noted_heads([of_it]))] == [""]
