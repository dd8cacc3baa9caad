"""Who has been notified, where a channel has several recipients; and that outdated messages are corrected."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.decision import DecisionAction
from riskladder.api.notification import Notification, NotificationState
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import ContainmentAction
from riskladder.policy.decide import decide
from riskladder.policy.decisions.options import Offer, offers
from riskladder.policy.decisions.standing import Standing, possible
from riskladder.policy.plan import Plan
from riskladder.policy.snapshot import Snapshot
from tests.unit.builders import Scene, contained, edited, ladder, scaled_by, signal
from tests.unit.test_people import HIGH, LADDER, MODERATE, later, scene

HAS_IT = "0123456789abcdef"
REFUSED = "admission webhook vault.example denied the request: replicas are frozen"


def offers_of(found: Scene, notification: Notification) -> list[Offer]:
    return list(offers(found.escalation, notification, is_over=False, is_acknowledged=False))


# --- Several recipients -----------------------------------------------------------------------------------------------


def test_channel_that_reached_one_of_its_recipients_has_reached_the_role() -> None:
    found = scene(**HIGH)
    found.deliver("pager", error="no such host", given_up=True)
    for _ in range(4):
        found.deliver("email", error="g…@example.com: 452 mailbox full", receipts=(HAS_IT,))
    assert "1/deputy/for-legal/pager" not in found.pending(), "somebody of legal has it"
    [email] = [n for n in found.escalation.status.notifications if n.key == "1/legal/notified/email"]
    assert (str(email.state), email.done_at, email.receipts, email.attempts) == ("Delivered", None, (HAS_IT,), 4)
    assert found.events().count(Reason.NOTIFIED) == 1
    found.deliver("email", error="g…@example.com: 550 no such user", receipts=(HAS_IT,), given_up=True)
    [email] = [n for n in found.escalation.status.notifications if n.key == "1/legal/notified/email"]
    assert str(email.state) == "Delivered"
    assert email.done_at == found.now
    assert "550" in email.last_error
    said = [entry.message for entry in found.entries if entry.event is Reason.NOTIFICATION_FAILED]
    assert said[-1] == "some of legal could not be notified over email: g…@example.com: 550 no such user"
    assert found.events().count(Reason.NOTIFIED) == 1


attempts = st.lists(st.sampled_from(["nobody", "some", "all", "given up"]), min_size=1, max_size=6)


@given(attempts)
def test_whatever_attempts_come_to_a_role_is_notified_once_and_an_end_is_an_end(course: list[str]) -> None:
    found, reached = scene(**HIGH), False
    for step in course:
        reached = reached or step in ("some", "all")
        receipts = (HAS_IT,) if reached else ()
        error = "" if step == "all" else "refused"
        found.deliver("email", error=error, given_up=step == "given up", receipts=receipts if error else ())
        [email] = [n for n in found.escalation.status.notifications if n.key == "1/legal/notified/email"]
        assert found.events().count(Reason.NOTIFIED) == int(reached)
        assert (email.state is NotificationState.DELIVERED) is reached
        if step in ("all", "given up"):
            assert not email.is_outstanding
            assert email.done_at == found.now
            return
        assert email.is_outstanding


# --- What people believe ----------------------------------------------------------------------------------------------


@dataclass
class Blocked(Scene):
    """The API server refuses what contains."""

    obstacle: str = REFUSED

    def snapshot(self) -> Snapshot:
        return replace(super().snapshot(), obstacle=self.obstacle)

    def plan(self) -> Plan:
        return decide(self.snapshot(), self.now, urgent=not (self.obstacle and self.escalations))


def opened_and_refused() -> Blocked:
    found = Blocked(
        [signal(bias=0.3)], ladders=[ladder(lambda spec: (spec.clear(), spec.update(edited(LADDER, None))))]
    )
    found.run()
    assert all("Contained: no" in n.message for n in found.escalation.status.notifications)
    return found


def notified(found: Scene, about: Reason) -> list[Notification]:
    return [n for n in found.escalation.status.notifications if n.about == about]


@pytest.mark.parametrize("acknowledged", [False, True])
def test_containment_that_fails_notifies_those_who_have_looked_already(acknowledged: bool) -> None:
    found = opened_and_refused()
    found.deliver()
    if acknowledged:
        found.decide("Acknowledge", "legal")
    for minute, reason in ((1, Reason.CONTAINMENT_IMPOSSIBLE), (10, Reason.CONTAINMENT_LATE)):
        later(found, minute)
        assert found.reason(ConditionType.CONTAINED) == ("False", reason)
        first = notified(found, reason)
        assert "legal" in {n.role for n in first}
        for n in first:
            assert "NOT contained" in n.message
            assert REFUSED in n.message
        later(found, minute + 1)
        assert len(notified(found, reason)) == len({(n.role, n.channel) for n in notified(found, reason)}), "once each"


def test_who_was_notified_that_it_is_not_contained_is_notified_when_it_is() -> None:
    found = opened_and_refused()
    found.deliver()
    found.obstacle = ""
    later(found, 1)
    assert found.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    corrected = notified(found, Reason.SCALED_TO_ZERO)
    assert {n.role for n in corrected} == {"legal"}
    assert all(n.message.startswith("The model is contained now") for n in corrected)
    assert all("Contained: yes" in n.message for n in corrected)


def test_who_was_notified_that_it_is_contained_is_not_notified_again() -> None:
    found = contained()
    found.deliver()
    later(found, 3)
    assert notified(found, Reason.SCALED_TO_ZERO) == []


# --- The stop button --------------------------------------------------------------------------------------------------


def stops(found: Scene) -> list[tuple[str, ...]]:
    status = found.escalation.status
    standing = Standing.of(found.escalation.spec, status, status.tier or "high")
    return [act.arguments for act in possible(standing) if act.action is DecisionAction.CONTAIN]


@given(st.sets(st.sampled_from(list(ContainmentAction)), min_size=1))
def test_stop_is_offered_whenever_a_safer_state_exists(in_force: set[ContainmentAction]) -> None:
    found = contained(action="Rollback").escalation
    standing = Standing.of(found.spec, found.status, "high")
    intents = tuple(standing.intents[0].model_copy(update={"action": action}) for action in sorted(in_force))
    offered = [a.arguments for a in possible(replace(standing, intents=intents)) if a.action is DecisionAction.CONTAIN]
    assert offered == ([] if ContainmentAction.SCALE_TO_ZERO in in_force else [("--action", "ScaleToZero")])


@pytest.mark.parametrize("proved", [False, True])
def test_messages_offer_the_stop_while_a_rollback_is_all_that_holds(proved: bool) -> None:
    found = scene(edit=lambda spec: spec["tiers"][1].update(containment={"action": "Rollback"}), **HIGH)
    assert {intent.action for intent in found.escalation.intents} == {ContainmentAction.ROLLBACK}
    if not proved:
        scaled_by(found, 3)
    for n in found.escalation.status.notifications:
        assert any("--action ScaleToZero" in offer.command for offer in offers_of(found, n))
    assert found.escalation.status.notifications


def test_stop_that_is_offered_is_taken() -> None:
    found = contained(action="Rollback")
    assert stops(found)
    taken = found.decide("Contain", "legal", containment="ScaleToZero")
    assert found.verdict(taken)[0] == "True"
    assert found.target is not None
    assert found.target.replicas == 0
    assert stops(found) == []


def test_stop_is_offered_where_nothing_is_in_force() -> None:
    assert len(stops(scene(**MODERATE))) == 1
