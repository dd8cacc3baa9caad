"""Sending what a person has decided: said first, confirmed, sent, and the answer waited for."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import typer
import yaml
from pydantic import ValidationError
from rich.text import Text

from riskladder.api.conditions import Condition, ConditionStatus, find
from riskladder.api.decision import DecisionAction, DecisionStatus, EscalationDecisionSpec
from riskladder.api.reasons import ConditionType
from riskladder.cli.output import complain, console, plain, write_json
from riskladder.cli.people.options import Form, How
from riskladder.cli.people.session import Session, end
from riskladder.cluster.client import Forbidden, NotFound
from riskladder.cluster.resources import DECISIONS
from riskladder.people.answers import COULD_NOT_ASK, REFUSED, UNANSWERED
from riskladder.people.case import Case, Object
from riskladder.people.manifests import decision_manifest
from riskladder.people.outcome import Order, Result, contained_result, judged
from riskladder.people.preview import Preview
from riskladder.people.text import PROGRAM, took
from riskladder.policy.decisions.effects import containment_of


def say(how: How, text: str, style: str = "") -> None:
    """Print a sentence for people: on stdout, or on stderr where stdout is for programs."""
    if how.output is Form.TABLE:
        to = console()
        to.print(Text(plain(text), style), soft_wrap=not to.is_terminal)
    else:
        typer.echo(plain(text), err=True)


def rationale_of(given: str | None) -> str:
    """Return the rationale; asked for on a terminal, else required."""
    text = given
    if text is None and sys.stdin.isatty():
        text = str(typer.prompt("Why? It goes on record", err=True))
    if not text or not text.strip():
        end(COULD_NOT_ASK, "say why with --rationale (-m): it goes on record")
    return text.strip()


def described(error: ValidationError) -> str:
    """Return the first thing that is wrong with what somebody has given."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def manifest_only(how: How, manifest: Object) -> bool:
    """Print the manifest where that is all that was asked for."""
    if how.output is not Form.YAML:
        return False
    text = json.dumps(manifest, ensure_ascii=False)
    typer.echo(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=plain(text) == text), nl=False)
    return True


DRY_RUN = "The API server would take it: it was sent as a dry run, and nothing was stored."
"""What is said of a dry run."""


def confirm(how: How, foresight: Preview, *, is_stop: bool = False) -> None:
    """Say what will happen, and ask on a terminal whether it is meant.

    Where nobody can be asked, what will be refused is not sent, since the refusal would stay on record in the sender's
    name: unless they say that they mean it, or it is a stop, which waits for nothing.
    """
    say(how, foresight.sentence)
    for doubt in foresight.doubts:
        say(how, f"As things stand it will be refused: {doubt}.", "yellow")
    if how.yes or how.dry_run:
        return
    if sys.stdin.isatty():
        typer.confirm("Go on?", abort=True, err=True)
    elif foresight.doubts and not is_stop:
        end(REFUSED, "not sent, since a refusal stays on record in your name: give --yes to send it all the same")


def finish(how: How, result: Result) -> None:
    """Say what became of it, and end with its exit code."""
    if how.output is Form.JSON:
        write_json(result.facts)
    if result.code in (0, UNANSWERED):
        say(how, result.sentence, "bold green" if result.code == 0 else "yellow")
    else:
        complain(result.sentence)
    if result.code:
        raise typer.Exit(result.code)


async def send_decision(
    session: Session, how: How, case: Case, spec: EscalationDecisionSpec, foresight: Preview
) -> None:
    """Preview, confirm and send a decision, and wait for its outcome."""
    manifest = decision_manifest(case.namespace, spec, named=how.output is Form.YAML)
    if manifest_only(how, manifest):
        return
    confirm(how, foresight, is_stop=spec.action is DecisionAction.CONTAIN)
    started = time.monotonic()
    stored = await session.create(DECISIONS, manifest, dry_run=how.dry_run)
    name = str(stored["metadata"]["name"])
    facts: dict[str, Any] = {
        "namespace": case.namespace,
        "escalation": case.name,
        "decision": None if how.dry_run else name,
        "action": str(spec.action),
        "role": spec.role,
    }
    if how.dry_run:
        sentence = f"{DRY_RUN} Whether it counts is decided when it is sent."
        finish(how, Result(0, sentence, facts | {"dryRun": True}))
        return
    if not how.wait:
        finish(how, Result(0, f"Sent as {name}.", facts))
        return
    deadline = started + how.timeout
    is_stop = spec.action is DecisionAction.CONTAIN
    result = judged(case, name, await _answer(session, name, deadline), how.timeout, is_stop=is_stop)
    facts |= result.facts
    if result.code == 0 and spec.action is DecisionAction.CONTAIN and not case.spec.drill:
        order = Order(containment_of(case.pinned, spec.containment).action, decision=name)
        result = await until_contained(session, case.name, order, started, deadline)
        facts |= result.facts
    finish(how, Result(result.code, result.sentence, facts))


async def _answer(session: Session, name: str, deadline: float) -> Condition | None:
    async def look() -> Condition | None:
        try:
            status = (await session.client.get(DECISIONS, session.namespace, name)).get("status") or {}
        except NotFound:
            end(COULD_NOT_ASK, f"decision {name} was deleted before it was answered")
        except Forbidden:
            end(UNANSWERED, f"sent as {name}, but you may not read decisions, so the answer cannot be shown")
        found = find(DecisionStatus.model_validate(status).conditions, ConditionType.ACCEPTED)
        return None if found is None or found.status is ConditionStatus.UNKNOWN else found

    return await session.until(look, deadline)


async def until_contained(session: Session, name: str, order: Order, started: float, deadline: float) -> Result:
    """Wait for the proof that an escalation's model is in the safe state that was asked for."""

    async def look() -> Case | None:
        case = await session.case(name)
        return case if order.proved(case) is not None else None

    case = await session.until(look, deadline)
    seconds = time.monotonic() - started
    if case is None:
        sentence = (
            f"Accepted, and not proved yet after {took(seconds)} that the model is contained: {PROGRAM} show {name} -n "
            f"{session.namespace} --watch"
        )
        return Result(UNANSWERED, sentence, {"contained": False, "message": sentence})
    return contained_result(case, order, seconds)
