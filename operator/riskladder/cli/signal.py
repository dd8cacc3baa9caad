"""``riskladder signal``: report readings from a script."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any, NoReturn

import typer

from riskladder.api.base import format_time
from riskladder.cli.options import Kubeconfig, Output, OutputOption
from riskladder.cli.output import complain, fail, plain, write_json
from riskladder.client import Reading, Refused, Reported, Reporter, ReportFailed, Verdict
from riskladder.monitors.times import NoTime, parse
from riskladder.workloads.registry import ALL_RUNTIMES

REFUSED = 1
"""Exit code where the cluster refuses it for good, or the operator does not use it."""

NOT_SENT = 2
"""Exit code where nothing was sent: it is no reading, an option is wrong, no credentials, or no ladder to be found."""

TRY_LATER = 75
"""Exit code where the same may work later: EX_TEMPFAIL of sysexits.h."""

_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|inf|infinity)", re.IGNORECASE | re.ASCII)


def signal(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Name of the workload that serves the model.")],
    readings: Annotated[
        list[str], typer.Argument(metavar="INDICATOR=VALUE", help="Values, each in the unit of its indicator.")
    ],
    source: Annotated[
        str, typer.Option(help="Who reports. The account needs the verb report on sources.riskladder.dev of that name.")
    ],
    ladder: Annotated[
        str | None,
        typer.Option(
            help="Default: the target's label riskladder.dev/ladder, else the only ladder of the namespace, where the "
            "account may read them."
        ),
    ] = None,
    kind: Annotated[str, typer.Option(help="Kind of the workload.")] = "Deployment",
    samples: Annotated[int | None, typer.Option(help="How many samples each value rests on.")] = None,
    window: Annotated[str | None, typer.Option(help="The span of time that they cover, such as 24h.")] = None,
    observed_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it was measured, in RFC 3339. Default: now.")
    ] = None,
    evidence: Annotated[str | None, typer.Option(metavar="LINK", help="Link to the full report.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model in its registry.")] = None,
    version: Annotated[str | None, typer.Option(help="Its version there.")] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Of the ModelRiskSignal. Default: of source, ladder and target: the next report updates it."),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Of the model. Default: the context's own, or the pod's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Have the API server check everything, and store nothing.")
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Wait until the operator says READY, or why not. Needs the verb get on signals.",
        ),
    ] = None,
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="For how long to try again where the API server is busy.")
    ] = 60.0,
    output: OutputOption = Output.TABLE,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Report readings of a model, as one ModelRiskSignal.

    Exit code 0: stored, and with --wait used; 1: refused for good, or with
    --wait not used; 2: nothing was sent, since it is no reading, an option is
    wrong, there are no credentials, or which ladder is meant cannot be found;
    75: try the same again later.

    \b
    riskladder signal credit-scorer --source fairness-monitor psi=0.21 auc=0.83 --samples 4000
    """
    if wait is not None and dry_run:
        fail("--wait: nothing is stored by a dry run, so there is nothing to wait for")
    try:
        at = parse(observed_at, None, None) if observed_at is not None else None
    except NoTime as error:
        if re.search(r"\d{2}:\d{2}", observed_at or "") and not re.search(
            r"(Z|UTC|[+-]\d{2}:?\d{2})$", observed_at or ""
        ):
            fail(f"--observed-at: found {observed_at}, expected a time with its zone, such as 2026-11-24T06:00:00Z")
        fail(f"--observed-at: {error}")
    known = {runtime.resource.kind.lower(): runtime.resource.kind for runtime in ALL_RUNTIMES}
    if known.get(kind.lower(), kind) != kind:
        fail(f"--kind: found {kind}, expected {known[kind.lower()]}")
    values = [_reading(text) for text in readings]
    verdict: Verdict | None = None
    with Reporter(
        source, namespace=namespace, ladder=ladder, deadline=deadline, kubeconfig=kubeconfig, dry_run=dry_run
    ) as reporter:
        try:
            reported = reporter.report(
                target,
                values,
                kind=kind,
                samples=samples,
                window=window,
                evidence=evidence,
                observed_at=at,
                model=model,
                version=version,
                name=name,
            )
        except ReportFailed as error:
            _end(error)
        if output is Output.TABLE:
            _say(reported, values, dry_run=dry_run)
        if wait is not None:
            try:
                verdict = reporter.verdict(reported, timeout=wait)
            except ReportFailed as error:
                _end(error)
    if output is Output.JSON:
        write_json(_document(reported, verdict, stored=not dry_run))
    if verdict is not None and not verdict.ready:
        complain(f"not used ({verdict.reason}): {verdict.message}")
        raise typer.Exit(REFUSED)
    if verdict is not None and verdict.warning is not None:
        typer.echo(f"warning: {plain(verdict.warning)}", err=True)
    if verdict is not None and output is Output.TABLE:
        typer.echo(_in_words(verdict))


def _reading(text: str) -> Reading:
    indicator, given, value = text.partition("=")
    if not given or not indicator:
        fail(f"found {plain(text[:64])!r}, expected INDICATOR=VALUE, such as psi=0.21")
    if _NUMBER.fullmatch(value) is None:
        fail(f"{indicator}: found the text {value[:64]!r}, expected a number such as 0.21")
    return Reading(indicator, float(value))


def _end(error: ReportFailed) -> NoReturn:
    complain(error.message)
    if not isinstance(error, Refused):
        raise typer.Exit(TRY_LATER) from error
    raise typer.Exit(REFUSED if error.status else NOT_SENT) from error


def _say(reported: Reported, readings: list[Reading], *, dry_run: bool) -> None:
    values = ", ".join(f"{reading.indicator} {float(reading.value):g}" for reading in readings)
    doing = "would be" if dry_run else "is"
    where = f"stored in namespace {reported.namespace}, under ladder {reported.ladder}"
    typer.echo(plain(f"ModelRiskSignal {reported.name} {doing} {where}: {values}"))


def _in_words(verdict: Verdict) -> str:
    if verdict.tier in (None, "baseline"):
        return "READY: no threshold is crossed"
    escalation = f", see escalation {verdict.escalation}" if verdict.escalation else ""
    return plain(f"READY: the model is in tier {verdict.tier}{escalation}")


def _document(reported: Reported, verdict: Verdict | None, *, stored: bool) -> dict[str, Any]:
    return {
        "namespace": reported.namespace,
        "name": reported.name,
        "ladder": reported.ladder,
        "observedAt": format_time(reported.observed_at),
        "stored": stored,
        "verdict": None if verdict is None else asdict(verdict),
    }
