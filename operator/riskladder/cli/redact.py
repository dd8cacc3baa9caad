"""``riskladder redact``: erase personal text from a record, so that the chain still verifies and says so."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from riskladder.api.base import format_time
from riskladder.api.chain import record_hash
from riskladder.api.commitments import open_fields, redacted_fields, redaction_of
from riskladder.api.text import one_line
from riskladder.cli.options import Output, OutputOption
from riskladder.cli.output import complain, console, count, plain, write_json
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, Namespace, access_of
from riskladder.cli.people.session import COULD_NOT_ASK, FIELD_MANAGER, Session, end, refusal, run_in_session
from riskladder.cluster.authority import who_am_i
from riskladder.cluster.client import JSON_PATCH, ApiError, NotFound, Object
from riskladder.cluster.resources import RECORDS

EXCERPT = 60
"""Characters of a value that are shown: enough to know it by."""


def redact(
    record: Annotated[
        str,
        typer.Argument(
            help="Name of the EscalationRecord, ESCALATION-NUMBER, for example scorer-70539a1373-000007.",
            show_default=False,
        ),
    ],
    field: Annotated[
        list[str] | None,
        typer.Option(
            help="What to erase: a name such as rationale, in every entry of the record that has it, or one value "
            "by its path, entries[0].open.rationale; repeatable. Without it: show what there is.",
            metavar="FIELD",
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(help="Why; stays on record, so do not repeat what is erased.", show_default=False),
    ] = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_user: As = None,
    as_group: AsGroup = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the API server whether it would take it; nothing is erased.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Erase personal text from a record, for good.

    Only free text and names in open can be erased. The chain still verifies, and
    who erased what, when and why stays on record in the record itself. Needs the
    verbs redact, get and patch on escalationrecords.

    Exit code 0: done; 1: refused; 2: there is no such record or field, or it
    could not be asked.
    """

    async def work(session: Session) -> None:
        await _work(session, record, tuple(field or ()), reason, yes=yes, dry_run=dry_run, output=output)

    run_in_session(access_of(kubeconfig, context, as_user, as_group), namespace, work)


async def _work(
    session: Session, name: str, fields: Sequence[str], reason: str | None, *, yes: bool, dry_run: bool, output: Output
) -> None:
    stored = await _read(session, name)
    spec, where = stored["spec"], f"{session.namespace}/{name}"
    here = open_fields(spec)
    if not fields:
        _show(where, spec, here, output)
        return
    try:
        chosen = choose(spec, fields)
    except LookupError as error:
        end(COULD_NOT_ASK, f"record {where}: {error.args[0]}")
    if reason is None or not reason.strip():
        end(COULD_NOT_ASK, "say why with --reason: it stays on record, so do not repeat what is erased")
    by = (await who_am_i(session.client)).username
    for line in (f"{where}: {count(len(chosen), 'value')} to be erased for good, as {by}", *_excerpts(chosen, here)):
        _say(output, line)
    if not yes and not dry_run and sys.stdin.isatty():
        typer.confirm("Erase it?", abort=True, err=True)
    patch = patch_of(stored, chosen, by=by, at=datetime.now(UTC), reason=reason.strip())
    try:
        after = await _send(session, name, patch, dry_run=dry_run)
    except ApiError as error:
        end(*refusal(error, session.namespace))
    verifies = record_hash(after["spec"]) == after["spec"]["hash"]
    if output is Output.JSON:
        redaction = after["spec"]["redactions"][-1]
        write_json(
            {"namespace": session.namespace, "record": name, "dryRun": dry_run, "verifies": verifies} | redaction
        )
    done = "The API server would take it; nothing was erased" if dry_run else f"Erased {count(len(chosen), 'value')}"
    _say(output, f"{done}. The record {'still verifies' if verifies else 'does NOT verify'}: riskladder verify")
    if not verifies:
        complain(f"record {where}: spec.hash is not that of its content, and was not before either")


