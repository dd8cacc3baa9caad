"""`riskladder redact`: what is chosen, and the change that is asked for."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from riskladder.api.chain import verify_chains
from riskladder.api.commitments import redacted_fields
from riskladder.cli.main import app
from riskladder.cli.redact import choose, copies_in, patch_of, repeats
from riskladder.cluster.ledger import LedgerEntry, record_object
from tests.trails import ESCALATION, NAMESPACE, NAMESPACE_UID, OPENED, Document, chain

AT = datetime(2026, 12, 1, 9, tzinfo=UTC)
FIRST, SECOND, LESSONS = "entries[0].open.rationale", "entries[1].open.rationale", "entries[1].open.lessons"


@pytest.fixture
def record() -> Document:
    acts = (
        LedgerEntry("Commented", "u/1", OPENED, "ana", {"rationale": "one", "role": "legal"}),
        LedgerEntry("Reviewed", "u/2", OPENED, "ben", {"rationale": "two", "lessons": "three"}),
    )
    found = record_object(NAMESPACE, NAMESPACE_UID, ESCALATION, acts, None)
    found["metadata"]["resourceVersion"] = "7"
    return found


def applied(stored: Document, patch: list[Document]) -> Document:
    """The record after a JSON Patch, as far as these use it."""
    after = copy.deepcopy(stored)
    for step in patch:
        *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:])
        node = after
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node[part]
        if step["op"] == "remove":
            del node[last]
        elif isinstance(node, list):
            node.append(step["value"])
        else:
            node[last] = step["value"]
    return after


def test_name_means_every_entry_and_path_means_one(record: Document) -> None:
    assert choose(record["spec"], ["rationale"]) == [FIRST, SECOND]
    assert choose(record["spec"], [SECOND]) == [SECOND]
    assert choose(record["spec"], [LESSONS, "rationale", LESSONS]) == [FIRST, SECOND, LESSONS]


@pytest.mark.parametrize("field", ["role", "entries[0].detail.role", "entries[2].open.rationale", "salt", ""])
def test_what_is_not_open_is_named_with_what_is(record: Document, field: str) -> None:
    with pytest.raises(LookupError, match=r"found no .* in open; there is entries\[0\]\.open\.rationale, .*stays"):
        choose(record["spec"], [field])


def test_one_redaction_after_the_other_verifies_and_is_not_done_twice(record: Document) -> None:
    once = applied(record, patch_of(record, [FIRST], by="dana", at=AT, reason="request 117"))
    assert redacted_fields(once["spec"]) == {FIRST}
    with pytest.raises(LookupError, match=r"redacted already, by dana at 2026-12-01T09:00:00Z: request 117"):
        choose(once["spec"], [FIRST])
    rest = choose(once["spec"], ["rationale", "lessons"])
    twice = applied(once, patch_of(once, rest, by="dan", at=AT, reason="request 118"))
    assert [r["by"] for r in twice["spec"]["redactions"]] == ["dana", "dan"]
    [result] = verify_chains([twice])
    assert (result.intact, result.redacted, result.head) == (True, 3, record["spec"]["hash"])
    with pytest.raises(LookupError, match=r"redacted already"):
        choose(twice["spec"], ["rationale"])


def test_odd_names_are_escaped_in_the_pointer(record: Document) -> None:
    path = "entries[0].open.a/b~c.open.d"
    patch = patch_of(record, [path], by="dana", at=AT, reason="r")
    assert patch[1] == {"op": "remove", "path": "/spec/entries/0/open/a~1b~0c.open.d"}
    assert patch[0]["value"] == "7"


def test_no_cluster_is_one_sentence() -> None:
    result = CliRunner().invoke(app, ["redact", "x-000001", "--kubeconfig", "/nowhere"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


# --- Copies -------------------------------------------------------------------------------------------------------

TEXT = "Ms Ada Vogel of 12 Mill Lane complained"


def told(message: str, number: int) -> LedgerEntry:
    return LedgerEntry("Notified", f"n/{number}", OPENED, "riskladder", {"message": message, "role": "legal"})


def copied(*messages: str) -> list[Document]:
    """A chain of a decision with its reason, and of messages that may repeat it."""
    own = LedgerEntry("Escalated", "u/1", OPENED, "ana", {"rationale": TEXT, "message": "ana as legal: Escalate"})
    found = chain([own, *(told(message, number) for number, message in enumerate(messages))])
    return [record | {"metadata": record["metadata"] | {"resourceVersion": "7"}} for record in found]


def test_every_copy_in_the_chain_is_found_and_nothing_else() -> None:
    records = copied(
        f"legal was notified over mail: scorer is raised by ana: {TEXT}. Contained: no",
        "legal was notified over mail: nothing of it",
        f"the same, cut: {TEXT[:25]}",
        f"the same, cut: {TEXT[:25]}…",
        "in lines: Ms Ada Vogel\n of 12  Mill Lane complained",
        f"another word: X{TEXT}X",
        f"cut too soon to be known: {TEXT[:10]}",
        f"begins alike, and goes on otherwise: {TEXT[:25]} is another",
    )
    other = chain([told(TEXT, 1)], escalation="another")
    found = copies_in([*other, *reversed(records)], records[0], [FIRST], [TEXT])
    assert [part.name for part in found] == [records[n]["metadata"]["name"] for n in (1, 3, 4, 5)]
    assert {part.paths for part in found} == {("entries[0].open.message",)}


def test_copy_in_the_same_record_is_found() -> None:
    own = LedgerEntry("Commented", "u/1", OPENED, "ana", {"rationale": TEXT, "message": f"ana says: {TEXT}"})
    [record] = chain([own])
    [part] = copies_in([record], record, [FIRST], [TEXT])
    assert part.paths == ("entries[0].open.message",)


@given(before=st.text(max_size=20), after=st.text(max_size=20), value=st.text(min_size=1, max_size=200))
def test_text_between_others_is_a_copy(before: str, after: str, value: str) -> None:
    assert repeats(f"{before} {value} {after}", value) == bool(value.split())


@given(value=st.text(st.characters(categories=["L", "Zs"]), min_size=40, max_size=200), cut=st.integers(20, 200))
def test_text_that_was_cut_is_a_copy(value: str, cut: int) -> None:
    words = " ".join(value.split())
    if len(words) >= 20:
        assert repeats(f"raised by ana: {words[: max(cut, 20)]}…", value)
