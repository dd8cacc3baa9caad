"""What the API server refuses, as sentences: without the names of policies, webhooks and resources. Pure."""

from __future__ import annotations

import re

from riskladder.cli.source import explain
from riskladder.cluster.client import ApiError, Conflict, Forbidden, NotFound, Refused

REFUSED = 1
"""Exit code: the API server or the operator said no."""
COULD_NOT_ASK = 2
"""Exit code: no cluster, nothing of that name, wrong use."""
UNANSWERED = 3
"""Exit code: sent, and nobody answered in time."""

_HEAD = re.compile(r'^[\w.-]+ "[^"]*" is (?:forbidden|invalid): ')
_POLICY = re.compile(r"ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request: ")
_RBAC = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)"')


def reason_of(message: str) -> str:
    """The reason in an answer of the API server, without what it is wrapped in."""
    text = _POLICY.sub("", _HEAD.sub("", message.strip()))
    return text.strip() or message


def refusal(error: ApiError, namespace: str) -> tuple[int, str]:
    """The exit code and the sentence for a write that failed."""
    if isinstance(error, Forbidden):
        if (rbac := _RBAC.search(error.message)) is not None:
            return REFUSED, (
                f"{rbac['user']} may not {rbac['verb']} {rbac['resource']} in namespace {namespace}: ask an "
                "administrator for the role that allows it"
            )
        return REFUSED, f"refused: {reason_of(error.message)}"
    if isinstance(error, Refused):
        return REFUSED, f"refused: {reason_of(error.message)}"
    if isinstance(error, NotFound):
        if "namespaces " in error.message:
            return COULD_NOT_ASK, f"there is no namespace {namespace}"
        return COULD_NOT_ASK, f"this cluster has no {error.resource}: install Riskladder's CRDs first"
    if isinstance(error, Conflict):
        return COULD_NOT_ASK, "somebody was faster, or something of that name is there already: try again"
    return COULD_NOT_ASK, explain(error)
