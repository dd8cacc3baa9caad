"""Health checks for Argo CD in every state, the ConfigMap that carries them, and how large the kinds are."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from riskladder.api.kinds import KINDS
from riskladder.api.validation import validate
from tests import yaml_text
from tests.cluster.install import ROOT, kubectl, render
from tests.gitops.argo import HEALTH, KEY, health, script
from tests.gitops.states import NAMES, STATES, State
from tests.unit.builders import Scene, at, signal

LIMIT = 262144
"""Bytes that the annotations of an object may have, its last-applied-configuration included."""

each_state = pytest.mark.parametrize("state", STATES, ids=NAMES)


@each_state
def test_state_is_an_object_that_the_api_server_would_take(state: State) -> None:
    assert validate(state.document["kind"], state.document) == []
    status = KINDS[state.document["kind"]].status
    if "status" in state.document and status is not None:
        status.model_validate(state.document["status"])


@each_state
def test_argocd_health(state: State) -> None:
    found, message = health(state.document)
    assert found == state.argo
    assert state.says in message


@pytest.mark.parametrize("kind", KINDS)
def test_argocd_health_of_an_empty_status(kind: str) -> None:
    state = next(s for s in STATES if s.document["kind"] == kind)
    expected = "Healthy" if KINDS[kind].status is None else "Progressing"
    for status in ({}, {"conditions": []}, None):
        found, _ = health({**state.document, "status": status})
        assert found == expected


def test_health_check_of_every_kind_is_in_the_configmap() -> None:
    [configmap] = render("manifests/argocd/server-side")
    assert configmap["metadata"] == {"name": "argocd-cm", "namespace": "argocd"}
    assert configmap["data"] == {KEY + kind: script(kind) for kind in KINDS}
    assert {file.stem for file in HEALTH.glob("*.lua")} == set(KINDS)
    for key in configmap["data"]:
        assert re.fullmatch(r"[-._a-zA-Z0-9]+", key), "a key of a ConfigMap"


def test_kustomize_component_adds_to_the_configmap_of_argocd(tmp_path: Path) -> None:
    labels = {"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"}
    theirs: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "labels": labels},
        "data": {"url": "https://argocd.example"},
    }
    (tmp_path / "argocd-cm.yaml").write_text(yaml.safe_dump(theirs))
    kustomization = {
        "namespace": "argocd",
        "resources": ["argocd-cm.yaml"],
        "components": [os.path.relpath(HEALTH, tmp_path.resolve())],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    [built] = yaml_text.load_all(kubectl(None, "kustomize", str(tmp_path)))
    assert (built["metadata"]["name"], built["metadata"]["labels"]) == ("argocd-cm", labels)
    assert set(built["data"]) == {"url", *(KEY + kind for kind in KINDS)}


def test_every_kind_fits_into_the_annotation_of_client_side_apply() -> None:
    sizes = {}
    for file in sorted((ROOT / "crds").glob("riskladder.dev_*.yaml")):
        document = yaml_text.load(file.read_text("utf-8"))
        sizes[document["spec"]["names"]["kind"]] = len(json.dumps(document, separators=(",", ":")).encode())
    assert set(sizes) == set(KINDS)
    assert max(sizes.values()) < LIMIT / 2, sizes
    page = (ROOT / "docs" / "gitops.md").read_text("utf-8")
    named = {kind: 1000 * int(size) for kind, size in re.findall(r"^\| `(\w+)` \| (\d+) kB \|$", page, re.MULTILINE)}
    assert named == {kind: pytest.approx(size, rel=0.15, abs=1000) for kind, size in sizes.items()}


def test_policies_get_an_earlier_wave() -> None:
    """The example of the page, in a directory next to the manifests."""
    page = (ROOT / "docs" / "gitops.md").read_text("utf-8")
    [example] = re.findall(r"^```yaml\n(# mine/kustomization.yaml\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    with tempfile.TemporaryDirectory() as directory:
        overlay = os.path.relpath(ROOT / "manifests/overlays/default", Path(directory).resolve())
        text = example.replace("../manifests/overlays/default", overlay)
        (Path(directory) / "kustomization.yaml").write_text(text)
        built = list(yaml_text.load_all(kubectl(None, "kustomize", directory)))
    waves = {o["kind"]: o["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave") for o in built}
    policies = {kind for kind in waves if "AdmissionPolicy" in kind}
    assert len(policies) == 4
    assert {kind for kind, wave in waves.items() if wave == "-1"} == policies
    assert {kind for kind, wave in waves.items() if wave == "-2"} == {"CustomResourceDefinition"}


def test_stalled_ends_when_an_escalation_closes() -> None:
    """Otherwise kstatus, which knows that word, would take it for failed although it is over."""
    scene = Scene([signal(drift=0.3)])
    scene.run()
    scene.now = at(40)
    scene.run()
    for minutes in (50, 150):
        scene.now = at(minutes)
        scene.signals = [signal(at=scene.now, drift=0.01, status=scene.signals[0].status)]
        scene.run()
    status = {c.type: c.status for c in scene.escalation.status.conditions}
    assert (status["Closed"], status["Stalled"]) == ("True", "False")