async def _read(session: Session, name: str) -> Object:
    try:
        return await session.client.get(RECORDS, session.namespace, name)
    except NotFound as error:
        if f'"{name}" not found' not in error.message:
            raise  # not the object is missing, but its kind
        end(COULD_NOT_ASK, f"there is no record {name} in namespace {session.namespace}: kubectl get escr lists them")


async def _send(session: Session, name: str, patch: Sequence[Object], *, dry_run: bool) -> Object:
    return await session.client.request(
        "PATCH",
        RECORDS.path(session.namespace, name),
        verb="patch",
        resource=RECORDS.title,
        body=patch,
        content_type=JSON_PATCH,
        params={"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {}),
    )


def choose(spec: Mapping[str, Any], fields: Iterable[str]) -> list[str]:
    """Return the paths of the values that names and paths mean, in the order of the record.

    Raises:
        LookupError: One means nothing that is there; the message says what is, or who has redacted it.
    """
    here, gone = open_fields(spec), redacted_fields(spec)
    chosen: set[str] = set()
    for field in fields:
        found = [path for path in here if _means(field, path)]
        erased = sorted(path for path in gone if _means(field, path))
        if not found and erased:
            raise LookupError(f"{field} is redacted already{_by_whom(spec, erased[0])}")
        if not found:
            there = f"there is {', '.join(here)}" if here else "nothing is left in open"
            raise LookupError(f"found no {field} in open; {there}. What is in detail is hashed, and stays")
        chosen.update(found)
    return [path for path in here if path in chosen]


def _means(field: str, path: str) -> bool:
    return field in (path, path.partition(".open.")[2])


def _by_whom(spec: Mapping[str, Any], path: str) -> str:
    said = redaction_of(spec, path)
    return f", by {said['by']} at {said['at']}: {said['reason']}" if said else ""


def patch_of(stored: Object, chosen: Sequence[str], *, by: str, at: datetime, reason: str) -> list[Object]:
    """Return the JSON Patch that erases these values and says so, of this very version of the record."""
    redaction = {"at": format_time(at), "by": by, "reason": reason, "fields": list(chosen)}
    is_first = not stored["spec"].get("redactions")
    return [
        # a conflict, where somebody has redacted it meanwhile
        {"op": "replace", "path": "/metadata/resourceVersion", "value": stored["metadata"]["resourceVersion"]},
        *({"op": "remove", "path": _pointer(path)} for path in chosen),
        {
            "op": "add",
            "path": "/spec/redactions" + ("" if is_first else "/-"),
            "value": [redaction] if is_first else redaction,
        },
    ]


def _pointer(path: str) -> str:
    """Return a path such as ``entries[0].open.rationale`` as a JSON Pointer (RFC 6901) from the root of the record."""
    entry, _, name = path.partition(".open.")
    number = entry.removeprefix("entries[").removesuffix("]")
    return f"/spec/entries/{number}/open/{name.replace('~', '~0').replace('/', '~1')}"


def _show(where: str, spec: Mapping[str, Any], here: Mapping[str, str], output: Output) -> None:
    """Show what could be erased, and what was."""
    gone = sorted(redacted_fields(spec))
    if output is Output.JSON:
        write_json({"record": where, "open": dict(here), "redacted": gone})
        return
    _say(output, f"{where}: {count(len(here), 'value')} in open, {len(gone)} redacted")
    for line in (*_excerpts(here, here), *(f"  {path}  redacted{_by_whom(spec, path)}" for path in gone)):
        _say(output, line)
    if here:
        _say(output, "Nothing is erased: choose with --field, and say why with --reason.")


def _excerpts(paths: Iterable[str], here: Mapping[str, str]) -> list[str]:
    return [f"  {path}  {one_line(here[path], EXCERPT)}" for path in paths]


def _say(output: Output, text: str) -> None:
    """Write a line for people: on stdout, or on stderr where stdout is for programs."""
    if output is Output.TABLE:
        to = console()
        to.print(Text(plain(text)), soft_wrap=not to.is_terminal)
    else:
        typer.echo(plain(text), err=True)
