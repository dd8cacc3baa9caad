"""Owners of a model: pinned over all signals, recognised however they are written, and without a say. And giving up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.signal import ModelInfo
from riskladder.policy.decisions.owners import owner_named, person_key, unknown_owners
from riskladder.policy.snapshot import Decision, Signal
from tests.unit.builders import Scene, at, edited, ladder, signal
from tests.unit.test_people import HIGH, LADDER

NAMES = st.from_regex(r"[a-z][a-z0-9.@-]{0,20}", fullmatch=True)
PREFIXES = st.sampled_from(["", "user:", "oidc:", "https://login.bank.example#", "keycloak:user:", "  "])


def owned(*owners: str, name: str = "fairness", **readings: float) -> Signal:
    found = signal(name, **readings)
    assert found.spec is not None
    info = ModelInfo.model_validate({"name": "credit", "owners": owners})
    return replace(found, spec=found.spec.model_copy(update={"model": info}))


def opened(*signals: Signal) -> Scene:
    made = ladder(lambda spec: (spec.clear(), spec.update(edited(LADDER, None))))
    found = Scene(list(signals), ladders=[made])
    found.run()
    return found


@given(NAMES, PREFIXES, PREFIXES, st.booleans())
def test_a_person_is_one_person_whatever_prefix_and_case(name: str, one: str, other: str, upper: bool) -> None:
    owner = one + (name.upper() if upper else name)
    assert owner_named([owner], other + name) == owner
    assert owner_named([owner], f"{other}{name}x") == ""


@pytest.mark.parametrize(
    ("owner", "person", "groups", "is_owner"),
    [
        ("olga", "olga", (), True),
        ("Olga", "user:olga", (), True),
        ("user:olga@bank.example", "https://login.bank.example#Olga@Bank.example", (), True),
        ("olga", "oleg", (), False),
        ("olga@one.example", "olga@other.example", (), False),
        ("system:serviceaccount:models:trainer", "system:serviceaccount:models:trainer", (), True),
        ("models:trainer", "system:serviceaccount:models:trainer", (), False),
        ("system:serviceaccount:other:trainer", "system:serviceaccount:models:trainer", (), False),
        ("trainer", "system:serviceaccount:models:trainer", (), False),
        ("group:data-science", "dan", ("system:authenticated", "oidc:Data-Science"), True),
        ("group:data-science", "data-science", (), False),
        ("data-science", "dan", ("data-science",), False),
    ],
)
def test_who_an_owner_is(owner: str, person: str, groups: tuple[str, ...], is_owner: bool) -> None:
    assert bool(owner_named([owner], person, groups)) is is_owner


def test_a_name_of_nothing_but_a_prefix_is_itself() -> None:
    assert person_key("user:") == person_key("USER:") != person_key("olga")


def test_owners_that_nobody_has_called_by_are_named() -> None:
    owners = ("Olga", "oidc:otto", "group:data-science", "nobody@old.example")
    assert unknown_owners(owners, ["user:olga", "otto"]) == ("nobody@old.example",)


@pytest.mark.parametrize("kept", [True, False])
def test_owners_of_every_signal_are_pinned_and_stay_when_their_signal_goes(kept: bool) -> None:
    found = opened(owned("olga", **HIGH))
    found.signals = [*found.signals, owned("otto", "olga", name="drift", drift=0.1)]
    found.run()
    assert found.escalation.status.owners == ("otto",)
    if not kept:
        found.signals = found.signals[:1]
        found.run()
    assert found.escalation.status.owners == ("otto",)
    refused = found.decide("Resume", "legal", by="user:Otto")
    assert found.verdict(refused) == ("False", Reason.MODEL_OWNER)


def test_owner_has_no_say_by_another_spelling_and_sees_which_name_matched() -> None:
    found = opened(owned("user:Olga", **HIGH))
    refused = found.decide("Resume", "legal", by="olga")
    assert found.verdict(refused) == ("False", Reason.MODEL_OWNER)
    assert "named user:Olga by a signal" in found.escalation.status.decisions[-1].refused_because


def test_owner_may_object_but_not_withdraw_what_a_colleague_objects() -> None:
    found = opened(owned("olga", **HIGH))
    found.decide("Object", "legal", by="ann")
    theirs = found.decide("Object", "legal", by="OLGA", withdraw=True)
    assert found.verdict(theirs) == ("False", Reason.MODEL_OWNER)
    assert found.verdict(found.decide("Resume", "model-risk", by="mia")) == ("False", Reason.OBJECTION_STANDS)
    found.decide("Object", "executive", by="olga")
    assert found.verdict(found.decide("Object", "executive", by="olga", withdraw=True))[0] == "True"


# --- To give a contained model up lets it go, as to resume it does ----------------------------------------------------


def decided(found: Scene, action: str, role: str, **more: Any) -> tuple[str, str]:
    made: Decision = found.decide(action, role, **more)
    return found.verdict(made)


def contained() -> Scene:
    found = opened(owned("olga", **HIGH))
    found.decide("Comment", "legal", clock="art-73")
    assert found.reason(ConditionType.CONTAINED)[0] == "True"
    return found


def test_giving_a_contained_model_up_needs_those_who_resume_it() -> None:
    found = contained()
    retired = {"resolution": "Retired"}
    assert decided(found, "Close", "executive", **retired) == ("False", Reason.NOT_IN_QUORUM)
    assert decided(found, "Close", "legal", **retired) == ("True", Reason.COUNTED)
    assert found.escalation.is_open
    assert decided(found, "Close", "model-risk", **retired) == ("True", Reason.QUORUM_MET)
    assert not found.escalation.is_open


def test_objection_stands_against_giving_a_contained_model_up() -> None:
    found = contained()
    found.decide("Object", "legal", by="ann")
    assert decided(found, "Close", "model-risk", resolution="Retired") == ("False", Reason.OBJECTION_STANDS)


def test_no_condition_says_that_a_model_is_held_once_it_is_given_up() -> None:
    found = contained()
    for role in ("legal", "model-risk"):
        found.decide("Close", role, resolution="Retired")
    assert found.reason(ConditionType.CLOSED) == ("True", Reason.RETIRED)
    held = (ConditionType.CONTAINED, ConditionType.CONTAINMENT_HOLDS, ConditionType.LOCKED)
    true = [c.type for c in found.escalation.status.conditions if c.status == "True"]
    assert not set(true) & {str(kind) for kind in held}
    assert found.reason(ConditionType.CONTAINED) == ("False", Reason.RELEASED)
    [closed] = [entry for entry in found.entries if entry.key == "closed"]
    assert "nothing holds the model any more" in closed.message


def test_target_created_again_leaves_no_condition_of_the_old_one_true() -> None:
    found = contained()
    assert found.target is not None
    found.target = replace(found.target, uid="another", carried=replace(found.target.carried, by="", lock="", text=""))
    found.now = at(1)
    found.run()
    old = found.escalations[0]
    assert not old.is_open
    assert [c.type for c in old.status.conditions if c.status == "True" and c.type.startswith("Contain")] == []
