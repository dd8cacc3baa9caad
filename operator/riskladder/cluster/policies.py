"""Whether the admission policies are there, and as this version ships them: each part of each, and their bindings.

What a policy says is compared by digests of its parts, which ``riskladder.generate`` makes of the manifests
(``shipped_policies.py``). What the API server fills in by itself makes no difference, nor does under which name the
operator runs: the policies name its user.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from riskladder.api.resource import Resource
from riskladder.cluster.client import ApiError, Client, Forbidden, NotFound
from riskladder.cluster.shipped_policies import SHIPPED

GROUP, VERSION = "admissionregistration.k8s.io", "v1"
POLICIES = Resource(GROUP, VERSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy")
BINDINGS = Resource(GROUP, VERSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding")
MUTATING = Resource(GROUP, VERSION, "mutatingadmissionpolicies", "MutatingAdmissionPolicy")
MUTATING_BINDINGS = Resource(GROUP, VERSION, "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding")

IDENTITY = "riskladder-identity"
"""Optional: it fills in who decides, and needs Kubernetes 1.36. Nothing that is proved rests on it."""

SHIPPED_USER = "system:serviceaccount:riskladder-system:riskladder"
"""The operator's user in the manifests."""

WRITES = "riskladder-writes"
"""The policy that says who writes what only the operator may."""

_WHO_AM_I = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")


RULE = "resourceRule "
"""Before the digest of one rule of ``matchConstraints``, among the parts."""


