"""The bundle for the Operator Lifecycle Manager (registry+v1), made of the manifests that kustomize builds.

A bundle can carry some kinds of objects only. What else belongs to an installation is the overlay ``manifests/olm``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from riskladder import __version__
from riskladder.api.base import GROUP, VERSION
from riskladder.api.kinds import KINDS, Kind
from riskladder.generate import crd
from riskladder.generate.helm.sources import Document, Sources, read_sources
from riskladder.generate.rbac import NAMESPACE
from riskladder.generate.text import HEADER, dump, dump_blocks

PACKAGE = "riskladder"
CHANNEL = "alpha"
OLDEST_KUBERNETES = "1.30.0"
SOURCE = "generate/olm.py"
CARRIED = ("PodDisruptionBudget", "Role", "RoleBinding", "Service", "ClusterRole")
"""Kinds of the base that a bundle takes as they are; ClusterRoles that are bound become permissions of the operator."""

LABELS = {
    "operators.operatorframework.io.bundle.mediatype.v1": "registry+v1",
    "operators.operatorframework.io.bundle.manifests.v1": "manifests/",
    "operators.operatorframework.io.bundle.metadata.v1": "metadata/",
    "operators.operatorframework.io.bundle.package.v1": PACKAGE,
    "operators.operatorframework.io.bundle.channels.v1": CHANNEL,
    "operators.operatorframework.io.bundle.channel.default.v1": CHANNEL,
}
EXAMPLES: tuple[Document, ...] = (
    {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "EscalationLadder",
        "metadata": {"name": "credit"},
        "spec": {
            "governs": {"selector": {"matchLabels": {"riskladder.dev/ladder": "credit"}}},
            "stakeholders": [{"role": "model-risk"}],
            "indicators": [{"name": "demographic_parity_difference"}],
            "tiers": [
                {
                    "name": "high",
                    "triggers": [{"indicator": "demographic_parity_difference", "above": 0.2}],
                    "decide": {"within": "1h", "quorum": [{"role": "model-risk"}]},
                    "containment": {"action": "ScaleToZero"},
                }
            ],
        },
    },
    {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "ModelRiskSignal",
        "metadata": {"name": "scorer-fairness"},
        "spec": {
            "ladder": "credit",
            "target": {"kind": "Deployment", "name": "scorer"},
            "source": "fairness-monitor",
            "observedAt": "2026-11-24T09:16:46Z",
            "readings": [{"indicator": "demographic_parity_difference", "value": 0.27, "sampleSize": 40211}],
        },
    },
    {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "MonitorBinding",
        "metadata": {"name": "fairness-alerts"},
        "spec": {
            "format": "Alertmanager",
            "ladder": "credit",
            "target": {"kind": "Deployment", "name": "scorer"},
            "source": "fairness-alerts",
            "serviceAccount": "fairness-alerts",
            "serviceAccountNamespace": "monitors",
            "sender": {"audienceToken": {}},
            "readings": [
                {
                    "indicator": "demographic_parity_difference",
                    "where": 'entry.labels.alertname == "DemographicParity"',
                    "as": "Value",
                }
            ],
        },
    },
    {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "EscalationDecision",
        "metadata": {"generateName": "scorer-"},
        "spec": {
            "escalation": "scorer-70539a1373",
            "action": "Acknowledge",
            "role": "model-risk",
            "rationale": "Looking into it",
        },
    },
)
"""For consoles to start from. Small: annotations of a ClusterServiceVersion are copied to every pod."""

DESCRIPTION = f"""\
Riskladder stops or rolls back a running model when its risk readings cross a threshold that your organisation has set,
proves that it is out of service, holds it there whoever writes on it, and keeps a record of it that an auditor can
check offline.

The policy is an object, the *ladder*: which readings put a model in which tier, who answers, and what happens to the
running model.

**Before you install it**, apply what a bundle cannot carry, from a checkout of the same version:

    kubectl apply --server-side -k manifests/olm

