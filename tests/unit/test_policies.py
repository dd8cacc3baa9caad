"""The admission policies as they are shipped: what differs is seen and named, whatever the API server fills in."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from riskladder.api.conditions import find
from riskladder.api.ladder import EscalationLadderStatus
from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster.client import ApiError, NotFound
from riskladder.cluster.policies import IDENTITY, SHIPPED_USER, State, differences, digests, look
from riskladder.cluster.shipped_policies import SHIPPED
from riskladder.controller.ladder_writer import look_at_both
from riskladder.controller.metrics import Metrics
from riskladder.controller.policy_watch import PolicyWatch
from riskladder.policy.installation import PolicyFindings
from riskladder.policy.ladders import update_ladder
from riskladder.policy.plan import LadderUpdate
from riskladder.policy.snapshot import PolicyInForce
from tests import yaml_text
from tests.unit.builders import NOW, Document, at, ladder

FOLDER = Path(__file__).parents[2] / "manifests" / "policies"
OTHER_USER = "system:serviceaccount:risk:operator"


def manifests() -> dict[tuple[str, str], Document]:
    """Every policy and binding, by kind and name."""
    paths = [*FOLDER.glob("*.yaml"), *FOLDER.glob("identity/*.yaml")]
    documents = [d for path in paths for d in yaml_text.load_all(path.read_text("utf-8")) if "spec" in d]
    return {(d["kind"], d["metadata"]["name"]): d for d in documents}


MANIFESTS = manifests()
NAMES = sorted(SHIPPED)


def pair(name: str) -> tuple[Document, Document]:
    kind = "Mutating" if name == IDENTITY else "Validating"
    policy, binding = (MANIFESTS[f"{kind}AdmissionPolicy{end}", name]["spec"] for end in ("", "Binding"))
    return copy.deepcopy(policy), copy.deepcopy(binding)


def test_every_policy_of_the_manifests_is_watched() -> None:
    assert {name for _, name in MANIFESTS} == set(SHIPPED)


def with_defaults(policy: Document, binding: Document) -> tuple[Document, Document]:
    """Return what the API server stores of them."""
    policy.setdefault("failurePolicy", "Fail")
    match = policy["matchConstraints"]
    match |= {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": match.get("objectSelector", {})}
    for rule in match["resourceRules"]:
        rule["scope"] = "*"
    binding["matchResources"] = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    return policy, binding


@pytest.mark.parametrize("name", NAMES)
def test_what_the_api_server_fills_in_is_no_difference(name: str) -> None:
    assert differences(name, *with_defaults(*pair(name)), SHIPPED_USER) == ()


@pytest.mark.parametrize("name", NAMES)
def test_operator_under_another_name_sees_its_own_policies_and_nobody_else_is_exempt(name: str) -> None:
    text = yaml_text.dump_all(pair(name)).replace(SHIPPED_USER, OTHER_USER)
    policy, binding = yaml_text.load_all(text)
    assert differences(name, policy, binding, OTHER_USER) == ()
    names_somebody = OTHER_USER in text
    assert bool(differences(name, policy, binding, SHIPPED_USER)) is names_somebody


def strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all texts in a document."""
    if isinstance(value, str):
        yield path
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from strings(child, (*path, key))


@given(st.sampled_from(NAMES), st.data())
def test_any_text_of_a_policy_that_is_rewritten_is_seen_and_its_part_named(name: str, data: st.DataObject) -> None:
    policy, binding = pair(name)
    place = data.draw(st.sampled_from([p for p in strings(policy) if p != ("failurePolicy",)]))
    found: Any = policy
    for part in place[:-1]:
        found = found[part]
    found[place[-1]] = data.draw(st.sampled_from(["true", "", "'x' == 'x'"]))
    assert differences(name, policy, binding, SHIPPED_USER) == (place[0],)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("of", "change", "named"),
    [
        ("policy", {"failurePolicy": "Ignore"}, "failurePolicy"),
        ("policy", {"matchConditions": [{"name": "x", "expression": "false"}]}, "matchConditions"),
        ("policy", {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}, "paramKind"),
        ("policy", {"matchConstraints": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}, "matchConstraints"),
        ("binding", {"validationActions": ["Warn"]}, "validationActions of its binding"),
        ("binding", {"policyName": "another"}, "policyName of its binding"),
        (
            "binding",
            {"matchResources": {"objectSelector": {"matchLabels": {"a": "b"}}}},
            "matchResources of its",
        ),
        ("binding", {"paramRef": {"name": "x", "parameterNotFoundAction": "Allow"}}, "paramRef of its binding"),
    ],
)
def test_what_narrows_a_policy_is_named(name: str, of: str, change: Document, named: str) -> None:
    policy, binding = pair(name)
    (policy if of == "policy" else binding).update(change)
    if change == {"failurePolicy": "Ignore"} and "failurePolicy" in SHIPPED[name]["policy"]:
        policy["failurePolicy"] = "Fail"  # one that is shipped to fail open
    assert any(part.startswith(named) for part in differences(name, policy, binding, SHIPPED_USER))


