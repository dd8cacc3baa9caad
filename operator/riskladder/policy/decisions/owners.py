"""Whether somebody owns the model, however their name is written. Pure.

Owners are written by monitors, as their registry knows people; callers are named by the API server, which may put the
prefix of an identity provider before a name. A rule that a prefix or a capital letter gets round is no rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

SERVICE_ACCOUNT = "system:serviceaccount:"
GROUP = "group:"

_PREFIX = re.compile(r"^.*[:#]")


def person_key(name: str) -> str:
    """Return what is compared of a user name: without the prefix of an identity provider, and without case.

    ``user:Olga@Bank.example``, ``oidc:olga@bank.example`` and ``https://login.example#olga@bank.example`` are one
    person. A service account keeps its namespace, since its name alone is that of many.
    """
    text = name.strip().casefold()
    bare = text.removeprefix("user:").removeprefix(SERVICE_ACCOUNT)
    if bare != text and text.removeprefix("user:").startswith(SERVICE_ACCOUNT):
        return bare
    return _PREFIX.sub("", text) or text


def owner_named(owners: Iterable[str], person: str, groups: Iterable[str] = ()) -> str:
    """Return the owner that a person is, as it is written; empty where they are none.

    Args:
        owners: As signals name them; ``group:NAME`` is everybody in that group.
        person: User name, as the API server knows it.
        groups: The groups they are in.
    """
    key, member_of = person_key(person), {person_key(group) for group in groups}
    for owner in owners:
        text = owner.strip().casefold()
        found = person_key(text) in member_of if text.startswith(GROUP) else person_key(text) == key
        if found:
            return owner
    return ""


def unknown_owners(owners: Iterable[str], callers: Iterable[str]) -> tuple[str, ...]:
    """Return the owners that match nobody of those who have ever called; a group is not asked about.

    Args:
        owners: As signals name them.
        callers: User names of everybody who has been seen to decide or to raise.
    """
    known = {person_key(caller) for caller in callers}
    return tuple(o for o in owners if not o.strip().casefold().startswith(GROUP) and person_key(o) not in known)
