"""Who decided, and in which role they may: what the API server proves, asked of the API server.

The policy riskladder-decisions (manifests/policies/decisions.yaml) lets nobody write a decision under another name, or
in a role that is not theirs. That proves nothing while the policy is missing or has an exception, so the operator looks
at it before it counts a decision.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from riskladder.api.base import GROUP, VERSION
from riskladder.api.decision import DecidedBy
from riskladder.api.labels import VIA
from riskladder.cluster.client import Client, Forbidden, NotFound, Object
from riskladder.cluster.policies import BINDINGS as BINDINGS
from riskladder.cluster.policies import POLICIES as POLICIES
from riskladder.cluster.policies import SHIPPED_USER, differences, user_of
from riskladder.cluster.resources import DECISIONS, Resource

POLICY = "riskladder-decisions"
"""Name of the policy, and of its binding."""

STAKEHOLDERS = "stakeholders"
"""The virtual resource whose names are the roles: it exists in RBAC rules only."""

PROPAGATION = timedelta(seconds=3)
"""How long an API server may take to act on a policy that it has stored, whole seconds of timestamps included."""

AT_A_TIME = 16
"""Reviews that one question has under way at the same time."""

_ABOUT_SOMEBODY = Resource("authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview")
_ABOUT_ME = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
_MY_RULES = Resource("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview")
_WHO_AM_I = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")

_APPLY = "apply the manifests again (kubectl apply --server-side -k manifests/overlays/default, or your own overlay)"


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a decision proves who made it."""

    missing: str
    """What stands against it, and how to put it right; empty while the policy is in force."""
    since: datetime | None
    """From when on the policy has been in force without a change; None where it is not. A decision whose
    creationTimestamp is earlier proves nothing: it may have been written while the policy was away."""


async def proof(client: Client) -> Verification:
    """Return whether the policy riskladder-decisions refuses every decision that is not the caller's, and since when.

    The rules themselves are compared with those that this version ships: one that was rewritten proves nothing.

    Raises:
        ApiError: The API server could not be asked. Without permission to ask, ``missing`` says so.
    """
    try:
        policy = await client.get(POLICIES, None, POLICY)
        binding = await client.get(BINDINGS, None, POLICY)
    except NotFound as error:
        kind = BINDINGS.kind if error.resource == BINDINGS.title else POLICIES.kind
        return Verification(f"there is no {kind} {POLICY}: {_APPLY}", None)
    except Forbidden as error:
        return Verification(
            f"the operator may not {error.verb} {error.resource} {POLICY}, so that it cannot see whether that "
            "policy is in force: bind the ClusterRole riskladder-policies to its account, for the whole cluster",
            None,
        )
    if gap := _gap_in_policy(policy.get("spec") or {}):
        return _faulty(POLICIES, gap)
    if gap := _gap_in_binding(binding.get("spec") or {}):
        return _faulty(BINDINGS, gap)
    if differing := await _differing(client, POLICY, policy, binding):
        return _faulty(POLICIES, f"is not as this version ships it ({differing})")
    if (policy.get("status") or {}).get("observedGeneration") != policy["metadata"].get("generation"):
        return Verification(
            f"the {POLICIES.kind} {POLICY} was changed a moment ago, and kube-controller-manager has not looked at it "
            "yet: wait, or see whether that is running",
            None,
        )
    if (generation := binding["metadata"].get("generation", 1)) != 1:
        gap = f"was changed after it was created (generation {generation}), and until when it was too lax is unknown"
        return _faulty(BINDINGS, gap)
    return Verification("", max(*_times(policy), *_times(binding)) + PROPAGATION)


async def _differing(client: Client, name: str, policy: Object, binding: Object) -> str:
    """Return which parts of a policy and of its binding are not as shipped; who the operator is is asked only then."""
    specs = policy.get("spec") or {}, binding.get("spec") or {}
    if not differences(name, *specs, SHIPPED_USER):
        return ""
    return ", ".join(differences(name, *specs, await user_of(client)))


def _faulty(resource: Resource, gap: str) -> Verification:
    """Advise to delete the policy before it is applied: applying alone would keep what somebody else added."""
    delete = f"kubectl delete {resource.kind.lower()} {POLICY}"
    return Verification(f"the {resource.kind} {POLICY} {gap}: delete it ({delete}), and {_APPLY}", None)


def _times(obj: Object) -> list[datetime]:
    """Return when it was created, and all changes that left a time.

    managedFields have the time of what is there: taking something away leaves none, so that an exception that was made
    and taken back would not show. But a policy's status is written again after each change of its generation, and that
    does have a time. A binding has no status, so it has to be as it was created.
    """
    metadata = obj["metadata"]
    fields = [entry.get("time") for entry in metadata.get("managedFields") or ()]
    return [datetime.fromisoformat(time) for time in (metadata["creationTimestamp"], *fields) if time]


