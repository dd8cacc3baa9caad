"""``show``: everything about one escalation on one page, with what the reader may do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from riskladder.cli.options import Output, OutputOption
from riskladder.cli.people import follow
from riskladder.cli.people.choices import Choice, choices, for_others, sensible, why_none
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
    why_none: str = ""
    """Why there are no options, where there are none; empty where nobody could say what the caller may do."""
    rationales: Mapping[str, str] = field(default_factory=dict)
    """Why people decided so, by the name of the decision; of those only that are still there."""
    lessons: Mapping[str, str] = field(default_factory=dict)
    """What was learnt, by the name of the decision that reviews it."""
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
            found.case,
            found.choices,
            datetime.now(UTC),
            found.rationales,
            found.unseen_owners,
            lessons=found.lessons,
            why_none=found.why_none,
        ),
        facts=facts,
        output=output,
        watch=watch,
        is_over=lambda found: not found.case.is_open,
    )


async def view(session: Session, name: str) -> View:
    """Return the escalation, and what the caller may do; nothing where the API server does not answer that."""
    case = await session.case(name)
    verbs = list(dict.fromkeys(found.action.verb for found in sensible(case)))
    decisions = await _stored_decisions(session, case)
    rationales, callers = _rationales(decisions or (), case), _callers(decisions or (), case)
    lessons = _lessons(decisions or (), case)
    is_known = decisions is not None and bool(callers)  # where nobody has called, nobody can be missed
    try:
        me = await who_am_i(session.client)
        allowed = await may_i(session.client, session.namespace, verbs, case.roles)
    except ApiError:
        unseen_owners = unknown_owners(case.owners, callers) if is_known else ()
        return View(case, (), "", rationales, lessons, unseen_owners)
    unseen_owners = unknown_owners(case.owners, {*callers, me.username}) if is_known else ()
    mine = choices(case, allowed, me.username, me.groups)
    none = "" if mine else why_none(case, allowed, me.username)
    return View(case, mine, none, rationales, lessons, unseen_owners)


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
    return {name: str(spec.get("rationale") or "") for name, spec in _judged(decisions, case)}


def _lessons(decisions: Iterable[Object], case: Case) -> dict[str, str]:
    """Return what was learnt, by those who have reviewed it."""
    return {name: str((spec.get("review") or {}).get("lessons") or "") for name, spec in _judged(decisions, case)}


def _judged(decisions: Iterable[Object], case: Case) -> Iterator[tuple[str, Mapping[str, Any]]]:
    judged = {decision.uid for decision in case.status.decisions}
    for obj in decisions:
        if obj["metadata"].get("uid") in judged:
            yield str(obj["metadata"]["name"]), obj.get("spec") or {}


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
        "lessons": {name: text for name, text in view.lessons.items() if text},
        "owners": list(case.owners),
        "unknownOwners": list(view.unseen_owners),
        "objections": [decision.role for decision in case.objections()],
        "options": [
            {"action": str(c.action), "role": c.role, "command": c.command, "what": c.what} for c in view.choices
        ],
        "noOptions": view.why_none or None,
        "forOthers": [{"what": what, "who": who} for what, who in for_others(case, view.choices)],
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
