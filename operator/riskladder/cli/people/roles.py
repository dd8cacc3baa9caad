"""In which role somebody decides: given, or the only one that they may use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from riskladder.cli.people.desk import Desk, end
from riskladder.cli.people.refusals import COULD_NOT_ASK, REFUSED
from riskladder.cli.people.words import listed
from riskladder.cluster.authority import may_i


def usable(allowed: Iterable[tuple[str, str]], verbs: Sequence[str], roles: Iterable[str]) -> tuple[str, ...]:
    """The roles for which every one of the verbs is allowed, in the order of the policy."""
    granted = set(allowed)
    return tuple(role for role in roles if all((verb, role) in granted for verb in verbs))


async def choose_role(desk: Desk, given: str | None, verbs: Sequence[str], roles: Sequence[str]) -> str:
    """The role given, else the only one of the policy for which the caller has the verbs; else ends the command."""
    if given is not None:
        if roles and given not in roles:
            end(COULD_NOT_ASK, f"the policy has no role {given}, only {listed(roles)}")
        return given
    found = usable(await may_i(desk.client, desk.namespace, verbs, roles), verbs, roles)
    words = listed(verbs)
    if not found:
        end(
            REFUSED,
            f"you may not {words} in any role of this policy ({', '.join(roles) or 'it has none'}): that needs the "
            f"verb{'s' if len(verbs) > 1 else ''} {words} on stakeholders.riskladder.dev in namespace {desk.namespace}",
        )
    if len(found) > 1:
        end(COULD_NOT_ASK, f"you may {words} as {listed(found, 'or')}: choose with --role")
    return found[0]
