"""Our objects in every state that a GitOps tool can meet, and what Argo CD and Flux are to make of each."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from riskladder.api.kinds import KINDS
from riskladder.api.reasons import ConditionType, Reason
from tests.refusals.documents import TIME, valid

Document = dict[str, Any]
GENERATION = 2
NO_STATUS = "an error"
"""The expression names a field that is not there: Flux waits."""
NOBODY_LOOKED = "The operator has not looked at this version of it yet"


@dataclass(frozen=True)
class State:
    """An object, and what it is to be taken for."""

    name: str
    document: Document
    argo: str
    """Argo CD's health, by our script."""
    says: str
    """A part of its message."""
    kstatus: str
    """What Flux makes of it without health check expressions."""
    checked: str
    """What Flux makes of it with those of docs/gitops.md; the same where there are none for the kind."""


def condition(kind: ConditionType, status: str, reason: Reason, message: str = "") -> Document:
    return {
        "type": str(kind),
        "status": status,
        "reason": str(reason),
        "message": message,
        "lastTransitionTime": TIME,
        "observedGeneration": GENERATION,
    }


def an_object(kind: str, *conditions: Document, behind: bool = False, **status: Any) -> Document:
    """One that the operator has seen, unless there are no conditions."""
    document = copy.deepcopy(valid(kind))
    document["metadata"] |= {"generation": GENERATION, "uid": "u", "resourceVersion": "1"}
    if conditions or behind:
        observed = GENERATION - 1 if behind else GENERATION
        document["status"] = {"observedGeneration": observed, "conditions": list(conditions), **status}
    return document


T, R = ConditionType, Reason
VALID = condition(T.READY, "True", R.VALID, "in force")
COUNT = condition(T.DECISIONS_COUNT, "True", R.IDENTITY_PROVED, "proved")
REACHED = condition(T.CHANNELS_AVAILABLE, "True", R.CHANNELS_REACHABLE, "no channel has failed lately")
UNREACHED = condition(T.CHANNELS_AVAILABLE, "False", R.CHANNEL_UNAVAILABLE, "channel pager: HTTP status 502")
INVALID = condition(T.READY, "False", R.INVALID, "spec.tiers[0].name: is missing")


def _ladders() -> list[State]:
    kind = "EscalationLadder"
    suspended = an_object(kind, VALID, COUNT, condition(T.SUSPENDED, "True", R.SUSPENDED, "acts on nothing"))
    suspended["spec"]["suspended"] = True
    no_policy = condition(T.DECISIONS_COUNT, "False", R.POLICY_MISSING, "the binding is missing")
    current, waits, failed = "Current", "InProgress", "Failed"
    return [
        State("not seen", an_object(kind), "Progressing", NOBODY_LOOKED, current, NO_STATUS),
        State("changed", an_object(kind, VALID, behind=True), "Progressing", NOBODY_LOOKED, waits, waits),
        State(
            "in force", an_object(kind, VALID, COUNT, REACHED, openEscalations=2), "Healthy", ": 2", current, current
        ),
        State("invalid", an_object(kind, INVALID, COUNT), "Degraded", "Invalid: spec.tiers", waits, failed),
        State("no policy", an_object(kind, VALID, no_policy), "Degraded", "PolicyMissing: the", current, failed),
        State("channel down", an_object(kind, VALID, COUNT, UNREACHED), "Healthy", "HTTP status 502", current, current),
        State("suspended", suspended, "Suspended", "acts on nothing", current, current),
    ]


USABLE = condition(T.READY, "True", R.ACCEPTED, "used")
FRESH = condition(T.FRESH, "True", R.READINGS_CURRENT, "heard in time")
BASELINE = condition(T.BREACHED, "False", R.AT_BASELINE, "no threshold is breached")
BREACH = condition(T.BREACHED, "True", R.THRESHOLD_BREACHED, "0.27 is above 0.2")


def _signals() -> list[State]:
    kind = "ModelRiskSignal"
    lost = condition(T.READY, "False", R.LADDER_NOT_FOUND, "there is no such ladder")
    silent = condition(T.FRESH, "False", R.READINGS_STALE, "silent for 25h")
    in_tier = an_object(kind, USABLE, FRESH, BREACH, tier="high", escalation="credit-scorer-1")
    calm = an_object(kind, USABLE, FRESH, BASELINE, tier="baseline")
    rows = [
        State("not seen", an_object(kind), "Progressing", NOBODY_LOOKED, "Current", ""),
        State("changed", an_object(kind, USABLE, behind=True), "Progressing", NOBODY_LOOKED, "InProgress", ""),
        State("at baseline", calm, "Healthy", "in tier baseline", "Current", ""),
        State("breach", in_tier, "Healthy", "in tier high (ThresholdBreached: 0.27 is above 0.2)", "Current", ""),
        State("no ladder", an_object(kind, lost), "Degraded", "LadderNotFound: there", "InProgress", ""),
        State("silent", an_object(kind, USABLE, silent), "Degraded", "ReadingsStale: silent", "Current", ""),
    ]
    return _without_expressions(rows)


OPEN = condition(T.CLOSED, "False", R.OPEN, "open")
HOLDS = condition(T.CONTAINMENT_HOLDS, "True", R.HOLDS, "nobody has reverted it")
AT_ZERO = condition(T.CONTAINED, "True", R.SCALED_TO_ZERO, "proved")


def _escalation(*conditions: Document, behind: bool = False, **status: Any) -> Document:
    people = {"waitingOn": ["legal", "model-risk"], "nextDeadline": "2026-11-25T06:00:00Z"}
    return an_object("Escalation", *conditions, behind=behind, **{"tier": "high", **people, **status})


