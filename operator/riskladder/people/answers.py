"""What the API server and the operator answer to people, in sentences. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from riskladder.cluster.client import ApiError, Conflict, Forbidden, NamespaceMissing, NotFound, Refused

REFUSED = 1
"""Exit code: the API server or the operator said no."""
COULD_NOT_ASK = 2
"""Exit code: no cluster, nothing of that name, wrong use."""
UNANSWERED = 3
"""Exit code: sent, and nobody answered in time."""

_HEAD = re.compile(r'^[\w.-]+ "[^"]*" is (?:forbidden|invalid): ')
_POLICY = re.compile(r"ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request: ")
RBAC = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)"'
    r'(?: in API group "[^"]*")?(?: in the namespace "(?P<namespace>[^"]*)")?'
)


def reason_of(message: str) -> str:
    """Return the reason in an answer of the API server, without what it is wrapped in."""
    text = _POLICY.sub("", _HEAD.sub("", message.strip()))
    return text.strip() or message


def refusal(error: ApiError, namespace: str) -> tuple[int, str]:
    """Return the exit code and the sentence for a write that failed."""
    if isinstance(error, Forbidden):
        if (rbac := RBAC.search(error.message)) is not None:
            return REFUSED, (
                f"{rbac['user']} may not {rbac['verb']} {rbac['resource']} in namespace {namespace}: ask an "
                "administrator for the role that allows it"
            )
        return REFUSED, f"refused: {reason_of(error.message)}"
    if isinstance(error, Refused):
        return REFUSED, f"refused: {reason_of(error.message)}"
    if isinstance(error, NamespaceMissing):
        return COULD_NOT_ASK, f"there is no namespace {namespace}"
    if isinstance(error, NotFound):
        return COULD_NOT_ASK, f"this cluster has no {error.resource}: install Riskladder's CRDs first"
    if isinstance(error, Conflict):
        return COULD_NOT_ASK, "somebody was faster, or something of that name is there already: try again"
    return COULD_NOT_ASK, explain(error)


def usable(allowed: Iterable[tuple[str, str]], verbs: Sequence[str], roles: Iterable[str]) -> tuple[str, ...]:
    """Return the roles for which every one of the verbs is allowed, in the order of the policy."""
    granted = set(allowed)
    return tuple(role for role in roles if all((verb, role) in granted for verb in verbs))


def explain(error: ApiError) -> str:
    """Return why the cluster could not be asked, in one sentence."""
    if isinstance(error, Forbidden):
        return f"no permission to {error.verb} {error.resource}: {error.message}"
    if isinstance(error, NotFound):
        return f"this cluster has no {error.resource}: install Riskladder's CRDs first"
    if error.status == 401:
        return f"the cluster does not accept the credentials of this kubeconfig: {error.message}"
    if error.status == 0:
        return f"the cluster does not answer: {re.sub(r' ssl:<[^>]*>', '', error.message)}"
    return str(error)
