"""The chart renders to what kustomize builds, object by object, for every overlay and every component."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from riskladder.api.kinds import KINDS
from tests.charts.equal import of_chart, of_kustomize
from tests.charts.helm import Helm
from tests.cluster.install import ROOT, render

OVERLAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "development": {
        "image": {"tag": "dev", "pullPolicy": "IfNotPresent"},
        "operator": {"replicas": 1, "extraArgs": ["--log-format=text", "--log-level=DEBUG"]},
    },
    "namespaced": {"watchNamespaces": ["models"]},
    "without-mutating-admission": {"policies": {"identity": "never"}},
}
"""Every overlay, and the values that say the same."""

COMPONENTS = sorted(path.parent.name for path in (ROOT / "manifests/components").glob("*/kustomization.yaml"))
NEEDS = {"console-impersonation": ("console",)}
"""Components that patch what another one installs."""

OWN_OBJECTS = ("console", "console-impersonation", "ingest", "poll")
EVERY = sorted(COMPONENTS, key=lambda name: (name in OWN_OBJECTS, name))
KUBERNETES = "--kube-version=1.36.3"


def values_of(components: tuple[str, ...]) -> dict[str, Any]:
    return {"components": dict.fromkeys(components, True)}


def test_every_overlay_has_its_values() -> None:
    assert {path.parent.name for path in (ROOT / "manifests/overlays").glob("*/kustomization.yaml")} == set(OVERLAYS)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay(helm: Helm, chart: Path, overlay: str) -> None:
    found = of_chart(helm.render(chart, OVERLAYS[overlay], KUBERNETES))
    assert found == of_kustomize(render(f"manifests/overlays/{overlay}"))


@pytest.mark.parametrize("component", COMPONENTS)
def test_component(helm4: Helm, chart: Path, component: str) -> None:
    components = (*NEEDS.get(component, ()), component)
    found = of_chart(helm4.render(chart, values_of(components), KUBERNETES), console="console" in components)
    assert found == of_kustomize(render(components=components))


def test_all_components_confined_to_a_namespace(helm: Helm, chart: Path) -> None:
    values = values_of(tuple(EVERY)) | OVERLAYS["namespaced"]
    found = of_chart(helm.render(chart, values, KUBERNETES), console=True)
    assert found == of_kustomize(render("manifests/overlays/namespaced", EVERY))


@pytest.mark.parametrize("namespace", ["risk", "1234"])
def test_another_namespace(helm4: Helm, chart: Path, namespace: str) -> None:
    """The policies name the operator by it. One of digits only is still text."""
    found = of_chart(helm4.render(chart, values_of(tuple(EVERY)), KUBERNETES, namespace=namespace), console=True)
    assert found == of_kustomize(render(components=EVERY), namespace)


def test_chart_of_the_kinds(helm: Helm, crds_chart: Path) -> None:
    expected = {k: d for k, d in of_kustomize(render()).items() if d["kind"] == "CustomResourceDefinition"}
    assert of_chart(helm.render(crds_chart, {}, KUBERNETES)) == expected
    assert len(expected) == len(KINDS)
