"""With what somebody authenticated, in the words that records, pages and timelines share.

The API server says with which credential a request was made (``authentication.kubernetes.io/credential-id``): the JTI
of a token, the SHA-256 of a certificate. It says none of what is done by impersonation.
"""

from __future__ import annotations

IMPERSONATED = "impersonated"

SHOWN = 8
"""Characters of an id that people see: enough to find it in a log."""


def shortened(credential: str) -> str:
    """Return the id of a credential as people read it: ``JTI=8c5b1f0e…``."""
    kind, separator, value = credential.rpartition("=") if "=" in credential[:-1] else ("", "", credential)
    return f"{kind}{separator}{value[:SHOWN]}…" if len(value) > SHOWN + 1 else credential


def how(credential: str, *, binding: str = "", via: str = "", known: bool) -> str:
    """Return with what somebody authenticated, in words; empty where nobody knows.

    Args:
        credential: The id of the credential; empty for none.
        binding: The MonitorBinding through which it was reported.
        via: What says that it acted in somebody's name.
        known: Whether the API server knows credentials at all: else it says nothing that there is none.
    """
    if credential:
        return f"credential {shortened(credential)}"
    if via:
        return f"{IMPERSONATED}, through {via}"
    if binding:  # who translates for a monitor impersonates its account
        return f"{IMPERSONATED}, through MonitorBinding {binding}"
    return IMPERSONATED if known else ""


def recorded(credential: str, *, binding: str = "", via: str = "", known: bool) -> dict[str, str]:
    """Return the same for a record, whole."""
    if credential:
        return {"credential": credential}
    found = {"impersonated": "true"} if known or binding or via else {}
    return found | ({"binding": binding} if binding else {}) | ({"via": via} if via else {})
