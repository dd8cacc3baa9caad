"""End the pods of a stopped model soon, and not after the grace period that they ask for themselves.

Replicas at zero stop new pods; those that run go on answering while they terminate, as long as their own
``terminationGracePeriodSeconds`` allows, and a StatefulSet ends one after the other. So each is deleted by name with
a short grace period, at the same time as the write that stops the model: a deletion that comes after that of its
controller shortens nothing with some container runtimes (containerd 1.6), and one without a grace period makes the API
server forget a pod that still answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from riskladder.api.resource import Resource
from riskladder.workloads.grant import Component, Grant
from riskladder.workloads.model import Workload
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
            "uid, and not after the grace period that they ask for themselves",
        ),
    ),
    "Pods of a stopped model end within containment.grace",
)


def ends(workload: Workload, grace: int) -> Iterator[ObjectWrite]:
    """Yield the deletion of each pod that may still answer.

    Args:
        workload: As it was seen, before the stop.
        grace: Seconds until a pod that has not ended is killed; the kubelet takes 2 at least.
    """
    for pod in workload.active_pods():
        if pod.uid:
            body: dict[str, Any] = {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "gracePeriodSeconds": grace,
                "preconditions": {"uid": pod.uid},
            }
            yield ObjectWrite(PODS, pod.name, "delete", body)