def test_a_binding_that_warns_and_audits_as_well_is_as_good() -> None:
    policy, binding = pair("riskladder-lock")
    binding["validationActions"] = ["Deny", "Audit"]
    assert differences("riskladder-lock", policy, binding, SHIPPED_USER) == ()
    assert digests(binding) == digests(pair("riskladder-lock")[1])


# --- Looking ----------------------------------------------------------------------------------------------------------


class Stored:
    """An API server that has some of the manifests."""

    def __init__(self) -> None:
        self.objects = copy.deepcopy(MANIFESTS)
        self.error: ApiError | None = None
        self.asked = 0

    async def get(self, resource: Any, namespace: None, name: str) -> Document:
        self.asked += 1
        about = {"verb": "get", "resource": resource.title, "where": name}
        if self.error is not None:
            raise self.error
        if (resource.kind, name) not in self.objects:
            raise NotFound(404, "NotFound", "not found", **about)
        return self.objects[resource.kind, name]

    async def create(self, resource: Any, namespace: None, body: Document) -> Document:
        return {"status": {"userInfo": {"username": SHIPPED_USER}}}

    def drop(self, *kinds: str, name: str) -> None:
        for kind in kinds:
            del self.objects[kind, name]


def states(stored: Stored) -> dict[str, tuple[State, str]]:
    found = asyncio.run(look(stored))  # type: ignore[arg-type]
    return {one.name: (one.state, one.what) for one in found if one.state is not State.IN_FORCE}


def test_each_policy_that_is_missing_unbound_or_gutted_is_named() -> None:
    stored = Stored()
    assert states(stored) == {}
    stored.drop("ValidatingAdmissionPolicyBinding", name="riskladder-raise")
    stored.drop("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", name="riskladder-sources")
    gutted = stored.objects["ValidatingAdmissionPolicy", "riskladder-lock"]["spec"]
    gutted["validations"] = [{"expression": "true"}]
    assert states(stored) == {
        "riskladder-lock": (State.ALTERED, "validations"),
        "riskladder-raise": (State.MISSING, "no ValidatingAdmissionPolicyBinding"),
        "riskladder-sources": (
            State.MISSING,
            "no ValidatingAdmissionPolicy and no ValidatingAdmissionPolicyBinding",
        ),
    }


def test_the_policy_that_only_fills_in_may_be_left_out_and_not_by_half() -> None:
    stored = Stored()
    stored.drop("MutatingAdmissionPolicyBinding", name=IDENTITY)
    assert states(stored)[IDENTITY][0] is State.MISSING
    stored.drop("MutatingAdmissionPolicy", name=IDENTITY)
    assert states(stored)[IDENTITY][0] is State.NOT_INSTALLED


def test_one_look_serves_all_ladders_and_the_metric_says_what_was_seen() -> None:
    stored, metrics = Stored(), Metrics()
    stored.drop("ValidatingAdmissionPolicyBinding", name="riskladder-writes")
    watch = PolicyWatch(stored, observe=metrics.observe_policy)  # type: ignore[arg-type]

    async def ask() -> list[PolicyFindings]:
        return [*await asyncio.gather(*(watch.findings() for _ in range(20)))]

    found = asyncio.run(ask())
    assert {tuple(one.missing) for one in found} == {("riskladder-writes",)}
    assert stored.asked == 2 * len(SHIPPED)
    shown = generate_latest(metrics.registry).decode()
    assert 'riskladder_policies{name="riskladder-writes",state="Missing"} 1.0' in shown
    assert 'riskladder_policies{name="riskladder-writes",state="InForce"} 0.0' in shown
    assert 'riskladder_policies{name="riskladder-lock",state="InForce"} 1.0' in shown


def test_server_that_does_not_answer_alters_nothing_and_is_said() -> None:
    stored = Stored()
    stored.error = ApiError(0, "Unreachable", "refused", verb="get", resource="x", where="y")
    assert {state for state, _ in states(stored).values()} == {State.UNKNOWN}


# --- What a ladder says -----------------------------------------------------------------------------------------------


def said(
    findings: PolicyFindings | None, before: EscalationLadderStatus | None = None, minutes: float = 0
) -> LadderUpdate:
    about: dict[str, Any] = {"created": NOW, "open_escalations": 0, "missing": ()}
    status = before or EscalationLadderStatus()
    return update_ladder(ladder(), status, policies=findings, now=at(minutes), **about)[0]


