"""Whom a person is to the cluster where the console acts in their name."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.console.names import MOST_GROUPS, Names, Unnamed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def token(claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{payload}.signature"


def test_name_and_groups_are_those_of_the_claims_with_the_prefix() -> None:
    claims = {"email": "ann@example.com", "groups": ["legal", "legal", "", "a\nb", 7, "séance"], "sub": "1"}
    assert Names().of(token(claims)) == ("oidc:ann@example.com", ("oidc:legal",))
    assert Names("sub", "roles", "idp-").of(token({"sub": "1", "roles": "legal"})) == ("idp-1", ("idp-legal",))
    many = {"email": "a@b", "groups": [f"g{n}" for n in range(1000)]}
    assert len(Names().of(token(many))[1]) == MOST_GROUPS


@pytest.mark.parametrize("prefix", ["", "system:", "system:masters"])
def test_prefix_that_lets_people_become_somebody_else_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="--impersonate-prefix"):
        Names(prefix=prefix)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({}, "says no email of you"),
        ({"email": ""}, "says no email of you"),
        ({"email": ["a"]}, "says no email of you"),
        ({"email": "a\r\nImpersonate-Group: system:masters"}, "says no email of you"),
        ({"email": "a@b", "email_verified": False}, "has not verified your email address"),
        ([], "says no email of you"),
    ],
)
def test_somebody_without_a_name_is_refused(claims: Any, why: str) -> None:
    with pytest.raises(Unnamed, match=why):
        Names().of(token(claims))


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.%.c", "a.bnVsbA.c", "a.eyJ.c"])
def test_what_is_no_token_names_nobody(text: str) -> None:
    with pytest.raises(Unnamed):
        Names().of(text)


@given(JSON, JSON)
def test_nobody_is_named_without_the_prefix_or_by_what_no_header_can_carry(email: Any, groups: Any) -> None:
    try:
        name, found = Names().of(token({"email": email, "groups": groups}))
    except Unnamed:
        return
    for text in (name, *found):
        assert text.startswith("oidc:")
        assert text.isascii()
        assert text.isprintable()


@pytest.mark.parametrize(
    "claims", [{"email": "ann@b "}, {"email": " ann@b"}, {"email": "ann@b", "email_verified": "false"}]
)
def test_name_that_the_api_server_would_read_as_another_is_refused(claims: Any) -> None:
    with pytest.raises(Unnamed):
        Names().of(token(claims))


@pytest.mark.parametrize("prefix", ["system", "oidc", " oidc:", "oidc: ", "oi\ndc:"])
def test_prefix_that_does_not_stand_apart_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="--impersonate-prefix"):
        Names(prefix=prefix)
