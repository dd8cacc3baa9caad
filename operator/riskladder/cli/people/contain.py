"""``contain``: the stop button, for an open escalation or for a workload that has none yet; and ``drill``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer

from riskladder.api.conditions import Condition
from riskladder.api.decision import RAISE_VERB, DecisionAction
from riskladder.api.signal import TargetRef
from riskladder.api.tiers import ContainmentAction, Tier
from riskladder.cli.people import options
from riskladder.cli.people.decide import decide_at
from riskladder.cli.people.options import How, Rationale, Role, sends
from riskladder.cli.people.raising import (
    Ladder,
    action_of,
    is_done,
    ladder_for,
    manual,
    open_for,
    refused,
    target_of,
    tier_of,
    workload,
)
from riskladder.cli.people.send import confirm, finish, manifest_only
from riskladder.cli.people.session import Session, end, run_in_session
from riskladder.cluster.resources import SIGNALS
from riskladder.people.answers import COULD_NOT_ASK, REFUSED, UNANSWERED
from riskladder.people.case import Case
from riskladder.people.manifests import signal_manifest
from riskladder.people.outcome import Order, Result, contained_result
from riskladder.people.preview import Preview
from riskladder.people.text import PROGRAM, listed, took
from riskladder.policy.decisions.effects import containment_of, contains
from riskladder.policy.quorum import resume_quorum

Safe = Literal[ContainmentAction.SCALE_TO_ZERO, ContainmentAction.ROLLBACK]

LadderName = Annotated[
    str | None,
    typer.Option(
        help="The ladder. Default: the only one that governs the workload.",
        autocompletion=options.ladders,
        show_default=False,
    ),
]


@sends
def contain(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of the Escalation, or the workload, for example deployment/NAME.",
            show_default=False,
            autocompletion=options.escalations,
        ),
    ],
    how: How,
    role: Role = None,
    rationale: Rationale = None,
    action: Annotated[
        str | None,
        typer.Option(help="ScaleToZero or Rollback. Default: the tier's, else ScaleToZero.", show_default=False),
    ] = None,
    ladder: LadderName = None,
    tier: Annotated[
        str | None,
        typer.Option(
            help="The tier to put the model in. Default: the lowest that contains and says who resumes it, else the "
            "highest.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Take the model to a safe state now (the stop button), and say how long it took.

    For an open escalation this is a decision. For a workload, such as deployment/NAME, it is the same
    if the workload has one; else a signal is raised manually, which opens one.

    \b
    kubectl riskladder contain deployment/credit-scorer -m "It rejects everybody over 60"
    """
    wanted = _action(action)

    async def work(session: Session) -> None:
        found: Case | None = None
        target: TargetRef | None = None
        if "/" in name:
            target = target_of(name)
            obj = await workload(session, target)
            found = await open_for(session, obj["metadata"]["uid"], ladder=ladder, role=role)
        else:
            found = await session.case(name, hint=f"; for a workload write deployment/{name}")
        if found is not None:
            own = found.spec.ladder.name
            if ladder not in (None, own) or tier is not None:
                what = f"ladder {own} and tier {found.tier}"
                end(COULD_NOT_ASK, f"{found.name} is open under {what}: --tier and another --ladder cannot be given")
            particulars: dict[str, Any] = {"containment": wanted}
            await decide_at(session, how, found, DecisionAction.CONTAIN, role, rationale, lambda case, now: particulars)
        elif target is not None:
            chosen = await ladder_for(session, obj, ladder, target)
            await _stop(session, how, target, obj["metadata"]["uid"], chosen, tier, role, rationale, wanted)

    run_in_session(how.access, how.namespace, work)


def _action(text: str | None) -> Safe | None:
    known: dict[str, Safe] = {a.lower(): a for a in (ContainmentAction.SCALE_TO_ZERO, ContainmentAction.ROLLBACK)}
    if text is not None and text.lower() not in known:
        end(COULD_NOT_ASK, f"--action {text}: expected ScaleToZero or Rollback")
    return None if text is None else known[text.lower()]


async def _stop(
    session: Session,
    how: How,
    target: TargetRef,
    uid: str,
    ladder: Ladder,
    tier_name: str | None,
    role: str | None,
    rationale: str | None,
    wanted: ContainmentAction | None,
) -> None:
    tier = tier_of(ladder, tier_name)
    action = action_of(tier, wanted)
    verbs = [RAISE_VERB, DecisionAction.CONTAIN.verb]
    raised, by = await manual(session, how, ladder, tier, verbs, role, rationale, action)
    manifest = signal_manifest(session.namespace, ladder.name, target, raised, datetime.now(UTC), by=by)
    if manifest_only(how, manifest):
        return
    confirm(how, Preview(stop_sentence(target, ladder, tier, action, raised.role or "")))
    started = time.monotonic()
    stored = await session.create(SIGNALS, manifest, dry_run=how.dry_run)
    signal = manifest["metadata"]["name"]
    facts = {"namespace": session.namespace, "signal": signal, "ladder": ladder.name, "tier": tier.name}
    if is_done(how, facts):
        return
    opened: Case | None = None
    order = Order(action, signal=str(stored["metadata"]["uid"]))

    async def look() -> Case | Condition | None:
        nonlocal opened
        opened = await open_for(session, uid, ladder=ladder.name)
        if opened is not None:
            return opened if order.proved(opened) is not None else None
        return await refused(session, signal)

    found: Case | Condition | None = await session.until(look, started + how.timeout)
    finish(how, _stopped(session, order, facts, opened, found, time.monotonic() - started))


def _stopped(
    session: Session,
    order: Order,
    facts: dict[str, Any],
    opened: Case | None,
    found: Case | Condition | None,
    seconds: float,
) -> Result:
    if isinstance(found, Condition):
        sentence = f"the signal is not used ({found.reason}): {found.message}"
        return Result(REFUSED, sentence, facts | {"contained": False, "reason": found.reason, "message": found.message})
    if found is not None:
        result = contained_result(found, order, seconds)
        return Result(result.code, result.sentence, facts | result.facts)
    if opened is None:
        sent, waited = f"Sent as signal {facts['signal']}", took(seconds)
        sentence = f"{sent}, and nothing has come of it after {waited}: does the operator run?"
        return Result(UNANSWERED, sentence, facts | {"contained": False, "message": sentence})
    sentence = (
        f"Escalation {opened.name} is open; not proved yet after {took(seconds)} that the model is contained: "
        f"{PROGRAM} show {opened.name} -n {session.namespace} --watch"
    )
    return Result(UNANSWERED, sentence, facts | {"contained": False, "escalation": opened.name, "message": sentence})


def stop_sentence(target: TargetRef, ladder: Ladder, tier: Tier, action: ContainmentAction, role: str) -> str:
    """Return what the stop button does."""
    effect = contains(f"{target.kind}/{target.name}", containment_of(tier, action))
    seats = resume_quorum(tier)
    who = listed(member.role if member.count == 1 else f"{member.count} × {member.role}" for member in seats)
    notified = listed(n.role for n in tier.notify)
    return (
        f"You contain the model, as {role}: {effect} at once"
        + (f", until {who} agree to resume it" if who else "")
        + f". An escalation opens under ladder {ladder.name} in tier {tier.name}"
        + (f"; notified: {notified}." if notified else ".")
    )
