"""Isolate on a real control plane: a NetworkPolicy of the operator's own, held, re-applied, and gone after a Resume.

No network plugin runs there: what is proved is what a plugin is notified.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Forbidden, Object
from riskladder.workloads.network import NETWORKPOLICIES
from tests.cluster import LocalControlPlane
from tests.integration.runtimes import HELD, RuntimeNamespace, place
from tests.integration.world import condition, ladder


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module."""
    directory = tmp_path_factory.mktemp("isolate")
    async with place(common, directory, resources.DEPLOYMENTS, components=["isolate"]) as made:
        yield made


async def policies(scene: RuntimeNamespace) -> list[Object]:
    """Return what the operator has made."""
    found = await scene.client.list(NETWORKPOLICIES, scene.namespace)
    return [p for p in found if p["metadata"]["name"].startswith("riskladder-")]


async def allow(scene: RuntimeNamespace, name: str, selector: Object, **spec: Any) -> None:
    """A NetworkPolicy of somebody else."""
    head = {"apiVersion": NETWORKPOLICIES.api_version, "kind": NETWORKPOLICIES.kind, "metadata": {"name": name}}
    body = {**head, "spec": {"podSelector": selector, "policyTypes": ["Ingress"], **spec}}
    await scene.client.apply(NETWORKPOLICIES, scene.namespace, body, manager="tests")


