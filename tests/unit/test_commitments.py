"""Personal text outside the hash: no change of it goes unseen, and what is lawfully erased breaks nothing."""

from __future__ import annotations

import copy
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from riskladder.api.chain import ChainResult, Head, record_hash
from riskladder.api.chain import verify_chains as verify
from riskladder.api.commitments import commitment, field_path, open_fields, redacted_fields, sealed
from riskladder.api.record import OPEN_NAMES, REDACTED, entries_of
from riskladder.cluster.ledger import LedgerEntry, record_object
from tests.trails import ESCALATION, NAMESPACE, NAMESPACE_UID, Document, chain

AT = datetime(2026, 11, 24, 6, tzinfo=UTC)
SALT = "00112233445566778899aabbccddeeff"

texts = st.text(max_size=12)
personal = st.dictionaries(st.sampled_from(sorted(OPEN_NAMES)), texts, min_size=1, max_size=4)
plain = st.dictionaries(st.sampled_from(["tier", "role", "replicas"]), texts, max_size=3)
acts = st.builds(lambda key, p, d: LedgerEntry("Commented", key, AT, "ana", {**d, **p}), texts, personal, plain)
passes = st.lists(st.lists(acts, min_size=1, max_size=3), min_size=1, max_size=3)


def records_of(said: list[list[LedgerEntry]]) -> list[Document]:
    from riskladder.api.escalation import LedgerHead

    objects: list[Document] = []
    head = None
    for pass_ in said:
        objects.append(record_object(NAMESPACE, NAMESPACE_UID, ESCALATION, pass_, head))
        head = LedgerHead(sequence=objects[-1]["spec"]["sequence"], hash=objects[-1]["spec"]["hash"])
    return objects


def check(records: list[Document]) -> ChainResult:
    [result] = verify(records)
    return result


def redact(record: Document, *paths: str, by: str = "dpo") -> None:
    spec = record["spec"]
    for number, entry in enumerate(spec["entries"]):
        for name in list(entry.get("open", {})):
            if field_path(number, name) in paths:
                del entry["open"][name]
    spec.setdefault("redactions", []).append(
        {"at": "2026-12-01T09:00:00Z", "by": by, "reason": "Art. 17", "fields": sorted(paths)}
    )


# --- The commitment ---------------------------------------------------------------------------------------------------


def test_commitment_is_what_the_audit_page_says() -> None:
    said = json.dumps(["riskladder.dev/open/v1", SALT, 'é\u2028"\\\t'], separators=(",", ":"), ensure_ascii=False)
    assert commitment(SALT, 'é\u2028"\\\t') == hashlib.sha256(said.encode()).hexdigest()


