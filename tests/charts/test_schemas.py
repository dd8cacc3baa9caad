"""Everything that is installed, read by kubeconform with the schemas of every promised version of Kubernetes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from riskladder.api.base import GROUP
from tests import yaml_text
from tests.charts.equal import Object
from tests.charts.helm import Helm
from tests.charts.schemas import VERSIONS, write_schemas
from tests.charts.test_bundle import installed
from tests.charts.test_equal import EVERY, values_of
from tests.cluster.build import ensure_programs
from tests.cluster.install import ROOT, render
from tests.cluster.versions import KUBECONFORM
from tests.conftest import progress
from tests.patience import PATIENCE

OF_PROMETHEUS_OPERATOR = ("PrometheusRule", "ServiceMonitor")
"""Kinds of another project, which the component `monitoring` has."""

IDENTITY_SINCE = (1, 36)


@pytest.fixture(scope="module")
def kubeconform(request: pytest.FixtureRequest) -> Path:
    return ensure_programs(KUBECONFORM, progress(request.config)) / KUBECONFORM.names


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("schemas")
    write_schemas(directory)
    return directory


def problems(kubeconform: Path, schemas: Path, version: str, documents: list[Object]) -> list[str]:
    """Read documents, all of which must have a schema; what is wrong with them."""
    template = f"{schemas}/{{{{.NormalizedKubernetesVersion}}}}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    done = subprocess.run(
        [
            kubeconform,
            f"-skip={','.join(OF_PROMETHEUS_OPERATOR)}",
            "-strict",
            "-summary",
            "-output=json",
            f"-kubernetes-version={version}",
            "-schema-location",
            template,
            "-",
        ],
        input=yaml.safe_dump_all(documents),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["summary"]["skipped"] == len([d for d in documents if d["kind"] in OF_PROMETHEUS_OPERATOR])
    assert sum(answer["summary"].values()) == len(documents)
    return [f"{found['kind']} {found['name']}: {found['msg']}" for found in answer["resources"]]


def knows_identity(version: str) -> bool:
    major, minor, _ = map(int, version.split("."))
    return (major, minor) >= IDENTITY_SINCE


def without_identity(documents: list[Object]) -> list[Object]:
    return [document for document in documents if not document["kind"].startswith("MutatingAdmissionPolicy")]


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_fits_the_schemas(helm4: Helm, chart: Path, kubeconform: Path, schemas: Path, version: str) -> None:
    overlay = "default" if knows_identity(version) else "without-mutating-admission"
    documents = render(f"manifests/overlays/{overlay}", EVERY)
    documents += helm4.render(chart, values_of(tuple(EVERY)), f"--kube-version={version}")
    bundle = list(installed())
    documents += bundle if knows_identity(version) else without_identity(bundle)
    assert problems(kubeconform, schemas, version, documents) == []


def test_examples_fit_the_schemas_of_our_kinds(kubeconform: Path, schemas: Path) -> None:
    files = [*(ROOT / "examples").rglob("*.yaml"), *(ROOT / "docs" / "examples").rglob("*.yaml")]
    every = [document for file in files for document in yaml_text.load_all(file.read_text("utf-8")) if document]
    documents = [document for document in every if str(document.get("apiVersion", "")).startswith(f"{GROUP}/")]
    assert len(documents) > 5
    assert problems(kubeconform, schemas, VERSIONS[-1], documents) == []


def test_what_is_wrong_is_found(kubeconform: Path, schemas: Path) -> None:
    deployment = next(d for d in render() if d["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["resource"] = {}
    [found] = problems(kubeconform, schemas, VERSIONS[0], [deployment])
    assert "additional properties 'resource' not allowed" in found
    identity = [d for d in render() if d["kind"] == "MutatingAdmissionPolicy"]
    [found] = problems(kubeconform, schemas, "1.35.4", identity)
    assert "could not find schema" in found
