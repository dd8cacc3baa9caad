"""The API resources that Riskladder reads or writes, and their URL paths."""

from __future__ import annotations

from riskladder.api.base import GROUP, VERSION
from riskladder.api.resource import Resource as Resource
from riskladder.workloads.companions import keda, suspend
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.runtimes import deployment, statefulset
from riskladder.workloads.safe_states.prompt_stop import PODS as PODS

LADDERS = Resource(GROUP, VERSION, "escalationladders", "EscalationLadder")
SIGNALS = Resource(GROUP, VERSION, "modelrisksignals", "ModelRiskSignal")
ESCALATIONS = Resource(GROUP, VERSION, "escalations", "Escalation")
DECISIONS = Resource(GROUP, VERSION, "escalationdecisions", "EscalationDecision")
RECORDS = Resource(GROUP, VERSION, "escalationrecords", "EscalationRecord")
INDEXES = Resource(GROUP, VERSION, "containmentindexes", "ContainmentIndex")
BINDINGS = Resource(GROUP, VERSION, "monitorbindings", "MonitorBinding")
DEPLOYMENTS = deployment.DEPLOYMENT.resource
REPLICASETS = deployment.REPLICASETS
CONTROLLERREVISIONS = statefulset.CONTROLLERREVISIONS
ENDPOINTSLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
SECRETS = Resource("", "v1", "secrets", "Secret")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
NODE_LEASES = "kube-node-lease"
"""The namespace in which each kubelet renews the Lease of its node, which has the name of the node."""

SUSPENDABLE = {resource.kind: resource for resource in (*suspend.SWITCHED, keda.SCALEDOBJECTS)}
"""Companion workloads that can be suspended, by kind."""

OWN = (LADDERS, SIGNALS, ESCALATIONS, DECISIONS, RECORDS, INDEXES)
WATCHED = (LADDERS, SIGNALS, DECISIONS)
"""What people and monitors write: followed by Kopf."""


def followed(runtimes: Runtimes) -> tuple[Resource, ...]:
    """Return what changes many times for every breach, mostly by our own writes: followed by informers."""
    return (ESCALATIONS, *runtimes.followed, PODS, ENDPOINTSLICES)


CACHED = WATCHED + followed(Runtimes())
"""All of which an operator keeps a picture that has nothing more enabled."""
