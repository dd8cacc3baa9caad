"""Isolate: a NetworkPolicy of the operator's own turns away new connections to the pods of a model, and from them.

Source: networking.k8s.io/v1 NetworkPolicy. Policies add up: what one of them allows, no other takes away. A policy that
selects pods and has no rules for a direction allows nothing in that direction. Whether the network plugin of a cluster
enforces them is not to be seen through the API, nor what becomes of connections that are open: some plugins let them go
on. They end for certain where the pods from before the policy end; those that take their place come up isolated.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from riskladder.api.hold import Hold, write_hold
from riskladder.api.intent import NetworkTargetRef, SavedField
from riskladder.api.labels import (
    ANNOTATION_CONTAINMENT,
    FIELD_MANAGER,
    LABEL_ESCALATION,
    LABEL_LADDER,
)
from riskladder.api.text import count
from riskladder.workloads.grant import Component, Grant
from riskladder.workloads.holding import hold_labels
from riskladder.workloads.model import Pod, Workload
from riskladder.workloads.network import NETWORKPOLICIES, NetworkObject, NetworkPath, selects, title
from riskladder.workloads.results import Impossible, Object, ObjectWrite, Verification
from riskladder.workloads.runtimes.replicas import last_writer
from riskladder.workloads.safe_states.network_path import Conflict, NotReady, Planned, held, labels_of, reach, seen
from riskladder.workloads.safe_states.words import OPEN_ONES_ENDED, OPEN_ONES_GO_ON

BOTH = ("Ingress", "Egress")

ISOLATE = Component(
    "isolate",
    (
        Grant(
            NETWORKPOLICIES.group,
            (NETWORKPOLICIES.plural,),
            ("get", "list", "watch", "create", "patch", "delete"),
            "Isolate: makes the NetworkPolicy that lets nothing in or out, re-applies it, deletes it after a Resume, "
            "and sees those of others, since they add up",
        ),
    ),
    "Action Isolate by a NetworkPolicy",
)


def policy_name(escalation: str) -> str:
    """Name of the policy: the same for everyone who would make it."""
    return f"riskladder-{escalation}"


def read_policy(obj: Object) -> NetworkObject:
    """Return the facts of a NetworkPolicy."""
    metadata = obj["metadata"]
    # Fields have several owners, and times are whole seconds: who else wrote it has changed it.
    others = [e for e in metadata.get("managedFields") or () if e.get("manager") != FIELD_MANAGER]
    by = last_writer({"managedFields": others})[0], last_writer(metadata)[1]
    return NetworkObject.read(NETWORKPOLICIES.kind, obj, obj.get("spec") or {}, by)


def pod_selector(workload: Workload) -> Mapping[str, Any] | None:
    """Return the selector of its pods; never one that selects everything."""
    if workload.selector and (workload.selector.get("matchLabels") or workload.selector.get("matchExpressions")):
        return workload.selector
    return {"matchLabels": dict(workload.pod_labels)} if workload.pod_labels else None


def choose(workload: Workload, escalation: str) -> Planned | Impossible:
    """Return the policy that isolates its pods, or why none can."""
    network_path = reach(workload, NETWORKPOLICIES.kind)
    if isinstance(network_path, Impossible):
        return network_path
    target_ref = NetworkTargetRef(kind=NETWORKPOLICIES.kind, name=policy_name(escalation))
    if pod_selector(workload) is None:
        return Impossible(f"the pods of the {workload.kind} cannot be recognized by labels")
    found = seen(workload, target_ref)
    if found is not None and LABEL_ESCALATION not in found.labels:
        return Impossible(f"there is a NetworkPolicy {target_ref.name} already, of somebody else")
    if others := allowing(workload, network_path, target_ref.name):
        return Impossible(f"{others}: policies add up")
    saved = SavedField(path="/spec", object=title(target_ref), value=None)
    return Planned(target_ref, saved, "turn away new connections to its pods and from them")


def allowing(workload: Workload, network_path: NetworkPath, own: str) -> str:
    """Return which other policies let something in to its pods, or out; nothing where none does."""
    labels = list(labels_of(workload))
    found = []
    for policy in network_path.of(NETWORKPOLICIES.kind):
        spec = policy.content
        types = spec.get("policyTypes") or BOTH
        open_ways = [way for way in BOTH if way in types and spec.get(way.lower())]
        selector = spec.get("podSelector") or {}
        if policy.name != own and open_ways and any(selects(selector, of) for of in labels):
            found.append(f"NetworkPolicy {policy.name} allows {' and '.join(way.lower() for way in open_ways)}")
    return ", ".join(sorted(found))


def in_place(workload: Workload, found: NetworkObject | None) -> bool:
    """Return whether the policy is there, and as it was made."""
    if found is None:
        return False
    spec = found.content
    is_closed = set(spec.get("policyTypes") or ()) == set(BOTH) and not spec.get("ingress") and not spec.get("egress")
    return is_closed and spec.get("podSelector") == pod_selector(workload)


def isolate(workload: Workload, target_ref: NetworkTargetRef, hold: Hold, lock: str) -> ObjectWrite | Impossible:
    """Return the write that makes the policy, or makes it again what it was.

    The policy has no owner: it is made before the Escalation, and who deletes that does not end the isolation.

    Args:
        workload: Whose pods are isolated.
        target_ref: Names the policy.
        hold: What the policy is to carry.
        lock: The action that the lock is to hold it to; empty for no lock.
    """
    network_path, selector = reach(workload, target_ref.kind), pod_selector(workload)
    if isinstance(network_path, Impossible):
        return network_path
    if selector is None:
        return Impossible(f"the pods of the {workload.kind} cannot be recognized by labels")
    spec = {"podSelector": selector, "policyTypes": list(BOTH)}
    found = seen(workload, target_ref)
    if found is None:
        labels = {
            LABEL_LADDER: hold.ladder.name,
            LABEL_ESCALATION: hold.escalation,
            **hold_labels(hold, lock),
        }
        metadata = {
            "name": target_ref.name,
            "namespace": workload.namespace,
            "labels": labels,
            "annotations": {ANNOTATION_CONTAINMENT: write_hold(hold.model_copy(update={"uid": ""}))},
        }
        kind = {"apiVersion": NETWORKPOLICIES.api_version, "kind": NETWORKPOLICIES.kind}
        return ObjectWrite(NETWORKPOLICIES, target_ref.name, "create", {**kind, "metadata": metadata, "spec": spec})
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": found.uid},
        {"op": "test", "path": "/spec", "value": found.content},
        {"op": "replace", "path": "/spec", "value": spec},
    ]
    return held(ObjectWrite(NETWORKPOLICIES, target_ref.name, "patch", patch), found, hold, lock)


def from_before(workload: Workload, target_ref: NetworkTargetRef) -> tuple[Pod, ...]:
    """Return the pods that may have connections from before the policy, which came before it or in the same second."""
    found = seen(workload, target_ref)
    at = found.created if found is not None else None
    return tuple(pod for pod in workload.active_pods() if is_from_before(pod, at))


def is_from_before(pod: Pod, at: datetime | None) -> bool:
    """Return whether a pod was made no later than a policy, by the API server's clock, as far as that is known."""
    return at is None or pod.created is None or pod.created <= at