LOCK, LOCK_NAMES = "riskladder-lock", "riskladder-lock-names"
"""Names of the policies that hold what is contained, objects and names, and of their bindings."""

_PARAMETERS = {LOCK: "", LOCK_NAMES: "ContainmentIndex"}
"""By name: the kind of the parameter."""


async def lock_missing(client: Client) -> str:
    """Return what stands against the policies of the lock, in one sentence; empty while both are in force.

    Raises:
        ApiError: The API server could not be asked.
    """
    for name in _PARAMETERS:
        if why := await _lock_missing(client, name):
            return why
    return ""


async def _lock_missing(client: Client, name: str) -> str:
    try:
        stored, binding = await client.get(POLICIES, None, name), await client.get(BINDINGS, None, name)
        policy, spec = stored.get("spec") or {}, binding.get("spec") or {}
    except NotFound as error:
        kind = BINDINGS.kind if error.resource == BINDINGS.title else POLICIES.kind
        return f"there is no {kind} {name}"
    except Forbidden as error:
        return (
            f"the operator may not {error.verb} {error.resource} {name}, so that it cannot see whether it is in force"
        )
    if spec.get("policyName") != name or "Deny" not in (spec.get("validationActions") or ()):
        return f"the {BINDINGS.kind} {name} binds another policy, or denies nothing"
    match = spec.get("matchResources") or {}
    if what := "resourceRules" if match.get("resourceRules") else _narrowed(match):
        return f"the {BINDINGS.kind} {name} has {what} in matchResources, which may exempt somebody"
    if (policy.get("paramKind") or {}).get("kind", "") != _PARAMETERS[name] or not policy.get("validations"):
        return f"the {POLICIES.kind} {name} has another paramKind, or validates nothing"
    if name == LOCK and policy.get("failurePolicy", "Fail") != "Fail":
        return f"the {POLICIES.kind} {name} has another failurePolicy, which lets pass what it cannot judge"
    if what := _narrowed({k: v for k, v in (policy.get("matchConstraints") or {}).items() if k != "objectSelector"}):
        return f"the {POLICIES.kind} {name} has {what} in matchConstraints, which may exempt somebody"
    if len(policy.get("matchConditions") or ()) > (1 if name == LOCK else 3):
        return f"the {POLICIES.kind} {name} has further matchConditions, which may exempt somebody"
    if differing := await _differing(client, name, stored, binding):
        return f"the {POLICIES.kind} {name} is not as this version ships it ({differing})"
    return ""


async def may(client: Client, namespace: str, who: DecidedBy, verb: str, role: str) -> bool:
    """Return whether somebody holds a role now, in a namespace (LocalSubjectAccessReview).

    Raises:
        ApiError: The API server could not be asked, or does not let us.
    """
    subject = {"user": who.username, "uid": who.uid, "groups": list(who.groups)}
    spec = subject | {"resourceAttributes": _attributes(namespace, verb, role)}
    return bool((await _review(client, _ABOUT_SOMEBODY, spec, namespace)).get("allowed"))


async def may_i(client: Client, namespace: str, verbs: Iterable[str], roles: Iterable[str]) -> set[tuple[str, str]]:
    """Return the pairs of verb and role that the caller holds in a namespace (SelfSubjectAccessReview).

    Raises:
        ApiError: The API server could not be asked.
    """
    seats = asyncio.Semaphore(AT_A_TIME)
    pairs = list(itertools.product(verbs, roles))

    async def allowed(verb: str, role: str) -> bool:
        async with seats:
            status = await _review(client, _ABOUT_ME, {"resourceAttributes": _attributes(namespace, verb, role)})
            return bool(status.get("allowed"))

    answers = await asyncio.gather(*(allowed(*pair) for pair in pairs))
    return {pair for pair, answer in zip(pairs, answers, strict=True) if answer}


async def my_roles(client: Client, namespace: str, verbs: Sequence[str], roles: Sequence[str]) -> set[tuple[str, str]]:
    """Return the same as ``may_i``, by one request where the API server knows all rules of the caller.

    An authorizer that is not RBAC may allow what no rule says: then every pair is asked for.

    Raises:
        ApiError: The API server could not be asked.
    """
    status = await _review(client, _MY_RULES, {"namespace": namespace})
    if status.get("incomplete"):
        return await may_i(client, namespace, verbs, roles)
    return granted(status.get("resourceRules") or (), verbs, roles)


