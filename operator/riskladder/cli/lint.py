"""``riskladder lint``: what the API server would refuse and what a reviewer would ask, before anything is applied."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from riskladder.api.advice import Advice
from riskladder.api.base import API_VERSION, GROUP
from riskladder.api.binding import MonitorBindingSpec
from riskladder.api.kinds import BINDING, KINDS, LADDER, SIGNAL
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.messages import shown
from riskladder.api.signal import ModelRiskSignalSpec
from riskladder.api.text import listed
from riskladder.api.tiers import Containment
from riskladder.api.validation import Problem, validate
from riskladder.cli import files
from riskladder.cli.files import Document
from riskladder.cli.options import Output, OutputOption
from riskladder.cli.output import COULD_NOT_CHECK, complain, console, count, fail, indented, plain, write_json
from riskladder.monitors.advice import advise_binding
from riskladder.monitors.check import problems as binding_problems
from riskladder.monitors.times import NoTime, parse
from riskladder.policy.advice.ladder import advise_ladder
from riskladder.policy.advice.signal import advise_kind, advise_signal, advise_time
from riskladder.policy.enabled import ends_no_pods, graces, missing_components, slow_stops
from riskladder.workloads.registry import Runtimes

FOUND = 1
"""Exit code where something has to be corrected."""


class Severity(StrEnum):
    """How serious a finding is."""

    ERROR = "error"
    """The API server would refuse it, or drop a part of it."""
    WARNING = "warning"
    """Policy advice: it would be taken, and may do what nobody wants."""
    NOTE = "note"
    """It was not checked, or is so only now."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to be said about one object."""

    severity: Severity
    document: Document
    path: str = ""
    message: str = ""
    remedy: str = ""
    rule: str = ""

    @property
    def line(self) -> int:
        """Line of the path in its file."""
        named = re.match(r"tier (\S+): ", self.message) if self.path == "spec.tiers" else None
        if named is not None and (index := _index_of(self.document, named[1])) is not None:
            return self.document.line_of(f"spec.tiers[{index}]")
        return self.document.line_of(self.path)

    @property
    def is_skipped(self) -> bool:
        """Whether the object as a whole was not checked."""
        return self.severity is Severity.NOTE and not self.rule


def lint(
    paths: Annotated[
        list[str], typer.Argument(metavar="FILE", help="YAML or JSON files, directories, or - for stdin.")
    ],
    output: OutputOption = Output.TABLE,
    strict: Annotated[bool, typer.Option("--strict", help="Policy advice is an error, too.")] = False,
    enable: Annotated[
        list[str] | None,
        typer.Option(
            help="A component that the operator runs with, as its own option says it; repeatable. With it, what a "
            "ladder asks for is compared with them all; an empty one stands for none."
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When to check as of, in RFC 3339, so that the same files get the same answer: reviews fall due, and "
            "readings grow old. Default: now.",
        ),
    ] = None,
) -> None:
    """Check ladders, signals and bindings offline: with the rules of the API server, and with advice on the policy.

    Signals and bindings are checked against their ladders where these are among the files.

    Exit code 0: nothing to correct; 1: an error (with --strict also a warning);
    2: a file could not be read, or holds nothing to check.
    """
    runtimes = _runtimes(enable)
    try:
        now = parse(at, None, None) if at is not None else datetime.now(UTC)
    except NoTime as error:
        fail(f"--at: {error}")
    documents: list[Document] = []
    unreadable = False
    for path in paths:
        try:
            for file in files.expand(path):
                try:
                    documents += files.read(file)
                except files.Unreadable as error:
                    complain(str(error))
                    unreadable = True
        except files.Unreadable as error:
            complain(str(error))
            unreadable = True
    findings = list(check(documents, now, runtimes))
    if not documents and unreadable:
        raise typer.Exit(COULD_NOT_CHECK)
    checked = len(documents) - sum(f.is_skipped for f in findings)
    if not checked and not unreadable:
        others = sorted({_kind(document) for document in documents} - {""})
        found = f"; found {listed(others)}" if others else ""
        fail(f"{', '.join(paths)}: holds no {', '.join(KINDS)}{found}")
    wrong = [f for f in findings if f.severity is Severity.ERROR or (strict and f.severity is Severity.WARNING)]
    if output is Output.JSON:
        write_json(_as_json(findings, checked, ok=not wrong and not unreadable))
    else:
        show(console(), findings, checked)
    if unreadable:
        raise typer.Exit(COULD_NOT_CHECK)
    if wrong:
        raise typer.Exit(FOUND)


# --- Checking -----------------------------------------------------------------------------------------------------


