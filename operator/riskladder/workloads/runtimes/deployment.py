"""Deployments: their history is their ReplicaSets."""

from __future__ import annotations

from riskladder.api.foreign import number_in, time_in
from riskladder.api.resource import Resource
from riskladder.workloads.model import Revision
from riskladder.workloads.privileges import privileges
from riskladder.workloads.results import Object
from riskladder.workloads.runtimes.replicas import HASH_LABELS, Replicas, content_digest, template_digest

REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
REVISION_ANNOTATIONS = (REVISION_ANNOTATION, "rollout.argoproj.io/revision")
"""Of whatever makes ReplicaSets: Deployments, and Argo's Rollouts."""

REUSED = "deployment.kubernetes.io/revision-history"
"""Says under which numbers the same template was deployed before."""

HASH_LABEL = "pod-template-hash"
REPLICASETS = Resource("apps", "v1", "replicasets", "ReplicaSet")


class DeploymentRuntime(Replicas):
    """apps/v1 Deployment."""

    resource = Resource("apps", "v1", "deployments", "Deployment")
    history = REPLICASETS


DEPLOYMENT = DeploymentRuntime()


def read_replicaset(obj: Object) -> Revision:
    """Return the facts of a ReplicaSet as a revision of its owner."""
    metadata, spec = obj["metadata"], obj["spec"]
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    number = next((annotations[key] for key in REVISION_ANNOTATIONS if key in annotations), "0")
    return Revision(
        name=metadata["name"],
        uid=metadata["uid"],
        number=number_in(number),
        hash=next((labels[key] for key in HASH_LABELS if key in labels), ""),
        digest=template_digest(spec["template"]),
        content=content_digest(spec["template"]),
        created=time_in(metadata.get("creationTimestamp")),
        reused=REUSED in annotations,
        replicas=(obj.get("status") or {}).get("replicas", 0),
        privileges=privileges(spec["template"]),
    )
