"""Why a message could not be delivered, without anything secret in it."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, unquote

from riskladder.api.text import one_line

MAX_MESSAGE = 500
"""Characters of an error: it goes into a status that people read."""

MIN_SECRET_PART = 4
"""Shorter pieces of a secret are no secret, and taking them out would make a message unreadable."""


TRANSIENT = frozenset({408, 425, 429})
"""The client errors that may pass by themselves."""


def is_final(status: int) -> bool:
    """Return whether an HTTP status refuses a message for good: redirects, and client errors that do not pass."""
    return 300 <= status < 500 and status not in TRANSIENT


class Undeliverable(Exception):  # noqa: N818 - says what the message is
    """A message was not delivered.

    Attributes:
        message: Why, in one line of at most ``MAX_MESSAGE`` characters.
        permanent: Whether trying again is of no use until somebody changes a ladder, a Secret or an option.
        retry_after: Seconds that the receiver asked to wait, or 0.
        receipts: Who has taken which part of it, this time or before: it is not for them that it is sent again.
    """

    def __init__(self, message: str, permanent: bool, retry_after: float = 0.0, receipts: Iterable[str] = ()) -> None:
        self.message = one_line(message, MAX_MESSAGE)
        self.permanent = permanent
        self.retry_after = retry_after
        self.receipts = tuple(receipts)
        super().__init__(self.message)


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every secret, also in its forms for URLs, replaced by ``***``; the longest ones first."""
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote(secret), unquote(secret))}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= MIN_SECRET_PART:
            text = text.replace(form, "***")
    return text
