"""The decisions that people make on an escalation, one command for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from riskladder.api.decision import DecisionAction, EscalationDecisionSpec, Resolution, ReviewReport
from riskladder.cli.people.options import How, Name, Rationale, Role, sends
from riskladder.cli.people.send import described, rationale_of, send_decision
from riskladder.cli.people.session import Session, choose_role, end, run_in_session
from riskladder.cluster.authority import who_am_i
from riskladder.people.answers import COULD_NOT_ASK, REFUSED
from riskladder.people.case import Case
from riskladder.people.preview import preview_decision
from riskladder.people.text import UNTIL_FORMS, listed, parse_until
from riskladder.policy.decisions.rules import AFTER_THE_END

Particulars = Callable[[Case, datetime], Mapping[str, Any]]
"""What an action needs besides role and rationale; ValueError where it cannot be."""


def decide(
    how: How,
    name: str,
    action: DecisionAction,
    role: str | None,
    rationale: str | None,
    particulars: Particulars = lambda case, now: {},
) -> None:
    """Make one decision, from the question in which role to the answer of the operator."""

    async def work(session: Session) -> None:
        await decide_at(session, how, await session.case(name), action, role, rationale, particulars)

    run_in_session(how.access, how.namespace, work)


async def decide_at(
    session: Session,
    how: How,
    case: Case,
    action: DecisionAction,
    role: str | None,
    rationale: str | None,
    particulars: Particulars = lambda case, now: {},
) -> None:
    """Decide with an open connection."""
    if not case.is_open and action not in AFTER_THE_END:
        how_it_ended = f" as {case.status.resolution}" if case.status.resolution else ""
        end(REFUSED, f"{case.name} is closed{how_it_ended}: {action} comes too late")
    now = datetime.now(UTC)
    try:
        further = particulars(case, now)
    except ValueError as error:
        end(COULD_NOT_ASK, str(error))
    is_asked = how.decides and action is not DecisionAction.CONTAIN  # a stop waits for nothing
    chosen = await choose_role(session, role, [action.verb], case.roles, is_asked=is_asked)
    me = await who_am_i(session.client)
    try:
        spec = EscalationDecisionSpec(
            escalation=case.name,
            action=action,
            role=chosen,
            rationale=rationale_of(rationale),
            decided_by=me if how.decided_by else None,
            **further,
        )
    except ValidationError as error:
        end(COULD_NOT_ASK, described(error))
    await send_decision(session, how, case, spec, preview_decision(case, spec, me, now))


@sends
def ack(name: Name, how: How, role: Role = None, rationale: Rationale = None) -> None:
    """Acknowledge: seen, I take it. Reminders to your role stop.

    \b
    kubectl riskladder ack credit-scorer-3f9a1c2b -m "Looking into it"
    """
    decide(how, name, DecisionAction.ACKNOWLEDGE, role, rationale)


@sends
def comment(
    name: Name,
    how: How,
    role: Role = None,
    rationale: Rationale = None,
    clock: Annotated[
        str | None, typer.Option(help="The duty (a clock) that has been met with it.", show_default=False)
    ] = None,
) -> None:
    """Add to the record, and say with --clock that a duty has been met.

    \b
    kubectl riskladder comment credit-scorer-3f9a1c2b --clock ai-act-art-73 -m "Reported as 2026-0417"
    """
    decide(how, name, DecisionAction.COMMENT, role, rationale, lambda case, now: {"clock": clock})


@sends
def escalate(
    name: Name,
    how: How,
    role: Role = None,
    rationale: Rationale = None,
    tier: Annotated[
        str | None, typer.Option(help="The tier to enter. Default: the next higher one.", show_default=False)
    ] = None,
) -> None:
    """Raise it to a higher tier: other people are notified, and what that tier demands is done.

    \b
    kubectl riskladder escalate credit-scorer-3f9a1c2b -m "Complaints from customers"
    """
    decide(how, name, DecisionAction.ESCALATE, role, rationale, lambda case, now: {"tier": higher(case, tier)})


def higher(case: Case, tier: str | None) -> str:
    """Return the tier given, if it is higher than the present one; by default the next.

    Raises:
        ValueError: There is none, or it is none.
    """
    tiers, known = case.higher_tiers(), [declared.name for declared in case.policy.tiers]
    if tier is not None and tier not in known:
        raise ValueError(f"the policy of {case.name} has no tier {tier}, only {listed(known)}")
    if not tiers:
        raise ValueError(f"{case.name} stands at {case.tier} already, the highest tier of its policy")
    if tier is not None and tier not in tiers:
        raise ValueError(f"{tier} is no tier above {case.tier}; above it: {listed(tiers)}")
    return tier or tiers[0]


@sends
def object_(
    name: Name,
    how: How,
    role: Role = None,
    rationale: Rationale = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back what your role has objected.")] = False,
) -> None:
    """Object: nobody can accept the risk or resume the model on this rung until you withdraw it.

    \b
    kubectl riskladder object credit-scorer-3f9a1c2b -m "The cause is not understood"
    """
    decide(how, name, DecisionAction.OBJECT, role, rationale, lambda case, now: {"withdraw": withdraw})


@sends
def accept_risk(
    name: Name,
    how: How,
    until: Annotated[
        str,
        typer.Option(
            help="Until when: a date (2026-12-01: the end of that day), a time such as 2026-12-01T12:00:00Z or a "
            "duration from now (14d).",
            show_default=False,
        ),
    ] = "",
    role: Role = None,
    rationale: Rationale = None,
) -> None:
    """Agree that the risk is accepted for a time. Then the acceptance ends, and people are asked again.

    A worse tier ends it at once. What is contained stays so until it is resumed.

    \b
    kubectl riskladder accept-risk credit-scorer-3f9a1c2b --until 14d -m "Retrained model ships on the 8th"
    """
    if not until:
        end(COULD_NOT_ASK, f"--until is missing: expected {UNTIL_FORMS}")
    decide(how, name, DecisionAction.ACCEPT_RISK, role, rationale, lambda case, now: {"until": parse_until(until, now)})


@sends
def resume(name: Name, how: How, role: Role = None, rationale: Rationale = None) -> None:
    """Agree that a contained model is restored.

    \b
    kubectl riskladder resume credit-scorer-3f9a1c2b -m "Fixed and verified on last week's data"
    """
    decide(how, name, DecisionAction.RESUME, role, rationale)


@sends
def close(
    name: Name,
    how: How,
    resolution: Annotated[
        str,
        typer.Option(
            help="How it ended: Remediated, FalsePositive, RiskAccepted (while an acceptance runs) or Retired (the "
            "only one for a model that is still contained).",
            autocompletion=lambda: [str(known) for known in Resolution],
            metavar="Remediated|FalsePositive|RiskAccepted|Retired",
            show_default=False,
        ),
    ] = "",
    role: Role = None,
    rationale: Rationale = None,
) -> None:
    """Agree that it is over, and how it ended.

    \b
    kubectl riskladder close credit-scorer-3f9a1c2b --resolution Remediated -m "New model is live and within limits"
    """
    meant = resolution_of(resolution)
    decide(how, name, DecisionAction.CLOSE, role, rationale, lambda case, now: {"resolution": meant})


def resolution_of(text: str) -> Resolution:
    """Return the resolution of that name, in whatever case; end the command where there is none."""
    if not text:
        end(COULD_NOT_ASK, f"--resolution is missing: expected {listed(Resolution, 'or')}")
    found = next((known for known in Resolution if known.lower() == text.lower()), None)
    if found is None:
        end(COULD_NOT_ASK, f"--resolution {text}: expected {listed(Resolution, 'or')}")
    return found


@sends
def review(
    name: Name,
    how: How,
    policy_updated: Annotated[
        bool,
        typer.Option(
            "--policy-updated/--no-policy-updated",
            help="Whether the policy was, or will be, changed because of it.",
        ),
    ],
    satisfaction: Annotated[
        int, typer.Option(help="How it went, from 1 (not at all well) to 5 (entirely).", min=1, max=5)
    ],
    lessons: Annotated[str, typer.Option(help="What was learnt.")] = "",
    role: Role = None,
    rationale: Rationale = None,
) -> None:
    """Put the after-action review on record, once it is closed.

    \b
    kubectl riskladder review credit-scorer-3f9a1c2b --policy-updated --satisfaction 4 \\
      --lessons "Two quiet channels" -m "Review of 1 December"
    """
    report = ReviewReport(policy_updated=policy_updated, satisfaction=satisfaction, lessons=lessons)
    decide(how, name, DecisionAction.REVIEW, role, rationale, lambda case, now: {"review": report})
