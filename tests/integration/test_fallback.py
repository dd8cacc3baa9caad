"""Fallback on a real control plane: traffic goes elsewhere, is held there, and comes back exactly as it was.

EndpointSlices are those of the real controller. No Gateway controller runs: of HTTPRoutes, what is stored is proved.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from riskladder.api.base import format_time
from riskladder.cluster import resources
from riskladder.cluster.client import MERGE_PATCH, Forbidden, NotFound, Object
from riskladder.workloads.network import HTTPROUTES, SERVICES
from tests.cluster import LocalControlPlane
from tests.cluster.peers import crds
from tests.integration.runtimes import HELD, RuntimeNamespace, place
from tests.integration.world import LADDER, condition, deployment, ladder

RULES = {"app": "rules"}
BY_SERVICE = {"service": "scorer", "selector": RULES}
BY_ROUTE = {"httpRoute": "scorer", "backend": "rules"}


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module."""
    async with place(
        common,
        tmp_path_factory.mktemp("fallback"),
        resources.DEPLOYMENTS,
        components=["fallback", "fallback-httproute"],
        crds=crds("gateway-api", "HTTPRoute"),
    ) as made:
        yield made


def falling_back(to: Object, *, lock: bool = True, **more: Any) -> Object:
    """A ladder whose tier high falls back, and whose tier severe stops the model."""
    body = ladder(lock=lock)
    high = body["spec"]["tiers"][1]
    high["containment"] = {"action": "Fallback", "fallback": to, "lock": lock, **more}
    severe = {
        "name": "severe",
        "triggers": [{"indicator": "demographic_parity_difference", "above": 0.4}],
        "decide": high["decide"],
        "containment": {"action": "ScaleToZero", "lock": lock},
    }
    body["spec"]["tiers"].append(severe)
    return body


async def serve(scene: RuntimeNamespace) -> None:
    """The model behind its Service, and the rules that may take its place."""
    await scene.serve("scorer", replicas=2)
    await scene.apply(deployment("rules", label=None))
    await scene.service("rules", RULES)
    await scene.served("rules", 1)


async def selector(scene: RuntimeNamespace) -> Object:
    found: Object = (await scene.get(SERVICES, "scorer"))["spec"]["selector"]
    return found


async def test_traffic_goes_elsewhere_is_held_there_and_comes_back(scene: RuntimeNamespace) -> None:
    await scene.apply(falling_back(BY_SERVICE))
    await serve(scene)
    await scene.client.merge_patch(
        SERVICES, scene.namespace, "scorer", {"spec": {"selector": {"app": "scorer"}, "sessionAffinity": "ClientIP"}}
    )
    escalation = await scene.breach("scorer", "FellBack")
    assert await selector(scene) == RULES
    assert {name.partition("-")[0] for name in await scene.endpoints("scorer")} == {"rules"}
    assert len(await scene.pods("app=scorer")) == 2, "the model keeps running"
    intent = escalation["spec"]["intent"]
    assert intent["targetRef"] == {"kind": "Service", "name": "scorer", "selector": RULES}
    [saved] = escalation["spec"]["evidence"]["fields"]
    assert (saved["object"], saved["path"], saved["value"]) == ("Service/scorer", "/spec/selector", '{"app":"scorer"}')
    [status] = escalation["status"]["containments"]
    assert intent["intendedAt"] <= status["appliedAt"] <= status["endpointsEmptyAt"] <= status["podsGoneAt"]
    assert "traffic of Service scorer goes to app=rules" in condition(escalation, "Contained")["message"]

    await scene.escalation_says("scorer", "Locked", "True")
    with pytest.raises(Forbidden, match=f"the selector of Service scorer cannot be changed: Deployment scorer {HELD}"):
        await scene.client.merge_patch(SERVICES, scene.namespace, "scorer", {"spec": {"selector": {"app": "scorer"}}})
    await scene.client.merge_patch(SERVICES, scene.namespace, "scorer", {"spec": {"sessionAffinity": "None"}})
    await scene.scale("scorer", 3)
    await scene.client.merge_patch(SERVICES, scene.namespace, "rules", {"spec": {"sessionAffinity": "ClientIP"}})

    await scene.resume(escalation)
    assert await selector(scene) == {"app": "scorer"}
    assert (await scene.get(SERVICES, "scorer"))["spec"]["sessionAffinity"] == "None", "what others changed stays"
    await scene.served("scorer", 3)
    await scene.verified(await scene.escalation_says("scorer", "Contained", "False", "Resumed"))


