"""Seldon Models: replicas and minReplicas, a proof by the status alone, and a rollback of the storageUri."""

from __future__ import annotations

from typing import Any

import jsonpatch
import pytest

from riskladder.workloads.model import History, Revision
from riskladder.workloads.results import Impossible, Write
from riskladder.workloads.runtimes.seldon import MAX_HASH, SELDON_MODEL
from tests.unit.builders import NAMESPACE, Document

WRITTEN = "2026-11-24T12:00:00Z"
BEFORE, AFTER = "2026-11-24T11:59:59Z", "2026-11-24T12:00:05Z"


def status(
    state: str, *, available: int = 0, total: int | None = None, ready: bool = False, at: str = AFTER
) -> Document:
    """As the operator of Seldon writes it: what is 0 is left out."""
    total = available if total is None else total
    ready_condition = {"type": "ModelReady", "status": str(ready), "message": state, "lastTransitionTime": at}
    counts = {"availableReplicas": available, "replicas": total}
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": at}, ready_condition]
    return {"conditions": conditions, **{key: value for key, value in counts.items() if value}}


SERVES = status("ModelAvailable", available=3, ready=True)


def stored(
    uri: str = "gs://models/1", *, replicas: int | None = 3, status: Document = SERVES, at: str = WRITTEN, **spec: Any
) -> Document:
    """A Model as it is stored."""
    managed = {"manager": "ci", "time": at, "fieldsV1": {"f:spec": {"f:storageUri": {}}}}
    scale = {} if replicas is None else {"replicas": replicas}
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": "scorer",
            "uid": "scorer-uid",
            "resourceVersion": "1",
            "generation": 4,
            "creationTimestamp": "2026-11-24T06:00:00Z",
            "managedFields": [managed],
        },
        "spec": {"storageUri": uri, **scale, **spec},
        "status": status,
    }


def after(obj: Document, write: Write | Impossible) -> Document:
    assert isinstance(write, Write), write
    assert write.subresource is None
    changed: Document = jsonpatch.apply_patch(obj, write.patch)
    return changed


def hash_of(obj: Document) -> str:
    current = SELDON_MODEL.read(obj).current
    assert current is not None
    return current.hash


# --- Replicas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "in_force"),
    [
        ({"replicas": None}, 1),
        ({"replicas": None, "minReplicas": 2}, 2),
        ({"replicas": None, "minReplicas": 0}, 1),
        ({"replicas": 0}, 0),
        ({"replicas": 3, "minReplicas": 2}, 3),
        ({"replicas": 0, "minReplicas": 2}, 2),
    ],
)
def test_replicas_below_the_minimum_are_not_in_force(spec: Document, in_force: int) -> None:
    assert SELDON_MODEL.read(stored(**spec)).replicas == in_force


def test_stop_takes_the_minimum_along_and_says_so() -> None:
    before = stored(minReplicas=2, maxReplicas=5)
    facts = SELDON_MODEL.read(before)
    stopped = after(before, SELDON_MODEL.stop(facts))
    assert stopped["spec"] == {"storageUri": "gs://models/1", "replicas": 0, "minReplicas": 0, "maxReplicas": 5}
    said = SELDON_MODEL.stopping(facts)
    assert said.startswith("scale from 3 to 0, and minReplicas from 2 to 0")
    assert "its status is the proof" in said
    assert after(stopped, SELDON_MODEL.restore(SELDON_MODEL.read(stopped), 3, facts.fields)) == before


def test_stop_in_the_middle_of_a_rollout_says_what_the_status_does_not_show() -> None:
    for unfinished in (status("ModelProgressing", total=3), {**SERVES, "replicas": 4}, {}):
        said = SELDON_MODEL.stopping(SELDON_MODEL.read(stored(status=unfinished)))
        assert "a version before this one that may still serve" in said
    assert "version before" not in SELDON_MODEL.stopping(SELDON_MODEL.read(stored()))


def test_minimum_that_keeps_a_stop_out_of_force_is_taken_away() -> None:
    """Somebody has set replicas to 0 with a minimum: Seldon refuses that, and the model goes on serving."""
    before = stored(replicas=0, minReplicas=2)
    facts = SELDON_MODEL.read(before)
    assert not SELDON_MODEL.prove_stopped(facts).applied
    assert after(before, SELDON_MODEL.stop(facts))["spec"]["minReplicas"] == 0


def test_on_the_way_back_the_minimum_waits_for_the_replicas() -> None:
    before = stored(replicas=4, minReplicas=4)
    saved = SELDON_MODEL.read(before).fields
    obj = after(before, SELDON_MODEL.stop(SELDON_MODEL.read(before)))
    half = after(obj, SELDON_MODEL.restore(SELDON_MODEL.read(obj), 2, saved))
    assert (half["spec"]["replicas"], half["spec"]["minReplicas"]) == (2, 0)
    assert after(half, SELDON_MODEL.restore(SELDON_MODEL.read(half), 4, saved)) == before


def test_minimum_that_somebody_set_meanwhile_is_theirs() -> None:
    before = stored(minReplicas=2)
    saved = SELDON_MODEL.read(before).fields
    obj = after(before, SELDON_MODEL.stop(SELDON_MODEL.read(before)))
    del obj["spec"]["minReplicas"]
    assert "minReplicas" not in after(obj, SELDON_MODEL.restore(SELDON_MODEL.read(obj), 3, saved))["spec"]