class State(StrEnum):
    """How a policy and its binding stand."""

    IN_FORCE = "InForce"
    MISSING = "Missing"
    ALTERED = "Altered"
    NOT_INSTALLED = "NotInstalled"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of one policy."""

    name: str
    state: State
    what: str = ""
    """What is missing, or which parts differ, for people."""
    is_forbidden: bool = False
    """Whether it could not be looked at for lack of a permission."""


# --- What is compared -------------------------------------------------------------------------------------------------


def digests(spec: Mapping[str, Any], user: str = SHIPPED_USER) -> dict[str, str]:
    """Return a digest for each part of the spec of a policy or of a binding; a part that says nothing has none.

    Args:
        spec: As stored, or as it stands in a manifest.
        user: The operator's user, as it is named there.
    """
    found = {key: _normal(key, value) for key, value in spec.items()}
    match = dict(found.get("matchConstraints") or {})
    for rule in match.pop("resourceRules", ()):  # one by one: an administrator may have the policy asked about more
        found[RULE + _digest(rule, user)] = rule
    if "matchConstraints" in found:
        found["matchConstraints"] = match
    return {key: _digest(value, user) for key, value in sorted(found.items()) if value}


def _normal(key: str, value: Any) -> Any:
    """Return a part without what the API server fills in, and without what an administrator may add."""
    if key in ("matchConstraints", "matchResources"):
        return _normal_match(value or {})
    if key == "failurePolicy" and value == "Fail":
        return None  # the default
    if key == "validationActions" and "Deny" in value:
        return ["Deny"]  # to warn or to audit as well takes nothing away
    return value


def _normal_match(match: Mapping[str, Any]) -> dict[str, Any]:
    found = {k: value for k, value in match.items() if value and (k, value) != ("matchPolicy", "Equivalent")}
    for key in ("resourceRules", "excludeResourceRules"):
        if key in found:
            found[key] = [{k: v for k, v in rule.items() if (k, v) != ("scope", "*")} for rule in found[key]]
    return found


def _digest(value: Any, user: str) -> str:
    text = json.dumps(_folded(value), sort_keys=True, ensure_ascii=False).replace(user, "$OPERATOR")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _folded(value: Any) -> Any:
    """Return a part with its white space as single spaces: libraries differ in how they fold the lines of YAML."""
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, Mapping):
        return {key: _folded(child) for key, child in value.items()}
    return [_folded(child) for child in value] if isinstance(value, list) else value


def differences(name: str, policy: Mapping[str, Any], binding: Mapping[str, Any], user: str) -> tuple[str, ...]:
    """Return the parts of a policy and of its binding that are not as shipped, under any of the operator's names.

    Args:
        name: Of the policy, and of its binding.
        policy: Its spec as stored.
        binding: That of the binding.
        user: Who the operator is; the name in the manifests is right as well.
    """
    shipped = SHIPPED[name]
    best: tuple[str, ...] | None = None
    for one in dict.fromkeys((SHIPPED_USER, user)):
        found = (*_differing(shipped["policy"], digests(policy, one)),)
        found += tuple(f"{part} of its binding" for part in _differing(shipped["binding"], digests(binding, one)))
        best = found if best is None or len(found) < len(best) else best
    return best or ()


def _differing(shipped: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    differing = {key for key in {*shipped, *found} if shipped.get(key) != found.get(key)}
    more = {key for key in differing if key.startswith(RULE) and key not in shipped}
    return sorted({"matchConstraints" if key.startswith(RULE) else key for key in differing - more})


# --- Looking ----------------------------------------------------------------------------------------------------------


async def look(client: Client, user: str = "") -> tuple[Finding, ...]:
    """Return how every policy of the manifests stands, in order of name.

    One that could not be asked for is Unknown; nothing is raised.

    Args:
        client: Where to look.
        user: The operator's user; by default whoever asks.
    """
    user = user or await user_of(client)
    return tuple([await _look(client, name, user) for name in sorted(SHIPPED)])


async def user_of(client: Client) -> str:
    """Return who the operator is, as the API server authenticates it; else the name in the manifests."""
    try:
        body = {"apiVersion": _WHO_AM_I.api_version, "kind": _WHO_AM_I.kind}
        answer = await client.create(_WHO_AM_I, None, body)
        return str(answer["status"]["userInfo"]["username"])
    except (ApiError, KeyError):
        return SHIPPED_USER


def writer_named(policy: Mapping[str, Any]) -> str:
    """Return the one user that the policy of writes lets write; empty where it does not say so as shipped."""
    found = {v.get("name"): v.get("expression") for v in (policy.get("spec") or {}).get("variables") or ()}
    expression = str(found.get("operator") or "")
    return expression[1:-1] if re.fullmatch(r"'[^']+'", expression) else ""


async def wrong_user(client: Client) -> str:
    """Return what admission will refuse as whoever this operator is; empty where it is the user that the policies name.

    Nothing is said where they cannot be seen, or are not installed: the conditions of the ladders say that.
    """
    try:
        named = writer_named(await client.get(POLICIES, None, WRITES))
    except ApiError:
        return ""
    user = await user_of(client)
    if not named or not user or user == named:
        return ""
    return f"it runs as {user}, and the admission policies let only {named} write: they refuse what it does"


async def _look(client: Client, name: str, user: str) -> Finding:
    kinds = (MUTATING, MUTATING_BINDINGS) if name == IDENTITY else (POLICIES, BINDINGS)
    specs: list[Mapping[str, Any]] = []
    missing: list[str] = []
    for kind in kinds:
        try:
            specs.append((await client.get(kind, None, name)).get("spec") or {})
        except NotFound:
            missing.append(kind.kind)
        except Forbidden:
            what = f"the operator may not get {kind.title}: bind the ClusterRole riskladder-policies to its account"
            return Finding(name, State.UNKNOWN, what, is_forbidden=True)
        except ApiError as error:
            return Finding(name, State.UNKNOWN, f"the API server could not be asked: {error}"[:256])
    if missing:
        gone = name == IDENTITY and len(missing) == len(kinds)
        return Finding(name, State.NOT_INSTALLED if gone else State.MISSING, f"no {' and no '.join(missing)}")
    differing = differences(name, specs[0], specs[1], user)
    if differing:
        return Finding(name, State.ALTERED, ", ".join(differing))
    return Finding(name, State.IN_FORCE)