def in_force(update: LadderUpdate) -> tuple[str, str, str]:
    found = find(update.status.conditions, ConditionType.POLICIES_IN_FORCE)
    assert found is not None
    return str(found.status), found.reason, found.message


def test_ladder_names_each_policy_in_one_condition_and_warns_once() -> None:
    assert in_force(said(None))[:2] == ("Unknown", Reason.NOT_YET)
    faulty = PolicyFindings(missing={"riskladder-raise": "no binding"}, altered={"riskladder-lock": "validations"})
    first = said(faulty)
    status, reason, message = in_force(first)
    assert (status, reason) == ("False", Reason.POLICY_MISSING)
    assert "riskladder-raise is missing (no binding); riskladder-lock is altered (validations): apply" in message
    assert [entry.event for entry in first.entries] == [Reason.POLICY_MISSING]
    again = said(faulty, first.status, minutes=5)
    assert (again.entries, again.status) == ((), first.status)
    only = said(PolicyFindings(altered={"riskladder-lock": "validations"}), again.status)
    assert in_force(only)[1] == Reason.POLICY_ALTERED
    back = said(PolicyFindings(), only.status)
    assert in_force(back)[:2] == ("True", Reason.POLICIES_AS_SHIPPED)
    assert back.entries == ()


def test_missing_proof_of_decisions_is_warned_of_once_and_another_policy_next_to_it_is_not_hidden() -> None:
    def warned(*names: str) -> list[str]:
        about: dict[str, Any] = {"created": NOW, "open_escalations": 0, "missing": (), "unproved": "there is no policy"}
        findings = PolicyFindings(missing=dict.fromkeys(names, "no binding"))
        found = update_ladder(ladder(), EscalationLadderStatus(), policies=findings, now=NOW, **about)[0]
        assert in_force(found)[:2] == ("False", Reason.POLICY_MISSING)
        return [entry.message for entry in found.entries]

    assert warned("riskladder-decisions") == ["no decision counts: there is no policy"]
    assert len(warned("riskladder-decisions", "riskladder-raise")) == 2


class Looks:
    """Two looks at the same policies, each as old as it is until it is made afresh."""

    def __init__(self, proof: str, findings: PolicyFindings, now: str) -> None:
        self.proof, self.policies, self.now = proof, findings, now
        self.afresh = 0

    async def proof_or_why(self, *, afresh: bool = False) -> PolicyInForce:
        self.afresh += afresh
        return PolicyInForce(self.now if afresh else self.proof, None)

    async def findings(self, *, afresh: bool = False) -> PolicyFindings:
        return (GONE if self.now else PolicyFindings()) if afresh else self.policies


GONE = PolicyFindings(missing={"riskladder-decisions": "no binding"})


@pytest.mark.parametrize(
    ("looks", "warnings", "afresh"),
    [
        (Looks("none", GONE, "none"), ["no decision counts: none"], 0),
        (Looks("", GONE, "none"), ["no decision counts: none"], 1),
        (Looks("none", PolicyFindings(), "none"), ["no decision counts: none"], 0),
        (Looks("", GONE, ""), [], 1),
        (Looks("", PolicyFindings(missing={"riskladder-raise": "no binding"}), ""), [], 0),
    ],
    ids=["both have seen it", "only one has", "only the proof has", "it is back", "another is missing"],
)
async def test_policy_for_decisions_is_warned_of_once_whichever_look_sees_it_first(
    looks: Looks, warnings: list[str], afresh: int
) -> None:
    proof, policies = await look_at_both(looks, looks)  # type: ignore[arg-type]
    about: dict[str, Any] = {"created": NOW, "open_escalations": 0, "missing": ()}
    first = update_ladder(
        ladder(), EscalationLadderStatus(), policies=policies, unproved=proof.missing, now=NOW, **about
    )[0]
    assert [e.message for e in first.entries if "riskladder-raise" not in e.message] == warnings
    assert looks.afresh == afresh
    if warnings:  # and not once more by the other
        again = update_ladder(ladder(), first.status, policies=GONE, unproved="none", now=NOW, **about)[0]
        assert again.entries == ()


def test_what_could_not_be_looked_at_is_unknown_and_no_false_alarm() -> None:
    found = in_force(said(PolicyFindings(unknown={"riskladder-lock": "refused"})))
    assert found[:2] == ("Unknown", Reason.POLICY_UNKNOWN)


def test_every_policy_is_named_however_many_differ_in_however_many_parts() -> None:
    parts = ", ".join(f"part{number} of its binding" for number in range(20))
    message = in_force(said(PolicyFindings(altered=dict.fromkeys(NAMES, parts))))[2]
    assert len(message) <= 1024
    assert all(name in message for name in NAMES)