@pytest.mark.parametrize("changed", [{"replicas": 5}, {"minReplicas": 1}])
def test_replicas_that_were_changed_meanwhile_are_not_overwritten(changed: Document) -> None:
    write = SELDON_MODEL.stop(SELDON_MODEL.read(stored(minReplicas=2)))
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        after(stored(**{"minReplicas": 2, **changed}), write)


# --- Proof of a stop --------------------------------------------------------------------------------------------------

DOWN = status("ModelScaledDown")


@pytest.mark.parametrize(
    ("obj", "applied", "empty", "gone", "clear"),
    [
        (stored(), False, False, False, False),
        (stored(replicas=0), True, False, False, False),  # the status is still the one before
        (stored(replicas=0, status={}), True, True, False, True),  # the scheduler has said nothing yet
        (stored(replicas=0, status=status("ModelProgressing", total=1)), True, True, False, False),
        (stored(replicas=0, status=status("ModelProgressing")), True, True, False, True),
        (stored(replicas=0, status=status("ModelFailed")), True, True, False, True),
        (stored(replicas=0, status=status("ScheduleFailed")), True, True, False, True),
        (stored(replicas=0, status=DOWN), True, True, True, True),
        (stored(replicas=0, status=status("ModelAvailable", ready=True)), True, True, True, True),  # before v2.10
        (stored(replicas=0, minReplicas=1, status=DOWN), False, False, False, False),
    ],
)
def test_stop_is_proved_by_the_status_step_by_step(
    obj: Document, applied: bool, empty: bool, gone: bool, clear: bool
) -> None:
    proof = SELDON_MODEL.prove_stopped(SELDON_MODEL.read(obj))
    assert (proof.applied, proof.endpoints_empty, proof.pods_gone, proof.clear) == (applied, empty, gone, clear)
    assert proof.left.startswith("by its status ")


# --- Rollback ---------------------------------------------------------------------------------------------------------


def test_revision_is_what_is_served_and_includes_the_storage_uri() -> None:
    facts = SELDON_MODEL.read(stored())
    assert facts.current is not None
    assert facts.current.hash.endswith(":gs://models/1")
    assert hash_of(stored(replicas=7, minReplicas=1, memory="1Gi")) == facts.current.hash
    others = [stored("gs://models/2"), stored(artifactVersion=2), stored(requirements=["sklearn"]), stored(server="b")]
    assert len({facts.current.hash, *map(hash_of, others)}) == 5


def test_rolled_back_to_the_storage_uri_that_was_good() -> None:
    good, bad = stored(requirements=["sklearn"]), stored("gs://models/2", requirements=["sklearn"])
    known = [hash_of(good), hash_of(bad)]
    found = SELDON_MODEL.rollback_target(
        SELDON_MODEL.read(bad), quarantined=hash_of(bad), history=History(known_good=frozenset(known))
    )
    assert isinstance(found, Revision)
    assert found == SELDON_MODEL.read({**good, "status": {}}).current
    back = after(bad, SELDON_MODEL.roll_back(bad, None, found))
    assert back["spec"] == good["spec"]
    changed = {**bad, "spec": {**bad["spec"], "requirements": ["xgboost"]}}
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        after(changed, SELDON_MODEL.roll_back(bad, None, found))


LONG = "gs://" + "x" * 250


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ([], "no other storageUri was noted"),
        ([stored("gs://models/2")], "no other storageUri was noted"),
        ([stored(LONG)], "too long to be on record"),
        ([stored(artifactVersion=1)], "more than the storageUri has changed"),
    ],
)
def test_no_rollback_and_why(known: list[Document], why: str) -> None:
    bad = stored("gs://models/2")
    found = SELDON_MODEL.rollback_target(
        SELDON_MODEL.read(bad),
        quarantined=hash_of(bad),
        history=History(known_good=frozenset(hash_of(obj) for obj in known)),
    )
    assert isinstance(found, Impossible)
    assert why in found.why


@pytest.mark.parametrize("length", range(238, 244))
def test_what_goes_on_record_fits(length: int) -> None:
    found = hash_of(stored("x" * length))
    assert len(found) <= MAX_HASH
    assert found.endswith("x" * length) == (length <= MAX_HASH - 13)


BACK = status("ModelAvailable", available=3, ready=True)


@pytest.mark.parametrize(
    ("obj", "applied", "gone", "clear"),
    [
        (stored("gs://models/2"), False, False, False),
        (stored("gs://models/3"), False, False, False),
        (stored(status=status("ModelAvailable", available=3, ready=True, at=BEFORE)), True, False, False),
        (stored(status=status("ModelAvailable", available=3, ready=True, at=WRITTEN)), True, False, False),
        (stored(status=status("ModelProgressing", available=1, total=3)), True, False, True),
        (stored(status=status("ModelFailed", available=3)), True, False, True),  # counts of the spec before
        (stored(status=status("ModelAvailable", available=2, ready=True)), True, False, True),
        (stored(status=status("ModelAvailable", total=3, ready=True)), True, True, True),  # before v2.9
        (stored(status=BACK), True, True, True),
    ],
)
def test_rollback_is_proved_by_a_status_that_changed_since(
    obj: Document, applied: bool, gone: bool, clear: bool
) -> None:
    facts = SELDON_MODEL.read(obj)
    proof = SELDON_MODEL.prove_rolled_back(
        facts, quarantined=hash_of(stored("gs://models/2")), wanted=hash_of(stored())
    )
    assert (proof.applied, proof.pods_gone, proof.clear) == (applied, gone, clear)
    assert facts.is_rolled_out == (gone or obj["spec"]["storageUri"] != "gs://models/1")
