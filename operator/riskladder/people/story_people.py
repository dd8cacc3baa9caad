"""What records say of people and time: deadlines, duties, acceptances, and who knew first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from riskladder.api.reasons import Reason
from riskladder.people import facts
from riskladder.people.facts import State
from riskladder.people.particulars import KEY, OPENINGS
from riskladder.people.record_times import time_in_record
from riskladder.people.timeline import Step, votes

_DEADLINES = {"acknowledge": "acknowledgeBy", "decide": "decideBy"}
_OVERDUE = {"acknowledge": Reason.ACKNOWLEDGEMENT_OVERDUE, "decide": Reason.DECISION_OVERDUE}
_DECIDES = (Reason.RISK_ACCEPTED, Reason.RESUMED, Reason.REMEDIATED, Reason.FALSE_POSITIVE, Reason.RETIRED)
_ENDS_ACCEPTANCE = (Reason.RISK_ACCEPTANCE_EXPIRED, Reason.RISK_ACCEPTANCE_OVERTAKEN, Reason.RISK_ACCEPTED)


def answers(step: Step) -> bool:
    """Return whether a step is a decision that counts and answers a rung: any but a comment."""
    is_counted = "decision" in step.detail and "refusedBecause" not in step.detail
    return is_counted and step.detail.get("action") not in ("Comment", "Review")


def decides(step: Step) -> bool:
    """Return whether a step says that enough people have decided."""
    return step.event in _DECIDES and "decision" not in step.detail


def deadlines(steps: Sequence[Step], as_of: datetime | None) -> Iterator[facts.Deadline]:
    """Yield what was asked of people by when, rung by rung, and what records say became of it."""
    starts = [n for n, s in enumerate(steps) if "tier" in s.detail and (s.event in OPENINGS or "from" in s.detail)]
    for number, start in enumerate(starts, start=1):
        end = starts[number] if number < len(starts) else len(steps)
        on_rung = steps[start:end]
        for what, field in _DEADLINES.items():
            due = time_in_record(steps[start].detail.get(field))
            if due is None:
                continue
            met = next((s for s in on_rung if (answers(s) if what == "acknowledge" else decides(s))), None)
            missed = next((s for s in on_rung if s.event == _OVERDUE[what]), None)
            left = end < len(steps) or any(_closes(step) for step in on_rung)
            yield facts.Deadline(
                what=what,
                rung=number,
                tier=steps[start].detail["tier"],
                due_at=due,
                state=_state(due, met, missed, left, as_of),
                at=met.at if met is not None else None,
                by=_by(met, on_rung) if met is not None else "",
                record=(missed or met).sequence if missed or met else None,  # type: ignore[union-attr]
            )


def _by(met: Step, on_rung: Sequence[Step]) -> str:
    if "decision" in met.detail:
        return f"{met.actor} as {met.detail.get('role', '')}"
    return ", ".join(votes(met.event, met.detail, on_rung[: on_rung.index(met)]))


def _state(due: datetime, met: Step | None, missed: Step | None, left: bool, as_of: datetime | None) -> State:
    if missed is not None:
        return State.MISSED
    if met is not None and (at := acted_at(met)) is not None:
        return State.MET if at <= due else State.MISSED
    if left:
        return State.OVERTAKEN
    return State.OPEN if as_of is not None and as_of < due else State.UNKNOWN


def acted_at(step: Step) -> datetime | None:
    """Return when somebody decided, which may be long before it could be judged and recorded."""
    return time_in_record(step.detail.get("decidedAt")) or step.at


def _closes(step: Step) -> bool:
    return step.detail.get(KEY, "").rpartition("/")[2] == "closed" or step.event == Reason.ESCALATION_DELETED


def duties(steps: Sequence[Step], as_of: datetime | None) -> Iterator[facts.Duty]:
    """Yield the clocks that were started, and what became of each."""
    for step in steps:
        if step.event != Reason.CLOCK_STARTED:
            continue
        name, due = step.detail.get("clock", ""), time_in_record(step.detail.get("dueAt"))
        met = next((s for s in steps if s.event == Reason.CLOCK_MET and s.detail.get("clock") == name), None)
        by = next(
            (s for s in steps if "decision" in s.detail and s.detail.get("clock") == name and s is not step), None
        )
        if met is not None:
            is_late = due is not None and met.at is not None and met.at > due
            state = State.MISSED if is_late else State.MET
        elif due is None or as_of is None:
            state = State.UNKNOWN
        else:
            state = State.OPEN if as_of < due else State.MISSED
        yield facts.Duty(
            name=name,
            role=step.detail.get("role", ""),
            started_at=time_in_record(step.detail.get("startedAt")),
            due_at=due,
            state=state,
            met_at=met.at if met else None,
            met_by=f"{by.actor} as {by.detail.get('role', '')}" if met and by else "",
            record=met.sequence if met else step.sequence,
        )


def acceptances(steps: Sequence[Step]) -> Iterator[facts.Acceptance]:
    """Yield the risks that were accepted, until when, by whom and why, and what ended each."""
    for number, step in enumerate(steps):
        if step.event != Reason.RISK_ACCEPTED or "decision" in step.detail or _closes(step):
            continue
        until = time_in_record(step.detail.get("until"))
        given = _votes(steps[:number])
        if until is None:
            until = min((at for s in given if (at := time_in_record(s.detail.get("until")))), default=None)
        later = steps[number + 1 :]
        end = next(
            (s for s in later if (s.event in _ENDS_ACCEPTANCE and "decision" not in s.detail) or _closes(s)), None
        )
        yield facts.Acceptance(
            record=step.sequence,
            at=step.at,
            tier=step.detail.get("tier", ""),
            until=until,
            by=tuple(votes(step.event, step.detail, steps[:number])),
            why=tuple(dict.fromkeys(s.detail["rationale"] for s in given if s.detail.get("rationale"))),
            ended_at=end.at if end else None,
            ended_by=end.event if end else "",
        )


def _votes(before: Sequence[Step]) -> list[Step]:
    """Return the votes to accept the risk on the last rung."""
    found: list[Step] = []
    for step in reversed(before):
        if "from" in step.detail or step.event in OPENINGS:
            break
        if step.event == Reason.COUNTED and step.detail.get("action") == "AcceptRisk":
            found.append(step)
    return found[::-1]


def awareness(steps: Sequence[Step]) -> facts.Awareness | None:
    """Return the act by which a person first showed that they knew; nothing that a message was delivered.

    That is whoever raised it manually, else whoever decided anything about it first, whether it counted or not.
    """
    raised = next((s for s in steps if s.event in OPENINGS and s.detail.get("raisedBy")), None)
    if raised is not None:
        return _aware(raised, raised.detail["raisedBy"], "raised manually")
    first = next((step for step in steps if "decision" in step.detail), None)
    return _aware(first, first.actor, first.detail.get("action", first.event)) if first is not None else None


def _aware(step: Step, who: str, act: str) -> facts.Awareness:
    return facts.Awareness(record=step.sequence, at=acted_at(step), who=who, role=step.detail.get("role", ""), act=act)
