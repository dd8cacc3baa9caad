"""``riskladder verify``: whether the record chains are whole and unchanged, offline or on a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from riskladder.api.chain import ChainKey, ChainResult, Head, noted_heads, verify_chains
from riskladder.cli import files, source
from riskladder.cli.options import AllNamespaces, Namespace, Output, OutputOption
from riskladder.cli.output import console, count, fail, indented, plain, write_json
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, access_of
from riskladder.people.export import SAME_FILE, end_of

BROKEN = 1
"""Exit code for a broken chain."""
ONE_LINE_WIDTH = 160
"""Columns from which a chain and its full hash fit on one line."""

_HEAD = re.compile(r"(?:(?P<namespace>[^/=]+)/)?(?P<name>[^/=]+)=(?P<sequence>[0-9]{1,6}):(?P<hash>[0-9a-f]{64})")


def verify(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="YAML, JSON or JSON lines as exported by kubectl get escr,esc -A -o json; - is stdin. Several are "
            "checked as one, where they overlap or were exported before and after a redaction.",
        ),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Check the records on the cluster instead of a file.")] = False,
    namespace: Namespace = None,
    everywhere: AllNamespaces = False,
    escalation: Annotated[str | None, typer.Option(help="Only the chain of this escalation.")] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            help="[NAMESPACE/]NAME=SEQUENCE:HASH, a head noted elsewhere, such as in the operator's log; repeatable. "
            "It shows a missing end and a chain rewritten, which the records alone cannot.",
            metavar="HEAD",
        ),
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_user: As = None,
    as_group: AsGroup = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check that no record was changed, removed, inserted or moved.

    The first changed, missing or misplaced record of each chain is named. Values
    that were lawfully redacted leave a chain intact, and are counted.

    Exit code 0: every chain is intact; 1: one is broken; 2: it could not be
    checked.
    """
    if live == bool(paths):
        fail("give either a FILE (- for stdin) or --live")
    if everywhere and namespace:
        fail("give either --namespace or --all-namespaces")
    try:
        if paths:
            export = source.from_files(paths, namespace)
        else:
            export = source.from_cluster(
                access_of(kubeconfig, context, as_user, as_group), namespace, everywhere=everywhere
            )
        heads = noted_heads(export.escalations, export.origin)
    except (files.Unreadable, source.Unavailable, ValueError) as error:
        fail(str(error))
    known = {result.key for result in verify_chains(export.records, heads)}
    for key, given in _given_heads(head or (), known, export.namespace):
        heads.setdefault(key, []).append(given)
    results = [r for r in verify_chains(export.records, heads) if escalation in (None, r.key.escalation)]
    if not results and escalation is not None:
        fail(
            f"no record of an escalation {escalation}" + (f" in namespace {export.namespace}" * bool(export.namespace))
        )
    if not results and paths:
        fail(f"{', '.join(paths)}: holds no record" + (f" of namespace {namespace}" if namespace else ""))
    if not results:
        where = (
            f"namespace {export.namespace}: give --namespace or --all-namespaces" if export.namespace else "the cluster"
        )
        fail(f"no record in {where}")
    if output is Output.JSON:
        write_json(_as_json(results))
    else:
        show(console(), results, is_yaml=export.is_yaml)
    if not all(result.intact for result in results):
        raise typer.Exit(BROKEN)


def _given_heads(
    texts: Iterable[str], known: Iterable[ChainKey], namespace: str | None
) -> Iterable[tuple[ChainKey, Head]]:
    """Yield the heads of ``--head``, each with the chain it is about."""
    for text in texts:
        match = _HEAD.fullmatch(text)
        if match is None or int(match["sequence"]) < 1:
            fail(f"--head {text}: expected [NAMESPACE/]NAME=SEQUENCE:HASH with a SHA-256 in lower-case hex")
        keys = [k for k in known if k.escalation == match["name"] and match["namespace"] in (None, k.namespace)]
        if len(keys) > 1:
            where = ", ".join(sorted(map(str, keys)))
            fail(f"--head {text}: several namespaces have an escalation of that name, say which: {where}")
        key = keys[0] if keys else ChainKey(match["namespace"] or namespace or "", match["name"])
        yield key, Head(int(match["sequence"]), match["hash"], "--head")


def show(to: Console, results: Sequence[ChainResult], *, is_yaml: bool = False) -> None:
    """Print one line a chain where they fit or no person reads along, else two; then a summary.

    Args:
        to: Where to show it.
        results: The chains.
        is_yaml: Whether the records were read from YAML.
    """
    one_line = not to.is_terminal or to.width >= ONE_LINE_WIDTH
    names = [plain(str(result.key)) for result in results]
    widest = max(map(len, names), default=0)
    for result, name in zip(results, names, strict=True):
        status = Text("OK    " if result.intact else "BROKEN", "bold green" if result.intact else "bold red")
        end = f"{result.length}:{result.head}"
        length = count(result.length, "record") if result.intact else f"{result.length} good"
        remark = _end(result) if result.intact else plain(result.error)
        if one_line:
            line = Text("  ").join([status, Text(f"{name:<{widest}}"), Text(f"{length:>11}"), Text(end), Text(remark)])
            to.print(line, soft_wrap=True)
            continue
        to.print(indented(Text("  ").join([status, Text(name, "bold"), Text(length)]), 0))
        if result.length:
            to.print(indented(Text(end, "dim", overflow="fold"), 8))
        to.print(indented(Text(remark, "" if result.intact else "red"), 8))

    def say(text: str, style: str = "") -> None:
        to.print(Text(text, style), soft_wrap=not to.is_terminal)

    broken = sum(not result.intact for result in results)
    total = sum(result.length for result in results)
    if broken:
        good = len(results) - broken
        say(f"{count(broken, 'chain')} broken, {good} intact.", "bold red")
    else:
        say(f"{count(len(results), 'chain')} intact, {count(total, 'record')}.", "bold green")
    if redacted := sum(result.redacted for result in results):
        say(f"{count(redacted, 'field')} redacted: who did it, when and why is in spec.redactions of the record.")
    if unchecked := sum(result.intact and not result.noted for result in results):
        them = "1 chain has" if unchecked == 1 else f"{unchecked} chains have"
        say(f"{them} no noted head: a missing end would not show. Add the escalations, or --head.")
    if vouched := sum(result.intact and set(result.origins) == {SAME_FILE} for result in results):
        them = "The head of 1 chain comes" if vouched == 1 else f"The heads of {vouched} chains come"
        say(f"{them} from the same file: who wrote the file wrote them, too. Compare with --head from elsewhere.")
    if is_yaml and broken:
        say("kubectl drops some characters in YAML. Export with -o json before you call a chain broken.")


def _end(result: ChainResult) -> str:
    redacted = f", {count(result.redacted, 'field')} redacted" if result.redacted else ""
    return end_of(result) + redacted


def _as_json(results: Sequence[ChainResult]) -> Mapping[str, object]:
    return {
        "intact": all(result.intact for result in results),
        "chains": [
            {
                "namespace": result.key.namespace,
                "escalation": result.key.escalation,
                "intact": result.intact,
                "length": result.length,
                "head": result.head,
                "notedHead": result.noted or None,
                "heads": [{"from": origin, "sequence": at} for origin, at in result.origins.items()],
                "namespaceUid": result.namespace_uid or None,
                "redacted": result.redacted,
                "firstBadRecord": result.record or None,
                "error": result.error or None,
            }
            for result in results
        ],
    }
