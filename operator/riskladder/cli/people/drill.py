"""``drill``: exercise a ladder in earnest, without touching the model."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from riskladder.api.conditions import Condition
from riskladder.api.decision import RAISE_VERB
from riskladder.api.signal import TargetRef
from riskladder.cli.people import options
from riskladder.cli.people.manifests import signal_manifest
from riskladder.cli.people.options import How, Rationale, Role, sends
from riskladder.cli.people.preview import Foresight
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
from riskladder.cli.people.send import Result, confirm, finish, manifest_only
from riskladder.cli.people.session import COULD_NOT_ASK, REFUSED, UNANSWERED, Desk, at_desk, end
from riskladder.cli.people.text import PROGRAM, listed, took
from riskladder.cli.people.view import Case
from riskladder.cluster.resources import SIGNALS


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
    """Exercise a ladder: people are notified and decide as in earnest, marked as a drill; the model is not touched.

    \b
    kubectl riskladder drill credit-scoring --target deployment/credit-scorer -m "Quarterly exercise"
    """

    async def work(desk: Desk) -> None:
        ref = target_of(target)
        obj = await workload(desk, ref)
        await _exercise(desk, how, ref, obj["metadata"]["uid"], await ladder_for(desk, obj, ladder, ref), tier)

    async def _exercise(desk: Desk, how: How, ref: TargetRef, uid: str, chosen: Ladder, tier_name: str | None) -> None:
        entered = tier_of(chosen, tier_name)
        if (under_way := await open_for(desk, uid, ladder=chosen.name, drill=True)) is not None:
            end(COULD_NOT_ASK, f"a drill of {ref.kind}/{ref.name} is under way already: {under_way.name}")
        raised = await manual(desk, how, chosen, entered, [RAISE_VERB], role, rationale, None)
        manifest = signal_manifest(desk.namespace, chosen.name, ref, raised, datetime.now(UTC), drill=True)
        if manifest_only(how, manifest):
            return
        notified = listed(n.role for n in entered.notify) or "nobody"
        confirm(
            how,
            Foresight(
                f"A drill of ladder {chosen.name} in tier {entered.name} begins for {ref.kind}/{ref.name}: {notified} "
                f"will be notified, marked as a drill, and the model is not touched. It ends by itself after "
                f"{chosen.spec.drill_within}."
            ),
        )
        started = time.monotonic()
        await desk.create(SIGNALS, manifest, dry_run=how.dry_run)
        signal = manifest["metadata"]["name"]
        facts = {"namespace": desk.namespace, "signal": signal, "ladder": chosen.name, "tier": entered.name}
        if is_done(how, facts):
            return

        async def look() -> Case | Condition | None:
            return await open_for(desk, uid, ladder=chosen.name, drill=True) or await refused(desk, signal)

        found: Case | Condition | None = await desk.until(look, started + how.timeout)
        finish(how, _begun(desk, signal, facts, found, time.monotonic() - started))

    at_desk(how.access, how.namespace, work)


def _begun(desk: Desk, signal: str, facts: dict[str, Any], found: Case | Condition | None, seconds: float) -> Result:
    if isinstance(found, Condition):
        sentence = f"the drill is not used ({found.reason}): {found.message}"
        return Result(REFUSED, sentence, facts | {"reason": found.reason, "message": found.message})
    follow = f"{PROGRAM} status -n {desk.namespace} --watch"
    if found is None:
        sentence = f"Sent as signal {signal}; no drill has begun after {took(seconds)}. Follow with: {follow}"
        return Result(UNANSWERED, sentence, facts | {"message": sentence})
    sentence = (
        f"The drill has begun as {found.name}. Follow it with: {PROGRAM} show {found.name} -n {desk.namespace} "
        f"--watch; read it afterwards with: riskladder timeline {found.name} -n {desk.namespace}"
    )
    return Result(0, sentence, facts | {"escalation": found.name})
