"""People: who is notified and when, what a missed deadline does, what counts as a decision, and how it all ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import yaml

from riskladder.api.labels import LABEL_CONTAINMENT
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.signal import Manual, ModelInfo
from riskladder.api.tiers import ContainmentAction
from riskladder.controller.notification_queue import notice_of
from riskladder.notify.forms import Form
from riskladder.notify.render import body
from riskladder.policy.decide import decide
from riskladder.policy.decisions.keep import RECENT
from riskladder.policy.snapshot import PolicyInForce
from riskladder.policy.trail import after_close
from riskladder.workloads.companions.suspend import Companion
from tests.unit.builders import NOW, Document, Scene, at, edited, ladder, signal, workload

LADDER = yaml.safe_load("""
charter: {owner: model-risk}
governs: {selector: {matchLabels: {ladder: credit}}}
stakeholders:
- {role: model-risk, notify: [risk]}
- {role: data-science, notify: [chat], alternates: [ml-platform]}
- {role: ml-platform, notify: [chat]}
- {role: legal, notify: [pager, email], alternates: [deputy]}
- {role: deputy, notify: [pager]}
- {role: executive, notify: [email]}
channels:
- {name: risk, type: Webhook, url: "https://hooks.example/risk", secretKey: risk}
- {name: chat, type: Apprise, secretKey: chat}
- {name: email, type: Apprise, secretKey: email}
- {name: pager, type: PagerDuty, secretKey: pager}
indicators:
- {name: bias}
- {name: drift}
tiers:
- name: moderate
  triggers: [{indicator: bias, above: 0.1}, {indicator: drift, above: 0.2}]
  notify: [{role: data-science}, {role: model-risk, after: 10m}]
  acknowledge: {within: 30m, remindEvery: 10m}
  decide: {within: 24h, quorum: [{role: model-risk}]}
  onTimeout: Escalate
  acceptRisk: {atMost: 30d}
  closesWhen: {for: 1h}
- name: high
  triggers: [{indicator: bias, above: 0.2}]
  notify: [{role: legal}, {role: executive, after: 5m}]
  acknowledge: {within: 10m, remindEvery: 5m}
  decide: {within: 1h, quorum: [{role: legal}, {role: executive}]}
  onTimeout: Hold
  containment: {action: ScaleToZero}
  acceptRisk: {atMost: 30d}
  resume: {quorum: [{role: legal}, {role: model-risk}], watchFor: 1h}
  clocks: [{name: art-73, within: 15d, role: legal}]
