"""A ladder's status: valid, permitted, reviewed, suspended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.conditions import find
from riskladder.api.ladder import EscalationLadderStatus
from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.enabled import ends_no_pods, missing_components, slow_stops
from riskladder.policy.ladders import update_ladder
from riskladder.policy.plan import LadderUpdate
from riskladder.policy.snapshot import Ladder, is_governed
from riskladder.workloads.registry import Runtimes
from tests.unit.builders import LADDER, NOW, Document, Edit, at, edited, ladder

CREATED = datetime(2026, 11, 1, 15, 30, tzinfo=UTC)


def updated(
    item: Ladder,
    before: EscalationLadderStatus | None = None,
    *,
    missing: tuple[str, ...] = (),
    not_enabled: tuple[str, ...] = (),
    now: datetime = NOW,
    opened: int = 0,
) -> tuple[LadderUpdate, datetime | None]:
    return update_ladder(
        item,
        before or EscalationLadderStatus(),
        created=CREATED,
        open_escalations=opened,
        missing=missing,
        not_enabled=not_enabled,
        now=now,
    )


def test_what_refuses_the_trail_is_said_until_nothing_does() -> None:
    item, why = ladder(), "what is new of Escalation scorer-1 cannot be written: exceeded quota: q"
    at_rest = update_ladder(
        item, EscalationLadderStatus(), created=CREATED, open_escalations=1, missing=(), refusals=[why, why], now=NOW
    )[0]
    assert reason(at_rest, ConditionType.READY) == ("False", Reason.ESCALATION_REFUSED)
    [entry] = at_rest.entries
    assert entry.message == (
        f"nothing new is recorded, nobody is notified of it, and no decision counts: {why} (and 1 more)"
    )
    assert entry.event == Reason.ESCALATION_REFUSED
    healed, _ = updated(item, at_rest.status)
    assert reason(healed, ConditionType.READY) == ("True", Reason.VALID)


def reason(update: LadderUpdate, kind: ConditionType) -> tuple[str, str]:
    found = find(update.status.conditions, kind)
    assert found is not None
    return str(found.status), found.reason


def reviewed(every: str, last: str | None = None) -> Ladder:
    review = {"every": every, **({"lastReviewed": last} if last else {})}
    return ladder(lambda spec: spec["charter"].update(review=review))


def test_valid_ladder_is_in_force() -> None:
    item = ladder(generation=4)
    update, wake = updated(item, opened=2)
    assert reason(update, ConditionType.READY) == ("True", Reason.VALID)
    assert reason(update, ConditionType.SUSPENDED) == ("False", Reason.ACTIVE)
    assert reason(update, ConditionType.REVIEW_CURRENT) == ("True", Reason.NO_REVIEW_CADENCE)
    status = update.status
    assert (status.observed_generation, status.digest, status.open_escalations) == (4, item.digest, 2)
    assert (update.entries, wake) == ((), None)


def test_nothing_changes_while_nothing_changes() -> None:
    item = reviewed("90d")
    status = updated(item)[0].status
    again, _ = updated(item, status, now=at(999))
    assert (again.status, again.entries) == (status, ())


def test_invalid_ladder_says_what_is_wrong_and_warns_once() -> None:
    item = replace(ladder(), spec=None, digest="", problems=("spec.tiers: needs at least one", "spec.x: is odd"))
    update, wake = updated(item)
    assert reason(update, ConditionType.READY) == ("False", Reason.INVALID)
    (entry,) = update.entries
    assert entry.message == "spec.tiers: needs at least one; spec.x: is odd"
    assert (entry.warning, entry.recorded, wake, update.status.digest) == (True, False, None, None)
    assert updated(item, update.status, now=at(1))[0].entries == ()


def test_missing_permissions_are_named_and_warned_of_again_only_when_others_are_missing() -> None:
    item = ladder()
    update, _ = updated(item, missing=("patch deployments", "create events"))
    assert reason(update, ConditionType.READY) == ("False", Reason.PERMISSION_MISSING)
    assert update.entries[0].message == "the operator may not create events; patch deployments"
    assert updated(item, update.status, missing=("create events", "patch deployments"))[0].entries == ()
    fewer, _ = updated(item, update.status, missing=("create events",))
    assert len({entry.key for entry in (*update.entries, *fewer.entries)}) == 2
    granted, _ = updated(item, fewer.status, now=at(1))
    assert (reason(granted, ConditionType.READY), granted.entries) == (("True", Reason.VALID), ())


def test_other_permissions_missing_are_another_warning() -> None:
    """Events are distinguished by their key: as many permissions as before, but not the same ones."""
    first, _ = updated(ladder(), missing=("create events",))
    second, _ = updated(ladder(), first.status, missing=("patch deployments",))
    assert len({entry.key for entry in (*first.entries, *second.entries)}) == 2


def test_suspended_ladder_says_so() -> None:
    update, _ = updated(ladder(lambda spec: spec.update(suspended=True)))
    assert reason(update, ConditionType.SUSPENDED) == ("True", Reason.SUSPENDED)
    assert reason(update, ConditionType.READY) == ("True", Reason.VALID)


@pytest.mark.parametrize(
    ("item", "due"),
    [
        (reviewed("30d", "2026-11-01"), datetime(2026, 12, 2, tzinfo=UTC)),  # the whole last day is in time
        (reviewed("12h", "2026-11-24"), datetime(2026, 11, 25, 12, tzinfo=UTC)),
        (reviewed("30d"), CREATED + timedelta(days=30)),  # never reviewed: from the day it was created
    ],
)
def test_review_is_due_so_long_after_the_last(item: Ladder, due: datetime) -> None:
    before, wake = updated(item, now=due - timedelta(seconds=1))
    assert (reason(before, ConditionType.REVIEW_CURRENT), wake) == (("True", Reason.REVIEW_RECENT), due)
    after, wake = updated(item, before.status, now=due)
    assert (reason(after, ConditionType.REVIEW_CURRENT), wake) == (("False", Reason.REVIEW_OVERDUE), None)
    assert reason(after, ConditionType.READY) == ("True", Reason.VALID), "an overdue review puts nothing out of force"
    again, _ = updated(reviewed("30d", f"{due:%Y-%m-%d}"), after.status, now=due)
    assert reason(again, ConditionType.REVIEW_CURRENT) == ("True", Reason.REVIEW_RECENT)


def selector(**parts: object) -> Edit:
    return lambda spec: spec["governs"].update(selector=parts)


def expression(key: str, operator: str, *values: str) -> Document:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


@pytest.mark.parametrize(
    ("edit", "labels", "governed"),
    [
        (selector(matchLabels={"a": "1"}), {"a": "1", "b": "2"}, True),
        (selector(matchLabels={"a": "1"}), {"a": "2"}, False),
        (selector(matchLabels={"a": "1", "b": "2"}), {"a": "1"}, False),
        (selector(matchLabels={"a": ""}), {}, False),
        (selector(matchExpressions=[expression("a", "In", "1", "2")]), {"a": "2"}, True),
        (selector(matchExpressions=[expression("a", "In", "1", "2")]), {}, False),
        (selector(matchExpressions=[expression("a", "NotIn", "1")]), {"a": "1"}, False),
        (selector(matchExpressions=[expression("a", "NotIn", "1")]), {}, True),  # as metav1.LabelSelector has it
        (selector(matchExpressions=[expression("a", "Exists")]), {"a": ""}, True),
        (selector(matchExpressions=[expression("a", "Exists")]), {}, False),
        (selector(matchExpressions=[expression("a", "DoesNotExist")]), {"a": ""}, False),
        (selector(matchExpressions=[expression("a", "DoesNotExist")]), {}, True),
        (selector(matchLabels={"a": "1"}, matchExpressions=[expression("b", "Exists")]), {"a": "1"}, False),
        (selector(), {"a": "1"}, False),  # governs nothing: a ladder is opt-in
    ],
)
def test_labels_opt_in(edit: Edit, labels: dict[str, str], governed: bool) -> None:
    spec = ladder(edit).spec
    assert spec is not None
    assert is_governed(spec.governs, labels) == governed


def test_ladder_of_these_tests_is_one_that_the_api_server_takes() -> None:
    from riskladder.api.validation import validate

    for edit in (None, lambda spec: spec["tiers"][1]["containment"].update(action="Rollback")):
        assert validate("EscalationLadder", {"metadata": {"name": "credit"}, "spec": edited(LADDER, edit)}) == []


# --- What is not enabled ----------------------------------------------------------------------------------------------

CONTAINMENTS: list[tuple[Document, str, str]] = [
    ({"action": "ScaleToZero"}, "", ""),
    ({"action": "Rollback"}, "", ""),
    ({"action": "Fallback", "fallback": {"service": "scorer", "selector": {"app": "rules"}}}, "action", "fallback"),
    (
        {"action": "Fallback", "fallback": {"httpRoute": "scorer", "backend": "rules"}},
        "action",
        "fallback-httproute",
    ),
    ({"action": "Isolate"}, "action", "isolate"),
    ({"action": "Rollback", "ifImpossible": "Isolate"}, "ifImpossible", "isolate"),
    (
        {"action": "ScaleToZero", "alsoSuspend": [{"kind": "CronWorkflow", "name": "train"}]},
        "alsoSuspend[0]",
        "argo-workflows",
    ),
    ({"action": "ScaleToZero", "alsoSuspend": [{"kind": "ScaledObject", "name": "s"}]}, "alsoSuspend[0]", "keda"),
    ({"action": "ScaleToZero", "alsoSuspend": [{"kind": "CronJob", "name": "train"}]}, "", ""),
]


@pytest.mark.parametrize(("containment", "field", "component"), CONTAINMENTS)
def test_action_that_is_not_enabled_is_named_with_its_field_and_component(
    containment: Document, field: str, component: str
) -> None:
    spec = ladder(lambda spec: spec["tiers"][1].update(containment=containment)).spec
    assert spec is not None
    found = missing_components(spec, Runtimes())
    assert bool(found) == bool(component)
    if component:
        [why] = found
        assert why.startswith(f"spec.tiers[1].containment.{field} ")
        assert f"(--enable={component})" in why
        assert missing_components(spec, Runtimes([component])) == []


def test_ladder_that_asks_for_what_is_not_enabled_is_not_ready_and_warns_once() -> None:
    item = ladder()
    update, _ = updated(item, not_enabled=("one thing", "another"))
    assert reason(update, ConditionType.READY) == ("False", Reason.NOT_ENABLED)
    [entry] = update.entries
    assert (entry.message, entry.warning) == ("one thing; another", True)
    again, _ = updated(item, update.status, not_enabled=("one thing", "another"), now=at(1))
    assert again.entries == ()
    assert reason(updated(item, update.status)[0], ConditionType.READY) == ("True", Reason.VALID)


# --- How fast a stop is -----------------------------------------------------------------------------------------------


def stop_of(item: Ladder, before: EscalationLadderStatus | None = None, now: datetime = NOW, why: str = "") -> Any:
    assert item.spec is not None
    return update_ladder(
        item,
        before or EscalationLadderStatus(),
        created=CREATED,
        open_escalations=0,
        missing=(),
        slow_stops=slow_stops(item.spec, why),
        now=now,
    )[0]


def contained(**containment: Any) -> Ladder:
    return ladder(lambda spec: spec["tiers"][1].update(containment=containment))


@pytest.mark.parametrize(
    ("item", "is_slow"),
    [
        (contained(action="ScaleToZero"), True),  # 5s, the default
        (contained(action="ScaleToZero", grace="10m"), True),
        (contained(action="ScaleToZero", grace="Own"), False),
        (contained(action="Rollback"), False),
        (contained(action="Isolate", grace="1s"), False),
        (ladder(lambda spec: spec["tiers"][1].pop("containment")), False),
    ],
)
def test_ladder_says_where_a_stop_is_slower_than_it_asks_for(item: Ladder, is_slow: bool) -> None:
    why = ends_no_pods(Runtimes())
    said = ("False", Reason.PROMPT_STOP_MISSING) if is_slow else ("True", Reason.PODS_END_AS_ASKED)
    assert reason(stop_of(item, why=why), ConditionType.STOPS_PROMPTLY) == said
    assert reason(stop_of(item), ConditionType.STOPS_PROMPTLY) == ("True", Reason.PODS_END_AS_ASKED)
    assert ends_no_pods(Runtimes(["prompt-stop"])) == ""


def test_slow_stop_is_named_with_its_field_and_remedy_and_warned_of_once() -> None:
    item = contained(action="ScaleToZero")
    update = stop_of(item, why="the operator may not delete pods in namespace models")
    found = find(update.status.conditions, ConditionType.STOPS_PROMPTLY)
    assert found is not None
    assert found.message == (
        "spec.tiers[1].containment.grace: the operator may not delete pods in namespace models: apply the component "
        "prompt-stop; until then a stop takes as long as the pods' terminationGracePeriodSeconds, and a StatefulSet "
        "ends one pod after the other"
    )
    [entry] = update.entries
    assert (entry.event, entry.warning, entry.message) == (Reason.PROMPT_STOP_MISSING, True, found.message)
    again = stop_of(item, update.status, at(1), "the operator may not delete pods in namespace models")
    assert (again.entries, again.status) == ((), update.status)
    assert reason(update, ConditionType.READY) == ("True", Reason.VALID), "the ladder is in force all the same"


def test_nobody_has_looked_at_first() -> None:
    update, _ = updated(ladder())
    assert reason(update, ConditionType.STOPS_PROMPTLY) == ("Unknown", Reason.NOT_YET)


@given(
    length=st.integers(0, 3000),
    kind=st.sampled_from(["missing", "not_enabled", "unproved", "unavailable", "slow_stops"]),
)
def test_what_is_said_is_cut_to_its_bound_and_said_once_however_long(length: int, kind: str) -> None:
    text = "x" * length
    what = {"missing": (text,), "not_enabled": (text,), "unproved": text, "unavailable": {"chat": text}}.get(kind, text)
    more: dict[str, Any] = {"missing": (), kind: what}

    def update(before: EscalationLadderStatus, now: datetime) -> LadderUpdate:
        return update_ladder(ladder(), before, created=CREATED, open_escalations=0, now=now, **more)[0]

    first = update(EscalationLadderStatus(), NOW)
    assert all(len(condition.message) <= 1024 for condition in first.status.conditions)
    again = update(first.status, at(120))
    assert (again.entries, again.status) == ((), first.status)
