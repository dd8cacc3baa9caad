"""Whom a person is to the cluster where its API server trusts no provider: made from what the ID token says. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_GROUPS = 256
RESERVED = "system"
SEPARATORS = tuple(":/-_.@")
"""One of them ends the prefix, so that it cannot become a part of another name."""


class Unnamed(Exception):  # noqa: N818 - reads as a sentence at the call site
    """The provider says nothing that could be a name in the cluster."""


@dataclass(frozen=True, slots=True)
class Names:
    """Which claims name somebody, as the API server's own settings for a provider have it."""

    username_claim: str = "email"
    groups_claim: str = "groups"
    prefix: str = "oidc:"
    """Before names and groups: nobody becomes somebody whom the cluster knows by another way."""

    def __post_init__(self) -> None:
        visible = self.prefix == self.prefix.strip() and self.prefix.isprintable() and self.prefix.isascii()
        if not visible or self.prefix[-1:] not in SEPARATORS or self.prefix.startswith(RESERVED):
            raise ValueError(
                f"--impersonate-prefix: {self.prefix!r} would let people become somebody else: expected oidc:"
            )

    def of(self, id_token: str) -> tuple[str, tuple[str, ...]]:
        """Return the user name and the groups of somebody whose ID token has been verified.

        Raises:
            Unnamed: A claim is missing, is no text, or an email address that nobody has verified.
        """
        claims = _claims(id_token)
        name = claims.get(self.username_claim)
        if not isinstance(name, str) or not _is_name(name):
            raise Unnamed(f"the provider says no {self.username_claim} of you, by which the cluster would know you")
        if self.username_claim == "email" and claims.get("email_verified", True) is not True:
            raise Unnamed("the provider has not verified your email address, by which the cluster would know you")
        found = claims.get(self.groups_claim)
        groups = found if isinstance(found, list) else [found] if isinstance(found, str) else []
        kept = [group for group in groups if isinstance(group, str) and _is_name(group)][:MOST_GROUPS]
        return self.prefix + name, tuple(f"{self.prefix}{group}" for group in dict.fromkeys(kept))


def _is_name(text: str) -> bool:
    return bool(text) and text == text.strip() and text.isprintable() and text.isascii() and len(text) <= 512


def _claims(id_token: str) -> Mapping[str, Any]:
    try:
        part = id_token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, binascii.Error) as error:
        raise Unnamed("the provider has sent no ID token") from error
    return claims if isinstance(claims, dict) else {}