""")
MODERATE, HIGH = {"drift": 0.3}, {"bias": 0.3}


def scene(
    *, edit: Callable[[Document], object] | None = None, owners: tuple[str, ...] = (), **readings: float
) -> Scene:
    """An escalation that has just been opened."""
    document = edited(LADDER, edit)
    made = ladder(lambda spec: (spec.clear(), spec.update(document)))
    cause = signal(**readings)
    if owners:
        assert cause.spec is not None
        info = {"name": "credit", "owners": owners}
        cause = replace(cause, spec=cause.spec.model_copy(update={"model": ModelInfo.model_validate(info)}))
    found = Scene([cause], ladders=[made])
    found.run()
    return found


def later(found: Scene, minutes: float) -> Scene:
    """So long after the breach, with everything written that is due by then."""
    found.now = at(minutes)
    found.run()
    return found


# --- Notifying --------------------------------------------------------------------------------------------------------


def test_roles_are_notified_in_order_and_with_their_delays() -> None:
    found = scene(**MODERATE)
    assert found.pending() == ["1/data-science/notified/chat"]
    assert found.plan().wake_at == at(10)
    later(found, 9.9)
    assert found.pending() == ["1/data-science/notified/chat"]
    later(found, 10)
    assert "1/model-risk/notified/risk" in found.pending()


def test_notification_is_on_record_once_it_is_delivered() -> None:
    found = scene(**MODERATE)
    found.deliver(error="connection refused")
    [notified] = found.escalation.status.notifications
    assert (notified.attempts, notified.last_error, str(notified.state)) == (1, "connection refused", "Pending")
    assert Reason.NOTIFIED not in found.events()
    found.deliver()
    [notified] = found.escalation.status.notifications
    assert (notified.attempts, notified.last_error, str(notified.state)) == (2, "", "Delivered")
    assert found.events().count(Reason.NOTIFIED) == 1


def test_reminders_stop_when_the_role_has_answered() -> None:
    found = scene(**MODERATE)
    found.deliver()
    later(found, 10)
    assert "1/data-science/remind-1/chat" in found.pending()
    found.deliver()
    found.decide("Acknowledge", "data-science")
    later(found, 45)
    assert not [key for key in found.pending() if key.startswith("1/data-science/remind")]


def test_late_reminder_is_sent_once_not_once_for_each_that_was_missed() -> None:
    found = scene(**MODERATE)
    found.deliver()
    later(found, 29)
    assert [k for k in found.pending() if "remind" in k] == [
        "1/data-science/remind-2/chat",
        "1/model-risk/remind-1/risk",
    ] or [k for k in found.pending() if "remind" in k] == ["1/data-science/remind-2/chat"]


def test_alternates_are_notified_when_nobody_acknowledges_and_act_for_the_role() -> None:
    found = scene(**MODERATE)
    found.deliver()
    later(found, 30)
    assert "1/ml-platform/for-data-science/chat" in found.pending()
    assert Reason.ACKNOWLEDGEMENT_OVERDUE in found.events()
    found.deliver()
    found.decide("Acknowledge", "ml-platform")
    assert found.reason(ConditionType.ACKNOWLEDGED) == ("True", Reason.ACKNOWLEDGED)
    later(found, 50)
    assert not [k for k in found.pending() if k.startswith("1/data-science/remind")]


def test_dead_channel_falls_through_to_the_alternates() -> None:
    found = scene(**HIGH)
    assert {"1/legal/notified/pager", "1/legal/notified/email"} <= set(found.pending())
    for _ in range(3):
        found.deliver("pager", error="timeout")
    assert "1/deputy/for-legal/pager" not in found.pending(), "the other channel may still carry it"
    found.deliver("email", error="no such host", given_up=True)
    assert "1/deputy/for-legal/pager" in found.pending()
    assert Reason.NOTIFICATION_FAILED in found.events()


def test_role_without_channel_is_notified_through_events() -> None:
    found = scene(edit=lambda spec: spec["stakeholders"][1].pop("notify"), **MODERATE)
    [notified] = found.escalation.status.notifications
    assert (notified.channel, str(notified.state)) == ("events", "Delivered")


def test_higher_rung_notifies_its_own_people_and_drops_what_was_not_delivered() -> None:
    found = scene(**MODERATE)
    found.signals = [signal(at=at(5), status=found.signals[0].status, **HIGH)]
    later(found, 5)
    states = {n.key: str(n.state) for n in found.escalation.status.notifications}
    assert states["1/data-science/notified/chat"] == "Skipped"
    assert states["2/legal/notified/pager"] == "Pending"


def test_alert_of_a_rung_that_was_left_is_resolved() -> None:
    def edit(spec: Document) -> None:
        spec["channels"][1] = {"name": "chat", "type": "Alertmanager", "url": "http://alertmanager.example:9093"}

    found = scene(edit=edit, **MODERATE)
    found.deliver()
    found.signals = [signal(at=at(5), status=found.signals[0].status, **HIGH)]
    later(found, 5)
    assert "1/data-science/left/chat" in found.pending()
    [left] = [n for n in found.escalation.status.notifications if n.about == Reason.RUNG_LEFT]
    assert (left.rung, left.tier) == (1, "moderate")


def test_incident_channels_hear_that_somebody_has_taken_it_and_all_that_it_is_over() -> None:
    found = scene(**HIGH)
    found.deliver()
    found.decide("Acknowledge", "deputy")
    assert found.deliver() == ["1/legal/acknowledged/pager"]
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    assert set(found.pending()) == {"resumed-1/legal/pager", "resumed-1/legal/email"}


# --- Deadlines --------------------------------------------------------------------------------------------------------


def test_rung_that_nobody_answers_escalates_and_contains() -> None:
    found = scene(**MODERATE)
    later(found, 30)
    assert found.escalation.status.tier == "moderate", "the alternates have had no time yet"
    later(found, 60)
    rung = found.escalation.status.rung
    assert rung is not None
    assert (rung.tier, rung.reason, rung.number, rung.entered_at) == ("high", Reason.STALLED, 2, at(60))
    assert found.target is not None
    assert found.target.replicas == 0, "the tier that was entered contains at once"
    assert found.reason(ConditionType.STALLED)[0] == "True"


def test_missed_decision_escalates_though_somebody_acknowledged() -> None:
    found = scene(**MODERATE)
    found.decide("Acknowledge", "data-science")
    later(found, 24 * 60 - 1)
    assert found.escalation.status.tier == "moderate"
    later(found, 24 * 60)
    assert found.escalation.status.tier == "high"
    assert Reason.DECISION_OVERDUE in found.events()


def test_deadline_found_late_has_its_effect_once_and_says_how_late() -> None:
    found = scene(**MODERATE)
    later(found, 24 * 60 + 90)
    message = next(e.message for e in found.entries if e.event is Reason.DECISION_OVERDUE)
    assert "(1 h 30 min late)" in message
    later(found, 24 * 60 + 91)
    assert found.events().count(Reason.STALLED) == 1


def test_hold_keeps_reminding_and_notifies_the_owner() -> None:
    found = scene(**HIGH)
    found.deliver()
    found.decide("Acknowledge", "legal")
    later(found, 60)
    assert "1/model-risk/stalled/risk" in found.pending()
    assert "1/model-risk/decision-overdue/risk" not in found.pending(), "the same thing at the same time"
    found.deliver()
    later(found, 66)
    assert "1/executive/remind-1/email" in found.pending()
    assert (
        not [k for k in found.pending() if k.startswith("1/legal/remind")]
        or "1/legal/remind-1/email" in found.pending()
    )
    assert found.escalation.status.next_deadline == at(60)


def test_interim_containment_at_the_deadline() -> None:
    def edit(spec: Document) -> None:
        spec["tiers"][1] |= {"onTimeout": "Contain", "containment": {"when": "OnTimeout", "action": "ScaleToZero"}}

    found = scene(edit=edit, **HIGH)
    assert found.target is not None
    assert found.target.replicas == 3
    later(found, 60)
    assert found.target.replicas == 0
    [intent] = found.escalation.intents
    assert intent.reason == Reason.INTERIM_CONTAINMENT


def test_containment_that_is_not_proved_in_time_enters_the_next_rung() -> None:
    def edit(spec: Document) -> None:
        spec["tiers"][0]["containment"] = {"action": "Rollback"}

    found = scene(edit=edit)
    found.signals = [signal(**MODERATE)]
    found.intend()
    found.now = at(3)
    for _ in range(3):
        plan = found.plan()
        if plan.stop is not None:
            plan = decide(found.snapshot(), found.now, urgent=False)
        found.carry_out(plan)
    assert found.escalation.status.tier == "high"


# --- Decisions --------------------------------------------------------------------------------------------------------


def test_quorum_resumes_exactly_what_was_there_and_lifts_the_lock() -> None:
    found = scene(**HIGH)
    assert found.target is not None
    assert found.escalation.labels[LABEL_CONTAINMENT] == "ScaleToZero"
    first = found.decide("Resume", "legal")
    assert found.verdict(first) == ("True", Reason.COUNTED)
    assert found.target.replicas == 0
    second = found.decide("Resume", "model-risk")
    assert found.verdict(second) == ("True", Reason.QUORUM_MET)
    assert found.target.replicas == 3
    assert LABEL_CONTAINMENT not in found.escalation.labels
    assert found.reason(ConditionType.CONTAINED) == ("False", Reason.RESUMED)
    status = found.escalation.status
    assert status.resume is not None
    assert status.resume.applied_at is not None
    assert status.waiting_on == ("executive", "legal"), "to close it is theirs"
    assert found.events().count(Reason.RESUMED) == found.events().count(Reason.RESTORED) == 1


def in_steps(*shares: str) -> Callable[[Document], object]:
    return lambda spec: spec["tiers"][1]["resume"].update(steps=list(shares))


def test_resume_in_steps_waits_for_a_fresh_reading_at_baseline_between_them() -> None:
    found = scene(edit=in_steps("10%", "50%", "100%"), **HIGH)
    assert found.target is not None
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    assert found.target.replicas == 1, "10 % of 3, rounded up"
    later(found, 59)
    found.signals = [signal(at=at(30), status=found.signals[0].status, bias=0.01)]
    found.run()
    assert found.target.replicas == 1, "it is still watched"
    later(found, 60)
    assert found.target.replicas == 2
    later(found, 200)
    assert found.target.replicas == 2, "no reading was observed since"
    early = found.decide("Close", "legal", resolution="Remediated")
    assert found.verdict(early) == ("False", Reason.STILL_CONTAINED)
    found.signals = [signal(at=at(201), status=found.signals[0].status, bias=0.01)]
    later(found, 201)
    assert found.target.replicas == 3
    assert found.events().count(Reason.RESTORED) == 3
    assert found.escalation.status.resume is not None
    assert found.escalation.status.resume.applied_at == at(201)


def test_breach_between_steps_contains_again() -> None:
    found = scene(edit=in_steps("50%", "100%"), **HIGH)
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    found.signals = [signal(at=at(30), status=found.signals[0].status, **HIGH)]
    later(found, 30)
    assert found.target is not None
    assert found.target.replicas == 0
    assert found.escalation.status.restore is not None
    assert found.escalation.status.restore.replicas == 3, "what was there at first, not one step of it"


def test_resumed_model_is_contained_again_when_a_later_reading_breaches() -> None:
    found = scene(**HIGH)
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    found.signals = [signal(at=at(20), status=found.signals[0].status, **HIGH)]
    later(found, 20)
    assert found.target is not None
    assert found.target.replicas == 0
    rung = found.escalation.status.rung
    assert rung is not None
    assert (rung.number, rung.reason) == (2, Reason.BREACHED_AGAIN)
    assert found.escalation.status.restore is not None
    assert found.escalation.status.restore.replicas == 3
    third = found.decide("Resume", "legal")
    assert found.verdict(third) == ("True", Reason.COUNTED), "the votes of the first time are used up"
    assert found.target.replicas == 0


def test_accepted_risk_is_quiet_until_its_date_and_reopens() -> None:
    found = scene(**MODERATE)
    found.deliver()
    accepted = found.decide("AcceptRisk", "model-risk", until="2026-12-01T00:00:00Z")
    assert found.verdict(accepted) == ("True", Reason.QUORUM_MET)
    later(found, 48 * 60)
    assert found.escalation.status.tier == "moderate"
    assert found.escalation.status.waiting_on == ()
    found.now = NOW + timedelta(days=7)
    found.run()
    rung = found.escalation.status.rung
    assert rung is not None
    assert (rung.number, rung.reason) == (2, Reason.RISK_ACCEPTANCE_EXPIRED)
    assert "2/data-science/notified/chat" in found.pending()


def test_worse_tier_ends_an_acceptance() -> None:
    found = scene(**MODERATE)
    found.decide("AcceptRisk", "model-risk", until="2026-12-01T00:00:00Z")
    found.signals = [signal(at=at(20), status=found.signals[0].status, **HIGH)]
    later(found, 20)
    assert found.escalation.status.tier == "high"
    assert found.escalation.status.risk_acceptance is None
    assert Reason.RISK_ACCEPTANCE_OVERTAKEN in found.events()


def test_closed_escalation_is_not_opened_again_by_what_was_known() -> None:
    found = scene(**MODERATE)
    closed = found.decide("Close", "model-risk", resolution="FalsePositive")
    assert found.verdict(closed) == ("True", Reason.QUORUM_MET)
    assert found.reason(ConditionType.CLOSED) == ("True", Reason.FALSE_POSITIVE)
    later(found, 60)
    assert len(found.escalations) == 1
    found.signals = [signal(at=at(61), status=found.signals[0].status, **MODERATE)]
    later(found, 61)
    assert len(found.escalations) == 2


def test_stop_button_contains_whatever_the_tier_says() -> None:
    found = scene(**MODERATE)
    assert found.target is not None
    decision = found.decide("Contain", "data-science")
    assert found.verdict(decision) == ("True", Reason.CONTAINED_MANUALLY)
    assert found.target.replicas == 0
    [intent] = found.escalation.intents
    assert (intent.reason, intent.decision, intent.action) == (
        Reason.CONTAINED_MANUALLY,
        decision.name,
        ContainmentAction.SCALE_TO_ZERO,
    )


@pytest.mark.parametrize("lesser_breach_stands", [False, True])
def test_model_stopped_manually_is_stopped_again_when_it_is_deleted_and_created(lesser_breach_stands: bool) -> None:
    found = scene(**MODERATE)
    found.decide("Contain", "data-science")
    found.signals = list(found.signals) if lesser_breach_stands else []
    found.target = workload(uid="another-uid")
    found.run()
    assert found.target.replicas == 0
    assert [e.is_open for e in found.escalations] == [False, True]
    [intent] = found.escalation.intents
    assert intent.reason == Reason.TARGET_RECREATED
    assert found.escalation.labels[LABEL_CONTAINMENT] == "ScaleToZero"


@pytest.mark.parametrize("breach_stands", [False, True])
def test_what_was_stopped_is_let_go_only_once_another_escalation_holds_it(breach_stands: bool) -> None:
    """A write that contains the new object may fail, under rivals; meanwhile the trail is written."""
    found = scene(**(HIGH if breach_stands else MODERATE))
    if not breach_stands:
        found.decide("Contain", "data-science")
        found.signals = []
    before = found.escalation
    found.target = workload(uid="another-uid")
    for _ in range(3):
        found.carry_out(decide(found.snapshot(), found.now, urgent=False))
        assert [(e.name, e.is_open) for e in found.escalations] == [(before.name, True)]
    found.run()
    assert found.target.replicas == 0
    assert [e.is_open for e in found.escalations] == [False, True]


def test_what_nobody_governs_any_more_is_let_go_without_another_escalation() -> None:
    found = scene(**MODERATE)
    found.decide("Contain", "data-science")
    found.signals, found.target = [], workload(uid="another-uid", labels={})
    found.run()
    assert [e.is_open for e in found.escalations] == [False]


def test_stop_button_without_any_breach() -> None:
    quiet = signal(bias=0.01)
    stop = signal("stop", source="manual", manual="high")
    assert stop.spec is not None
    manual = Manual.model_validate({"tier": "moderate", "rationale": "smells", "containment": "ScaleToZero"})
    stop = replace(stop, spec=stop.spec.model_copy(update={"manual": manual}))
    found = Scene([quiet, stop], ladders=[ladder(lambda spec: (spec.clear(), spec.update(LADDER)))])
    found.run()
    assert found.target is not None
    assert found.target.replicas == 0
    assert found.escalation.status.tier == "moderate"


def test_stop_button_works_while_the_risk_is_accepted() -> None:
    found = scene(**MODERATE)
    found.decide("AcceptRisk", "model-risk", until="2026-12-01T00:00:00Z")
    stop = signal("stop", source="manual", manual="moderate", at=at(5))
    assert stop.spec is not None
    manual = Manual.model_validate({"tier": "moderate", "rationale": "smells", "containment": "ScaleToZero"})
    found.signals = [*found.signals, replace(stop, spec=stop.spec.model_copy(update={"manual": manual}))]
    later(found, 5)
    assert found.target is not None
    assert found.target.replicas == 0


def test_objection_blocks_until_it_is_withdrawn() -> None:
    found = scene(**HIGH)
    found.decide("Object", "legal")
    blocked = found.decide("Resume", "model-risk")
    assert found.verdict(blocked) == ("False", Reason.OBJECTION_STANDS)
    assert found.verdict(found.decide("Object", "executive", withdraw=True)) == ("False", Reason.NOTHING_TO_WITHDRAW)
    found.decide("Object", "legal", withdraw=True)
    assert found.verdict(found.decide("Resume", "model-risk")) == ("True", Reason.COUNTED)


def test_comment_meets_a_clock_and_lets_it_be_closed() -> None:
    found = scene(**HIGH)
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    early = found.decide("Close", "legal", resolution="Remediated")
    assert found.verdict(early) == ("False", Reason.CLOCK_RUNNING)
    found.decide("Comment", "legal", clock="art-73")
    [clock] = found.escalation.status.clocks
    assert clock.met_at == NOW
    found.decide("Close", "legal", resolution="Remediated")
    found.decide("Close", "executive", resolution="Remediated")
    assert not found.escalation.is_open


def test_clock_is_reminded_of_at_half_time_a_day_before_and_when_overdue() -> None:
    found = scene(**HIGH)
    found.decide("AcceptRisk", "legal", until="2026-12-20T00:00:00Z")
    found.decide("AcceptRisk", "executive", until="2026-12-20T00:00:00Z")
    keys = []
    for days in (7.4, 7.5, 13.9, 14, 15):
        later(found, days * 24 * 60)
        keys += [key for key in found.deliver() if key.startswith("clock/") and key.endswith("email")]
    assert keys == [f"clock/art-73/{stage}/email" for stage in ("half", "day", "overdue")]


@pytest.mark.parametrize(
    ("action", "role", "more", "reason"),
    [
        ("Acknowledge", "janitor", {}, Reason.UNKNOWN_ROLE),
        ("Acknowledge", "legal", {"authorized": False}, Reason.NOT_AUTHORIZED),
        ("Escalate", "legal", {"tier": "moderate"}, Reason.TIER_NOT_HIGHER),
        ("Escalate", "legal", {"tier": "nonsense"}, Reason.UNKNOWN_TIER),
        ("Resume", "executive", {}, Reason.NOT_IN_QUORUM),
        ("Resume", "legal", {"by": "ana"}, Reason.MODEL_OWNER),
        ("Close", "legal", {"resolution": "Remediated"}, Reason.STILL_CONTAINED),
        ("Close", "legal", {"resolution": "Retired"}, Reason.CLOCK_RUNNING),
        ("AcceptRisk", "legal", {"until": "2027-12-01T00:00:00Z"}, Reason.NOT_ACCEPTABLE),
        ("AcceptRisk", "legal", {"until": "2026-11-23T00:00:00Z"}, Reason.NOT_ACCEPTABLE),
        ("AcceptRisk", "legal", {"until": "2026-12-01T00:00:00Z", "created": at(-1)}, Reason.RUNG_CHANGED),
        ("AcceptRisk", "data-science", {"until": "2026-12-01T00:00:00Z"}, Reason.NOT_IN_QUORUM),
        ("Object", "data-science", {}, Reason.NOT_IN_QUORUM),
        ("Comment", "legal", {"clock": "other"}, Reason.UNKNOWN_CLOCK),
        ("Review", "model-risk", {"review": {"policyUpdated": True, "satisfaction": 4}}, Reason.ESCALATION_OPEN),
    ],
)
def test_refused(action: str, role: str, more: dict[str, Any], reason: Reason) -> None:
    found = scene(owners=("ana",), **HIGH)
    decision = found.decide(action, role, **more)
    assert found.verdict(decision) == ("False", reason)
    assert [e.detail["refusedBecause"] for e in found.entries if e.event is Reason.DECISION_REFUSED] == [reason]


def real_people_only(spec: Document) -> None:
    spec["decisions"] = {"allowImpersonated": False}


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("AcceptRisk", {"until": "2026-12-01T00:00:00Z"}),
        ("Resume", {}),
        ("Close", {"resolution": "Retired"}),
    ],
)
def test_ladder_may_refuse_what_is_decided_by_impersonation(action: str, more: dict[str, Any]) -> None:
    found = scene(edit=real_people_only, **HIGH)
    found.decide("Comment", "legal", clock="art-73")
    refused = found.decide(action, "legal", **more)
    assert found.verdict(refused) == ("False", Reason.IMPERSONATED)
    [entry] = [e for e in found.entries if e.event is Reason.DECISION_REFUSED]
    assert entry.message == (
        f"legal@bank.example as legal: {action} refused: spec.decidedBy.credentialID: found none for "
        "legal@bank.example, expected that of a token or a client certificate, since decisions.allowImpersonated of "
        f"the ladder is false: decide on {action} with credentials of your own, without --as"
    )
    named = {"username": "legal@bank.example", "credentialID": "JTI=0b1c"}
    counted = found.decide(action, "legal", decidedBy=named, **more)
    assert found.verdict(counted)[0] == "True"


@pytest.mark.parametrize("action", ["Acknowledge", "Comment", "Contain", "Object"])
def test_what_brings_no_model_back_may_be_decided_by_impersonation(action: str) -> None:
    found = scene(edit=real_people_only, **HIGH)
    assert found.verdict(found.decide(action, "legal"))[0] == "True"


def test_escalation_keeps_whether_impersonation_is_allowed_as_it_was_when_it_was_opened() -> None:
    found = scene(**HIGH)
    found.ladders = [ladder(lambda spec: (spec.clear(), spec.update(edited(LADDER, real_people_only))), generation=2)]
    assert found.verdict(found.decide("Resume", "legal"))[0] == "True"


def test_one_person_counts_once_for_a_quorum() -> None:
    found = scene(**HIGH)
    found.decide("Resume", "legal", by="eve")
    again = found.decide("Resume", "model-risk", by="eve")
    assert found.verdict(again) == ("False", Reason.ALREADY_COUNTED)


@pytest.mark.parametrize(
    "proof", [PolicyInForce("there is no policy"), PolicyInForce(since=NOW), PolicyInForce(since=at(1))]
)
def test_nothing_counts_that_is_not_proved(proof: PolicyInForce) -> None:
    found = scene(**HIGH)
    found.proof = proof
    decision = found.decide("Contain", "legal")
    assert found.verdict(decision) == ("False", Reason.NOT_PROVED)


def test_decision_behind_many_that_have_no_effect_still_counts() -> None:
    found = scene(**HIGH)
    for _ in range(40):
        found.decide("Comment", "legal")
    assert len(found.escalation.status.decisions) == RECENT + 1
    found.decide("Resume", "legal")
    assert found.verdict(found.decide("Resume", "model-risk")) == ("True", Reason.QUORUM_MET)


def test_acknowledging_is_no_vote_so_the_role_is_reminded_after_the_deadline_to_decide() -> None:
    found = scene(**HIGH)
    found.deliver()
    found.decide("Acknowledge", "legal")
    later(found, 60)
    found.deliver()
    later(found, 66)
    assert "1/legal/undecided-1/email" in found.pending()


def test_breach_after_a_resume_in_a_tier_that_waits_for_a_decision_notifies_people_again() -> None:
    found = scene(edit=lambda spec: spec["tiers"][1]["containment"].update(when="OnDecision"), **HIGH)
    found.decide("Contain", "legal")
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    found.signals = [signal(at=at(20), status=found.signals[0].status, **HIGH)]
    later(found, 20)
    rung = found.escalation.status.rung
    assert rung is not None
    assert (rung.number, rung.reason) == (2, Reason.BREACHED_AGAIN)
    assert "2/legal/notified/pager" in found.pending()


def test_acceptance_ends_with_a_close_that_is_not_about_it() -> None:
    found = scene(**MODERATE)
    found.decide("AcceptRisk", "model-risk", until="2026-12-01T00:00:00Z")
    found.decide("Close", "model-risk", resolution="Remediated")
    found.now = NOW + timedelta(days=8)
    found.run()
    assert len(found.escalations) == 1


def test_acceptance_outlasts_a_close_that_rests_on_it() -> None:
    found = scene(**MODERATE)
    found.decide("AcceptRisk", "model-risk", until="2026-12-01T00:00:00Z")
    found.decide("Close", "model-risk", resolution="RiskAccepted")
    found.signals = [signal(at=at(20), status=found.signals[0].status, **MODERATE)]
    later(found, 20)
    assert len(found.escalations) == 1
    found.now = NOW + timedelta(days=8)
    found.run()
    assert len(found.escalations) == 2


def test_review_comes_after_the_close_and_from_the_owner() -> None:
    found = scene(**MODERATE)
    found.decide("Close", "model-risk", resolution="Remediated")
    report = {"policyUpdated": True, "satisfaction": 4, "lessons": "look earlier"}
    for role, reason in (("data-science", Reason.NOT_IN_QUORUM), ("model-risk", Reason.REVIEWED)):
        decision = found.decide("Review", role, review=report)
        trail = after_close(found.escalation, (decision,), found.proof, found.now)
        assert trail.decisions[0].status.conditions[0].reason == reason
    assert trail.update.status.review is not None
    assert trail.update.status.review.satisfaction == 4
    late = found.decide("Resume", "model-risk")
    trail = after_close(found.escalation, (late,), found.proof, found.now)
    assert trail.decisions[0].status.conditions[0].reason == Reason.ESCALATION_CLOSED


def test_rollback_never_goes_back_to_what_an_escalation_was_about() -> None:
    found = scene(edit=lambda spec: spec["tiers"][1]["containment"].update(action="Rollback"), **HIGH)
    assert found.target is not None
    assert found.target.current is not None
    assert found.target.current.hash == "hash1"
    for role in ("legal", "model-risk"):
        found.decide("Resume", role)
    found.decide("Comment", "legal", clock="art-73")
    for role in ("legal", "executive"):
        found.decide("Close", role, resolution="Remediated")
    assert not found.escalation.is_open
    # As the Deployment's controller numbers them: what was gone back to is the newest now, what breached comes before.
    numbers = {"hash1": 3, "hash2": 2}
    revisions = tuple(replace(r, number=numbers[r.hash]) for r in found.target.revisions)
    found.target = replace(found.target, revisions=revisions)
    found.signals = [signal(at=at(30), status=found.signals[0].status, **HIGH)]
    later(found, 30)
    assert found.escalation.intents[0].action is ContainmentAction.SCALE_TO_ZERO
    assert "breached before" in found.escalation.intents[0].message


def test_replicas_of_a_resume_that_was_broken_off_come_back_after_a_rollback_too() -> None:
    def edit(spec: Document) -> None:
        spec["tiers"][1]["resume"].update(steps=["10%", "100%"])

    found = scene(edit=edit, **HIGH)
    for role in ("legal", "model-risk"):
        found.decide("Resume", role)
    assert found.target is not None
    assert found.target.replicas == 1
    found.decide("Contain", "legal", containment="Rollback")
    later(found, 1)
    assert found.escalation.intents[-1].action is ContainmentAction.ROLLBACK
    for role in ("legal", "model-risk"):
        found.decide("Resume", role)
    assert found.escalation.status.resume is not None
    assert found.escalation.status.resume.steps == (1, 3)


def test_record_of_a_higher_tier_names_the_reading_that_raised_it() -> None:
    found = scene(**MODERATE)
    found.signals = [signal(at=at(5), status=found.signals[0].status, **HIGH)]
    later(found, 5)
    raised = next(e for e in found.entries if e.key == "tier/high")
    assert (raised.detail["signal"], raised.detail["reading.bias"]) == ("fairness", "0.3")
    assert "bias=0.3" in raised.message


def test_silence_is_called_by_its_name() -> None:
    def edit(spec: Document) -> None:
        spec["indicators"][0] |= {"staleAfter": "1h", "whenStale": "moderate"}

    document = edited(LADDER, edit)
    found = Scene([signal(bias=0.01)], ladders=[ladder(lambda spec: (spec.clear(), spec.update(document)))])
    found.run()
    later(found, 61)
    assert "nothing has been heard of bias since" in found.entries[0].message or any(
        "nothing has been heard of bias since" in e.message for e in found.entries
    )
    assert "nothing has been heard of bias" in found.escalation.status.notifications[0].message


# --- What is suspended with the model -------------------------------------------------------------------------------


def with_cronjobs(*names: str) -> Callable[[Document], object]:
    return lambda spec: spec["tiers"][1]["containment"].update(
        alsoSuspend=[{"kind": "CronJob", "name": name} for name in names]
    )


def cronjob(name: str, *, suspended: bool = False, problem: str = "") -> Companion:
    return Companion("CronJob", name, "" if problem else f"{name}-uid", suspended, True, problem)


def look(found: Scene, *seen: Companion) -> None:
    """The operator looks at the companion workloads, and writes what is due."""
    found.companions = {(b.kind, b.name): b for b in seen}
    found.run()


def test_companion_workload_is_suspended_and_runs_again_after_a_resume() -> None:
    found = scene(edit=with_cronjobs("retrain", "collect", "asleep"), **HIGH)
    look(found, cronjob("retrain"), cronjob("collect", problem="not found"), cronjob("asleep", suspended=True))
    assert found.switched == [("retrain", True)]
    assert found.companions["CronJob", "retrain"].suspended
    by_name = {b.name: b for b in found.escalation.status.companions}
    assert by_name["retrain"].suspended_at is not None
    assert by_name["asleep"].was
    assert by_name["collect"].problem == "not found"
    assert found.events().count(Reason.NOT_SUSPENDED) == 1
    found.companions["CronJob", "retrain"] = cronjob("retrain")
    later(found, 1)
    assert found.switched == [("retrain", True)] * 2, "somebody let it run: suspended again"
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    assert found.switched[2:] == [("retrain", False)], "what was asleep before stays so"
    assert found.events().count(Reason.ALSO_RESUMED) == 1


# --- A Resume under a ladder that is suspended ------------------------------------------------------------------------


def suspend(found: Scene, *, on: bool = True) -> None:
    """Somebody suspends the ladder, or takes that back."""
    [kept] = found.ladders
    assert kept.spec is not None
    spec = kept.spec.model_copy(update={"suspended": on})
    found.ladders = [replace(kept, spec=spec, generation=kept.generation + 1)]
    found.run()


@pytest.mark.parametrize("steps", [[], ["10%", "100%"]])
def test_resume_under_a_suspended_ladder_restores(steps: list[str]) -> None:
    found = scene(edit=lambda spec: spec["tiers"][1]["resume"].update(steps=steps), **HIGH)
    suspend(found)
    found.decide("Resume", "legal")
    assert found.target is not None
    assert (found.target.replicas, found.target.carried.lock) == (0, "ScaleToZero"), "locked as long as it is contained"
    found.decide("Resume", "model-risk")
    assert found.target is not None
    assert found.target.replicas == (1 if steps else 3)
    assert found.target.carried.is_empty, "the lock goes with the restoring"
    assert found.events().count(Reason.RESTORED) == 1
    if steps:
        found.signals = [signal(bias=0.05, at=at(59))]
        later(found, 61)
        assert found.target.replicas == 3
    assert found.escalation.status.resume is not None
    assert found.escalation.status.resume.applied_at is not None, "it can be closed"


def test_companion_runs_again_after_a_resume_under_a_suspended_ladder() -> None:
    found = scene(edit=with_cronjobs("retrain"), **HIGH)
    look(found, cronjob("retrain"))
    suspend(found)
    found.companions["CronJob", "retrain"] = cronjob("retrain")
    later(found, 1)
    assert found.switched == [("retrain", True)], "a suspended ladder suspends nothing again"
    found.companions["CronJob", "retrain"] = cronjob("retrain", suspended=True)
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    assert found.switched[1:] == [("retrain", False)]


# --- Drills -----------------------------------------------------------------------------------------------------------


def test_drill_touches_nothing_and_has_a_result() -> None:
    document = edited(LADDER, None)
    found = Scene([signal(drill=True, **HIGH)], ladders=[ladder(lambda spec: (spec.clear(), spec.update(document)))])
    found.run()
    assert found.target is not None
    assert found.target.replicas == 3
    assert LABEL_CONTAINMENT not in found.escalation.labels
    assert found.reason(ConditionType.CONTAINED) == ("False", Reason.REHEARSED)
    assert "1/legal/notified/pager" in found.pending()
    found.deliver()
    later(found, 5)
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    assert found.reason(ConditionType.CLOSED) == ("True", Reason.DRILL_COMPLETED)
    result = next(e.detail for e in found.entries if e.event is Reason.DRILL_COMPLETED)
    assert result["role.legal"] == "answered after 300 s"
    assert result["role.model-risk"] == "answered after 300 s", "it was not notified, and knew from the opening"
    assert result["containment"] == "permitted"
    later(found, 10)
    assert len(found.escalations) == 1, "a signal has its drill once"


def test_drill_that_people_close_has_a_result_too() -> None:
    document = edited(LADDER, lambda spec: spec["tiers"][1].pop("clocks"))
    found = Scene([signal(drill=True, **HIGH)], ladders=[ladder(lambda spec: (spec.clear(), spec.update(document)))])
    found.run()
    found.decide("Close", "legal", resolution="FalsePositive")
    found.decide("Close", "executive", resolution="FalsePositive")
    assert found.reason(ConditionType.CLOSED) == ("True", Reason.FALSE_POSITIVE)
    assert found.events().count(Reason.DRILL_COMPLETED) == 1


def test_drill_that_nobody_answers_ends_by_itself() -> None:
    document = edited(LADDER, lambda spec: spec.update(drillWithin="45m"))
    found = Scene([signal(drill=True, **HIGH)], ladders=[ladder(lambda spec: (spec.clear(), spec.update(document)))])
    found.run()
    later(found, 45)
    assert found.reason(ConditionType.CLOSED) == ("True", Reason.DRILL_EXPIRED)


def test_drill_next_to_a_real_escalation_disturbs_nothing() -> None:
    found = scene(**HIGH)
    found.signals = [*found.signals, signal("drill", source="other", drill=True, **HIGH)]
    found.run()
    assert len(found.escalations) == 2
    assert found.target is not None
    assert found.target.replicas == 0
    assert found.escalations[0].labels[LABEL_CONTAINMENT] == "ScaleToZero"


def drill_of(edit: Callable[[Document], object] | None = None, **readings: float) -> Scene:
    document = edited(LADDER, edit)
    made = ladder(lambda spec: (spec.clear(), spec.update(document)))
    found = Scene([signal(drill=True, **readings)], ladders=[made])
    found.run()
    return found


def rehearsals(found: Scene) -> list[str]:
    return [entry.message for entry in found.entries if entry.event is Reason.REHEARSED]


def test_containment_of_the_deadline_is_rehearsed_in_a_drill() -> None:
    def waits(spec: Document) -> None:
        spec["tiers"][1]["containment"]["when"] = "OnTimeout"
        spec["tiers"][1]["onTimeout"] = "Contain"

    found = drill_of(waits, **HIGH)
    assert rehearsals(found) == []
    later(found, 20)
    assert rehearsals(found) == ["ScaleToZero as a dry run: permitted and admitted; nothing was changed"]
    assert found.target is not None
    assert found.target.replicas == 3
    [interim] = [e for e in found.entries if e.event is Reason.INTERIM_CONTAINMENT]
    assert "is contained" not in interim.message
    told = [n.message for n in found.escalation.status.notifications]
    assert not [text for text in told if "Contained: " in text], told
    later(found, 30)
    assert len(rehearsals(found)) == 1, "once"
    found.decide("Contain", "legal")
    assert len(rehearsals(found)) == 1, "for real nothing further would be done"


def test_containment_that_a_person_asks_for_is_rehearsed_in_a_drill_before_it_ends() -> None:
    found = drill_of(lambda spec: spec["tiers"][0].pop("decide"), **MODERATE)
    found.decide("Contain", "data-science")
    assert rehearsals(found) == ["ScaleToZero as a dry run: permitted and admitted; nothing was changed"]
    assert found.reason(ConditionType.CLOSED) == ("True", Reason.DRILL_COMPLETED)
    [result] = [e.detail for e in found.entries if e.event is Reason.DRILL_COMPLETED]
    assert result["containment"] == "permitted"
    [pressed] = [e.message for e in found.entries if e.event is Reason.CONTAINED_MANUALLY]
    assert "drill" in pressed
    assert found.target is not None
    assert found.target.replicas == 3


def test_tier_that_a_drill_enters_at_a_deadline_is_rehearsed() -> None:
    found = drill_of(lambda spec: spec["tiers"][0].update(onTimeout="Escalate"), **MODERATE)
    later(found, 61)
    assert found.escalation.status.tier == "high"
    assert len(rehearsals(found)) == 1


# --- What messages say ------------------------------------------------------------------------------------------------


def told(found: Scene, role: str) -> list[str]:
    """What a role was told, in order."""
    said = sorted((n for n in found.escalation.status.notifications if n.role == role), key=lambda n: n.at)
    return list(dict.fromkeys(n.message for n in said))


def test_role_of_a_lower_tier_hears_that_the_model_is_contained_in_a_higher_one() -> None:
    found = scene(**MODERATE)
    found.deliver()
    found.now = at(3)
    found.signals = [signal(bias=0.3, at=at(3))]
    found.run()
    assert found.escalation.status.tier == "high"
    assert "The model is contained now" in told(found, "data-science")[-1]
    later(found, 20)
    assert sum("The model is contained now" in text for text in told(found, "data-science")) == 1, "once"


def test_role_of_a_lower_tier_hears_that_the_containment_is_late() -> None:
    found = scene(**HIGH)
    assert found.target is not None
    found.deliver()
    known = {n.key for n in found.escalation.status.notifications}
    found.target = replace(found.target, strays=("aside",))
    for minutes in (1, 4, 7, 90):
        later(found, minutes)
        found.deliver()
    late = [n for n in found.escalation.status.notifications if n.about == Reason.CONTAINMENT_LATE]
    assert {n.role for n in late} >= {"legal"}
    assert len({(n.role, n.channel) for n in late}) == len(late), "once each, on whichever rung"
    assert known


def test_deadline_that_is_met_is_asked_for_no_more() -> None:
    found = scene(edit=lambda spec: spec["tiers"][0]["notify"].append({"role": "legal", "after": "5m"}), **MODERATE)
    found.decide("Acknowledge", "data-science")
    later(found, 5)
    [late] = [n for n in found.escalation.status.notifications if n.key == "1/legal/notified/pager"]
    assert late.due_at == at(24 * 60), "to decide is what is left"
    assert [ask.what for ask in late.asks] == ["decide"]
    assert late.asks[0].otherwise == "tier high is entered, and Deployment/scorer is scaled to zero and locked"


def test_tier_entered_at_a_deadline_says_so_and_what_is_about_to_be_done() -> None:
    found = scene(edit=lambda spec: spec["tiers"][1]["containment"].update(action="Rollback"), **MODERATE)
    found.now = at(61)
    found.carry_out(found.plan())
    [first] = [n for n in found.escalation.status.notifications if n.key == "2/legal/notified/pager"]
    assert "is in tier high, since nobody acknowledged or decided in time; read last: drift is 0.3" in first.message
    assert "Contained: not yet: Rollback is about to be carried out, or ScaleToZero where" in first.message
    assert "meet art-73" in [ask.what for ask in first.asks]


def test_owner_gets_one_message_at_a_deadline_and_it_says_what_was_applied() -> None:
    def contains(spec: Document) -> None:
        spec["tiers"][1]["onTimeout"] = "Contain"
        spec["tiers"][1]["containment"]["when"] = "OnTimeout"
        spec["tiers"][1]["notify"] = [{"role": "model-risk"}]

    found = scene(edit=contains, **HIGH)
    found.deliver()
    later(found, 10)
    at_once = [n for n in found.escalation.status.notifications if n.at == at(10) and n.channel == "risk"]
    assert [n.about for n in at_once] == [Reason.INTERIM_CONTAINMENT]


def test_message_of_a_resume_says_who_closes_it_and_offers_that() -> None:
    found = scene(edit=lambda spec: spec["tiers"][1].pop("clocks"), **HIGH)
    found.deliver()
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    [resumed] = [n for n in found.escalation.status.notifications if n.key == "resumed-1/legal/email"]
    assert resumed.message.endswith(
        "It is left to one person each from legal and executive to close it, once they are sure"
    )
    text = body(notice_of(found.escalation, resumed), Form.TEXT)
    assert "(resumed, to be closed, critical)" in text
    assert "--resolution Remediated" in text
    assert "riskladder ack" not in text


def test_end_of_the_watch_is_no_deadline() -> None:
    found = scene(edit=lambda spec: spec["tiers"][1].pop("clocks"), **HIGH)
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    assert found.escalation.status.resume is not None
    assert found.escalation.status.resume.watch_until == at(60)
    later(found, 70)
    assert found.escalation.status.next_deadline is None
    assert found.escalation.status.waiting_on == ("executive", "legal")
