"""The record chain: whatever is done to it is found, and the first bad record is the one named."""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from riskladder.api.chain import ChainKey, ChainResult, Head, noted_heads, position_of, record_hash, record_name
from riskladder.api.chain import verify_chains as verify
from riskladder.api.record import GENESIS_HASH
from riskladder.cluster.ledger import LedgerEntry
from tests.trails import ESCALATION, NAMESPACE, NAMESPACE_UID, Document, chain, escalation

KEY = ChainKey(NAMESPACE, ESCALATION)

events = st.from_regex(r"[A-Z][A-Za-z0-9]{0,20}", fullmatch=True)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
details = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=12), max_size=4)
entries = st.builds(LedgerEntry, events, st.text(max_size=8), times, st.text(min_size=1, max_size=8), details)
chains = st.lists(entries, min_size=1, max_size=6).map(chain)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3))


def check(records: list[Document], *heads: Head) -> ChainResult:
    """The result for the chain under test; others may be there as well."""
    return next(result for result in verify(records, {KEY: list(heads)} if heads else None) if result.key == KEY)


def head_of(records: list[Document]) -> Head:
    return Head(len(records), records[-1]["spec"]["hash"])


def named(sequence: int) -> str:
    return record_name(ESCALATION, sequence)


def rehashed(record: Document) -> Document:
    record["spec"]["hash"] = record_hash(record["spec"])
    return record


def assert_first_bad(result: ChainResult, sequence: int) -> None:
    assert (result.intact, result.record, result.length) == (False, named(sequence), sequence - 1)
    assert named(sequence) in result.error


# --- Intact -------------------------------------------------------------------------------------------------------


@given(chains, st.randoms(use_true_random=False))
def test_intact_chain_verifies_in_any_order(records: list[Document], shuffler: random.Random) -> None:
    shuffled = shuffler.sample(records, len(records))
    [result] = verify(shuffled, {KEY: [head_of(records)]})
    head = records[-1]["spec"]["hash"]
    assert result == ChainResult(
        KEY,
        len(records),
        head,
        noted=len(records),
        origins={head_of(records).origin: len(records)},
        namespace_uid=NAMESPACE_UID,
    )
    assert result.intact
    assert [position_of(record).sequence for record in records] == [*range(1, len(records) + 1)]


def test_nothing_to_check_is_no_result() -> None:
    assert verify([]) == []


def test_same_name_in_two_namespaces_is_two_chains() -> None:
    here, there = chain(), chain(namespace="other")[:2]
    results = verify([*here, *there])
    assert [(result.key, result.length, result.intact) for result in results] == [
        (KEY, 4, True),
        (ChainKey("other", ESCALATION), 2, True),
    ]
    assert str(results[0].key) == f"{NAMESPACE}/{ESCALATION}"


# --- Changed ------------------------------------------------------------------------------------------------------


@given(chains, st.data())
def test_any_change_of_a_field_is_found(records: list[Document], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(records) - 1))
    spec = records[index]["spec"]
    field = data.draw(st.sampled_from([*spec, "extra"]))
    value = data.draw(values | details)
    assume(value != spec.get(field))
    spec[field] = value
    assert_first_bad(check(records), index + 1)


@given(chains, st.data())
def test_any_change_within_the_detail_is_found(records: list[Document], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(records) - 1))
    detail = records[index]["spec"]["entries"][0]["detail"]
    name = data.draw(st.sampled_from([*detail]))
    other = data.draw(st.none() | st.text(max_size=8) | values)
    assume(other != detail[name])
    if other is None:
        del detail[name]
    else:
        detail[name] = other
    assert_first_bad(check(records), index + 1)


@given(chains, st.data())
def test_removed_field_is_found(records: list[Document], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(records) - 1))
    del records[index]["spec"][data.draw(st.sampled_from([*records[index]["spec"]]))]
    assert_first_bad(check(records), index + 1)