def _runtimes(enable: Sequence[str] | None) -> Runtimes | None:
    """Return what the operator runs with, where that was said."""
    if enable is None:
        return None
    try:
        return Runtimes(name for name in enable if name)
    except ValueError as error:
        fail(f"--enable: {error}")


def check(documents: Sequence[Document], now: datetime, runtimes: Runtimes | None = None) -> Iterator[Finding]:
    """Yield everything there is to say, object by object in the order of the files.

    Args:
        documents: What was read.
        now: Current time, UTC: reviews are overdue against it, and readings too old.
        runtimes: What the operator runs with, where that is known.
    """
    problems = {id(d): _problems(d) for d in documents if _is_ours(d)}
    ladders: dict[tuple[str, str], EscalationLadderSpec | None] = {}
    for document in documents:
        if _kind(document) == LADDER.name:
            sound = problems.get(id(document)) == []
            spec = EscalationLadderSpec.model_validate(document.value["spec"]) if sound else None
            ladders[_namespace(document), _name(document)] = spec
    for document in documents:
        if id(document) not in problems:
            yield Finding(Severity.NOTE, document, message=f"not checked: not of group {GROUP}")
            continue
        found = [Finding(Severity.ERROR, document, p.path, p.message) for p in problems[id(document)]]
        found = found or [
            Finding(Severity.WARNING, document, a.path, a.message, a.remedy, a.id)
            for a in _advice(document, ladders, runtimes, now.date())
        ] + [*_of_components(document, runtimes), *_of_time(document, ladders, now)]
        yield from sorted(found, key=lambda finding: finding.line)


def _is_ours(document: Document) -> bool:
    """Return whether it is for Riskladder to judge; what is no Kubernetes object at all is an error, too."""
    if not isinstance(document.value, Mapping) or not isinstance(document.value.get("kind"), str):
        return True
    version = document.value.get("apiVersion")
    if isinstance(version, str) and version.split("/")[0] == GROUP:
        return True
    return document.value["kind"] in KINDS and (not isinstance(version, str) or document.value["kind"] != "Escalation")


def _problems(document: Document) -> list[Problem]:
    value = document.value
    if not isinstance(value, Mapping):
        return [Problem("", f"found {shown(value)}, expected a Kubernetes object")]
    missing = [
        Problem(field, f"is required, for example {example}")
        for field, example in (("apiVersion", API_VERSION), ("kind", LADDER.name))
        if not isinstance(value.get(field), str)
    ]
    if not isinstance(value.get("kind"), str):
        return missing
    found = missing + validate(value["kind"], value, unknown_fields=True)
    if not found and value["kind"] == BINDING.name:
        return binding_problems(MonitorBindingSpec.model_validate(value["spec"]))
    return found


def _advice(
    document: Document,
    ladders: Mapping[tuple[str, str], EscalationLadderSpec | None],
    runtimes: Runtimes | None,
    today: date,
) -> Iterable[Advice]:
    spec = document.value["spec"]
    if _kind(document) == LADDER.name:
        return advise_ladder(EscalationLadderSpec.model_validate(spec), today)
    if _kind(document) not in (SIGNAL.name, BINDING.name):
        return ()
    near = _near(document, ladders)
    if _kind(document) == BINDING.name:
        binding = MonitorBindingSpec.model_validate(spec)
        has_others = bool(near) and binding.ladder not in near
        return advise_binding(binding, near.get(binding.ladder), has_ladders=has_others)
    signal = ModelRiskSignalSpec.model_validate(spec)
    found = advise_kind(signal.target.kind, runtimes)
    if not near or near.get(signal.ladder, ...) is None:
        return found  # Nothing to compare with, or a ladder that has errors of its own.
    return [*found, *advise_signal(signal, near.get(signal.ladder))]


def _near(
    document: Document, ladders: Mapping[tuple[str, str], EscalationLadderSpec | None]
) -> dict[str, EscalationLadderSpec | None]:
    """Return the ladders by name that may be in the namespace of an object, which may be chosen when it is applied."""
    mine = _namespace(document)
    return {name: ladder for (where, name), ladder in ladders.items() if mine in ("", where) or not where}


def _of_time(
    document: Document, ladders: Mapping[tuple[str, str], EscalationLadderSpec | None], now: datetime
) -> Iterator[Finding]:
    """Yield why a signal would not be counted if it were applied now: a note, since a file grows older by itself."""
    if _kind(document) != SIGNAL.name:
        return
    signal = ModelRiskSignalSpec.model_validate(document.value["spec"])
    for advice in advise_time(signal, _near(document, ladders).get(signal.ladder), now):
        yield Finding(Severity.NOTE, document, advice.path, advice.message, advice.remedy, advice.id)