async def test_endpoints_that_are_kept_by_hand_are_minded(scene: RuntimeNamespace) -> None:
    """The selector has nothing to say about them, and traffic goes to the model all the same."""
    await scene.apply(falling_back(BY_SERVICE))
    await serve(scene)
    pod = (await scene.pods("app=scorer"))[0]
    by_hand = {
        "apiVersion": resources.ENDPOINTSLICES.api_version,
        "kind": resources.ENDPOINTSLICES.kind,
        "metadata": {"name": "manual", "labels": {"kubernetes.io/service-name": "scorer"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [pod["status"]["podIP"]], "conditions": {"ready": True}}],
        "ports": [{"port": 80}],
    }
    await scene.client.apply(resources.ENDPOINTSLICES, scene.namespace, by_hand, manager="tests")
    await scene.breach("scorer", "ContainmentApplied", status="False")

    async def minded() -> bool:
        message = condition((await scene.escalations("scorer"))[0], "Contained")["message"]
        return "1 ready endpoint of it and 1 of the fallback in Service scorer" in message

    await scene.until(minded, "the endpoint that is kept manually to be all that is left of it")
    await scene.client.delete(resources.ENDPOINTSLICES, scene.namespace, "manual")
    await scene.escalation_says("scorer", "Contained", "True", "FellBack")


async def test_changed_back_without_a_lock_it_is_put_right_and_named(scene: RuntimeNamespace) -> None:
    await scene.apply(falling_back(BY_SERVICE, lock=False))
    await serve(scene)
    await scene.breach("scorer", "FellBack")
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "scorer"}}
    await scene.apply({**body, "spec": {"selector": {"app": "scorer"}, "ports": [{"port": 80}]}}, manager="argocd")

    escalation = await scene.drift("scorer")
    assert [u["fieldManager"] for u in escalation["status"]["containments"][0]["drift"]] == ["argocd"]
    await scene.until(lambda: _is(scene, RULES), "the diversion to be back")
    await scene.escalation_says("scorer", "Contained", "True", "FellBack")
    await scene.quiet()


async def _is(scene: RuntimeNamespace, wanted: Object) -> bool:
    found = await selector(scene)
    return {k: v for k, v in found.items() if v is not None} == wanted


async def test_stopped_over_it_both_come_back(scene: RuntimeNamespace) -> None:
    await scene.apply(falling_back(BY_SERVICE))
    await serve(scene)
    await scene.breach("scorer", "FellBack")
    await scene.scale("scorer", 3)
    await scene.served("rules", 1)
    await scene.read_risk("scorer", 0.5)
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert await selector(scene) == RULES
    restored = await scene.resume(escalation)
    assert (await scene.deployment("scorer"))["spec"]["replicas"] == 3
    assert await selector(scene) == {"app": "scorer"}
    assert restored["status"]["resume"].get("left", []) == []
    await scene.served("scorer", 3)
    await scene.quiet()


async def test_switched_back_under_a_stop_it_is_seen_recorded_and_applied_again(scene: RuntimeNamespace) -> None:
    await scene.apply(falling_back(BY_SERVICE, lock=False))
    await serve(scene)
    await scene.breach("scorer", "FellBack")
    await scene.read_risk("scorer", 0.5)
    await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await scene.client.request(
        "PATCH",
        SERVICES.path(scene.namespace, "scorer"),
        verb="patch",
        resource="services",
        body={"spec": {"selector": {"app": "third"}}},
        content_type=MERGE_PATCH,
        params={"fieldManager": "rival"},
    )

    async def noted() -> Object | None:
        [found] = await scene.escalations("scorer")
        traffic = next(c for c in found["status"]["containments"] if c["axis"] == "Traffic")
        return found if traffic.get("drift") else None

    escalation = await scene.until(noted, "the drift of the traffic to be noted")
    workload, traffic = escalation["status"]["containments"]
    assert [u["fieldManager"] for u in traffic["drift"]] == ["rival"]
    assert not workload.get("drift")
    assert await selector(scene) == RULES
    assert condition(escalation, "ContainmentHolds")["status"] == "True"
    events = [r["spec"]["event"] for r in await scene.records(escalation["metadata"]["name"])]
    assert "ContainmentReapplied" in events
    await scene.resume(escalation)
    assert await selector(scene) == {"app": "scorer"}


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ({"service": "absent", "selector": RULES}, "there is no Service absent"),
        ({"service": "scorer", "selector": {"app": "scorer"}}, "selects pods of the Deployment itself"),
        ({"service": "rules", "selector": {"app": "third"}}, "does not select the pods of the Deployment"),
        ({"httpRoute": "absent", "backend": "rules"}, "there is no HTTPRoute absent"),
    ],
)
async def test_where_it_cannot_be_done_the_model_is_stopped(scene: RuntimeNamespace, to: Object, why: str) -> None:
    await scene.apply(falling_back(to))
    await serve(scene)
    intent = (await scene.breach("scorer"))["spec"]["intent"]
    assert (intent["action"], intent["reason"]) == ("ScaleToZero", "FallbackImpossible")
    assert why in intent["message"]


