"""``show``: everything about one escalation on one page, with what the reader may do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from riskladder.cli.options import Output, OutputOption
from riskladder.cli.people import follow
from riskladder.cli.people.choices import Choice, choices, sensible
from riskladder.cli.people.details import details
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, Name, Namespace, Watch, access_of
from riskladder.cli.people.session import Session
from riskladder.cli.people.status import as_json
from riskladder.cli.people.view import Case
from riskladder.cluster.authority import may_i, who_am_i
from riskladder.cluster.client import ApiError, Object
from riskladder.cluster.resources import DECISIONS
from riskladder.policy.decisions.owners import unknown_owners
from riskladder.policy.decisions.standing import agreements


@dataclass(frozen=True, slots=True)
class View:
    """What one reader sees."""

    case: Case
    choices: tuple[Choice, ...]
    rationales: Mapping[str, str] = field(default_factory=dict)
    """Why people decided so, by the name of the decision; of those only that are still there."""
    unseen_owners: tuple[str, ...] = ()
    """Owners that match nobody who has been seen to call in this namespace."""


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
    """Show the details of one escalation: why, since when, who was notified, who decided, and your options.

    \b
    kubectl riskladder show credit-scorer-3f9a1c2b --watch
    """
    follow.show(
        access_of(kubeconfig, context, as_user, as_group),
        namespace,
        lambda session: view(session, name),
        render=lambda found: details(
            found.case, found.choices, datetime.now(UTC), found.rationales, found.unseen_owners
        ),
        facts=facts,
        output=output,
        watch=watch,
        is_over=lambda found: not found.case.is_open,
    )


async def view(session: Session, name: str) -> View:
    """Return the escalation, and what the caller may do; nothing where the API server does not answer that."""
    case = await session.case(name)
    verbs = [action.verb for action in sensible(case)]
    decisions = await _stored_decisions(session, case)
    rationales, callers = _rationales(decisions or (), case), _callers(decisions or (), case)
    try:
        me = await who_am_i(session.client)
        allowed = await may_i(session.client, session.namespace, verbs, case.roles)
    except ApiError:
        unseen_owners = unknown_owners(case.owners, callers) if decisions is not None else ()
        return View(case, (), rationales, unseen_owners)
    unseen_owners = unknown_owners(case.owners, {*callers, me.username}) if decisions is not None else ()
    return View(case, choices(case, allowed, me.username, me.groups), rationales, unseen_owners)


async def _stored_decisions(session: Session, case: Case) -> list[Object] | None:
    """Return the decisions of the namespace where something of them is shown; ``None`` where they are not readable."""
    if not case.status.decisions and not case.owners:
        return []
    try:
        return await session.client.list(DECISIONS, case.namespace)
    except ApiError:
        return None


def _rationales(decisions: Iterable[Object], case: Case) -> dict[str, str]:
    """Return why people decided so."""
    judged = {decision.uid for decision in case.status.decisions}
    return {
        str(obj["metadata"]["name"]): str((obj.get("spec") or {}).get("rationale") or "")
        for obj in decisions
        if obj["metadata"].get("uid") in judged
    }


def _callers(decisions: Iterable[Object], case: Case) -> set[str]:
    """Return whom the API server has been seen to authenticate: who decided in this namespace, and who raised this."""
    authors = (((obj.get("spec") or {}).get("decidedBy") or {}).get("username") for obj in decisions)
    manual = case.spec.signal.manual
    found = (*authors, *(d.by for d in case.status.decisions), manual.raised_by if manual else None)
    return {str(name) for name in found if name}


def facts(view: View) -> dict[str, Any]:
    """Return the same for programs: what ``status`` says, spec and status as stored, and what follows from them."""
    case = view.case
    return as_json(case) | {
        "open": case.is_open,
        "spec": case.spec.to_api(),
        "status": case.status.to_api(),
        "agreement": list(_agreements(case)),
        "rationales": dict(view.rationales),
        "owners": list(case.owners),
        "unknownOwners": list(view.unseen_owners),
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
