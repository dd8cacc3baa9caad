"""``show``: everything about one escalation on one page, with what the reader may do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from riskladder.cli.options import Output, OutputOption
from riskladder.cli.people import follow
from riskladder.cli.people.details import details
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, Name, Namespace, Watch, access_of
from riskladder.cli.people.session import Session
from riskladder.cli.people.status import as_json
from riskladder.people.case import Case
from riskladder.people.choices import for_others
from riskladder.people.view import View, view
from riskladder.policy.decisions.standing import agreements


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
        lambda session: looked_at(session, name),
        render=lambda found: details(found, datetime.now(UTC)),
        facts=facts,
        output=output,
        watch=watch,
        is_over=lambda found: not found.case.is_open,
    )


async def looked_at(session: Session, name: str) -> View:
    """Return an escalation as the caller sees it; end the command where there is none."""
    return await view(session.client, await session.case(name))


def facts(seen: View) -> dict[str, Any]:
    """Return the same for programs: what ``status`` says, spec and status as stored, and what follows from them."""
    case = seen.case
    return as_json(case) | {
        "open": case.is_open,
        "spec": case.spec.to_api(),
        "status": case.status.to_api(),
        "agreement": list(_agreements(case)),
        "rationales": dict(seen.rationales),
        "credentials": dict(seen.credentials),
        "via": dict(seen.via),
        "lessons": {name: text for name, text in seen.lessons.items() if text},
        "owners": list(case.owners),
        "unknownOwners": list(seen.unseen_owners),
        "objections": [decision.role for decision in case.objections()],
        "options": [
            {"action": str(c.action), "role": c.role, "command": c.command, "what": c.what} for c in seen.choices
        ],
        "noOptions": seen.why_none or None,
        "forOthers": [{"what": what, "who": who} for what, who in for_others(case, seen.choices)],
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
