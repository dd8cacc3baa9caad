"""Seldon Core 2 Models, which are loaded on Servers that they share: a Model has no pods of its own.

Source of the mechanics: https://github.com/SeldonIO/seldon-core, v2.4 to v2.10.

- ``operator/apis/mlops/v1alpha1/model_types.go``: ``spec.replicas`` may be 0, and is 1 where it is absent, or
  ``minReplicas``. Replicas below ``minReplicas`` make the whole spec invalid (``operator/internal/utils.go``), and then
  the scheduler never hears of it: so a stop sets ``minReplicas`` to 0, too.
- ``operator/scheduler/model.go``: the status is written for the newest generation only, without naming it.
  ``availableReplicas`` (from v2.9 on) serve, ``replicas`` are these and those being loaded; 0 is left out. The message
  of the condition ModelReady is the scheduler's state: ``ModelScaledDown`` once nothing is available of a model without
  replicas, and before v2.10 ``ModelAvailable`` (``scheduler/pkg/store/memory_status.go``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from riskladder.api.resource import Resource
from riskladder.api.text import count
from riskladder.workloads.grant import Grant
from riskladder.workloads.model import History, Revision, Workload
from riskladder.workloads.results import Impossible, JsonPatch, Object, Verification, Write
from riskladder.workloads.runtimes.fitness import fittest
from riskladder.workloads.runtimes.replicas import Replicas, last_writer

MODELS = Resource("mlops.seldon.io", "v1alpha1", "models", "Model")

REPLICAS = "/spec/replicas"
MINIMUM = "/spec/minReplicas"
URI = "storageUri"
OTHER_FIELDS = (
    "modelType",
    "artifactVersion",
    "schemaUri",
    "secretName",
    "requirements",
    "parameters",
    "explainer",
    "llm",
    "server",
)
"""Fields that decide, with the storageUri, what is served, and where."""

READY = "ModelReady"
AVAILABLE = "ModelAvailable"
STOPPED = ("ModelScaledDown", AVAILABLE)
"""States of the scheduler in which a model without replicas is at rest: the second before v2.10."""

UNFINISHED = "which says nothing of a version before this one that may still serve: this one was not ready everywhere"
"""The status is about the newest version alone. One before it is unloaded when the newest has become available, which
a model without replicas never does (``scheduler/pkg/scheduler/cleaner/versions.go``, v2.10)."""

MAX_HASH = 253
"""Length of what a signal's ``status.lastKnownGood.digest`` holds."""


