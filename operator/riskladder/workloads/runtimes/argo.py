"""Argo Rollouts: ReplicaSets are their history, and an update goes through steps, with two revisions at work meanwhile.

Source of the mechanics, of which little is documented: the controller, https://github.com/argoproj/argo-rollouts v1.10
(``utils/replicaset/canary.go``, ``rollout/{canary,bluegreen,replicaset,sync}.go``), and what its own ``kubectl`` plugin
writes to abort, promote and undo.

- While an update is under way, ``setCanaryScale`` and ``previewReplicaCount`` keep pods alive whatever
  ``spec.replicas`` says, ``spec.paused`` keeps a canary as it is, and at zero replicas the steps go on, up to the
  promotion of what was to be tried. So a stop takes away what keeps pods, and then, once the controller has seen it,
  aborts the update. In the other order the controller would bring more pods of the stable revision up, or wait for
  ``abortScaleDownDelaySeconds`` before it takes any away.
- An older revision is an update like any other for it, that would stop at each of its pauses. So a rollback is promoted
  in full, once the controller has seen it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from riskladder.api.foreign import number_in
from riskladder.api.resource import Resource
from riskladder.workloads.grant import Grant
from riskladder.workloads.model import History, Revision, Workload
from riskladder.workloads.results import Impossible, JsonPatch, Object, Write
from riskladder.workloads.runtimes.deployment import REPLICASETS, read_replicaset
from riskladder.workloads.runtimes.fitness import unfit
from riskladder.workloads.runtimes.replicas import Replicas, content_digest, template_digest

HASH_LABEL = "rollouts-pod-template-hash"
INJECTED_METADATA = "rollout.argoproj.io/ephemeral-metadata"
"""On a ReplicaSet: the labels and annotations that its pods have for as long as it is the stable one, or the canary."""

ABORT, PROMOTE = "abort", "promoteFull"
"""Fields of the status by which people (``kubectl argo rollouts``) instruct the controller."""

PAUSED = "/spec/paused"
LONGEST_DELAY = 60
"""Seconds for which pods of the breached revision may stay after a rollback (``scaleDownDelaySeconds``)."""

USUAL_DELAY = 30

_BLUE_GREEN = {"previewReplicaCount": None, "abortScaleDownDelaySeconds": "0", "autoPromotionEnabled": "false"}
_ROUTED = {"abortScaleDownDelaySeconds": "1", "scaleDownDelayRevisionLimit": "0"}
_STOPPED: Mapping[str, str | None] = {
    **{f"/spec/strategy/blueGreen/{name}": value for name, value in _BLUE_GREEN.items()},
    **{f"/spec/strategy/canary/{name}": value for name, value in _ROUTED.items()},
}
"""What a stop makes of fields that would keep pods alive at zero replicas, or have it wait for their end, or promote
the update before it can be aborted."""


class RolloutRuntime(Replicas):
    """argoproj.io/v1alpha1 Rollout."""

    resource = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout")
    component = "argo-rollouts"
    history = REPLICASETS
    content = "[dyn(object.spec.?template), dyn(object.spec.?paused.orValue(false))]"
    permissions = (
        Grant(
            "argoproj.io",
            ("rollouts",),
            ("get", "list", "watch"),
            "the watchers: the targets, where a ladder governs them",
        ),
        Grant("argoproj.io", ("rollouts",), ("patch",), "containment: scales to zero and rolls back"),
        Grant(
            "argoproj.io",
            ("rollouts/status",),
            ("patch",),
            "containment: aborts an update under way once it is scaled to zero, and promotes a rollback in full, as "
            "kubectl argo rollouts abort and promote --full do",
        ),
    )

    def read(self, obj: Object) -> Workload:
        """Return the facts. The status names the current revision: the API server completes no pod template here.

        (So that of a ReplicaSet, which it does complete, hardly ever equals it.)
        """
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        generation = obj["metadata"].get("generation", 0)
        observed = _observed(status.get("observedGeneration"), generation)
        facts = super().read({**obj, "spec": spec, "status": {**status, "observedGeneration": observed}})
        current, stable = status.get("currentPodHash") or "", status.get("stableRS") or ""
        by_reference = bool(spec.get("workloadRef"))
        return replace(
            facts,
            current_hash=current if observed >= generation or by_reference else "",
            fallback=stable if stable != current else "",
            requested=frozenset(mark for mark in (ABORT, PROMOTE) if status.get(mark)),
            fields=_fields(spec),
            no_rollback=_no_rollback(spec),
        )

    def stop(self, workload: Workload) -> Write | Impossible:
        """Set replicas to zero, and unset what keeps pods alive all the same: a compare-and-swap, in one write."""
        write = super().restore(workload, 0, {})
        for path, value in workload.fields.items():
            write.patch.extend(_swap(path, value, _stopped(path, value)))
        return write

    def restore(self, workload: Workload, replicas: int, fields: Mapping[str, str | None]) -> Write:
        """Bring replicas back, and of the other fields those that are still as a stop leaves them."""
        write = super().restore(workload, replicas, {})
        for path, value in workload.fields.items():
            if path in fields and value == _stopped(path, fields[path]):
                write.patch.extend(_swap(path, value, fields[path]))
        return write

    def follow_up(self, workload: Workload, wanted: str | None) -> Write | None:
        """Abort an update under way after a stop, promote in full after a rollback: once its controller has seen it."""
        if workload.observed_generation < workload.generation or not workload.fallback:
            return None
        mark = ABORT if wanted is None else PROMOTE
        if mark in workload.requested or (wanted is not None and wanted != workload.current_hash):
            return None
        return Write(
            [
                {"op": "test", "path": "/metadata/uid", "value": workload.uid},
                {"op": "test", "path": "/status/currentPodHash", "value": workload.current_hash},
                {"op": "test", "path": "/status/stableRS", "value": workload.fallback},
                {"op": "add", "path": f"/status/{mark}", "value": True},
            ],
            subresource="status",
        )

    def rollback_target(self, workload: Workload, *, quarantined: str, history: History) -> Revision | Impossible:
        """Return the stable revision while an update is under way, else as for every workload with a history."""
        if workload.no_rollback:
            return Impossible(workload.no_rollback)
        stable = workload.fallback
        if stable not in (quarantined, "") and quarantined and not workload.paused:
            found = next((r for r in workload.revisions if r.hash == stable and r.digest != workload.digest), None)
            if found is not None and not unfit(workload, found, history):
                return found
        return super().rollback_target(workload, quarantined=quarantined, history=history)

    def roll_back(self, live: Object, old: Object | None, to: Revision) -> Write:
        """Restore the old template, also where somebody has replaced the template by a reference meanwhile."""
        if "template" in live["spec"]:
            return super().roll_back(live, old, to)
        write = super().roll_back({**live, "spec": {**live["spec"], "template": {}}}, old, to)
        reference = live["spec"].get("workloadRef")
        patch: JsonPatch = [write.patch[0], {"op": "add", "path": "/spec/template", "value": write.patch[2]["value"]}]
        if reference is not None:
            patch += [
                {"op": "test", "path": "/spec/workloadRef", "value": reference},
                {"op": "remove", "path": "/spec/workloadRef"},
            ]
        return Write(patch)

    def template_of(self, old: Object) -> Mapping[str, Any]:
        """Return the pod template of a ReplicaSet, without what the controller has put into it."""
        return own_template(old)


ROLLOUT = RolloutRuntime()


def read_revision(obj: Object) -> Revision:
    """Return the facts of a ReplicaSet as a revision of its Rollout."""
    own = own_template(obj)
    return replace(read_replicaset(obj), digest=template_digest(own), content=content_digest(own), reused=True)


def own_template(replicaset: Object) -> dict[str, Any]:
    """Return the pod template of a ReplicaSet without what the controller injects for a while."""
    template: dict[str, Any] = deepcopy(replicaset["spec"]["template"])
    metadata = template.get("metadata") or {}
    try:
        injected = json.loads((replicaset["metadata"].get("annotations") or {}).get(INJECTED_METADATA) or "{}")
    except ValueError:
        injected = {}
    for kind in ("labels", "annotations"):
        for key in (injected or {}).get(kind) or {}:
            (metadata.get(kind) or {}).pop(key, None)
        if kind in metadata and not metadata[kind]:
            del metadata[kind]
    _without_injected_affinity(template.get("spec") or {})
    return template


def _without_injected_affinity(spec: dict[str, Any]) -> None:
    affinity = spec.get("affinity") or {}
    anti = affinity.get("podAntiAffinity") or {}
    found = False
    for kind in ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"):
        terms = anti.get(kind) or []
        kept = [term for term in terms if not _is_injected(term.get("podAffinityTerm") or term)]
        if len(kept) < len(terms):
            found = True
            anti[kind] = kept
            if not kept:
                del anti[kind]
    if found and not anti:
        del affinity["podAntiAffinity"]
    if found and not affinity:
        del spec["affinity"]


def _is_injected(term: Mapping[str, Any]) -> bool:
    expressions = (term.get("labelSelector") or {}).get("matchExpressions") or ()
    return any(expression.get("key") == HASH_LABEL for expression in expressions)


def _observed(stored: object, generation: int) -> int:
    """Return ``status.observedGeneration``, which is text; before v0.10 it was a hash, which says nothing."""
    text = str(stored or "")
    return number_in(text) if text.isdecimal() else generation if text else 0


def _strategy(spec: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and settings of the update strategy."""
    strategy = spec.get("strategy") or {}
    name = next((name for name in ("blueGreen", "canary") if strategy.get(name) is not None), "")
    return name, strategy.get(name) or {}


