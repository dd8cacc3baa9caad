"""What may differ between the objects of a chart and those that kustomize builds; anything else is an error."""

from __future__ import annotations

import copy
import json
from typing import Any

from riskladder import __version__
from tests import yaml_text
from tests.charts.helm import CHART, CRDS, RELEASE
from tests.cluster.install import NAMESPACE

Object = dict[str, Any]
Key = tuple[str, str, str]

ADDED_LABELS = {
    "app.kubernetes.io/instance": RELEASE,
    "app.kubernetes.io/managed-by": "Helm",
    "app.kubernetes.io/version": __version__,
}
"""Of every object, with ``helm.sh/chart``."""

KEEP = "helm.sh/resource-policy"
"""Annotation of the kinds, so that uninstalling leaves them."""

CHECKSUMS = {
    "riskladder": {"checksum/console"},
    "riskladder-console": {"checksum/url"},
    "riskladder-poll": {"checksum/endpoints"},
}
"""Annotations of pods, so that they are replaced where what they read at their start has changed."""


def key(document: Object) -> Key:
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]


def of_kustomize(documents: list[Object], namespace: str = NAMESPACE) -> dict[Key, Object]:
    """Return what a chart should render to: all but the namespace, in which Helm keeps the release itself."""
    text = json.dumps([d for d in documents if d["kind"] != "Namespace"])
    return {key(d): _normal(d) for d in json.loads(text.replace(NAMESPACE, namespace))}


def of_chart(documents: list[Object], *, console: bool = False) -> dict[Key, Object]:
    """Return what a chart rendered, without what Helm's conventions add. Fails where that is not what was added."""
    found = {}
    for document in copy.deepcopy(documents):
        metadata = document["metadata"]
        is_kind = document["kind"] == "CustomResourceDefinition"
        added = {**ADDED_LABELS, "helm.sh/chart": f"{CRDS if is_kind else CHART}-{__version__}"}
        labels = metadata["labels"]
        assert {name: labels.pop(name) for name in added} == added, key(document)
        if not labels:
            del metadata["labels"]
        annotations = metadata.get("annotations", {})
        assert annotations.pop(KEEP, "") == ("keep" if is_kind else ""), key(document)
        if not annotations:
            metadata.pop("annotations", None)
        if document["kind"] == "Deployment":
            expected = CHECKSUMS.get(metadata["name"], set()) - (set() if console else {"checksum/console"})
            assert set(document["spec"]["template"]["metadata"].pop("annotations", {})) == expected
        assert key(document) not in found, "rendered once"
        found[key(document)] = _normal(document)
    return found


def _normal(document: Object) -> Object:
    """What counts of two texts is what they say.

    The endpoints of `riskladder poll` are YAML in a string. Libraries differ in how they fold lines of YAML that are
    indented further, and CEL takes any white space for one space, as the operator does where it compares policies.
    """
    if document["kind"].endswith("AdmissionPolicy"):
        document["spec"] = _folded(document["spec"])
    if document["kind"] == "ConfigMap" and "endpoints.yaml" in document["data"]:
        document["data"]["endpoints.yaml"] = yaml_text.load(document["data"]["endpoints.yaml"])
    return document


def _folded(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, dict):
        return {name: _folded(child) for name, child in value.items()}
    return [_folded(child) for child in value] if isinstance(value, list) else value