These are the namespace `{NAMESPACE}`, into which this operator has to be installed, the admission policies, without
which it counts no decision, its NetworkPolicy, and its seats of the API server.
"""


def files(root: Path, generated: Mapping[Path, str]) -> dict[Path, str]:
    """Return the files of the bundle.

    Args:
        root: The checkout. Without manifests in it, there is no bundle.
        generated: Files that are generated of the same run, which count in place of those that are there.
    """
    if not (root / "manifests" / "base" / "kustomization.yaml").is_file():
        return {}

    def read(path: str) -> str:
        return generated.get(root / path) or (root / path).read_text("utf-8")

    bundle = root / "bundle"
    sources = read_sources(read, [])
    header = HEADER.format(source=SOURCE)
    service_version = header + dump_blocks(cluster_service_version(sources))
    texts = {bundle / "manifests" / f"{PACKAGE}.clusterserviceversion.yaml": service_version}
    for kind in KINDS.values():
        definition = crd.crd(kind)
        definition["metadata"]["labels"] |= sources.labels
        texts[bundle / "manifests" / f"{GROUP}_{kind.plural}.yaml"] = header + dump_blocks(definition)
    for document in carried(sources):
        name = f"{document['metadata']['name']}.{document['kind'].lower()}.yaml"
        texts[bundle / "manifests" / name] = header + dump(document)
    texts[bundle / "metadata" / "annotations.yaml"] = header + dump({"annotations": LABELS})
    labels = "".join(f"LABEL {name}={value}\n" for name, value in LABELS.items())
    texts[bundle / "Dockerfile"] = (
        f"{header}FROM scratch\n{labels}COPY manifests /manifests/\nCOPY metadata /metadata/\n"
    )
    return texts


def carried(sources: Sources) -> list[Document]:
    """Return the objects that a bundle carries next to the operator and its kinds."""
    found = []
    bound = {d["roleRef"]["name"] for d in _base(sources) if d["kind"] == "ClusterRoleBinding"}
    for document in _base(sources):
        metadata = document["metadata"]
        if document["kind"] not in CARRIED or metadata.get("namespace", NAMESPACE) != NAMESPACE:
            continue
        if document["kind"] == "ClusterRole" and metadata["name"] in bound:
            continue
        labels = {**metadata.get("labels", {}), **sources.labels}
        found.append({**document, "metadata": {"name": metadata["name"], "labels": labels}})
    return found


def cluster_service_version(sources: Sources) -> Document:
    """Return the ClusterServiceVersion: how the operator is installed, and what it owns."""
    deployment = sources.find("Deployment", PACKAGE)
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    bound = [d["roleRef"]["name"] for d in _base(sources) if d["kind"] == "ClusterRoleBinding"]
    permissions = [
        {"serviceAccountName": account, "rules": sources.find("ClusterRole", name)["rules"]} for name in bound
    ]
    labels = {**deployment["metadata"]["labels"], **sources.labels}
    install = {
        "deployments": [{"name": PACKAGE, "label": labels, "spec": deployment["spec"]}],
        "clusterPermissions": permissions,
    }
    return {
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": f"{PACKAGE}.v{__version__}",
            "namespace": "placeholder",
            "annotations": {
                "alm-examples": json.dumps(EXAMPLES, indent=2),
                "capabilities": "Seamless Upgrades",
                "categories": "AI/Machine Learning, Monitoring, Security",
                "containerImage": image,
                "description": "Stops a model whose risk readings cross a threshold, and keeps a record of it",
                "operatorframework.io/suggested-namespace": NAMESPACE,
                "repository": "https://github.com/riskladder/riskladder",
                "support": "Riskladder",
            },
        },
        "spec": {
            "displayName": "Riskladder",
            "description": DESCRIPTION,
            "version": __version__,
            "minKubeVersion": OLDEST_KUBERNETES,
            "maturity": "alpha",
            "keywords": ["model-risk", "mlops", "governance", "machine-learning", "compliance"],
            "provider": {"name": "Riskladder"},
            "links": [{"name": "Riskladder", "url": "https://github.com/riskladder/riskladder"}],
            "installModes": [
                {"type": mode, "supported": mode == "AllNamespaces"}
                for mode in ("OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces")
            ],
            "install": {"strategy": "deployment", "spec": install},
            "customresourcedefinitions": {"owned": [_owned(kind) for kind in KINDS.values()]},
        },
    }


def _base(sources: Sources) -> list[Document]:
    return [document for source in sources.base for document in source.documents]


def _owned(kind: Kind) -> Document:
    schema = crd.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: Document = {
        "name": f"{kind.plural}.{GROUP}",
        "version": VERSION,
        "kind": kind.name,
        "displayName": _words(kind.name),
        "description": schema["description"],
    }
    for part in ("spec", "status"):
        fields = schema["properties"].get(part, {}).get("properties", {})
        if fields:
            found[f"{part}Descriptors"] = [_descriptor(name, field, part) for name, field in fields.items()]
    return found


def _descriptor(name: str, field: Mapping[str, Any], part: str) -> Document:
    found: Document = {"path": name, "displayName": _words(name[0].upper() + name[1:])}
    if "description" in field:
        found["description"] = field["description"]
    if (part, name) == ("status", "conditions"):
        found["x-descriptors"] = ["urn:alm:descriptor:io.kubernetes.conditions"]
    return found


def _words(name: str) -> str:
    """Return a name in camel case as words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