def _fields(spec: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what a stop may have to overwrite, as it is now."""
    name, settings = _strategy(spec)
    routed = name == "canary" and settings.get("trafficRouting") is not None
    names = _BLUE_GREEN if name == "blueGreen" else _ROUTED if routed else {}
    found = {f"/spec/strategy/{name}/{field}": _json(settings.get(field)) for field in names}
    if name == "canary":
        found[PAUSED] = _json(spec.get("paused"))
    return found


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value)


def _stopped(path: str, before: str | None) -> str | None:
    """Return what a stop makes of a field."""
    if path == PAUSED:
        return "false" if before == "true" else before
    return _STOPPED[path]


def _swap(path: str, seen: str | None, wanted: str | None) -> JsonPatch:
    """Replace one field as it was seen by another value of it, or by none."""
    if seen == wanted:
        return []
    seen_first = [] if seen is None else [{"op": "test", "path": path, "value": json.loads(seen)}]
    if wanted is None:
        return [*seen_first, {"op": "remove", "path": path}]
    return [*seen_first, {"op": "add", "path": path, "value": json.loads(wanted)}]


def _no_rollback(spec: Mapping[str, Any]) -> str:
    if spec.get("workloadRef"):
        return "its pod template is that of another workload (spec.workloadRef): that is where it is rolled back"
    name, settings = _strategy(spec)
    dynamic = settings.get("dynamicStableScale")
    keeps = name == "blueGreen" or (settings.get("trafficRouting") is not None and not dynamic)
    delay = settings.get("scaleDownDelaySeconds")
    delay = USUAL_DELAY if delay is None else delay
    if keeps and delay > LONGEST_DELAY:
        return f"its scaleDownDelaySeconds would keep pods of the breached revision for {delay} s"
    return ""