@given(texts, texts, st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_commitment_binds_salt_and_value(value: str, other: str, salt: bytes, other_salt: bytes) -> None:
    assume((value, salt) != (other, other_salt))
    assert commitment(salt.hex(), value) != commitment(other_salt.hex(), other)


@given(texts)
def test_same_value_is_committed_to_differently_each_time(value: str) -> None:
    (one, opened), (two, _) = sealed(value), sealed(value)
    assert one != two
    assert len(bytes.fromhex(opened["salt"])) == 16
    assert commitment(opened["salt"], opened["value"]) == one


# --- Records ----------------------------------------------------------------------------------------------------------


@given(passes)
def test_personal_text_is_not_in_what_is_hashed_and_is_read_as_before(said: list[list[LedgerEntry]]) -> None:
    records = records_of(said)
    assert check(records).intact
    for record, pass_ in zip(records, said, strict=True):
        for entry, act in zip(record["spec"]["entries"], pass_, strict=True):
            assert not OPEN_NAMES & set(entry["detail"])
            assert set(entry["commitments"]) == set(entry["open"]) == OPEN_NAMES & set(act.detail)
        assert [e["detail"] for e in entries_of(record["spec"])] == [{"key": a.key, **a.detail} for a in pass_]


@given(passes, st.data())
def test_any_change_of_an_open_value_is_found(said: list[list[LedgerEntry]], data: st.DataObject) -> None:
    records = records_of(said)
    index = data.draw(st.integers(0, len(records) - 1))
    entry = data.draw(st.sampled_from(records[index]["spec"]["entries"]))
    name = data.draw(st.sampled_from(sorted(entry["open"])))
    part = data.draw(st.sampled_from(["salt", "value", "all", "gone", "extra"]))
    other: Any = data.draw(st.none() | texts | st.integers() | st.lists(texts) | st.dictionaries(texts, texts))
    if part == "gone":
        del entry["open"][name]
    elif part == "extra":
        entry["open"]["never-committed-to"] = {"salt": SALT, "value": "x"}
    elif part == "all":
        assume(other != entry["open"][name])
        entry["open"][name] = other
    else:
        assume(other != entry["open"][name][part])
        entry["open"][name][part] = other
    result = check(records)
    assert not result.intact
    assert result.record == records[index]["metadata"]["name"]
    assert "open" in result.error


@given(passes, st.data())
def test_any_change_of_a_commitment_is_found(said: list[list[LedgerEntry]], data: st.DataObject) -> None:
    records = records_of(said)
    index = data.draw(st.integers(0, len(records) - 1))
    entry = data.draw(st.sampled_from(records[index]["spec"]["entries"]))
    name = data.draw(st.sampled_from(sorted(entry["commitments"])))
    opened = {"salt": SALT, "value": data.draw(texts)}
    entry["commitments"][name] = commitment(**opened)
    entry["open"][name] = opened
    result = check(records)
    assert (result.intact, result.length) == (False, index)


@given(passes, st.data())
def test_any_part_may_be_redacted_and_all_still_verifies(said: list[list[LedgerEntry]], data: st.DataObject) -> None:
    records = records_of(said)
    before = check(records)
    gone = 0
    for record in records:
        paths = data.draw(st.sets(st.sampled_from(sorted(open_fields(record["spec"])))))
        if paths:
            redact(record, *paths)
        gone += len(paths)
    after = check(records)
    assert (after.intact, after.head, after.redacted) == (True, before.head, gone)


@given(passes, st.data())
def test_what_was_redacted_is_read_as_redacted(said: list[list[LedgerEntry]], data: st.DataObject) -> None:
    [record, *_] = records_of(said)
    path = data.draw(st.sampled_from(sorted(open_fields(record["spec"]))))
    redact(record, path)
    assert redacted_fields(record["spec"]) == {path}
    values = [
        v for n, e in enumerate(entries_of(record["spec"])) for k, v in e["detail"].items() if field_path(n, k) == path
    ]
    assert values == [REDACTED]


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (
            lambda s: s["entries"][0]["open"].pop("message"),
            "entries[0].open.message is missing, and no redaction names it",
        ),
        (
            lambda s: s.update(
                redactions=[{"by": "dpo", "at": "t", "reason": "r", "fields": ["entries[0].open.message"]}]
            ),
            "redactions[0].fields names entries[0].open.message, which is still there",
        ),
        (
            lambda s: s.update(redactions=[{"by": "dpo", "at": "t", "reason": "r", "fields": ["entries[7].open.x"]}]),
            'redactions[0].fields names "entries[7].open.x", to which no entry has committed',
        ),
        (lambda s: s.update(redactions="x"), 'redactions is "x", expected a list'),
        (lambda s: s.update(redactions=["x"]), 'redactions[0] is "x", expected a map'),
        (lambda s: s.update(redactions=[{"at": "t"}]), "redactions[0].by is null, expected text"),
        (lambda s: s["entries"][0].update(open="x"), 'entries[0].open is "x", expected a map'),
        (lambda s: s["entries"][0]["open"].update(message=["x"]), "entries[0].open.message is a list, expected"),
        (
            lambda s: s["entries"][0]["open"].update(x={"salt": SALT, "value": "x"}),
            "entries[0].open.x has no commitment",
        ),
    ],
)
def test_what_is_wrong_with_open_text_is_named(edit: Any, error: str) -> None:
    records = chain()
    edit(records[1]["spec"])
    result = check(records)
    assert (result.intact, result.length) == (False, 1)
    assert error in result.error


def test_hash_leaves_out_open_text_and_redactions_only() -> None:
    [record, *_] = chain()
    spec = record["spec"]
    before = record_hash(spec)
    changed = copy.deepcopy(spec)
    del changed["entries"][0]["open"]
    changed["redactions"] = [{}]
    assert record_hash(changed) == before == spec["hash"]
    for field in ("commitments", "detail", "at", "actor", "event"):
        changed = copy.deepcopy(spec)
        del changed["entries"][0][field]
        assert record_hash(changed) != before


# --- The namespace ----------------------------------------------------------------------------------------------------


def test_records_of_two_namespaces_of_one_name_are_distinguished() -> None:
    records, others = chain(), chain(namespace_uid="uid-of-another")
    result = check([*records[:2], others[2]])
    assert (result.intact, result.length) == (False, 2)
    assert "belongs to another namespace of that name: its namespaceUid is" in result.error
    both = check([*records, others[0]])
    assert not both.intact
    assert "of two namespaces of that name" in both.error


def test_head_of_an_intact_chain_is_unlike_that_of_another_namespace() -> None:
    records, others = chain(), chain(namespace_uid="uid-of-another")
    [result] = verify(records, {check(records).key: [Head(4, others[-1]["spec"]["hash"])]})
    assert not result.intact