async def test_service_deleted_meanwhile_the_model_is_stopped(scene: RuntimeNamespace) -> None:
    await scene.apply(falling_back(BY_SERVICE))
    await serve(scene)
    await scene.breach("scorer", "FellBack")
    await scene.client.delete(SERVICES, scene.namespace, "scorer")
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert escalation["status"]["containments"][0]["intent"]["reason"] == "FallbackImpossible"


async def test_route_sends_everything_elsewhere_and_comes_back(scene: RuntimeNamespace) -> None:
    await scene.apply(falling_back(BY_ROUTE))
    await serve(scene)
    await scene.service("scorer-canary", {"app": "scorer"})
    rules = [
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/score"}}],
            "backendRefs": [
                {"name": "scorer", "port": 80, "weight": 9},
                {
                    "name": "scorer-canary",
                    "port": 80,
                    "weight": 1,
                    "filters": [
                        {
                            "type": "RequestHeaderModifier",
                            "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]},
                        }
                    ],
                },
            ],
        },
        {
            "matches": [{"path": {"type": "Exact", "value": "/old"}}],
            "filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": "new.example"}}],
        },
    ]
    head = {"apiVersion": HTTPROUTES.api_version, "kind": HTTPROUTES.kind, "metadata": {"name": "scorer"}}
    spec = {"parentRefs": [{"name": "gateway"}], "rules": rules}
    made = await scene.client.apply(HTTPROUTES, scene.namespace, {**head, "spec": spec}, manager="tests")
    before = made["spec"]["rules"]
    escalation = await scene.breach("scorer", "FellBack")
    live = (await scene.get(HTTPROUTES, "scorer"))["spec"]["rules"]
    assert [[ref["name"] for ref in rule.get("backendRefs", ())] for rule in live] == [["rules"], []]
    assert [{**rule, "backendRefs": None} for rule in live] == [{**rule, "backendRefs": None} for rule in before]
    await scene.escalation_says("scorer", "Locked", "True")
    with pytest.raises(Forbidden, match=f"the rules of HTTPRoute scorer cannot be changed: Deployment scorer {HELD}"):
        await scene.client.apply(HTTPROUTES, scene.namespace, {**head, "spec": spec}, manager="argocd")
    await scene.client.merge_patch(HTTPROUTES, scene.namespace, "scorer", {"spec": {"hostnames": ["a.example"]}})
    await scene.resume(escalation)
    live = await scene.get(HTTPROUTES, "scorer")
    assert live["spec"]["rules"] == before
    assert live["spec"]["hostnames"] == ["a.example"]
    await scene.verified(await scene.escalation_says("scorer", "Contained", "False", "Resumed"))


async def test_drill_is_rehearsed_as_a_dry_run(scene: RuntimeNamespace) -> None:
    await scene.apply(falling_back(BY_SERVICE))
    await serve(scene)
    body = {"ladder": LADDER, "target": {"kind": "Deployment", "name": "scorer"}, "source": "fairness-monitor"}
    body |= {"drill": True, "readings": [{"indicator": "demographic_parity_difference", "value": 0.3}]}
    head = {"apiVersion": resources.SIGNALS.api_version, "kind": resources.SIGNALS.kind, "metadata": {"name": "drill"}}
    await scene.apply({**head, "spec": {**body, "observedAt": format_time(datetime.now(UTC))}})
    escalation = await scene.escalation_says("scorer", "Contained", "False", "Rehearsed")
    assert "Fallback as a dry run: permitted and admitted" in condition(escalation, "Contained")["message"]
    assert await selector(scene) == {"app": "scorer"}
    with pytest.raises(NotFound):
        await scene.get(SERVICES, "absent")
