"""What stands in the way of removing Riskladder: each check is what has to be done before."""

from __future__ import annotations

from collections.abc import Sequence

from riskladder.api.chain import ChainResult, noted_heads, verify_chains
from riskladder.api.labels import LABEL_CONTAINED_BY
from riskladder.api.text import count, first
from riskladder.cli import files, source
from riskladder.cli.doctor.report import Check, bad, ok, skipped, warn
from riskladder.cli.doctor.site import Site
from riskladder.cluster import definitions
from riskladder.cluster.client import Forbidden, NotFound
from riskladder.cluster.resources import BINDINGS, ESCALATIONS, LADDERS, RECORDS, SIGNALS
from riskladder.people.case import Case, Unreadable, read_case
from riskladder.workloads.network import RESOURCES
from riskladder.workloads.registry import ALL_RUNTIMES

OPEN, HELD, EXPORTED, OBJECTS, GUARD = "open escalations", "held objects", "records", "other objects", "guard"

EXPORT = "kubectl get escr,esc -A -o json > records.json && riskladder verify records.json"
THEN = "then name it: riskladder doctor --uninstall --exported records.json"


async def check_open(site: Site) -> list[Check]:
    """Return the open escalations: without the operator nobody can decide them."""
    try:
        stored = await site.client.list(ESCALATIONS, site.namespace)
    except NotFound:
        return [ok(OPEN, "the kind is not installed")]
    cases: list[Case] = []
    for obj in stored:
        try:
            cases.append(read_case(obj))
        except Unreadable as error:
            return [bad(OPEN, str(error))]
    names = [f"{case.namespace}/{case.name}" for case in cases if case.is_open]
    if not names:
        return [ok(OPEN, "none is open")]
    what = f"{count(len(names), 'escalation')} open ({first(names)}): without the operator nobody can decide about them"
    return [bad(OPEN, what, "kubectl riskladder status -A, and resume and close each")]


async def check_held(site: Site) -> list[Check]:
    """Return the objects that a containment holds: they stay as they are, and nothing restores them any more."""
    further = site.runtimes or ()  # kinds that are known by their scale alone
    kinds = dict.fromkeys((*(runtime.resource for runtime in (*ALL_RUNTIMES, *further)), *RESOURCES.values()))
    held, unseen = [], []
    for resource in kinds:
        try:
            found = await site.client.list(resource, site.namespace, labels=LABEL_CONTAINED_BY)
        except Forbidden:
            unseen.append(resource.title)
        except NotFound:
            continue
        else:
            held += [f"{resource.kind} {o['metadata']['namespace']}/{o['metadata']['name']}" for o in found]
    checks = [skipped(HELD, f"you may not list {', '.join(unseen)}")] if unseen else []
    if held:
        what = f"{first(held)}: contained, and nothing restores what was there before once Riskladder is gone"
        return [*checks, bad(HELD, what, "kubectl riskladder resume …, for each that is to serve again")]
    return checks or [ok(HELD, "no containment holds anything")]


async def check_exported(site: Site, paths: Sequence[str]) -> list[Check]:
    """Return whether every record is in the files that are named, and whole: with the kind they are deleted.

    Args:
        site: The installation.
        paths: Exported files.
    """
    try:
        records = await site.client.list(RECORDS, site.namespace)
        escalations = await site.client.list(ESCALATIONS, site.namespace)
    except NotFound:
        return [ok(EXPORTED, "the kind is not installed")]
    if not records:
        return [ok(EXPORTED, "there is none")]
    live = {result.key: result for result in verify_chains(records, noted_heads(escalations))}
    broken = [str(key) for key, result in live.items() if not result.intact]
    checks = [bad(EXPORTED, f"the chain of {first(broken)} is broken", "riskladder verify --live -A")] if broken else []
    number = f"{count(len(records), 'record')} of {count(len(live), 'escalation')}"
    if not paths:
        what = f"{number} would be deleted, and no export is named"
        return [*checks, bad(EXPORTED, what, f"{EXPORT}; {THEN}")]
    try:
        export = source.from_files(paths, site.namespace)
        kept = {r.key: r for r in verify_chains(export.records, noted_heads(export.escalations, export.origin))}
    except (files.Unreadable, ValueError) as error:
        return [*checks, bad(EXPORTED, str(error), EXPORT)]
    lacking = [str(key) for key, result in live.items() if not _is_kept(result, kept.get(key))]
    if lacking:
        return [*checks, bad(EXPORTED, f"{', '.join(paths)} lacks records of {first(lacking)}", EXPORT)]
    return checks or [ok(EXPORTED, f"{number} are in {', '.join(paths)}, and whole")]


def _is_kept(live: ChainResult, kept: ChainResult | None) -> bool:
    """Return whether a chain was exported as far as it goes now, and is the same one."""
    return kept is not None and kept.intact and (kept.length, kept.head) == (live.length, live.head)


async def check_objects(site: Site) -> list[Check]:
    """Return what else is deleted with the kinds."""
    parts = []
    for resource, noun in ((LADDERS, "ladder"), (SIGNALS, "signal"), (BINDINGS, "binding")):
        try:
            if number := len(await site.client.list(resource, site.namespace)):
                parts.append(count(number, noun))
        except NotFound:
            continue
    if not parts:
        return [ok(OBJECTS, "there is no ladder, no signal and no binding")]
    what = f"{', '.join(parts)} would be deleted, too"
    return [warn(OBJECTS, what, "kubectl get ladder,mrs,mb -A -o yaml > riskladder.yaml")]


async def check_guard(site: Site) -> list[Check]:
    """Return which kinds the policy riskladder-kinds does not let go yet: the last step."""
    seen = await site.kinds()
    if all(one.is_forbidden for one in seen):
        return [skipped(GUARD, f"you may not get {definitions.CRDS.title}")]
    guarded = [
        one.name
        for one in seen
        if one.state is not definitions.State.MISSING and not one.is_unguarded and not one.is_forbidden
    ]
    if not guarded:
        return [ok(GUARD, "every kind that is there may be deleted")]
    what = f"{count(len(guarded), 'kind')} may not be deleted until that is confirmed, once all else is done"
    return [warn(GUARD, what, f"kubectl annotate crd NAME {definitions.CONFIRM_DELETE}=NAME: {first(guarded, 10)}")]
