"""``show``: everything about one escalation on one page, with what the reader may do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from riskladder.cli.options import Output, OutputOption
from riskladder.cli.people import follow
from riskladder.cli.people.choices import Choice, choices, sensible
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, Name, Namespace, Watch, access_of
from riskladder.cli.people.page import page
from riskladder.cli.people.session import Desk
from riskladder.cli.people.status import as_json
from riskladder.cli.people.view import Case
from riskladder.cluster.authority import may_i, who_am_i
from riskladder.cluster.client import ApiError
from riskladder.cluster.resources import DECISIONS
from riskladder.policy.decisions.standing import agreements


@dataclass(frozen=True, slots=True)
class View:
    """What one reader sees."""

    case: Case
    choices: tuple[Choice, ...]
    rationales: Mapping[str, str] = field(default_factory=dict)
    """Why people decided so, by the name of the decision; of those only that are still there."""


def show(
    name: Name,
    namespace: Namespace = None,
    watch: Watch = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_user: As = None,
    as_group: AsGroup = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one escalation on one page: why, since when, who was notified, who decided, and your options.

    \b
    kubectl riskladder show credit-scorer-3f9a1c2b --watch
    """
    follow.show(
        access_of(kubeconfig, context, as_user, as_group),
        namespace,
        lambda desk: view(desk, name),
        page=lambda found: page(found.case, found.choices, datetime.now(UTC), found.rationales),
        facts=facts,
        output=output,
        watch=watch,
        is_over=lambda found: not found.case.is_open,
    )


async def view(desk: Desk, name: str) -> View:
    """The escalation, and what the caller may do; nothing where the API server does not answer that."""
    case = await desk.case(name)
    verbs = [action.verb for action in sensible(case)]
    rationales = await _rationales(desk, case)
    try:
        me = await who_am_i(desk.client)
        allowed = await may_i(desk.client, desk.namespace, verbs, case.roles)
    except ApiError:
        return View(case, (), rationales)
    return View(case, choices(case, allowed, me.username), rationales)


async def _rationales(desk: Desk, case: Case) -> dict[str, str]:
    """Why people decided so; nothing where decisions may not be read, or are gone."""
    judged = {decision.uid for decision in case.status.decisions}
    if not judged:
        return {}
    try:
        found = await desk.client.list(DECISIONS, case.namespace)
    except ApiError:
        return {}
    return {
        str(obj["metadata"]["name"]): str((obj.get("spec") or {}).get("rationale") or "")
        for obj in found
        if obj["metadata"].get("uid") in judged
    }


def facts(view: View) -> dict[str, Any]:
    """The same for programs: what ``status`` says, spec and status as stored, and what follows from them."""
    case = view.case
    return as_json(case) | {
        "open": case.is_open,
        "spec": case.spec.to_api(),
        "status": case.status.to_api(),
        "agreement": list(_agreements(case)),
        "rationales": dict(view.rationales),
        "objections": [decision.role for decision in case.objections()],
        "options": [
            {"action": str(c.action), "role": c.role, "command": c.command, "what": c.what} for c in view.choices
        ],
    }


def _agreements(case: Case) -> Iterator[dict[str, Any]]:
    for found in agreements(case.standing) if case.is_open else ():
        yield {
            "action": str(found.action),
            "resolution": str(found.resolution) if found.resolution else None,
            "needed": found.needed,
            "given": found.given,
            "by": [{"role": role, "person": person} for role, person in found.tally.filled],
            "missing": [{"role": role, "count": count} for role, count in found.tally.missing],
        }
