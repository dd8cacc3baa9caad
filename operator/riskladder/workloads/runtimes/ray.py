"""Ray clusters and Ray Serve on KubeRay: each has a switch, ``spec.suspend``.

Source of the mechanics: https://github.com/ray-project/kuberay, ray-operator v1.5.0 to v1.7.0.

- ``apis/ray/v1/raycluster_types.go``: a suspended RayCluster has its head and worker pods deleted. Its pods have the
  label ``ray.io/cluster`` with its name (``controllers/ray/common/pod.go``), which a pod template cannot override.
- ``apis/ray/v1/rayservice_types.go``: a RayService has ``spec.suspend`` from v1.7.0 on, and then all its RayClusters
  and Services are deleted. Before, the API server drops the field. No label of its pods names it: they belong to the
  RayClusters that it controls, several of them during an upgrade.
- ``controllers/ray/rayservice_controller.go``: ``rayClusterConfig.suspend`` is no way out. Before v1.7.0 a change of it
  makes a second RayCluster, next to the first one which goes on serving; from then on it counts at creation only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, ClassVar

from riskladder.api.resource import Resource
from riskladder.api.text import count
from riskladder.workloads.grant import Grant
from riskladder.workloads.model import Image, Revision, Workload
from riskladder.workloads.results import Impossible, JsonPatch, Object, Verification, Write
from riskladder.workloads.runtimes.replicas import NoRollback, Replicas, declared_images, last_writer, prove_gone

RAYCLUSTERS = Resource("ray.io", "v1", "rayclusters", "RayCluster")
RAYSERVICES = Resource("ray.io", "v1", "rayservices", "RayService")
COMPONENT = "ray"

CLUSTER_LABEL = "ray.io/cluster"
"""On every pod of a RayCluster: its name."""

SWITCH = "/spec/suspend"


class Suspendable(NoRollback, Replicas):
    """A kind of ray.io with ``spec.suspend``, and no place that keeps an earlier spec."""

    component = COMPONENT
    is_switch = True
    level = "(object.spec.?suspend.orValue(false) ? 0 : 1)"
    no_history = "no earlier spec of a {kind} is kept anywhere, so there is none to go back to"
    suspended_type: ClassVar[str]
    """The condition that is True once it is suspended."""

    def read(self, obj: Object) -> Workload:
        """Return the facts: 1 replica while it runs, 0 while it is suspended.

        A status that says that it is suspended is as good as an observed generation, which KubeRay does not write for
        its own sake (``controllers/ray/utils/consistency.go``).
        """
        metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        stated = spec.get("suspend")
        base = super().read(obj)
        switched, configured = last_writer(metadata, "f:suspend"), self.configured_by(metadata)
        return replace(
            base,
            observed_generation=base.generation if self._is_suspended(status) else base.observed_generation,
            replicas=0 if stated else 1,
            updated_replicas=0,
            total_replicas=0,
            paused=False,
            digest=_digest(spec),
            replicas_set_by=switched[0],
            replicas_set_at=switched[1],
            template_set_by=configured[0],
            template_set_at=configured[1],
            declared_images=tuple(dict.fromkeys(_images(self.cluster_spec(spec)))),
            fields={SWITCH: None if stated is None else json.dumps(stated)},
        )

    def cluster_spec(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spec of its RayCluster."""
        return spec

    def configured_by(self, metadata: Mapping[str, Any]) -> tuple[str, str]:
        """Return who last wrote what it runs, and when."""
        return last_writer(metadata, "f:headGroupSpec")

    def _is_suspended(self, status: Mapping[str, Any]) -> bool:
        return status.get("state") == "suspended" or any(
            c.get("type") == self.suspended_type and c.get("status") == "True" for c in status.get("conditions") or ()
        )

    def stop(self, workload: Workload) -> Write | Impossible:
        """Turn the switch on, only if this is still the object and the switch as it was seen."""
        return Write([*_as_seen(workload), {"op": "add", "path": SWITCH, "value": True}])

    def stopping(self, workload: Workload) -> str:
        """Return what ``stop`` does, for people."""
        return "set spec.suspend to true"

    def restore(self, workload: Workload, replicas: int, fields: Mapping[str, str | None]) -> Write:
        """Turn the switch off or remove it, as it was."""
        seen, patch = workload.fields.get(SWITCH), _as_seen(workload)
        if fields.get(SWITCH, "false") is not None:
            patch.append({"op": "add", "path": SWITCH, "value": False})
        elif seen is not None:
            patch.append({"op": "remove", "path": SWITCH})
        return Write(patch)


