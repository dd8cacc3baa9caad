"""Kinds known by their scale: how settings name them, what is read by the usual paths, and what is proved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from riskladder.api.resource import Resource
from riskladder.cli.main import app
from riskladder.workloads.model import History, Pod
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.results import Impossible, Write
from riskladder.workloads.runtimes.scalable import Scalable, equalities, parse
from tests.unit.builders import Document

TEXT = "example.dev/v1/scorers=Scorer"
SCORER = Scalable(parse(TEXT))


def scorer(asked: Any = 2, /, **status: Any) -> Document:
    return {
        "metadata": {"namespace": "models", "name": "scorer", "uid": "u", "resourceVersion": "7", "generation": 3},
        "spec": {"replicas": asked} if asked is not None else {},
        "status": {"replicas": 0, "selector": "app=scorer", **status},
    }


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_a_kind_is_named_by_its_resource() -> None:
    assert parse(TEXT) == Resource("example.dev", "v1", "scorers", "Scorer")
    assert Runtimes((), [TEXT]).by_kind["Scorer"].resource.title == "scorers.example.dev"
    assert "Scorer" in Runtimes((), [TEXT]).unsupported("Other")


@pytest.mark.parametrize(
    ("given_kinds", "said"),
    [
        (["scorers"], "'scorers' is not GROUP/VERSION/PLURAL=KIND, for example example.dev/v1/scorers=Scorer"),
        (["v1/pods=Pod"], "'v1/pods=Pod' is not GROUP"),
        (["example.dev/v1/scorers=scorer"], "is not GROUP/VERSION/PLURAL=KIND"),
        (["example.dev/1/scorers=Scorer"], "is not GROUP/VERSION/PLURAL=KIND"),
        (["example.dev/v1/Scorers=Scorer"], "is not GROUP/VERSION/PLURAL=KIND"),
        (["apps/v1/deployments=Deployment"], "Deployment is dealt with already, by every operator"),
        (["other.dev/v1/things=StatefulSet"], "StatefulSet is dealt with already, by every operator"),
        (["other.dev/v1/deployments=Thing"], "deployments is dealt with already, by every operator"),
        (["ray.io/v1/rayclusters=RayCluster"], "RayCluster is dealt with already, by --enable ray"),
        ([TEXT, "other.dev/v1/others=Scorer"], f"Scorer is dealt with already, by {TEXT}"),
        ([TEXT, "example.dev/v2/scorers=Other"], f"scorers is dealt with already, by {TEXT}"),
        (["apps/v1/replicasets=ReplicaSet"], "replicasets.apps are no workloads that serve"),
        (["riskladder.dev/v1alpha1/escalations=Escalation"], "are no workloads that serve"),
    ],
)
def test_what_cannot_be_dealt_with_is_refused_at_start(given_kinds: list[str], said: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its words are compared below
        Runtimes((), given_kinds)
    assert said in str(refused.value)
    found = CliRunner().invoke(app, ["operator", *(f"--scalable={kind}" for kind in given_kinds)])
    assert (found.exit_code, found.output) == (2, f"error: --scalable: {refused.value}\n")
    by_environment = CliRunner().invoke(app, ["operator"], env={"RISKLADDER_SCALABLE": " ".join(given_kinds)})
    assert (by_environment.exit_code, by_environment.output) == (found.exit_code, found.output)


# --- Facts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "labels"),
    [
        ("app=scorer", {"app": "scorer"}),
        ("app==scorer, example.dev/part = model", {"app": "scorer", "example.dev/part": "model"}),
        ("app=", {"app": ""}),
        ("app=a,app=a", {"app": "a"}),
        ("app=a,app=b", None),
        ("", None),
        ("app", None),
        ("!app", None),
        ("app!=scorer", None),
        ("app in (scorer)", None),
        ("app=scorer,tier notin (a,b)", None),
    ],
)
def test_selector_is_read_where_it_is_equalities(selector: str, labels: dict[str, str] | None) -> None:
    assert equalities(selector) == labels


def test_read_by_the_usual_paths() -> None:
    facts = SCORER.read(scorer(3, replicas=2, observedGeneration=2))
    assert (facts.replicas, facts.total_replicas, facts.pod_labels) == (3, 2, {"app": "scorer"})
    assert (facts.generation, facts.observed_generation) == (3, 2)
    assert SCORER.read(scorer()).observed_generation == 3, "one that does not say is believed by its pods"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=3), st.data())
def test_any_status_can_be_read(value: Any, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(["replicas", "selector", "observedGeneration"]))
    assert SCORER.read(scorer(2, **{field: value})).replicas == 2


@pytest.mark.parametrize("replicas", [None, "2", True, -1, 1.5])
def test_without_a_number_at_the_usual_path_it_cannot_be_stopped(replicas: Any) -> None:
    facts = SCORER.read(scorer(replicas))
    assert facts.replicas == 1
    found = SCORER.stop(facts)
    assert isinstance(found, Impossible)
    assert "no spec.replicas" in found.why


# --- Writes and proof -------------------------------------------------------------------------------------------------


def test_both_ways_are_a_compare_and_swap_on_the_scale() -> None:
    def tests(spec: Document, replicas: int) -> Write:
        return Write(
            [
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "test", "path": "/spec", "value": spec},
                {"op": "add", "path": "/spec/replicas", "value": replicas},
            ],
            "scale",
        )

    assert SCORER.stop(SCORER.read(scorer(2))) == tests({"replicas": 2}, 0)
    assert SCORER.restore(SCORER.read(scorer(0)), 2, {}) == tests({}, 2)


POD = Pod("a", "", True, labels={"app": "scorer"})


@pytest.mark.parametrize(
    ("target", "applied", "empty", "gone"),
    [
        (scorer(2), False, False, False),
        (scorer(0), True, True, True),
        (scorer(0, replicas=1), True, True, False),
        (scorer(0, observedGeneration=2), True, True, False),
        (scorer(0, selector="app in (scorer)"), True, False, False),
        (scorer(0, selector=""), True, False, False),
        (scorer(0, selector=None), True, False, False),
    ],
)
def test_zero_is_proved_by_pods_or_not_at_all(target: Document, applied: bool, empty: bool, gone: bool) -> None:
    proof = SCORER.prove_stopped(SCORER.read(target))
    assert (proof.applied, proof.endpoints_empty, proof.pods_gone) == (applied, empty, gone)
    assert ("nothing can be proved" in proof.left) == (SCORER.read(target).pod_labels is None)
    held = SCORER.prove_stopped(replace(SCORER.read(target), pods=(POD,), ready_endpoints=1))
    assert (held.endpoints_empty, held.pods_gone, held.clear) == (False, False, False)


def test_it_has_no_rollback() -> None:
    found = SCORER.rollback_target(SCORER.read(scorer()), quarantined="x", history=History())
    assert isinstance(found, Impossible)
    assert "known by its scale alone" in found.why