@given(chains, st.data(), st.sampled_from(["actor", "event", "at"]), st.text(max_size=8))
def test_change_with_a_fitting_hash_is_found_at_the_next_record(
    records: list[Document], data: st.DataObject, field: str, value: str
) -> None:
    index = data.draw(st.integers(0, len(records) - 1))
    head = head_of(records)
    [entry] = records[index]["spec"]["entries"]
    assume(value != entry[field])
    entry[field] = value
    rehashed(records[index])
    is_last = index == len(records) - 1
    assert_first_bad(check(records, head), index + 1 if is_last else index + 2)
    assert check(records).intact == is_last


@pytest.mark.parametrize("sequence", [True, 1.0, "1", None, [1], 10**20])
def test_sequence_that_only_looks_right_is_found(sequence: Any) -> None:
    records = chain()
    records[0]["spec"]["sequence"] = sequence
    assert_first_bad(check(records), 1)


def test_time_that_a_loader_took_apart_is_named_and_does_not_raise() -> None:
    records = chain()
    records[1]["spec"]["entries"][0]["at"] = datetime(2026, 11, 24, tzinfo=UTC)
    assert_first_bad(check(records), 2)


def test_content_that_is_not_utf_8_is_found() -> None:
    records = chain()
    records[2]["spec"]["entries"][0]["actor"] = "\ud800"
    assert_first_bad(check(records), 3)


# --- Removed, inserted, moved, renamed ----------------------------------------------------------------------------


@given(chains, st.data())
def test_removal_is_found_and_of_the_end_with_a_head(records: list[Document], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(records) - 1))
    head = head_of(records)
    last = len(records) - 1
    del records[index]
    [result] = verify(records, {KEY: [head]})
    assert_first_bad(result, index + 1)
    assert "missing" in result.error
    if index == last and records:
        assert check(records).intact
        assert check(records).noted == 0


@given(chains, st.data())
def test_removal_of_several_names_the_first(records: list[Document], data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.sampled_from(range(len(records))), max_size=len(records) - 1))
    head = head_of(records)
    first = min(set(range(len(records))) - kept)
    [result] = verify([records[i] for i in kept], {KEY: [head]})
    assert_first_bad(result, first + 1)


@given(chains, entries, st.booleans(), st.data())
def test_insertion_is_found(records: list[Document], entry: LedgerEntry, renamed: bool, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(records)))
    forged = copy.deepcopy(chain([entry])[0])
    forged["spec"]["sequence"] = place
    forged["spec"]["previousHash"] = records[place - 2]["spec"]["hash"] if place > 1 else GENESIS_HASH
    forged["metadata"]["name"] = "forged" if renamed else named(place)
    assume(renamed or rehashed(forged)["spec"] != records[place - 1]["spec"])
    records.insert(data.draw(st.integers(0, len(records))), rehashed(forged))
    assert_first_bad(check(records), place)


@given(chains, st.data())
def test_copy_under_another_name_is_found_and_the_same_object_counts_once(
    records: list[Document], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(records) - 1))
    again = copy.deepcopy(records[index])
    assert check([*records, again]) == check(records)
    again["metadata"]["name"] = "copy"
    assert_first_bad(check([*records, again]), index + 1)


@given(chains, st.data(), st.sampled_from(["contents", "names", "sequences", "places"]))
def test_swap_is_found(records: list[Document], data: st.DataObject, what: str) -> None:
    assume(len(records) > 1)
    one, two = sorted(data.draw(st.sets(st.integers(0, len(records) - 1), min_size=2, max_size=2)))
    a, b = records[one], records[two]
    if what == "contents":
        a["spec"], b["spec"] = b["spec"], a["spec"]
    if what in ("names", "places"):
        a["metadata"]["name"], b["metadata"]["name"] = b["metadata"]["name"], a["metadata"]["name"]
    if what in ("sequences", "places"):
        a["spec"]["sequence"], b["spec"]["sequence"] = b["spec"]["sequence"], a["spec"]["sequence"]
    if what == "places":
        rehashed(a)
        rehashed(b)
    assert_first_bad(check(records), one + 1)