def granted(rules: Iterable[Mapping[str, Any]], verbs: Iterable[str], roles: Iterable[str]) -> set[tuple[str, str]]:
    """Return the pairs of verb and role that RBAC rules allow. Pure."""
    about = [rule for rule in rules if is_about_roles(rule)]
    return {
        (verb, role)
        for verb, role in itertools.product(verbs, roles)
        if any(
            not {"*", verb}.isdisjoint(rule.get("verbs") or ())
            and (not rule.get("resourceNames") or role in rule["resourceNames"])
            for rule in about
        )
    }


def is_about_roles(rule: Mapping[str, Any]) -> bool:
    """Return whether an RBAC rule is about the roles of ladders. Pure."""
    groups, resources = rule.get("apiGroups") or (), rule.get("resources") or ()
    return not {"*", GROUP}.isdisjoint(groups) and not {"*", STAKEHOLDERS}.isdisjoint(resources)


CREDENTIAL = "authentication.kubernetes.io/credential-id"
"""Of a user's extra: which credential was used. Kubernetes 1.32 and newer say it of tokens and certificates."""


async def who_am_i(client: Client) -> DecidedBy:
    """Return the caller, as the API server writes them into spec.decidedBy (SelfSubjectReview).

    Raises:
        ApiError: The API server could not be asked.
    """
    user = (await _review(client, _WHO_AM_I))["userInfo"]
    extra = user.get("extra") or {}
    return DecidedBy(
        username=user["username"],
        uid=user.get("uid") or "",
        groups=tuple(user.get("groups") or ()),
        credential_id=(extra.get(CREDENTIAL) or [""])[0],
        via=(extra.get(VIA) or [""])[0],
    )


async def _review(client: Client, review: Resource, spec: Object | None = None, namespace: str | None = None) -> Object:
    """Return the answer to a review: a question that is asked by creating an object."""
    body: Object = {"apiVersion": review.api_version, "kind": review.kind}
    body |= {"spec": spec} if spec is not None else {}
    body |= {"metadata": {"namespace": namespace}} if namespace is not None else {}
    answer = await client.create(review, namespace, body)
    return answer.get("status") or {}


def _attributes(namespace: str, verb: str, role: str) -> Object:
    return {"namespace": namespace, "group": GROUP, "resource": STAKEHOLDERS, "name": role, "verb": verb}


# --- The policy -------------------------------------------------------------------------------------------------------


def _gap_in_policy(spec: Mapping[str, Any]) -> str:
    """Return why it would let some decision pass unproved, or nothing."""
    if spec.get("failurePolicy", "Fail") != "Fail":
        return f"has failurePolicy {spec['failurePolicy']}, which lets a decision pass when it cannot be evaluated"
    if spec.get("matchConditions"):
        return "has matchConditions, which may exempt somebody"
    if spec.get("paramKind"):
        return "has a paramKind, which may exempt somebody"
    constraints = spec.get("matchConstraints") or {}
    if what := _narrowed(constraints):
        return f"has {what} in matchConstraints, which may exempt somebody"
    if not any(_covers(rule) for rule in constraints.get("resourceRules") or ()):
        return f"does not match the creation of every {DECISIONS.kind}"
    expressions = [str(part.get("expression")) for key in ("variables", "validations") for part in spec.get(key) or ()]
    # Not a proof, but it notices an emptied policy, or another one of the same name.
    if not spec.get("validations") or not all(
        any(word in expression for expression in expressions)
        for word in ("decidedBy", "request.userInfo", "authorizer")
    ):
        return "no longer compares spec.decidedBy with the caller, or no longer asks for the verb on the role"
    return ""


def _gap_in_binding(spec: Mapping[str, Any]) -> str:
    """Return why it would not put the policy in force for everybody, or nothing."""
    if spec.get("policyName") != POLICY:
        return f"binds the policy {spec.get('policyName')}"
    if "Deny" not in (spec.get("validationActions") or ()):
        return "lacks Deny in validationActions"
    if spec.get("paramRef"):
        return "has a paramRef, which may exempt somebody"
    match = spec.get("matchResources") or {}
    if what := "resourceRules" if match.get("resourceRules") else _narrowed(match):
        return f"has {what} in matchResources, which may exempt somebody"
    return ""


def _narrowed(match: Mapping[str, Any]) -> str:
    """Return what restricts it to some objects; an empty selector, the default, selects all of them."""
    return next((key for key in ("namespaceSelector", "objectSelector", "excludeResourceRules") if match.get(key)), "")


def _covers(rule: Mapping[str, Any]) -> bool:
    """Return whether it matches the creation of any decision."""

    def names(key: str, one: str) -> bool:
        return not {"*", one}.isdisjoint(rule.get(key) or ())

    return (
        names("apiGroups", GROUP)
        and names("apiVersions", VERSION)
        and names("resources", DECISIONS.plural)
        and names("operations", "CREATE")
        and rule.get("scope", "*") in ("*", "Namespaced")
        and not rule.get("resourceNames")
    )
