"""What an author of a workload may write prevents no stop, however long or odd it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.base import API_VERSION
from riskladder.api.foreign import cleaned, clip, distinct, number_in
from riskladder.api.intent import Evidence, Image, Intent
from riskladder.api.notification import Notification
from riskladder.api.reasons import Reason
from riskladder.api.record import OPEN_NAMES, RecordEntry, clipped_particulars
from riskladder.api.validation import validate
from riskladder.cluster.ledger import LedgerEntry
from riskladder.policy.plan import NewEscalation
from riskladder.workloads.model import Image as Running
from riskladder.workloads.network import NetworkObject, NetworkPath
from riskladder.workloads.runtimes import deployment
from riskladder.workloads.runtimes.deployment import REVISION_ANNOTATION
from riskladder.workloads.runtimes.kserve import INFERENCESERVICE

from .builders import LABELS, NAMESPACE, NOW, Scene, contain_by, ladder, replicaset_object, signal, workload

FOREIGN = st.text(max_size=60).flatmap(lambda text: st.integers(0, 60).map(lambda times: text * times))


def opened(scene: Scene) -> NewEscalation:
    """Contain, and return the Escalation that is saved of it."""
    plan = scene.plan()
    assert plan.stop is not None, "it is not contained"
    opening = scene.acted().opening
    assert opening is not None
    document = {
        "apiVersion": API_VERSION,
        "kind": "Escalation",
        "metadata": {"name": opening.name, "namespace": opening.namespace},
        "spec": opening.spec.to_api(),
    }
    assert [str(problem) for problem in validate("Escalation", document)] == []
    return opening


def test_image_that_is_too_long_does_not_keep_a_model_running() -> None:
    images = (Running("server", "busybox:" + "a" * 1100), Running("credit_scorer", "kserve/sklearnserver:v1"))
    evidence = opened(Scene([signal(bias=0.3)], target=workload(pods=0, declared_images=images))).spec.evidence
    assert evidence is not None
    assert [image.container for image in evidence.images] == ["server", "credit_scorer"]
    assert len(evidence.images[0].image) == 1024
    assert evidence.images[0].image.endswith("…")


def test_container_of_kserve_whose_name_is_no_dns_label_is_stopped() -> None:
    predictor = {"name": "credit_scorer", "image": "kserve/sklearnserver:v1", "modelFormat": {"name": "sklearn"}}
    about = {"namespace": NAMESPACE, "name": "scorer", "uid": "u", "resourceVersion": "1", "generation": 1}
    stored = {
        "metadata": {**about, "labels": LABELS},
        "spec": {"predictor": {"model": predictor}},
        "status": {},
    }
    plan = Scene([signal(bias=0.3)], target=INFERENCESERVICE.read(stored)).plan()
    assert plan.stop is not None


def test_many_policies_of_others_do_not_keep_a_model_running_that_cannot_be_isolated() -> None:
    names = [f"allow-team-{number:02d}-to-scorer" for number in range(40)]
    allow = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
    objects = {("NetworkPolicy", n): NetworkObject("NetworkPolicy", n, n, "1", allow) for n in names}
    found = replace(
        workload(),
        selector={"matchLabels": {"app": "scorer"}},
        template_labels={"app": "scorer"},
        network_path=NetworkPath(frozenset({"NetworkPolicy"}), objects),
    )
    scene = Scene([signal(bias=0.3)], target=found, ladders=[ladder(contain_by("Isolate"))])
    plan = scene.plan()
    assert plan.stop is not None
    assert plan.stop.intent.reason == Reason.ISOLATE_IMPOSSIBLE
    assert len(plan.stop.intent.message) <= 1024


@given(st.lists(st.tuples(FOREIGN, FOREIGN, FOREIGN), max_size=40), FOREIGN)
def test_no_text_of_a_workload_keeps_it_running(containers: list[tuple[str, str, str]], pod_hash: str) -> None:
    images = tuple(Running(name, image, image_id) for name, image, image_id in containers)
    found = workload(pods=0, declared_images=images)
    revisions = tuple(replace(revision, hash=pod_hash) for revision in found.revisions)
    opened(Scene([signal(bias=0.3)], target=replace(found, revisions=revisions)))


@pytest.mark.parametrize("text", ["9" * 300, "9" * 5000, "²", "٣", "-1", "1.5", ""])
def test_revision_that_is_no_number_counts_as_none(text: str) -> None:
    stored = replicaset_object(2, 2)
    stored["metadata"]["annotations"][REVISION_ANNOTATION] = text
    assert deployment.read_replicaset(stored).number == 0


@given(st.text())
def test_number_in_text_never_fails(text: str) -> None:
    assert number_in(text) >= 0


@given(st.text(), st.integers(1, 50))
def test_clipped_text_fits_and_says_that_it_is_cut(text: str, limit: int) -> None:
    found = clip(text, limit)
    assert len(found) <= limit
    assert found == cleaned(text) or found.endswith("…")


def test_messages_and_lists_are_clipped_as_they_are_made() -> None:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    intent = Intent(id=1, tier="high", action="ScaleToZero", reason="X", message="m" * 3000, intended_at=at)
    assert len(intent.message) == 1024
    notification = Notification(
        key="k", tier="high", role="legal", channel="pager", about="X", message="m" * 3000, at=at, state="Pending"
    )
    assert len(notification.message) == 1024
    images = tuple(Image(container=f"c{n % 40}", image="i") for n in range(80))
    assert len(Evidence(replicas=1, images=images, taken_at=at).images) == 32


def test_first_of_each_key_is_kept() -> None:
    found = distinct("container", limit=2).func([{"container": "a", "n": 1}, {"container": "a"}, {"container": "b"}])  # type: ignore[call-arg]
    assert found == ({"container": "a", "n": 1}, {"container": "b"})


@given(st.lists(st.tuples(st.text() | st.sampled_from(sorted(OPEN_NAMES)), st.text(max_size=5000)), max_size=60))
def test_particulars_of_a_record_fit_its_schema(details: list[tuple[str, str]]) -> None:
    entry = LedgerEntry("EscalationOpened", "k", NOW, "riskladder", clipped_particulars(details))
    assert RecordEntry.model_validate(entry.to_api()), "its limits are those of the schema"
