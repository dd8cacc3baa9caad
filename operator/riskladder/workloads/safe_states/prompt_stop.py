"""End the pods of a stopped model soon, and not after the grace period that they ask for themselves.

The same for those of an isolated model whose open connections are to end: others take their place, isolated.

Replicas at zero stop new pods; those that run go on answering while they terminate, as long as their own
``terminationGracePeriodSeconds`` allows, and a StatefulSet ends one after the other. So each is deleted by name with
a short grace period, at the same time as the write that stops the model: a deletion that comes after that of its
controller shortens nothing with some container runtimes (containerd 1.6), and one without a grace period makes the API
server forget a pod that still answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from riskladder.api.resource import Resource
from riskladder.workloads.grant import Component, Grant
from riskladder.workloads.model import Pod
from riskladder.workloads.results import ObjectWrite

PODS = Resource("", "v1", "pods", "Pod")

PROMPT_STOP = Component(
    "prompt-stop",
    (
        Grant(
            PODS.group,
            (PODS.plural,),
            ("delete",),
            "ScaleToZero: ends the pods of the model that is being stopped within containment.grace, each by name and "
            "uid, and not after the grace period that they ask for themselves. Isolate with connections: Close: ends "
            "those from before the NetworkPolicy, so that their open connections end",
        ),
    ),
    "Pods of a stopped model end within containment.grace, and connections: Close",
)


def ends(pods: Iterable[Pod], grace: int | None) -> Iterator[ObjectWrite]:
    """Yield the deletion of each pod.

    Args:
        pods: As they were seen.
        grace: Seconds until a pod that has not ended is killed; the kubelet takes 2 at least. ``None``: as many as the
            pod asks for itself.
    """
    for pod in pods:
        if pod.uid:
            body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.uid}}
            if grace is not None:
                body["gracePeriodSeconds"] = grace
            yield ObjectWrite(PODS, pod.name, "delete", body)