class SeldonModelRuntime(Replicas):
    """mlops.seldon.io/v1alpha1 Model."""

    resource = MODELS
    component = "seldon"
    permissions = (
        Grant("mlops.seldon.io", ("models",), ("get", "list", "watch"), "the watchers: the targets"),
        Grant("mlops.seldon.io", ("models",), ("patch",), "containment: replicas, minReplicas and storageUri"),
    )
    level = (
        "(object.spec.?replicas.orValue(1) > object.spec.?minReplicas.orValue(0) "
        "? object.spec.?replicas.orValue(1) : object.spec.?minReplicas.orValue(0))"
    )
    content = "[" + ", ".join(f"object.spec.?{name}" for name in (URI, *OTHER_FIELDS)) + "]"

    def read(self, obj: Object) -> Workload:
        """Return the facts. Replicas below ``minReplicas`` are not in force: the scheduler never hears of them.

        A revision is identified by what is served; its hash includes the storageUri, so that it is on record wherever
        the hash is.
        """
        metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        base = super().read(obj)
        written = last_writer(metadata, f"f:{URI}")
        stated, minimum = spec.get("replicas"), spec.get("minReplicas")
        replicas = _in_force(stated, minimum)
        fields: dict[str, str | None] = {} if minimum is None else {MINIMUM: json.dumps(minimum)}
        if stated != replicas:
            fields[REPLICAS] = None if stated is None else json.dumps(stated)
        total, ready = int(status.get("replicas") or 0), _Ready.of(status)
        # Before v2.9 there is one number: it is of what is available once that is enough.
        available = int(status.get("availableReplicas") or 0) or (total if ready.is_true else 0)
        since = written[1] or metadata.get("creationTimestamp", "")
        if replicas == 0:
            seen = ready.state in STOPPED and total == available == 0
        else:  # counts are those of the spec before where the condition says that the spec is invalid
            seen = ready.changed_since(since)
            available = available if ready.is_true and ready.state == AVAILABLE else 0
        current = _revision(_hash(spec), replicas=total)
        return replace(
            base,
            observed_generation=base.generation if seen else 0,
            replicas=replicas,
            updated_replicas=available,
            total_replicas=total,
            paused=False,
            digest=current.digest,
            template_set_by=written[0],
            template_set_at=written[1],
            revisions=(current,),
            fields=fields,
        )

    def stop(self, workload: Workload) -> Write | Impossible:
        """Set replicas to 0, and ``minReplicas`` with them, which would make that invalid."""
        patch, minimum = _as_seen(workload), _minimum(workload.fields)
        if minimum > 0:
            patch.append({"op": "test", "path": MINIMUM, "value": minimum})
            patch.append({"op": "replace", "path": MINIMUM, "value": 0})
        return Write([*patch, {"op": "add", "path": REPLICAS, "value": 0}])

    def stopping(self, workload: Workload) -> str:
        """Return what ``stop`` does, and what proves it, for people."""
        minimum = _minimum(workload.fields)
        also = f", and minReplicas from {minimum} to 0" if minimum > 0 else ""
        said = f"{super().stopping(workload)}{also}; a Model has no pods of its own: its status is the proof"
        return said if workload.is_rolled_out else f"{said}, {UNFINISHED}"

    def restore(self, workload: Workload, replicas: int, fields: Mapping[str, str | None]) -> Write:
        """Restore replicas, and ``minReplicas`` once there are as many, unless somebody has set it meanwhile."""
        patch, minimum = _as_seen(workload), _minimum(fields)
        stated = json.loads(fields[REPLICAS] or "null") if REPLICAS in fields else replicas
        if replicas != _in_force(stated, minimum):  # a step on the way
            stated = replicas
        if stated is not None:
            patch.append({"op": "add", "path": REPLICAS, "value": stated})
        elif workload.fields.get(REPLICAS, "") is not None:
            patch.append({"op": "remove", "path": REPLICAS})
        if 0 < minimum <= replicas and workload.fields.get(MINIMUM) == "0":
            patch.append({"op": "test", "path": MINIMUM, "value": 0})
            patch.append({"op": "replace", "path": MINIMUM, "value": minimum})
        return Write(patch)

    def rollback_target(self, workload: Workload, *, quarantined: str, history: History) -> Revision | Impossible:
        """Return a storageUri that is on record as known good, where nothing else has changed since."""
        here = _other_fields(quarantined or (workload.current.hash if workload.current else ""))
        others = [
            h for h in sorted(history.known_good) if h not in (quarantined, workload.current and workload.current.hash)
        ]
        if not others:
            return Impossible("no other storageUri was noted as known good, while all readings were at baseline")
        with_uri = [h for h in others if _uri(h) is not None]
        if not with_uri:
            return Impossible(
                f"the storageUri that was good is too long to be on record (over {MAX_HASH - 13} characters)"
            )
        fitting = [h for h in with_uri if _other_fields(h) == here]
        if not fitting:
            return Impossible("more than the storageUri has changed since it was good, and no more is on record")
        found = fittest([_revision(h) for h in fitting], workload, history)
        return Impossible(found) if isinstance(found, str) else found

    def roll_back(self, live: Object, old: Object | None, to: Revision) -> Write:
        """Restore the storageUri, only if the Model serves what was read."""
        spec, uri = live["spec"], _uri(to.hash)
        tests = [
            {"op": "test", "path": f"/spec/{name}", "value": spec[name]}
            for name in (URI, *OTHER_FIELDS)
            if spec.get(name) is not None
        ]
        return Write(
            [
                {"op": "test", "path": "/metadata/uid", "value": live["metadata"]["uid"]},
                *tests,
                {"op": "replace", "path": f"/spec/{URI}", "value": uri},
            ]
        )

    def prove_stopped(self, workload: Workload) -> Verification:
        """Verify that zero replicas are asked for, and the status has none: there is nothing else to look at."""
        applied = workload.replicas == 0
        empty = applied and workload.updated_replicas == 0
        clear = empty and workload.total_replicas == 0
        gone = clear and workload.observed_generation >= workload.generation
        shown = "its status has no replica of it, loaded or being loaded (it has no pods of its own)"
        return Verification(applied, empty, gone, clear, _left(workload), shown)

    def prove_rolled_back(self, workload: Workload, *, quarantined: str, wanted: str) -> Verification:
        """Verify that the earlier storageUri is in place, and by a later status all replicas are available."""
        current = workload.current
        applied = current is not None and current.hash == wanted != quarantined
        gone = applied and workload.is_rolled_out
        clear = applied and workload.observed_generation >= workload.generation
        shown = "by its status all replicas are of the storageUri gone back to"
        return Verification(applied, gone, gone, clear, _left(workload), shown)


