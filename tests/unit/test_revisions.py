"""Rule: readings judge the revision that served when they were observed; a rollback goes back to none that breached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.intent import ImageRole
from riskladder.api.reasons import Reason
from riskladder.api.signal import LastKnownGood, SignalStatus
from riskladder.policy.containment.choose import evidence_detail, take_evidence
from riskladder.workloads.model import History, Image, Revision, Workload
from riskladder.workloads.results import Impossible
from riskladder.workloads.runtimes import deployment
from riskladder.workloads.runtimes.deployment import DEPLOYMENT
from riskladder.workloads.runtimes.fitness import unfit
from riskladder.workloads.runtimes.replicas import content_digest, declared_images, read_pod

from .builders import (
    NOW,
    Document,
    Scene,
    at,
    contain_by,
    ladder,
    pod_object,
    replicaset_object,
    signal,
    template,
    workload,
)

ROLLBACK = ladder(contain_by("Rollback"))


def created(version: int, when: datetime) -> Revision:
    return replace(deployment.read_replicaset(replicaset_object(version, version)), created=when)


def deployed(*times: datetime, **changes: object) -> Workload:
    """A model of which version 1, 2 and so on were put in place at these times."""
    revisions = tuple(created(version, when) for version, when in enumerate(times, start=1))
    return replace(
        workload(len(times), history=range(1, len(times) + 1)), revisions=revisions, template_since=times[-1], **changes
    )


def noted(version: int, since: datetime, name: str = "fairness", **reading: object) -> object:
    note = LastKnownGood(revision=str(version), digest=f"hash{version}", since=since)
    return signal(name, status=SignalStatus(last_known_good=note), **reading)


def rolled_back_to(scene: Scene) -> tuple[str, str]:
    """Return what the model is rolled back to, or what is done in place of that, and why."""
    act = scene.plan().stop
    assert act is not None
    return (act.revision.hash if act.revision else str(act.action)), act.intent.message


# --- A breach is about what served when it was observed ---------------------------------------------------------------


def test_late_reading_does_not_undo_the_fix() -> None:
    late = signal(at=at(-30), bias=0.3)  # about version 1; version 2, the fix, is in place since ten minutes ago
    scene = Scene([late], target=deployed(at(-600), at(-10)), ladders=[ROLLBACK])
    what, why = rolled_back_to(scene)
    assert what == "ScaleToZero"
    assert "no rollback: revision 1 may have been in place when the breach was observed" in why
    assert "the reading is older than the revision that serves now" in why


def test_late_reading_leaves_what_had_been_replaced_before_it_was_observed() -> None:
    late = signal(at=at(-30), bias=0.3)  # about version 2, in place from -60 to -10
    scene = Scene([late], target=deployed(at(-600), at(-60), at(-10)), ladders=[ROLLBACK])
    assert rolled_back_to(scene)[0] == "hash1"


def test_every_breach_that_stands_counts_and_not_the_newest_alone() -> None:
    signals = [signal(at=at(-30), bias=0.3), signal("drift", source="drift", at=NOW, bias=0.4)]
    scene = Scene(signals, target=deployed(at(-600), at(-10)), ladders=[ROLLBACK])
    assert rolled_back_to(scene)[0] == "ScaleToZero", "the older reading is about version 1"


# --- Known good -------------------------------------------------------------------------------------------------------


def test_note_ends_with_a_breach_of_that_revision() -> None:
    scene = Scene(
        [noted(2, at(-60), bias=0.3)],
        target=workload(2, history=(1, 2)),
        ladders=[ladder(lambda spec: spec["tiers"][1].pop("containment"))],
    )
    scene.run()
    assert scene.signals[0].status.last_known_good is None, "though nothing contains it"


def test_revision_that_breached_after_it_was_noted_is_not_gone_back_to() -> None:
    scene = Scene(
        [noted(2, at(-60), at=at(1), bias=0.3)], target=workload(2, history=(1, 2)), ladders=[ROLLBACK], now=at(1)
    )
    scene.run()
    assert scene.target is not None
    assert scene.target.current is not None
    assert scene.target.current.hash == "hash1"
    scene.now = at(30)
    scene.decide("Resume", "legal")
    scene.decide("Close", "legal", resolution="Remediated")
    scene.now, scene.target = at(61), workload(3, history=(1, 2, 3), template_since=at(59))
    scene.signals = [*scene.signals, signal("other", source="other", at=at(61), bias=0.35)]
    assert rolled_back_to(scene)[0] == "hash1"


def test_good_again_after_the_breach_it_is_gone_back_to() -> None:
    known = History(known_good=frozenset({"hash2"}), breached=frozenset({"hash2"}))
    found = DEPLOYMENT.rollback_target(workload(3, history=(1, 2, 3)), quarantined="hash3", history=known)
    assert isinstance(found, Revision)
    assert found.hash == "hash2"


def test_good_is_what_every_stream_has_judged() -> None:
    bias = signal("fair", source="fairness", at=at(-120), bias=0.01)
    drift = signal("drift", source="drift", at=at(-1), drift=0.0)
    scene = Scene([bias, drift], target=workload(2, history=(1, 2), template_since=at(-60)))
    scene.run()
    assert [s.status.last_known_good for s in scene.signals] == [None, None], "bias was observed before it was deployed"
    scene.signals = [
        replace(bias, spec=signal(source="fairness", at=NOW, bias=0.01).spec, generation=2),
        scene.signals[1],
    ]
    scene.run()
    assert {s.status.last_known_good.digest for s in scene.signals if s.status.last_known_good} == {"hash2"}


@pytest.mark.parametrize(
    ("changes", "is_good"),
    [
        ({}, True),
        ({"available_replicas": 2}, False),
        ({"available_replicas": None}, True),
        ({"template_since": at(1)}, False),
    ],
)
def test_good_is_what_was_available_when_it_was_observed(changes: Document, is_good: bool) -> None:
    scene = Scene([signal(bias=0.01)], target=workload(**changes))
    scene.run()
    assert (scene.signals[0].status.last_known_good is not None) is is_good


@pytest.mark.parametrize("minutes", [-1, 1])
def test_reading_of_a_rollout_that_was_not_complete_makes_nothing_good(minutes: int) -> None:
    pods = tuple(replace(pod, ready_since=at(minutes)) for pod in workload().pods)
    scene = Scene([signal(bias=0.01)], target=workload(pods=3, ready_endpoints=3))
    scene.target = replace(scene.target, pods=pods) if scene.target else None
    scene.run()
    assert (scene.signals[0].status.last_known_good is not None) is (minutes < 0)


# --- What runs the same, and what never ran ---------------------------------------------------------------------------


def restarted(version: int) -> Document:
    found = replicaset_object(version, version + 1)
    found["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "2026-11-24T10:00:00Z"}
    found["metadata"]["uid"] = "restarted"
    found["metadata"]["labels"][deployment.HASH_LABEL] = "restarted"
    return found


def after_a_restart(*before: int) -> Workload:
    """Version 2 after a `kubectl rollout restart`: the same containers, another revision."""
    now = restarted(2)
    revisions = [deployment.read_replicaset(replicaset_object(v, v)) for v in before]
    current = replace(deployment.read_replicaset(now), number=9)
    return replace(
        workload(2, history=()), digest=current.digest, content=current.content, revisions=(*revisions, current)
    )


def test_restart_is_no_other_revision_to_go_back_to() -> None:
    what, why = rolled_back_to(Scene([signal(bias=0.3)], target=after_a_restart(2), ladders=[ROLLBACK]))
    assert what == "ScaleToZero"
    assert "revision 2 runs the same containers as the breached one" in why
    assert rolled_back_to(Scene([signal(bias=0.3)], target=after_a_restart(1, 2), ladders=[ROLLBACK]))[0] == "hash1"


def test_what_breached_is_breached_under_another_annotation_as_well() -> None:
    """And what was good is good: a restart changes nothing about what serves."""
    again = deployment.read_replicaset(restarted(1))
    target = workload(3, history=(1, 2, 3))
    target = replace(target, revisions=(*target.revisions, replace(again, number=2)))
    breached = History(breached=frozenset({"hash1", "hash2"}))
    assert "has breached before" in unfit(target, again, breached)
    assert not unfit(target, again, History(known_good=frozenset({"hash1"}), breached=frozenset({"restarted"})))


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        (lambda spec: spec["containers"][0].update(resources={"limits": {"cpu": "2"}}), True),
        (lambda spec: spec.update(nodeSelector={"pool": "b"}), True),
        (lambda spec: spec["containers"][0].update(env=[{"name": "MODEL", "value": "7"}]), False),
        (lambda spec: spec["containers"][0].update(args=["--model=7"]), False),
        (lambda spec: spec.update(initContainers=[{"name": "model", "image": "model:7"}]), False),
        (lambda spec: spec.update(volumes=[{"name": "model", "image": {"reference": "model:7"}}]), False),
    ],
)
def test_what_runs_is_containers_and_their_volumes(edit: object, same: bool) -> None:
    other = template(2)
    edit(other["spec"])  # type: ignore[operator]
    assert (content_digest(other) == content_digest(template(2))) is same


def test_revision_that_never_was_available_is_passed_over() -> None:
    """Version 2 got stuck: version 1 was seen serving, and then version 3."""
    target = deployed(at(-600), at(-60), at(-30))
    one, _, three = target.revisions
    target = replace(target, served={one.digest: at(-500), three.digest: at(-29)})
    assert rolled_back_to(Scene([signal(bias=0.3)], target=target, ladders=[ROLLBACK]))[0] == "hash1"
    stuck = replace(target, revisions=target.revisions[1:])
    what, why = rolled_back_to(Scene([signal(bias=0.3)], target=stuck, ladders=[ROLLBACK]))
    assert what == "ScaleToZero"
    assert "revision 2 was never available" in why


def test_what_came_before_the_operator_watched_may_have_served() -> None:
    target = deployed(at(-600), at(-300), at(-30))
    target = replace(target, served={target.revisions[2].digest: at(-29)})
    assert rolled_back_to(Scene([signal(bias=0.3)], target=target, ladders=[ROLLBACK]))[0] == "hash2"


TIMES = st.lists(st.integers(-1000, -1), min_size=2, max_size=6, unique=True).map(sorted)
HASHES = st.frozensets(st.sampled_from([f"hash{n}" for n in range(1, 7)]))


@given(TIMES, HASHES, HASHES, st.frozensets(st.integers(-1000, 0), max_size=3), st.booleans())
def test_rollback_goes_back_to_nothing_that_breached(
    times: Sequence[int], good: frozenset[str], breached: frozenset[str], observed: frozenset[int], reused: bool
) -> None:
    target = deployed(*(at(minutes) for minutes in times))
    target = replace(target, revisions=tuple(replace(r, reused=reused) for r in target.revisions))
    current = f"hash{len(times)}"
    history = History(good, breached, frozenset(at(minutes) for minutes in observed))
    found = DEPLOYMENT.rollback_target(target, quarantined=current, history=history)
    if isinstance(found, Impossible):
        assert found.why
        return
    assert found.hash != current
    assert found.hash in good or found.hash not in breached
    ends = dict(zip((f"hash{n}" for n in range(1, len(times))), times[1:], strict=True))
    begins = dict(zip((f"hash{n}" for n in range(1, len(times) + 1)), times, strict=True))
    assert not any(begins[found.hash] <= minutes < ends[found.hash] for minutes in observed), "it served at a breach"
    better = [h for h in good & begins.keys() if h != current and begins[h] > begins[found.hash]]
    assert found.hash in good or not [h for h in better if all(m >= times[-1] for m in observed)]


# --- Evidence ---------------------------------------------------------------------------------------------------------


def test_evidence_names_all_images_and_what_they_are() -> None:
    pod = pod_object("pod-0", 2)
    pod["spec"] |= {
        "initContainers": [
            {"name": "model", "image": "credit-model:7"},
            {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"},
        ],
        "volumes": [{"name": "weights", "image": {"reference": "weights:7"}}, {"name": "tmp", "emptyDir": {}}],
    }
    pod["status"]["initContainerStatuses"] = [
        {"name": "model", "imageID": "credit-model@sha256:7"},
        {"name": "proxy", "imageID": "proxy@sha256:1"},
    ]
    evidence = take_evidence(replace(workload(replicas=1), pods=(read_pod(pod),)), NOW)
    assert [(image.role, image.container, image.image_id or image.image) for image in evidence.images] == [
        (ImageRole.CONTAINER, "server", "scorer@sha256:2"),
        (ImageRole.INIT_CONTAINER, "model", "credit-model@sha256:7"),
        (ImageRole.SIDECAR, "proxy", "proxy@sha256:1"),
        (ImageRole.VOLUME, "weights", "weights:7"),
    ]
    detail = evidence_detail(evidence)
    assert detail["images"] == "scorer@sha256:2"
    assert detail["initImages"] == "credit-model@sha256:7"
    assert detail["sidecarImages"] == "proxy@sha256:1"
    assert detail["volumeImages"] == "weights:7"
    assert Image("weights", "weights:7", "", ImageRole.VOLUME) in declared_images({"spec": pod["spec"]})


def test_rollback_onto_pods_that_are_not_available_says_so() -> None:
    scene = Scene([signal(bias=0.3)], ladders=[ROLLBACK])
    scene.run()
    assert scene.target is not None
    proof = DEPLOYMENT.prove_rolled_back(
        replace(scene.target, available_replicas=0), quarantined="hash2", wanted="hash1"
    )
    assert proof.pods_gone
    assert "of the one gone back to 0 of 3 replicas are available" in proof.shown
    assert scene.reason("Contained")[1] == Reason.ROLLED_BACK  # type: ignore[arg-type]
