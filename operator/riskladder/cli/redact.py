"""``riskladder redact``: erase personal text from a record, so that the chain still verifies and says so."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from riskladder.cli.people.session import FIELD_MANAGER, Session, end, run_in_session
from riskladder.cluster.authority import who_am_i
from riskladder.cluster.client import JSON_PATCH, ApiError, NotFound, Object
from riskladder.cluster.resources import RECORDS
from riskladder.people.answers import COULD_NOT_ASK, explain, refusal

EXCERPT = 60
"""Characters of a value that are shown: enough to know it by."""

LEAST_CUT = 20
"""Characters of a value by which the end of a text that was cut is known for a copy of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is erased of one record."""

    stored: Object
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the record."""
        return str(self.stored["metadata"]["name"])

    @property
    def here(self) -> dict[str, str]:
        """The values that stand in its ``open``, by path."""
        return open_fields(self.stored["spec"])


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
    with_copies: Annotated[
        bool | None,
        typer.Option(
            "--copies/--no-copies",
            help="Erase the copies of the same text in the whole chain, too, such as those in messages. Default: asked "
            "on a terminal, else only said where they are.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the API server whether it would take it; nothing is erased.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Erase personal text from a record, and its copies in other records of the chain, for good.

    Only free text and names in open can be erased. The chain still verifies, and
    who erased what, when and why stays on record in the record itself. Needs the
    verb redact on escalationrecords/open, and get, list and patch on escalationrecords.

    Exit code 0: done; 1: refused; 2: there is no such record or field, or it
    could not be asked.
    """

    async def work(session: Session) -> None:
        how = _How(with_copies, yes=yes, dry_run=dry_run, output=output)
        await _work(session, record, tuple(field or ()), reason, how)

    run_in_session(access_of(kubeconfig, context, as_user, as_group), namespace, work)


@dataclass(frozen=True, slots=True)
class _How:
    """How it is erased."""

    with_copies: bool | None
    yes: bool
    dry_run: bool
    output: Output


async def _work(session: Session, name: str, fields: Sequence[str], reason: str | None, how: _How) -> None:
    stored = await _read(session, name)
    spec, where = stored["spec"], f"{session.namespace}/{name}"
    here = open_fields(spec)
    if not fields:
        _show(where, spec, here, how.output)
        return
    try:
        chosen = choose(spec, fields)
    except LookupError as error:
        end(COULD_NOT_ASK, f"record {where}: {error.args[0]}")
    if reason is None or not reason.strip():
        end(COULD_NOT_ASK, "say why with --reason: it stays on record, so do not repeat what is erased")
    by = (await who_am_i(session.client)).username
    for line in (f"{where}: {count(len(chosen), 'value')} to be erased for good, as {by}", *_excerpts(chosen, here)):
        _say(how.output, line)
    found = await _copies(session, stored, chosen, how)
    erases_copies = _wants_copies(found, how)
    if not how.yes and not how.dry_run and sys.stdin.isatty():
        typer.confirm("Erase it?", abort=True, err=True)
    # The record itself comes last: where this is interrupted, the text by which its copies are found is still there.
    own = tuple(path for part in found if erases_copies and part.name == name for path in part.paths)
    mine = Part(stored, tuple(path for path in here if path in {*chosen, *own}))
    others = [part for part in found if part.name != name] if erases_copies else []
    verifies = True
    done: list[Object] = []
    for part in (*others, mine):
        patch = patch_of(part.stored, part.paths, by=by, at=datetime.now(UTC), reason=reason.strip())
        try:
            after = await _send(session, part.name, patch, dry_run=how.dry_run)
        except ApiError as error:
            if done and not how.dry_run:
                complain(f"erased so far: {', '.join(each['record'] for each in done)}; run it again for the rest")
            end(*refusal(error, session.namespace))
        holds = record_hash(after["spec"]) == after["spec"]["hash"]
        if not holds:
            complain(
                f"record {session.namespace}/{part.name}: spec.hash is not that of its content, and was not before "
                "either"
            )
        verifies = verifies and holds
        done.append({"record": part.name, "verifies": holds} | after["spec"]["redactions"][-1])
    left = [] if erases_copies else [{"record": part.name, "fields": list(part.paths)} for part in found]
    if how.output is Output.JSON:
        facts = {"namespace": session.namespace, "dryRun": how.dry_run} | done[-1]
        write_json(facts | {"copies": done[:-1], "left": left})
    _say(how.output, _outcome(sum(len(part.paths) for part in (*others, mine)), len(others) + 1, verifies, how))
    if left:
        values = sum(len(part.paths) for part in found)
        _say(how.output, f"NOT erased: {count(values, 'copy', 'copies')} of it, as listed above; --copies erases them.")


def _outcome(values: int, records: int, verifies: bool, how: _How) -> str:
    what = count(values, "value") + (f" of {count(records, 'record')}" if records > 1 else "")
    done = "The API server would take it; nothing was erased" if how.dry_run else f"Erased {what}"
    if records == 1:
        holds = "The record still verifies" if verifies else "The record does NOT verify"
    else:
        holds = "The records still verify" if verifies else "Not all of the records verify"
    return f"{done}. {holds}: riskladder verify"


async def _copies(session: Session, stored: Object, chosen: Sequence[str], how: _How) -> list[Part]:
    """Return where else in the chain the chosen values stand, and show it."""
    values = [open_fields(stored["spec"])[path] for path in chosen]
    try:
        records = await session.client.list(RECORDS, session.namespace)
    except ApiError as error:
        complain(f"copies of it in other records cannot be looked for: {explain(error)}")
        records = [stored]
    found = copies_in(records, stored, chosen, values)
    if found:
        texts = sum(len(part.paths) for part in found)
        _say(
            how.output,
            f"The same text is in {count(texts, 'more value')} of {count(len(found), 'record')} of the chain:",
        )
        for part in found:
            for line in _excerpts(part.paths, part.here):
                _say(how.output, f"  {part.name}{line}")
    return found


def copies_in(records: Iterable[Object], stored: Object, chosen: Sequence[str], values: Sequence[str]) -> list[Part]:
    """Return which values of a chain repeat a text, record by record, in the order of the chain.

    Args:
        records: What is there, of whatever chains.
        stored: The record that the text is in.
        chosen: The paths that are to be erased there.
        values: What they say.
    """
    spec, name = stored["spec"], stored["metadata"]["name"]
    own = (spec.get("escalation"), spec.get("namespaceUid"))
    parts = []
    for record in sorted(records, key=lambda record: str(record["metadata"]["name"])):
        if (record["spec"].get("escalation"), record["spec"].get("namespaceUid")) != own:
            continue
        is_it = record["metadata"]["name"] == name
        paths = tuple(
            path
            for path, text in open_fields(record["spec"]).items()
            if not (is_it and path in chosen) and any(repeats(text, value) for value in values)
        )
        if paths:
            parts.append(Part(record, paths))
    return parts


def repeats(text: str, value: str) -> bool:
    """Return whether a text contains a value as words of its own, however spaced, or begins to where it was cut off."""
    text, value = " ".join(text.split()), " ".join(value.split())
    if not value:
        return False
    if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None:
        return True
    text = text.removesuffix("…").rstrip()
    at = text.find(value[:LEAST_CUT]) if len(value) >= LEAST_CUT else -1
    while at >= 0:
        if value.startswith(text[at:]):
            return True
        at = text.find(value[:LEAST_CUT], at + 1)
    return False


def _wants_copies(found: Sequence[Part], how: _How) -> bool:
    if not found or how.with_copies is not None:
        return bool(found and how.with_copies)
    if how.yes or how.dry_run or not sys.stdin.isatty():
        return False
    return typer.confirm("Erase these copies as well?", err=True)


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