@given(chains, st.data(), st.text(max_size=12) | st.from_regex(rf"{ESCALATION}-00000[1-9]", fullmatch=True))
def test_rename_is_found(records: list[Document], data: st.DataObject, name: str) -> None:
    index = data.draw(st.integers(0, len(records) - 1))
    assume(name != records[index]["metadata"]["name"])
    records[index]["metadata"]["name"] = name
    assert_first_bad(check(records), index + 1)


@given(chains, st.data())
def test_move_to_another_namespace_or_escalation_is_found(records: list[Document], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(records) - 1))
    head = head_of(records)
    if data.draw(st.booleans()):
        records[index]["metadata"]["namespace"] = "other"
    else:
        records[index]["spec"]["escalation"] = "another"
        rehashed(records[index])
    results = {result.key: result for result in verify(records, {KEY: [head]})}
    assert_first_bad(results.pop(KEY), index + 1)
    [stray] = results.values()
    assert stray.intact == (index == 0 and stray.key.namespace == "other")


# --- Heads --------------------------------------------------------------------------------------------------------


def test_rewritten_chain_is_found_by_a_head_noted_before() -> None:
    genuine = chain()
    forged = chain([LedgerEntry(r.event, r.key, r.at, "mallory", r.detail) for r in map(_entry, genuine)])
    assert check(forged).intact
    noted = Head(2, genuine[1]["spec"]["hash"], "--head")
    assert_first_bad(check(forged, noted), 2)
    assert "noted in --head" in check(forged, noted).error
    assert check(genuine, noted).noted == 2


def _entry(record: Document) -> LedgerEntry:
    [spec] = record["spec"]["entries"]
    detail = {name: value for name, value in spec["detail"].items() if name != "key"}
    return LedgerEntry(spec["event"], spec["detail"]["key"], datetime.fromisoformat(spec["at"]), spec["actor"], detail)


def test_records_behind_the_noted_head_are_no_contradiction() -> None:
    records = chain()
    result = check(records, head_of(records[:3]), head_of(records[:1]))
    assert (result.intact, result.length, result.noted) == (True, 4, 3)


def test_chain_of_which_only_the_head_is_left_is_missing() -> None:
    result = check([], head_of(chain()))
    assert_first_bad(result, 1)
    assert "there are 0 records, the status of the escalation says 4" in result.error


def test_head_that_is_not_reached_is_reported_after_what_is_broken_before() -> None:
    records = chain()
    head = head_of(records)
    records[1]["spec"]["entries"][0]["actor"] = "mallory"
    assert_first_bad(check(records[:3], head), 2)


def test_heads_come_from_the_status() -> None:
    records = chain()
    without = escalation(records, status={"ledger": None})
    empty = escalation(records, status={"ledger": {"sequence": 0, "hash": GENESIS_HASH}})
    assert noted_heads([escalation(records), without, empty]) == {KEY: [head_of(records)]}


@pytest.mark.parametrize("ledger", [{}, "x", {"sequence": "4", "hash": "ab"}, {"sequence": 4}])
def test_ledger_that_is_none_is_refused_by_name(ledger: object) -> None:
    with pytest.raises(ValueError, match=f"escalation {NAMESPACE}/{ESCALATION}: status.ledger is"):
        noted_heads([escalation(chain(), status={"ledger": ledger})])


# --- Robustness ---------------------------------------------------------------------------------------------------


@given(st.lists(st.dictionaries(st.sampled_from(["metadata", "spec", "kind"]), values), max_size=4))
def test_rubbish_is_broken_and_never_raises(records: list[Any]) -> None:
    assert not any(result.intact for result in verify(records))


@given(chains, values)
def test_a_stray_next_to_an_intact_chain_is_named(records: list[Document], spec: Any) -> None:
    stray = {"metadata": {"name": "stray", "namespace": NAMESPACE}, "spec": {"escalation": ESCALATION, "x": spec}}
    result = check([*records, stray])
    assert (result.intact, result.record, result.length) == (False, "stray", len(records))


def test_swollen_content_is_refused_before_it_is_hashed() -> None:
    bomb: Any = ["x"]
    for _ in range(40):
        bomb = [bomb, bomb]
    records = chain()
    records[0]["spec"]["extra"] = bomb
    assert_first_bad(check(records), 1)
