"""Input that is wrong, odd or hostile: one clear answer that names the object and the field, and nothing lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from riskladder.api.base import format_time
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Refused
from riskladder.cluster.resources import Resource
from tests.integration.world import INDICATOR, TestNamespace, condition, deployment, ladder, signal


async def test_thresholds_in_the_wrong_order_are_refused(world: TestNamespace) -> None:
    wrong = ladder()
    wrong["spec"]["tiers"][1]["triggers"][0]["above"] = 0.05
    with pytest.raises(Refused, match=r"spec\.tiers.*demographic_parity_difference"):
        await world.apply(wrong)


async def test_unknown_indicator_is_named_and_the_other_readings_count(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    readings = [{"indicator": "typo", "value": 0.9}, {"indicator": INDICATOR, "value": 0.31}]
    await world.apply(signal("fairness", "scorer", None, readings=readings))
    refused = await world.signal_says("fairness", "Ready", "False", "UnknownIndicator")
    assert "typo" in condition(refused, "Ready")["message"]
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")


@pytest.mark.parametrize("raw", ['"NaN"', "1e999", '".inf"', "null"])
async def test_values_that_are_no_finite_number_are_refused(world: TestNamespace, raw: str) -> None:
    body = signal("fairness", "scorer", 12345.0)
    # As text: the value must not pass through Python's own idea of a number.
    text = json.dumps({**body, "metadata": {"name": "fairness"}}).replace("12345.0", raw)
    session = world.client._connection.session
    path = resources.SIGNALS.path(world.namespace)
    async with session.post(
        world.client._connection.server + path, data=text, headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status in (400, 422), await answer.text()


@pytest.mark.parametrize("resource", [resources.SIGNALS, resources.DECISIONS], ids=lambda r: str(r.kind))
@pytest.mark.parametrize("spec", [None, [], "text", 1, {}, {"manual": "text"}, {"manual": []}], ids=repr)
async def test_what_has_no_fields_to_stamp_is_refused_by_its_schema(
    world: TestNamespace, resource: Resource, spec: object
) -> None:
    """The policy that stamps who wrote it comes before the schema, and must not speak in its place."""
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "wrong"}, "spec": spec}
    if spec is None:
        del body["spec"]
    with pytest.raises(ApiError) as refused:
        await world.client.create(resource, world.namespace, body)
    assert refused.value.status in (400, 422, 403), refused.value
    assert "spec" in refused.value.message
    assert "JSON" not in refused.value.message
    assert "riskladder-identity" not in refused.value.message


async def test_reading_from_the_future_is_not_used_and_says_so(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.31, at=datetime.now(UTC) + timedelta(hours=1)))
    refused = await world.signal_says("fairness", "Ready", "False", "InvalidReading")
    assert "spec.observedAt" in condition(refused, "Ready")["message"]
    assert "future" in condition(refused, "Ready")["message"]
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 1
    [event] = [e for e in await world.events("fairness") if e["reason"] == "InvalidReading"]
    assert event["type"] == "Warning"


async def test_corrected_value_with_the_same_time_is_ignored_and_says_so(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    at = datetime.now(UTC)
    await world.apply(signal("fairness", "scorer", 0.05, at=at))
    await world.tier("fairness", "baseline")
    await world.apply(signal("fairness", "scorer", 0.31, at=at))
    said = await world.signal_says("fairness", "Ready", "True", "Accepted")
    assert f"the new value of {INDICATOR} is ignored" in condition(said, "Ready")["message"]
    assert await world.escalations() == []


async def test_older_reading_is_out_of_order_and_does_not_undo_the_newer_one(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    now = datetime.now(UTC)
    await world.apply(signal("fairness", "scorer", 0.31, at=now))
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.apply(signal("fairness", "scorer", 0.01, at=now - timedelta(hours=1)))
    refused = await world.signal_says("fairness", "Ready", "False", "OutOfOrder")
    assert refused["status"]["tier"] == "high"


async def test_signal_for_a_target_of_another_ladder_or_without_the_label(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("other", label="somebody-else")
    await world.serve("unlabelled", label=None)
    for name in ("other", "unlabelled"):
        await world.apply(signal(name, name, 0.31))
        refused = await world.signal_says(name, "Ready", "False", "TargetNotGoverned")
        assert "riskladder.dev/ladder=credit" in condition(refused, "Ready")["message"]
        assert (await world.deployment(name))["spec"]["replicas"] == 1
    assert await world.escalations() == []


async def test_signal_for_nothing_warns_and_works_once_its_target_and_ladder_exist(world: TestNamespace) -> None:
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.signal_says("fairness", "Ready", "False", "LadderNotFound")
    await world.apply(ladder())
    await world.signal_says("fairness", "Ready", "False", "TargetNotFound")
    reasons = {e["reason"] for e in await world.events("fairness")}
    assert {"LadderNotFound", "TargetNotFound"} <= reasons
    await world.serve_without_waiting("scorer")
    await world.escalation_says("scorer", "Contained", "True")
    await world.signal_says("fairness", "Ready", "True", "Accepted")


async def test_untrusted_source_and_unsupported_kind(world: TestNamespace) -> None:
    await world.apply(ladder(trustedSources=["somebody"]))
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.signal_says("fairness", "Ready", "False", "UntrustedSource")
    odd = signal("odd", "scorer", 0.31, source="somebody")
    odd["spec"]["target"]["kind"] = "Teapot"
    await world.apply(odd)
    await world.signal_says("odd", "Ready", "False", "TargetNotSupported")
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 1


async def test_signal_of_a_megabyte_is_refused_and_nothing_else_suffers(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    huge = signal("huge", "scorer", 0.31)
    huge["spec"]["model"] = {"name": "m", "card": "https://example/" + "x" * 1_000_000}
    with pytest.raises(ApiError, match=r"model\.card|request entity too large|Too long"):
        await world.apply(huge)
    annotated = signal("annotated", "scorer", 0.05)
    annotated["metadata"]["annotations"] = {"note": "y" * 200_000}
    await world.apply(annotated)
    await world.tier("annotated", "baseline")


async def test_ladder_deleted_in_mid_escalation(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.client.delete(resources.LADDERS, world.namespace, "credit")
    await world.scale("scorer", 1)

    async def stopped_again() -> bool:
        [escalation] = await world.escalations("scorer")
        return bool(escalation["status"]["containments"][0].get("drift"))

    await world.until(stopped_again, "the pinned policy to stop it again")
    await world.client.delete(resources.SIGNALS, world.namespace, "fairness")
    await world.quiet()
    [escalation] = await world.escalations("scorer")
    assert condition(escalation, "Closed")["status"] == "False"
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 0
    await world.verified(escalation)


async def test_ladder_edited_in_mid_escalation_keeps_the_pinned_policy(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    edited = ladder()
    edited["spec"]["tiers"][1]["triggers"][0]["above"] = 0.9
    await world.apply(edited)
    await world.apply(signal("fairness", "scorer", 0.32))
    await world.tier("fairness", "high")
    [escalation] = await world.escalations("scorer")
    assert escalation["spec"]["policy"]["tiers"][1]["triggers"][0]["above"] == 0.20


async def test_suspended_ladder_evaluates_and_acts_on_nothing_until_it_is_not(world: TestNamespace) -> None:
    await world.apply(ladder(suspended=True))
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "False", "LadderSuspended")
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 1
    await world.apply(ladder(suspended=False))
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")


async def test_drill_signal_touches_nothing(world: TestNamespace) -> None:
    await world.apply(ladder())
    before = await world.serve("scorer")
    await world.apply(signal("drill", "scorer", 0.5, drill=True))
    drill = await world.escalation_says("scorer", "Contained", "False", "Rehearsed")
    assert "permitted and admitted" in condition(drill, "Contained")["message"]
    assert drill["metadata"]["labels"]["riskladder.dev/drill"] == "true"
    assert "riskladder.dev/containment" not in drill["metadata"]["labels"]
    after = await world.deployment("scorer")
    assert after["spec"] == before["spec"]
    drilled = await world.signal_says("drill", "Breached", "True")
    assert "drill" in condition(drilled, "Breached")["message"]


async def test_signal_applied_again_unchanged_a_hundred_times_changes_nothing(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    body = signal("fairness", "scorer", 0.31)
    await world.apply(body)
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.quiet()
    versions = [
        (await world.signal("fairness"))["metadata"]["resourceVersion"],
        (await world.escalations())[0]["metadata"]["resourceVersion"],
        len(await world.events()),
        len(await world.records((await world.escalations())[0]["metadata"]["name"])),
    ]
    for _ in range(100):
        await world.apply(body)
    await world.quiet()
    assert versions == [
        (await world.signal("fairness"))["metadata"]["resourceVersion"],
        (await world.escalations())[0]["metadata"]["resourceVersion"],
        len(await world.events()),
        len(await world.records((await world.escalations())[0]["metadata"]["name"])),
    ]


async def test_one_object_for_each_reading_counts_as_one_stream(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    at = datetime.now(UTC) - timedelta(minutes=5)
    await world.apply(signal("reading-1", "scorer", 0.15, at=at))
    await world.signal_says("reading-1", "Breached", "False", "BreachUnconfirmed")
    await world.apply(signal("reading-2", "scorer", 0.16, at=at + timedelta(minutes=1)))
    await world.escalation_says("scorer", "Contained", "False", "ContainmentNotRequired")
    assert (await world.tier("reading-2", "moderate"))["spec"]["observedAt"] == format_time(at + timedelta(minutes=1))


async def test_label_removed_in_mid_escalation_is_never_touched_again(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.client.merge_patch(
        resources.DEPLOYMENTS, world.namespace, "scorer", {"metadata": {"labels": {"riskladder.dev/ladder": None}}}
    )
    await world.escalation_says("scorer", "ContainmentHolds", "False", "TargetReleased")
    await world.scale("scorer", 1)
    await world.quiet()
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 1


async def test_ladder_of_another_namespace_is_not_found(world: TestNamespace) -> None:
    await world.apply(deployment("scorer"))
    await world.apply(signal("fairness", "scorer", 0.31))
    refused = await world.signal_says("fairness", "Ready", "False", "LadderNotFound")
    assert world.namespace in condition(refused, "Ready")["message"]
