"""An escalation as one reader sees it: with what they may do, by the API server's word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from riskladder.api.decision import DecidedBy
from riskladder.cluster.authority import may_i, who_am_i
from riskladder.cluster.client import ApiError, Client, Object
from riskladder.cluster.resources import DECISIONS
from riskladder.people.case import Case
from riskladder.people.choices import Choice, choices, sensible, why_none
from riskladder.policy.decisions.owners import unknown_owners


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
    credentials: Mapping[str, str] = field(default_factory=dict)
    """With which credential people decided, by the name of the decision, as for rationales; empty for none."""
    known: bool = False
    """Whether the API server knows credentials."""
    via: Mapping[str, str] = field(default_factory=dict)
    """Through what people were impersonated who decided, by the name of the decision."""


async def view(client: Client, case: Case) -> View:
    """Return the escalation, and what the caller may do; nothing where the API server does not answer that."""
    verbs = list(dict.fromkeys(found.action.verb for found in sensible(case)))
    decisions = await _stored_decisions(client, case)
    rationales, callers = _rationales(decisions or (), case), _callers(decisions or (), case)
    credentials = _decided_by("credentialID", decisions or (), case)
    via = {name: through for name, through in _decided_by("via", decisions or (), case).items() if through}
    lessons = _lessons(decisions or (), case)
    is_known = decisions is not None and bool(callers)  # where nobody has called, nobody can be missed
    try:
        me = await who_am_i(client)
        allowed = await may_i(client, case.namespace, verbs, case.roles)
    except ApiError:
        unseen_owners = unknown_owners(case.owners, callers) if is_known else ()
        known = knows_credentials(case, None, credentials)
        return View(case, (), "", rationales, lessons, unseen_owners, credentials, known, via)
    unseen_owners = unknown_owners(case.owners, {*callers, me.username}) if is_known else ()
    mine = choices(case, allowed, me)
    none = "" if mine else why_none(case, allowed, me.username)
    known = knows_credentials(case, me, credentials)
    return View(case, mine, none, rationales, lessons, unseen_owners, credentials, known, via)


def knows_credentials(case: Case, me: DecidedBy | None, credentials: Mapping[str, str]) -> bool:
    """Return whether the API server knows with which credential somebody calls: one is seen, the reader's or another.

    Args:
        case: The escalation, with the signals that were acted on.
        me: The reader, where the API server says who that is.
        credentials: Those of decisions.
    """
    signals = (case.spec.signal, *(intent.signal for intent in case.intents))
    seen = (signal.reported_by.credential_id for signal in signals if signal is not None and signal.reported_by)
    return bool(me is not None and me.credential_id) or any(credentials.values()) or any(seen)


async def _stored_decisions(client: Client, case: Case) -> list[Object] | None:
    """Return the decisions of the namespace where something of them is shown; ``None`` where they are not readable."""
    if not case.status.decisions and not case.owners:
        return []
    try:
        return await client.list(DECISIONS, case.namespace)
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


def _decided_by(what: str, decisions: Iterable[Object], case: Case) -> dict[str, str]:
    """Return a field of who decided, by the name of the decision; empty where the API server knew nothing of it."""
    return {name: str((spec.get("decidedBy") or {}).get(what) or "") for name, spec in _judged(decisions, case)}


def _callers(decisions: Iterable[Object], case: Case) -> set[str]:
    """Return whom the API server has been seen to authenticate: who decided in this namespace, and who raised this."""
    authors = (((obj.get("spec") or {}).get("decidedBy") or {}).get("username") for obj in decisions)
    manual = case.spec.signal.manual
    found = (*authors, *(d.by for d in case.status.decisions), manual.raised_by if manual else None)
    return {str(name) for name in found if name}