async def test_isolated_held_and_restored(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Isolate", lock=True))
    await scene.serve("scorer", replicas=2)
    await allow(scene, "default-deny", {})
    await allow(scene, "of-others", {"matchLabels": {"app": "other"}}, ingress=[{}])
    escalation = await scene.breach("scorer", "Isolated")
    name = escalation["metadata"]["name"]
    [policy] = await policies(scene)
    assert policy["metadata"]["name"] == f"riskladder-{name}"
    assert policy["metadata"]["labels"] == {
        "riskladder.dev/ladder": "credit",
        "riskladder.dev/escalation": name,
        "riskladder.dev/contained-by": name,
        "riskladder.dev/lock": "Isolate",
    }
    assert json.loads(policy["metadata"]["annotations"]["riskladder.dev/containment"])["target"]["name"] == "scorer"
    assert "ownerReferences" not in policy["metadata"]
    assert policy["spec"] == {
        "podSelector": {"matchLabels": {"app": "scorer"}},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert len(await scene.pods("app=scorer")) == 2, "the model keeps running"
    assert escalation["spec"]["intent"]["message"] == (
        "turn away new connections to its pods and from them; open ones may go on"
    )
    assert escalation["spec"]["intent"]["targetRef"] == {"kind": "NetworkPolicy", "name": f"riskladder-{name}"}
    message = condition(escalation, "Contained")["message"]
    assert message == (
        f"isolated by NetworkPolicy riskladder-{name}: new connections are turned away, as no NetworkPolicy of the "
        "namespace allows its pods anything; open ones may go on"
    )
    await scene.escalation_says("scorer", "Locked", "True")
    path = policy["metadata"]["name"]
    with pytest.raises(
        Forbidden, match=f"the spec of NetworkPolicy {path} cannot be changed: Deployment scorer {HELD}"
    ):
        await scene.client.merge_patch(NETWORKPOLICIES, scene.namespace, path, {"spec": {"ingress": [{}]}})
    with pytest.raises(Forbidden, match=f"NetworkPolicy {path} cannot be deleted: Deployment scorer {HELD}"):
        await scene.client.delete(NETWORKPOLICIES, scene.namespace, path)
    with pytest.raises(Forbidden, match=HELD):
        await scene.client.request(
            "DELETE", NETWORKPOLICIES.path(scene.namespace), verb="delete", resource=NETWORKPOLICIES.title
        )
    assert [p["metadata"]["name"] for p in await scene.client.list(NETWORKPOLICIES, scene.namespace)] == [path]

    await scene.resume(escalation)
    assert await policies(scene) == []
    await scene.verified(await scene.escalation_says("scorer", "Contained", "False", "Resumed"))


async def test_changed_or_deleted_without_a_lock_it_is_put_right(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Isolate"))
    await scene.serve("scorer")
    name = f"riskladder-{(await scene.breach('scorer', 'Isolated'))['metadata']['name']}"

    async def closed() -> bool:
        [policy] = await policies(scene)
        return "ingress" not in policy["spec"] and policy["metadata"]["name"] == name

    async def reverted(number: int) -> None:
        async def check() -> bool:
            [found] = await scene.escalations("scorer")
            return sum(u["count"] for u in found["status"]["containments"][0].get("drift", ())) == number

        await scene.until(check, f"{number} reverts to be noted")

    head = {"apiVersion": NETWORKPOLICIES.api_version, "kind": NETWORKPOLICIES.kind, "metadata": {"name": name}}
    spec = {"podSelector": {"matchLabels": {"app": "scorer"}}, "policyTypes": ["Ingress"], "ingress": [{}]}
    await scene.client.apply(NETWORKPOLICIES, scene.namespace, {**head, "spec": spec}, manager="argocd")
    await reverted(1)
    assert await closed()
    await scene.client.delete(NETWORKPOLICIES, scene.namespace, name)
    await reverted(2)
    assert await closed()
    escalation = await scene.escalation_says("scorer", "Contained", "True", "Isolated")
    who = {u["fieldManager"]: u["count"] for u in escalation["status"]["containments"][0]["drift"]}
    assert who == {"argocd": 1, "unknown": 1}
    await scene.quiet()


async def test_another_policy_that_allows_something_is_named(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Isolate"))
    await scene.serve("scorer")
    await scene.breach("scorer", "Isolated")
    await allow(scene, "backdoor", {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, ingress=[{}])
    escalation = await scene.escalation_says("scorer", "Contained", "False", "ContainmentApplied")
    assert "NetworkPolicy backdoor allows ingress" in condition(escalation, "Contained")["message"]
    await scene.client.delete(NETWORKPOLICIES, scene.namespace, "backdoor")
    await scene.escalation_says("scorer", "Contained", "True", "Isolated")
    await scene.quiet()


async def test_where_policies_add_up_the_model_is_stopped(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Isolate"))
    await allow(scene, "open", {}, egress=[{}], policyTypes=["Egress"])
    await scene.serve("scorer")
    escalation = await scene.breach("scorer")
    intent = escalation["spec"]["intent"]
    assert (intent["action"], intent["reason"]) == ("ScaleToZero", "IsolateImpossible")
    assert "NetworkPolicy open allows egress: policies add up" in intent["message"]
    assert await policies(scene) == []


async def test_if_impossible_isolates(scene: RuntimeNamespace) -> None:
    body = ladder(action="Rollback")
    body["spec"]["tiers"][1]["containment"]["ifImpossible"] = "Isolate"
    await scene.apply(body)
    await scene.serve("scorer")
    escalation = await scene.breach("scorer", "Isolated")
    intent = escalation["spec"]["intent"]
    assert (intent["action"], intent["reason"]) == ("Isolate", "RollbackImpossible")
    assert len(await policies(scene)) == 1


async def test_fallback_that_is_not_enabled_isolates_where_the_tier_says_so(scene: RuntimeNamespace) -> None:
    body = ladder()
    fallback = {"service": "scorer", "selector": {"app": "rules"}}
    body["spec"]["tiers"][1]["containment"] = {"action": "Fallback", "fallback": fallback, "ifImpossible": "Isolate"}
    await scene.apply(body)
    await scene.serve("scorer")
    escalation = await scene.breach("scorer", "Isolated")
    assert "component fallback turns that on" in escalation["spec"]["intent"]["message"]


async def test_deleting_the_escalation_does_not_end_the_isolation(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Isolate"))
    await scene.serve("scorer")
    before = await scene.breach("scorer", "Isolated")
    [policy] = await policies(scene)
    await scene.client.delete(resources.SIGNALS, scene.namespace, "fairness")
    await scene.quiet()
    await scene.client.delete(resources.ESCALATIONS, scene.namespace, before["metadata"]["name"])
    after = await scene.escalation_says("scorer", "Contained", "True", "Isolated")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"] == before["spec"], "opened again from what the policy carries"
    assert [p["metadata"]["uid"] for p in await policies(scene)] == [policy["metadata"]["uid"]]
