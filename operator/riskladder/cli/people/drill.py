"""``drill``: exercise a ladder with real people and deadlines, without touching the model."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from riskladder.api.conditions import Condition
from riskladder.api.decision import RAISE_VERB
from riskladder.api.signal import TargetRef
from riskladder.cli.people import options
from riskladder.cli.people.options import How, Rationale, Role, sends
from riskladder.cli.people.raising import (
    Ladder,
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
from riskladder.people.outcome import Result
from riskladder.people.preview import Preview
from riskladder.people.text import PROGRAM, listed, took


@sends
def drill(
    ladder: Annotated[
        str, typer.Argument(help="Name of the EscalationLadder.", show_default=False, autocompletion=options.ladders)
    ],
    how: How,
    target: Annotated[
        str, typer.Option("--target", "--model", help="The workload, for example deployment/NAME.", show_default=False)
    ],
    role: Role = None,
    rationale: Rationale = None,
    tier: Annotated[
        str | None,
        typer.Option(
            help="The tier to exercise. Default: the lowest that contains and says who resumes it, else the highest.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Exercise a ladder: people are notified and decide, marked as a drill; the model is not touched.

    \b
    kubectl riskladder drill credit-scoring --target deployment/credit-scorer -m "Quarterly exercise"
    """

    async def work(session: Session) -> None:
        ref = target_of(target)
        obj = await workload(session, ref)
        await _exercise(session, how, ref, obj["metadata"]["uid"], await ladder_for(session, obj, ladder, ref), tier)

    async def _exercise(
        session: Session, how: How, ref: TargetRef, uid: str, chosen: Ladder, tier_name: str | None
    ) -> None:
        entered = tier_of(chosen, tier_name)
        if (under_way := await open_for(session, uid, ladder=chosen.name, drill=True)) is not None:
            end(COULD_NOT_ASK, f"a drill of {ref.kind}/{ref.name} is under way already: {under_way.name}")
        raised, by = await manual(session, how, chosen, entered, [RAISE_VERB], role, rationale, None)
        manifest = signal_manifest(session.namespace, chosen.name, ref, raised, datetime.now(UTC), by=by, drill=True)
        if manifest_only(how, manifest):
            return
        roles = [n.role for n in entered.notify]
        notified = f"{listed(roles)} will be notified, marked as a drill" if roles else "nobody will be notified"
        confirm(
            how,
            Preview(
                f"A drill of ladder {chosen.name} in tier {entered.name} begins for {ref.kind}/{ref.name}: {notified}, "
                f"and the model is not touched. It ends by itself after {chosen.spec.drill_within}."
            ),
        )
        started = time.monotonic()
        await session.create(SIGNALS, manifest, dry_run=how.dry_run)
        signal = manifest["metadata"]["name"]
        facts = {"namespace": session.namespace, "signal": signal, "ladder": chosen.name, "tier": entered.name}
        if is_done(how, facts):
            return

        async def look() -> Case | Condition | None:
            return await open_for(session, uid, ladder=chosen.name, drill=True) or await refused(session, signal)

        found: Case | Condition | None = await session.until(look, started + how.timeout)
        finish(how, _begun(session, signal, facts, found, time.monotonic() - started))

    run_in_session(how.access, how.namespace, work)


def _begun(
    session: Session, signal: str, facts: dict[str, Any], found: Case | Condition | None, seconds: float
) -> Result:
    if isinstance(found, Condition):
        sentence = f"the drill is not used ({found.reason}): {found.message}"
        return Result(REFUSED, sentence, facts | {"reason": found.reason, "message": found.message})
    follow = f"{PROGRAM} status -n {session.namespace} --watch"
    if found is None:
        sentence = f"Sent as signal {signal}; no drill has begun after {took(seconds)}. Follow with: {follow}"
        return Result(UNANSWERED, sentence, facts | {"message": sentence})
    sentence = (
        f"The drill has begun as {found.name}. Follow it with: {PROGRAM} show {found.name} -n {session.namespace} "
        f"--watch; read it afterwards with: riskladder timeline {found.name} -n {session.namespace}"
    )
    return Result(0, sentence, facts | {"escalation": found.name})