def _of_components(document: Document, runtimes: Runtimes | None) -> Iterator[Finding]:
    """Yield what a ladder asks for that takes a component of the operator."""
    if _kind(document) != LADDER.name:
        return
    spec = EscalationLadderSpec.model_validate(document.value["spec"])
    if runtimes is None:
        for path, grace in graces(spec):
            given = ", the default" if grace == Containment.model_fields["grace"].default else ""
            message = (
                f"not checked whether pods end within {grace}{given}: without the component prompt-stop of the "
                "operator a stop takes as long as their terminationGracePeriodSeconds"
            )
            remedy = "name the components that the operator runs with, for example --enable=prompt-stop"
            yield Finding(Severity.NOTE, document, path, message, remedy, "prompt-stop-unknown")
        return
    for found in missing_components(spec, runtimes):
        path, _, message = found.partition(" ")
        yield Finding(Severity.WARNING, document, path, message, "add the component, or ask for another", "not-enabled")
    if slow := slow_stops(spec, ends_no_pods(runtimes)):
        path, _, message = slow.partition(": ")
        first = path.split(", ")[0]
        yield Finding(Severity.WARNING, document, first, message, "or write grace: Own", "prompt-stop-missing")


def _kind(document: Document) -> str:
    return str(document.value.get("kind", "")) if isinstance(document.value, Mapping) else ""


def _metadata(document: Document) -> Mapping[str, Any]:
    metadata = document.value.get("metadata") if isinstance(document.value, Mapping) else None
    return metadata if isinstance(metadata, Mapping) else {}


def _name(document: Document) -> str:
    metadata = _metadata(document)
    return str(metadata.get("name") or metadata.get("generateName") or "")


def _namespace(document: Document) -> str:
    return str(_metadata(document).get("namespace") or "")


def _index_of(document: Document, tier: str) -> int | None:
    """Return which tier of a ladder has that name."""
    spec = document.value.get("spec") if isinstance(document.value, Mapping) else None
    tiers = spec.get("tiers") if isinstance(spec, Mapping) else None
    found = enumerate(tiers) if isinstance(tiers, list) else ()
    return next((n for n, one in found if isinstance(one, Mapping) and one.get("name") == tier), None)


# --- Showing ------------------------------------------------------------------------------------------------------

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


def show(to: Console, findings: Sequence[Finding], checked: int) -> None:
    """Print one line a finding, in the form that editors and CI systems understand; wrapped and indented for people."""
    for finding in findings:
        where = plain(f"{finding.document.source}:{finding.line}:")
        subject = _subject(finding.document)
        path = f" {plain(finding.path)}:" if finding.path else ""
        said = Text.assemble((f"{finding.severity}:", _STYLES[finding.severity]), f"{path} {plain(finding.message)}")
        advice = Text.assemble(("→ ", "cyan"), plain(finding.remedy), (f" [{finding.rule}]", "dim"))
        if not to.is_terminal:
            line = Text(" ").join([Text(where), Text(f"{subject}:"), said, *([advice] if finding.remedy else [])])
            to.print(line, soft_wrap=True)
            continue
        to.print(Text.assemble((where, "bold"), f" {subject}"), soft_wrap=True)
        to.print(indented(said, 2))
        if finding.remedy:
            to.print(indented(advice, 2))
    errors = sum(f.severity is Severity.ERROR for f in findings)
    warnings = sum(f.severity is Severity.WARNING for f in findings)
    skipped = sum(f.is_skipped for f in findings)
    style = "bold red" if errors else "yellow" if warnings else "bold green"
    rest = f" {count(skipped, 'other object')} not checked." if skipped else ""
    to.print(
        Text(
            f"{count(checked, 'object')} checked: {count(errors, 'error')}, {count(warnings, 'warning')}.{rest}", style
        )
    )


def _subject(document: Document) -> str:
    """Return the object, with its place where a file has several."""
    name = plain(f"{_kind(document) or 'object'}/{_name(document) or '(no name)'}")
    item = f", item {document.item}" if document.item is not None else ""
    return f"{name} (document {document.index}{item})" if document.index > 1 or item else name


def _as_json(findings: Iterable[Finding], checked: int, *, ok: bool) -> Mapping[str, object]:
    return {
        "ok": ok,
        "checked": checked,
        "findings": [
            {
                "severity": finding.severity,
                "file": finding.document.source,
                "document": finding.document.index,
                "item": finding.document.item,
                "line": finding.line,
                "kind": _kind(finding.document) or None,
                "namespace": _namespace(finding.document) or None,
                "name": _name(finding.document) or None,
                "path": finding.path or None,
                "message": finding.message,
                "remedy": finding.remedy or None,
                "rule": finding.rule or None,
            }
            for finding in findings
        ],
    }