def _escalations() -> list[State]:
    def contained(reason: Reason, message: str) -> Document:
        return condition(T.CONTAINED, "False", reason, message)

    reverted = condition(T.CONTAINMENT_HOLDS, "False", R.CONTAINMENT_REVERTED, "reverted: replicas 2")
    accepted = condition(T.DECIDED, "True", R.RISK_ACCEPTED, "the risk is accepted until 2026-12-24T00:00:00Z")
    resumed = condition(T.DECIDED, "True", R.RESUMED, "the model is resumed; to close it is next")
    overdue = condition(T.STALLED, "True", R.OVERDUE, "nobody acted by 2026-11-24T07:00:00Z")
    closed = condition(T.CLOSED, "True", R.REMEDIATED, "closed")
    waits = "; waits for legal, model-risk, due 2026-11-25T06:00:00Z"
    applied = contained(R.CONTAINMENT_APPLIED, "a pod is left")
    nothing = contained(R.CONTAINMENT_NOT_REQUIRED, "not asked for")
    rows = [
        State("not seen", an_object("Escalation"), "Progressing", NOBODY_LOOKED, "Current", ""),
        State("intent added", _escalation(OPEN, behind=True), "Progressing", NOBODY_LOOKED, "InProgress", ""),
        State("applied", _escalation(OPEN, applied), "Progressing", "ContainmentApplied: a pod", "Current", ""),
        State("contained", _escalation(OPEN, AT_ZERO, HOLDS), "Suspended", "(ScaledToZero)" + waits, "Current", ""),
        State("open", _escalation(OPEN, nothing), "Suspended", "Open in tier high" + waits, "Current", ""),
        State("accepted", _escalation(OPEN, nothing, accepted, waitingOn=[]), "Suspended", "until 2026", "Current", ""),
        State("resumed", _escalation(OPEN, contained(R.RESUMED, ""), resumed), "Suspended", "resumed;", "Current", ""),
        State("stalled", _escalation(OPEN, AT_ZERO, HOLDS, overdue), "Degraded", "Overdue: nobody", "Failed", ""),
        State(
            "drift", _escalation(OPEN, applied, reverted), "Degraded", "ContainmentReverted: reverted", "Current", ""
        ),
        State(
            "late",
            _escalation(OPEN, contained(R.CONTAINMENT_LATE, "not proved within 2 min: still there: 1 pod")),
            *("Degraded", "ContainmentLate: not proved", "Current", ""),
        ),
        State("closed", _escalation(closed, overdue), "Healthy", "Closed, Remediated", "Failed", ""),
    ]
    return _without_expressions(rows)


def _decisions() -> list[State]:
    kind = "EscalationDecision"
    counted = condition(T.ACCEPTED, "True", R.QUORUM_MET, "Resume was counted")
    refused = condition(T.ACCEPTED, "False", R.MODEL_OWNER, "olga owns the model")
    return [
        State("not judged", an_object(kind), "Progressing", "Not judged yet", "Current", NO_STATUS),
        State("counted", an_object(kind, counted), "Healthy", "QuorumMet: Resume was", "Current", "Current"),
        State("refused", an_object(kind, refused), "Degraded", "ModelOwner: olga", "Current", "Failed"),
    ]


def _records() -> list[State]:
    record = an_object("EscalationRecord")
    return [State("written", record, "Healthy", "Opened, by system:", "Current", "Current")]


def _indexes() -> list[State]:
    index = an_object("ContainmentIndex")
    return [State("written", index, "Healthy", "What is contained", "Current", "Current")]


def _bindings() -> list[State]:
    kind = "MonitorBinding"
    usable = condition(T.READY, "True", R.BINDING_USABLE)
    broken = condition(T.READY, "False", R.INVALID_BINDING, "spec.timeZone: there is no such zone")
    refused = condition(T.RECEIVING, "False", R.REPORT_REFUSED, "may not report as source")
    failed = condition(T.QUERY_OK, "False", R.QUERY_FAILED, "no answer within 10s")
    reading = {"at": TIME, "signal": "a", "indicator": "psi", "value": 0.1, "observedAt": TIME}
    unseen = "Neither ingest nor poll"
    rows = [
        State("not seen", an_object(kind), "Progressing", unseen, "Current", ""),
        State("changed", an_object(kind, usable, behind=True), "Progressing", unseen, "InProgress", ""),
        State("silent so far", an_object(kind, usable), "Healthy", "Nothing has been reported", "Current", ""),
        State("reported", an_object(kind, usable, lastReading=reading), "Healthy", "reading: psi", "Current", ""),
        State("broken", an_object(kind, broken), "Degraded", "InvalidBinding: spec.timeZone", "InProgress", ""),
        State("not allowed", an_object(kind, usable, refused), "Degraded", "ReportRefused: may", "Current", ""),
        State("no answer", an_object(kind, usable, failed), "Degraded", "QueryFailed: no answer", "Current", ""),
    ]
    return _without_expressions(rows)


def _without_expressions(rows: list[State]) -> list[State]:
    return [State(s.name, s.document, s.argo, s.says, s.kstatus, s.kstatus) for s in rows]


STATES = [*_ladders(), *_signals(), *_escalations(), *_decisions(), *_records(), *_indexes(), *_bindings()]
NAMES = [f"{state.document['kind']}: {state.name}" for state in STATES]
assert {state.document["kind"] for state in STATES} == set(KINDS)