def prove(workload: Workload, target_ref: NetworkTargetRef, *, close: bool = False) -> Verification:
    """Verify that the policy is in place, and no other one allows anything. The pods keep running.

    Args:
        workload: As it is now.
        target_ref: Names the policy.
        close: Whether open connections are to end: no pod from before the policy is left then.
    """
    network_path = reach(workload, target_ref.kind)
    if isinstance(network_path, Impossible):
        return Verification(False, False, False, False, network_path.why)
    applied = in_place(workload, seen(workload, target_ref))
    others = allowing(workload, network_path, target_ref.name)
    isolated = applied and not others
    left = others or ("" if applied else f"NetworkPolicy {target_ref.name} is not in place")
    shown = "new connections are turned away, as no NetworkPolicy of the namespace allows its pods anything"
    if not close:
        return Verification(applied, isolated, isolated, isolated, left, f"{shown}; {OPEN_ONES_GO_ON}")
    old = len(from_before(workload, target_ref))
    if isolated and old:
        pods = count(old, "pod")
        left = f"{pods} from before NetworkPolicy {target_ref.name}, and the connections that are open to them"
    ended = isolated and not old
    return Verification(applied, isolated, ended, ended, left, f"{shown}; {OPEN_ONES_ENDED}")


def restore(workload: Workload, target_ref: NetworkTargetRef) -> ObjectWrite | Conflict | NotReady | None:
    """Return the deletion of the policy; nothing where it is gone."""
    network_path, found = reach(workload, target_ref.kind), seen(workload, target_ref)
    if isinstance(network_path, Impossible):
        return NotReady(f"{title(target_ref)}: {network_path.why}")
    if found is None:
        return None
    if LABEL_ESCALATION not in found.labels or not in_place(workload, found):
        by = found.set_by or "somebody"
        return Conflict(
            f"NetworkPolicy {target_ref.name} was changed by {by} while the model was contained: it stays as it is"
        )
    preconditions = {"uid": found.uid, "resourceVersion": found.resource_version}
    return ObjectWrite(NETWORKPOLICIES, target_ref.name, "delete", {"preconditions": preconditions})