class RayClusterRuntime(Suspendable):
    """ray.io/v1 RayCluster."""

    resource = RAYCLUSTERS
    by_labels = True
    suspended_type = "RayClusterSuspended"
    permissions = (
        Grant("ray.io", ("rayclusters",), ("get", "list", "watch"), "the watchers: the targets, and what serves them"),
        Grant("ray.io", ("rayclusters",), ("patch",), "containment: spec.suspend, and back"),
    )

    def read(self, obj: Object) -> Workload:
        """Return the facts; its pods are recognized by their label."""
        return replace(super().read(obj), pod_labels={CLUSTER_LABEL: obj["metadata"]["name"]})

    def prove_stopped(self, workload: Workload) -> Verification:
        """Verify that it is suspended, nothing serves, and no pod is left."""
        return prove_gone(workload, "spec.suspend is not true" if workload.replicas else "")


class RayServiceRuntime(Suspendable):
    """ray.io/v1 RayService: what it controls are RayClusters, whose pods are its pods."""

    resource = RAYSERVICES
    history = RAYCLUSTERS
    suspended_type = "Suspended"
    permissions = (
        Grant("ray.io", ("rayservices",), ("get", "list", "watch"), "the watchers: the targets"),
        Grant("ray.io", ("rayservices",), ("patch",), "containment: spec.suspend, where the CRD has it, and back"),
    )

    def cluster_spec(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spec of its RayClusters."""
        found: Mapping[str, Any] = spec.get("rayClusterConfig") or {}
        return found

    def configured_by(self, metadata: Mapping[str, Any]) -> tuple[str, str]:
        """Return who last wrote what it runs, and when: the clusters, or the applications on them."""
        parts = ("f:rayClusterConfig", "f:serveConfigV2")
        return max((last_writer(metadata, part) for part in parts), key=lambda found: found[1])

    def prove_stopped(self, workload: Workload) -> Verification:
        """Verify that it is suspended, nothing serves, and no pod and no RayCluster is left, which could make pods."""
        clusters, is_on = len(workload.revisions), workload.replicas > 0
        switch = "spec.suspend is not true (KubeRay has it from v1.7.0 on)" if is_on else ""
        parts = [count(clusters, "RayCluster")] * bool(clusters) + [switch] * is_on
        proof = prove_gone(workload, ", ".join(parts))
        return replace(proof, pods_gone=False, clear=False) if clusters else proof


RAYCLUSTER = RayClusterRuntime()
RAYSERVICE = RayServiceRuntime()


def read_owned(obj: Object) -> Revision:
    """Return the facts of a RayCluster as what its RayService runs: its pods are found by its uid."""
    metadata = obj["metadata"]
    return Revision(name=metadata["name"], uid=metadata["uid"], number=0, hash="", digest="", replicas=0)


def _as_seen(workload: Workload) -> JsonPatch:
    """Return the tests of a write: the object, and its switch where it is stated."""
    seen = workload.fields.get(SWITCH)
    switch = [] if seen is None else [{"op": "test", "path": SWITCH, "value": json.loads(seen)}]
    return [{"op": "test", "path": "/metadata/uid", "value": workload.uid}, *switch]


def _digest(spec: Mapping[str, Any]) -> str:
    """Return the digest of what runs: neither the switch nor the numbers that Ray's autoscaler writes."""
    plain = deepcopy(dict(spec))
    plain.pop("suspend", None)
    for group in (plain.get("rayClusterConfig") or plain).get("workerGroupSpecs") or ():
        for number in ("replicas", "scaleStrategy"):
            group.pop(number, None)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _images(cluster: Mapping[str, Any]) -> Iterator[Image]:
    for group in (cluster.get("headGroupSpec") or {}, *(cluster.get("workerGroupSpecs") or ())):
        yield from declared_images(group.get("template") or {})
