"""The bundle for the Operator Lifecycle Manager: what OLM's own validators say, and that nothing is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from riskladder import __version__
from riskladder.api.kinds import KINDS
from riskladder.api.validation import validate
from tests import yaml_text
from tests.charts.equal import Key, Object, key
from tests.cluster.build import ensure_programs
from tests.cluster.install import NAMESPACE, ROOT, render
from tests.cluster.versions import OPERATOR_VERIFY
from tests.conftest import progress
from tests.patience import PATIENCE

BUNDLE = ROOT / "bundle"
SERVICE_VERSION = BUNDLE / "manifests" / "riskladder.clusterserviceversion.yaml"

KINDS_OF_OLM = {
    *("ClusterServiceVersion", "CustomResourceDefinition", "Secret", "ClusterRole", "ClusterRoleBinding", "ConfigMap"),
    *("ServiceAccount", "Service", "Role", "RoleBinding", "PrometheusRule", "ServiceMonitor", "PodDisruptionBudget"),
    *("PriorityClass", "VerticalPodAutoscaler", "ConsoleYAMLSample"),
}
"""What OLM v0 and v1 take in a bundle: ``pkg/lib/bundle/supported_resources.go`` of operator-registry."""

OPERATORS_OWN = {"Escalation", "EscalationRecord", "ContainmentIndex"}
"""Kinds that nobody but the operator writes: no examples."""

MADE_BY_OLM = {
    ("Deployment", NAMESPACE, "riskladder"),
    ("ServiceAccount", NAMESPACE, "riskladder"),
    *(("ClusterRole", "", name) for name in ("riskladder", "riskladder-policies")),
    *(("ClusterRoleBinding", "", name) for name in ("riskladder", "riskladder-policies")),
}
"""Of the ClusterServiceVersion; the roles get names of OLM's."""


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest) -> Path:
    return ensure_programs(OPERATOR_VERIFY, progress(request.config)) / OPERATOR_VERIFY.names


def manifests() -> list[Object]:
    return [yaml_text.load(file.read_text("utf-8")) for file in sorted((BUNDLE / "manifests").glob("*.yaml"))]


def service_version() -> Object:
    found: Object = yaml_text.load(SERVICE_VERSION.read_text("utf-8"))
    return found


def by_key(documents: list[Object]) -> dict[Key, Object]:
    return {key(document): document for document in documents}


def installed() -> Iterator[Object]:
    """What OLM makes of a bundle in the suggested namespace, and what is applied next to it."""
    spec = service_version()["spec"]["install"]["spec"]
    for document in manifests():
        if document["kind"] != "ClusterServiceVersion":
            namespaced = document["kind"] not in ("ClusterRole", "CustomResourceDefinition")
            metadata = document["metadata"] | ({"namespace": NAMESPACE} if namespaced else {})
            yield {**document, "metadata": metadata}
    for deployment in spec["deployments"]:
        metadata = {"name": deployment["name"], "namespace": NAMESPACE, "labels": deployment["label"]}
        yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment["spec"]}
    yield from render("manifests/olm")


def complaints(program: Path, bundle: Path) -> list[str]:
    """What OLM's validators say, errors and warnings alike."""
    command = [str(program), "manifests", "--operatorhub_validate", "--object_validate", str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return [line for line in (done.stdout + done.stderr).splitlines() if "level=" in line]


def test_validators_of_olm_have_no_complaint(programs: Path) -> None:
    """But for an icon, which there is none of, and examples of kinds that only the operator writes."""
    found = complaints(programs, BUNDLE)
    assert [line for line in found if "level=warning" not in line] == []
    known = ("csv.Spec.Icon not specified", 'The \\"operatorhub\\" validator is deprecated')
    known += tuple(f"Kind={kind}: provided API should have an example annotation" for kind in OPERATORS_OWN)
    assert [line for line in found if not any(word in line for word in known)] == []
    assert len(found) == len(known)


def test_validators_of_olm_see_what_is_wrong(programs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(BUNDLE, copy)
    (copy / "manifests" / "riskladder.dev_escalations.yaml").unlink()
    document = service_version()
    document["spec"]["minKubeVersion"] = "new"
    (copy / "manifests" / SERVICE_VERSION.name).write_text(yaml.safe_dump(document))
    found = "\n".join(complaints(programs, copy))
    assert "Kind=Escalation" in found
    assert "csv.Spec.MinKubeVersion has an invalid value" in found


def test_bundle_has_only_what_olm_takes() -> None:
    found = manifests()
    assert {document["kind"] for document in found} <= KINDS_OF_OLM
    assert all("namespace" not in d["metadata"] for d in found if d["kind"] != "ClusterServiceVersion")
    assert not {"webhookdefinitions", "apiservicedefinitions"} & service_version()["spec"].keys()


def test_bundle_and_what_is_applied_next_to_it_are_the_default_overlay() -> None:
    expected, found = by_key(render()), by_key(list(installed()))
    assert expected.keys() - found.keys() == MADE_BY_OLM - {("Deployment", NAMESPACE, "riskladder")}
    assert found == {k: d for k, d in expected.items() if k in found}
    assert not by_key(render("manifests/olm")).keys() & by_key(manifests()).keys(), "each is installed once"


def test_operator_gets_the_permissions_of_its_roles_and_no_other() -> None:
    spec = service_version()["spec"]["install"]["spec"]
    assert "permissions" not in spec, "OLM would grant them in all namespaces"
    roles = {d["metadata"]["name"]: d["rules"] for d in render() if d["kind"] == "ClusterRole"}
    bound = [d["roleRef"]["name"] for d in render() if d["kind"] == "ClusterRoleBinding"]
    found = [(entry["serviceAccountName"], entry["rules"]) for entry in spec["clusterPermissions"]]
    assert sorted(found, key=str) == sorted((("riskladder", roles[name]) for name in bound), key=str)


def test_every_kind_is_owned_and_described() -> None:
    owned = {entry["kind"]: entry for entry in service_version()["spec"]["customresourcedefinitions"]["owned"]}
    assert owned.keys() == KINDS.keys()
    for kind, entry in owned.items():
        assert entry["name"] == f"{KINDS[kind].plural}.riskladder.dev"
        for part in ("spec", "status"):
            for descriptor in entry.get(f"{part}Descriptors", ()):
                assert descriptor["displayName"]
                assert descriptor.get("description"), f"{kind}.{part}.{descriptor['path']}"


def test_examples_would_be_taken_by_the_api_server() -> None:
    examples: list[dict[str, Any]] = json.loads(service_version()["metadata"]["annotations"]["alm-examples"])
    assert {kind for kind in KINDS if kind not in {example["kind"] for example in examples}} == OPERATORS_OWN
    for example in examples:
        example["metadata"]["namespace"] = "models"
        assert validate(example["kind"], example, unknown_fields=True) == []


def test_labels_of_the_image_are_the_annotations() -> None:
    annotations = yaml_text.load((BUNDLE / "metadata" / "annotations.yaml").read_text("utf-8"))["annotations"]
    lines = (BUNDLE / "Dockerfile").read_text("utf-8").splitlines()
    labels = dict(line.removeprefix("LABEL ").split("=", 1) for line in lines if line.startswith("LABEL "))
    assert labels == annotations
    assert (
        service_version()["metadata"]["name"]
        == f"{annotations['operators.operatorframework.io.bundle.package.v1']}.v{__version__}"
    )
