"""Events: names that the API server accepts, whatever the object is called."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.base import API_VERSION, DNS_SUBDOMAIN_PATTERN
from riskladder.cluster.events import NOTE_LIMIT, ObjectReference, event_object

AT = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)

OBJECT_NAMES = st.from_regex(DNS_SUBDOMAIN_PATTERN, fullmatch=True).filter(lambda name: len(name) <= 253)


def name_of(regarding: str) -> str:
    about = ObjectReference(API_VERSION, "ModelRiskSignal", "models", regarding, "u")
    event = event_object(
        about, reason="EscalationOpened", key="opened", note="x", at=AT, warning=True, instance="operator"
    )
    return str(event["metadata"]["name"])


def test_name_does_not_end_its_prefix_in_a_hyphen_or_a_dot() -> None:
    for separator in "-.":
        name = name_of("e" * 199 + separator + "2026-11-24t06-00-00")
        assert re.fullmatch(DNS_SUBDOMAIN_PATTERN, name), name


@given(OBJECT_NAMES)
def test_every_object_has_an_event_name_that_the_api_server_accepts(regarding: str) -> None:
    name = name_of(regarding)
    assert re.fullmatch(DNS_SUBDOMAIN_PATTERN, name)
    assert len(name) <= 253


@given(st.text(max_size=2000))
def test_note_fits_in_bytes(note: str) -> None:
    about = ObjectReference(API_VERSION, "ModelRiskSignal", "models", "fairness", "u")
    event = event_object(about, reason="Held", key="k", note=note, at=AT, warning=False, instance="operator")
    assert len(event["note"].encode()) <= NOTE_LIMIT
