"""The API resources that Riskladder reads or writes, and their URL paths."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from riskladder.api.base import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the API server."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """``group/version``, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def title(self) -> str:
        """``plural.group``, as ``kubectl`` and RBAC name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of the collection, one object, or one of its subresources; every part is escaped."""
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if namespace is not None:
            path += f"/namespaces/{_escaped(namespace)}"
        path += f"/{self.plural}"
        if name is not None:
            path += f"/{_escaped(name)}"
        return f"{path}/{_escaped(subresource)}" if subresource is not None else path


def _escaped(part: str) -> str:
    """One segment of a path; the names that Kubernetes allows need nothing done, and that is quicker to see."""
    return part if part.replace("-", "").replace(".", "").isalnum() and part.isascii() else quote(part, safe="")


LADDERS = Resource(GROUP, VERSION, "escalationladders", "EscalationLadder")
SIGNALS = Resource(GROUP, VERSION, "modelrisksignals", "ModelRiskSignal")
ESCALATIONS = Resource(GROUP, VERSION, "escalations", "Escalation")
DECISIONS = Resource(GROUP, VERSION, "escalationdecisions", "EscalationDecision")
RECORDS = Resource(GROUP, VERSION, "escalationrecords", "EscalationRecord")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
REPLICASETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
PODS = Resource("", "v1", "pods", "Pod")
ENDPOINTSLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
SECRETS = Resource("", "v1", "secrets", "Secret")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

SUSPENDABLE = {
    "CronJob": Resource("batch", "v1", "cronjobs", "CronJob"),
    "Job": Resource("batch", "v1", "jobs", "Job"),
    "CronWorkflow": Resource("argoproj.io", "v1alpha1", "cronworkflows", "CronWorkflow"),
}
"""What can be suspended beside a model, by kind."""

OWN = (LADDERS, SIGNALS, ESCALATIONS, DECISIONS, RECORDS)
WATCHED = (LADDERS, SIGNALS, DECISIONS)
"""What people and monitors write: followed by Kopf."""

FOLLOWED = (ESCALATIONS, DEPLOYMENTS, REPLICASETS, PODS, ENDPOINTSLICES)
"""What changes many times for every breach, mostly by our own writes: followed by informers."""

CACHED = WATCHED + FOLLOWED
"""All of which the operator keeps a picture."""
