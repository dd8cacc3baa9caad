"""What `kubectl get escalations` shows: the state in one word, who is waited for, and until when."""

from __future__ import annotations

from dataclasses import replace

from riskladder.api.escalation import EscalationState as State
from riskladder.api.kinds import ESCALATION, KINDS
from riskladder.policy.decide import decide
from tests.unit.builders import Scene, at, scaled_by, signal
from tests.unit.test_people import scene

HIGH, MODERATE = {"bias": 0.3}, {"drift": 0.3}


def state(of: Scene) -> State | None:
    return of.escalation.status.state


def refused(found: Scene) -> None:
    """The trail as it is while the API server refuses the containment."""
    plan = decide(replace(found.snapshot(), obstacle="denied by a policy"), found.now, urgent=False)
    found.carry_out(plan)


def test_state_follows_a_containment_to_its_proof_and_a_revert_back() -> None:
    found = Scene([signal(**HIGH)])
    found.intend()
    refused(found)
    assert state(found) is State.BLOCKED
    found.run()
    assert state(found) is State.CONTAINED
    scaled_by(found, 3)
    found.carry_out(decide(found.snapshot(), found.now, urgent=False))
    assert state(found) is State.REVERTED
    found.now = at(3)
    refused(found)
    assert state(found) is State.LATE


def test_state_of_what_no_containment_stops() -> None:
    found = Scene([signal(**MODERATE)])
    found.run()
    assert state(found) is State.OPEN
    drill = Scene([signal(drill=True, **HIGH)])
    drill.run()
    assert state(drill) is State.DRILL
    accepted = scene(**MODERATE)
    accepted.decide("AcceptRisk", "model-risk", until="2026-11-25T09:00:00Z")
    assert state(accepted) is State.ACCEPTED


def test_state_after_people_have_restored_and_closed() -> None:
    found = scene(**HIGH)
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    assert state(found) is State.RESUMED
    found.signals = [signal(at=at(1), status=found.signals[0].status, bias=0.01)]
    found.now = at(1)
    found.run()
    found.decide("Comment", "legal", clock="art-73")
    found.decide("Close", "legal", resolution="Remediated")
    found.decide("Close", "executive", resolution="Remediated")
    assert state(found) is State.CLOSED


def test_columns_of_an_escalation_are_text_for_people() -> None:
    found = scene(**HIGH)
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    status = found.escalation.status
    assert status.summary is not None
    assert status.waiting_on == ("executive", "legal")
    assert status.summary.waiting_on == ", ".join(status.waiting_on)
    assert status.next_deadline is not None
    due = status.summary.due
    assert due == status.next_deadline.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_no_column_shows_a_list_or_a_time_to_the_microsecond() -> None:
    """`kubectl` prints a list as JSON, a string with a time as it is, and a date to come as `<invalid>`."""
    for kind in KINDS.values():
        for column in kind.columns:
            assert column.json_path.rpartition(".")[2] not in ("waitingOn", "nextDeadline") or "summary" in (
                column.json_path
            )
    shown = [column.name for column in ESCALATION.columns if not column.priority]
    assert shown == ["State", "Tier", "Target", "Waiting-On", "Due", "Age"]