SELDON_MODEL = SeldonModelRuntime()


@dataclass(frozen=True, slots=True)
class _Ready:
    """The condition ModelReady."""

    is_true: bool = False
    state: str = ""
    at: str = ""

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> _Ready:
        found: Mapping[str, Any] = next((c for c in status.get("conditions") or () if c.get("type") == READY), {})
        return cls(
            found.get("status") == "True", str(found.get("message", "")), str(found.get("lastTransitionTime", ""))
        )

    def changed_since(self, at: str) -> bool:
        """Return whether it changed after that second: of an older one it is not known which spec it is about."""
        return bool(self.at and at) and datetime.fromisoformat(self.at) > datetime.fromisoformat(at)


def _in_force(stated: int | None, minimum: int | None) -> int:
    least = max(minimum or 0, 0)
    return max(stated, least) if stated is not None else least or 1


def _minimum(fields: Mapping[str, str | None]) -> int:
    return int(json.loads(fields.get(MINIMUM) or "0"))


def _as_seen(workload: Workload) -> JsonPatch:
    """Return the tests of a write: the object, and its replicas where they are stated."""
    patch: JsonPatch = [{"op": "test", "path": "/metadata/uid", "value": workload.uid}]
    seen = workload.fields.get(REPLICAS, json.dumps(workload.replicas))
    return patch if seen is None else [*patch, {"op": "test", "path": REPLICAS, "value": json.loads(seen)}]


def _hash(spec: Mapping[str, Any]) -> str:
    """Return ``digest:storageUri``, with a digest of all else that is served; ``digest#digest`` if too long."""
    others = json.dumps({name: spec[name] for name in OTHER_FIELDS if spec.get(name) is not None}, sort_keys=True)
    uri, head = str(spec.get(URI, "")), hashlib.sha256(others.encode()).hexdigest()[:12]
    text = f"{head}:{uri}"
    return text if len(text) <= MAX_HASH else f"{head}#{hashlib.sha256(uri.encode()).hexdigest()}"


def _other_fields(found: str) -> str:
    return found[:12]


def _uri(found: str) -> str | None:
    return found[13:] if found[12:13] == ":" else None


def _revision(found: str, replicas: int = 0) -> Revision:
    """Return a revision by its hash. Models have no numbers: this one is made of the digest, and the same for ever."""
    digest = hashlib.sha256(found.encode()).hexdigest()[:16]
    return Revision(
        name=_uri(found) or found, uid="", number=int(digest[:5], 16), hash=found, digest=digest, replicas=replicas
    )


def _left(workload: Workload) -> str:
    return (
        f"by its status {count(workload.updated_replicas, 'replica')} ready and {workload.total_replicas} in all, "
        f"{workload.replicas} asked for"
    )
