"""KServe: InferenceServices and LLMInferenceServices, stopped by an annotation.

Source of the mechanics, in https://github.com/kserve/kserve (after v0.20):

- ``pkg/utils/utils.go`` (GetForceStopRuntime): what counts as stopped.
- ``pkg/controller/v1beta1/inferenceservice``: a stop wipes the status, and annotations of a component overrule those of
  the object (``components/predictor.go``); the condition Stopped (``controller.go``).
- ``reconcilers/knative/ksvc_reconciler.go`` there, and ``pkg/apis/serving/v1beta1/inference_service_status.go``
  (PropagateStatus): where a canary of 0 % sends requests.
- ``pkg/controller/v1alpha2/llmisvc``: labels of pods, what a stop deletes.

Neither status says which generation of the object was seen: that of an InferenceService repeats the number of the
Deployment or Knative Service below it, that of an LLMInferenceService is never set. An annotation would not raise it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from riskladder.api.foreign import number_in
from riskladder.api.resource import Resource
from riskladder.workloads.grant import Grant
from riskladder.workloads.model import History, Image, Revision, Workload
from riskladder.workloads.results import Impossible, JsonPatch, Object, Verification, Write
from riskladder.workloads.runtimes.fitness import unfit
from riskladder.workloads.runtimes.replicas import NoRollback, identity, last_writer, prove_gone, template_digest

GROUP = "serving.kserve.io"
STOP = f"{GROUP}/stop"
MODE = f"{GROUP}/deploymentMode"
TAGS = f"{GROUP}/enable-tag-routing"
FROZEN = f"{GROUP}/disable-auto-update"

ANNOTATIONS = "/metadata/annotations"
KEY = STOP.replace("/", "~1")
SWITCH = f"{ANNOTATIONS}/{KEY}"
COMPONENTS = ("predictor", "transformer", "explainer")
CANARY = "/spec/predictor/canaryTrafficPercent"

MAX_FIELDS, MAX_VALUE = 16, 16384
"""What evidence has room for."""


@dataclass(frozen=True, slots=True)
class Service(Workload):
    """An InferenceService or LLMInferenceService."""

    has_stopped: bool = False
    """Its controller says that it has carried the stop out."""
    is_frozen: bool = False
    """Its controller is instructed not to touch it while it is ready."""
    traffic: Mapping[str, int] = field(default_factory=dict)
    """Share of the requests in percent, by revision, from its status (Knative only)."""
    tagged: frozenset[str] = frozenset()
    """Revisions that have an address of their own as well."""
    behind: str = ""
    """The revision that a canary of 0 % sends all requests to."""
    is_pinned: bool = False
    """The newest revision is to get no request: its canary is 0 %."""


class KServe(NoRollback):
    """What both kinds do alike."""

    resource: ClassVar[Resource]
    component = "kserve"
    history: Resource | None = None
    by_labels = True
    is_switch = True
    level: str = f"(object.metadata.?annotations[?'{STOP}'].orValue('false').lowerAscii() == 'true' ? 0 : 1)"
    no_history = "KServe keeps no revisions of an {kind}"

    @property
    def permissions(self) -> tuple[Grant, ...]:
        """Read it, and set its annotation."""
        plural, kind = self.resource.plural, self.resource.kind
        return (
            Grant(GROUP, (plural,), ("get", "list", "watch"), f"the watchers: targets of kind {kind}"),
            Grant(GROUP, (plural,), ("patch",), f"containment: the annotation that stops an {kind}{self._more}"),
        )

    _more: ClassVar[str] = ""

    def read(self, obj: Object) -> Service:
        """Return the facts of a stored object; pods and endpoints are joined by the cache."""
        metadata, spec = obj["metadata"], obj.get("spec") or {}
        maps = dict(self._maps(obj))
        fields = _fields(maps)
        no_stop = self._no_stop(obj)
        if len(fields) > MAX_FIELDS or any(len(value or "") > MAX_VALUE for value in fields.values()):
            no_stop, fields = f"its annotations {STOP} are too many or too long to be saved", {}
        is_on = not all(is_true(found.get(STOP)) for found in maps.values())
        scaled = max((last_writer(metadata, *path, under=under) for under, path in self._owned()), key=lambda w: w[1])
        templated = self._template_writer(metadata)
        annotations = metadata.get("annotations") or {}
        return Service(
            **identity(self, obj),
            observed_generation=metadata.get("generation", 0),
            replicas=int(is_on),
            paused=False,
            digest=template_digest({"spec": spec}),
            replicas_set_by=scaled[0],
            replicas_set_at=scaled[1],
            template_set_by=templated[0],
            template_set_at=templated[1],
            declared_images=tuple(self._images(spec)),
            fields=fields,
            pod_labels=self._pod_labels(metadata["name"]),
            no_stop=no_stop,
            has_stopped=self._has_stopped(obj),
            is_frozen=annotations.get(FROZEN) == "true",
            updated_replicas=int(is_on),
            total_replicas=int(is_on),
        )

    # --- What the kinds differ in ---

    def _maps(self, obj: Object) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the annotations that say whether it is stopped, by JSON Pointer; every one has to say so."""
        yield ANNOTATIONS, obj["metadata"].get("annotations") or {}

    def _owned(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Return where managedFields say who wrote them."""
        yield "f:metadata", ("f:annotations", f"f:{STOP}")

    def _template_writer(self, metadata: Mapping[str, Any]) -> tuple[str, str]:
        return last_writer(metadata)

    def _images(self, spec: Mapping[str, Any]) -> Iterator[Image]:
        raise NotImplementedError

    def _pod_labels(self, name: str) -> Mapping[str, str]:
        raise NotImplementedError

    def _has_stopped(self, obj: Object) -> bool:
        raise NotImplementedError

    def _no_stop(self, obj: Object) -> str:
        """Return why the annotation would do nothing."""
        return ""

    # --- Stopping ---

    def stop(self, workload: Workload) -> Write | Impossible:
        """Set the annotation, and whatever overrules it, only as they were seen (a compare-and-swap)."""
        if workload.no_stop:
            return Impossible(workload.no_stop)
        patch: JsonPatch = [{"op": "test", "path": "/metadata/uid", "value": workload.uid}]
        for path, saved in workload.fields.items():
            if saved is None:  # that something is absent cannot be tested for: it is as it was seen, or nothing happens
                patch.append({"op": "test", "path": "/metadata/resourceVersion", "value": workload.resource_version})
                patch.append({"op": "add", "path": path, "value": {STOP: "true"} if path == ANNOTATIONS else "true"})
            elif not is_true(json.loads(saved)):
                patch.append({"op": "test", "path": path, "value": json.loads(saved)})
                patch.append({"op": "replace", "path": path, "value": "true"})
        return Write(patch)

    def stopping(self, workload: Workload) -> str:
        """Return what ``stop`` does, for people."""
        return f"stop by the annotation {STOP}"

    def restore(self, workload: Workload, replicas: int, fields: Mapping[str, str | None]) -> Write:
        """Restore the annotations as they were; without the stop, where that would not let it run.

        One that was created again under the lock had to be created stopped: nobody wanted that.
        """
        now = {path: json.loads(value) for path, value in workload.fields.items() if value is not None}
        after = {
            path: json.loads(saved) if saved is not None else None if path == SWITCH else found
            for path, found in now.items()
            for saved in (fields.get(path),)
        }
        if all(is_true(value) for value in after.values()):
            after[SWITCH] = None
        patch: JsonPatch = [{"op": "test", "path": "/metadata/uid", "value": workload.uid}]
        for path, found in now.items():
            value = after[path]
            if value != found:
                patch.append({"op": "test", "path": path, "value": found})
                last = {"op": "remove", "path": path}
                patch.append(last if value is None else {"op": "replace", "path": path, "value": value})
        return Write(patch)

    def prove_stopped(self, workload: Workload) -> Verification:
        """Verify the annotation in place, nothing that serves, no pod left, and that its controller says so.

        One that has scaled itself to zero has no pod either, and is started by the next request: so having none proves
        nothing before its controller has taken away what would start one. What it says alone proves nothing at all.
        """
        assert isinstance(workload, Service)  # noqa: S101
        more = ""
        if workload.replicas:
            more = f"not stopped by the annotation {STOP}"
        elif not workload.has_stopped:
            more = "KServe has not said that it is stopped"
            more += f" (its annotation {FROZEN} says to leave it alone)" if workload.is_frozen else ""
        proof = prove_gone(workload, more)
        return replace(proof, pods_gone=proof.pods_gone and workload.has_stopped)


class InferenceServiceRuntime(KServe):
    """serving.kserve.io/v1beta1 InferenceService.

    KServe copies labels and annotations into the Knative revision template (``components/predictor.go``): a hold makes
    a revision, and before the rollback has taken effect that would keep the breached one in place.
    """

    carries_rollback = False
    resource = Resource(GROUP, "v1beta1", "inferenceservices", "InferenceService")
    level = (
        f"(object.metadata.?annotations[?'{STOP}'].orValue('false').lowerAscii() == 'true'"
        f" && [object.spec.?predictor, object.spec.?transformer, object.spec.?explainer]"
        f".all(c, c.?annotations[?'{STOP}'].orValue('true').lowerAscii() == 'true')"
        f" && object.spec.?canary.orValue([])"
        f".all(c, c.?predictor.?annotations[?'{STOP}'].orValue('true').lowerAscii() == 'true') ? 0 : 1)"
    )
    content = f"[dyn(object.spec.predictor), dyn(object.metadata.?annotations[?'{TAGS}'].orValue('') == 'true')]"
    _more = ", or sends its requests to the revision before"

    def read(self, obj: Object) -> Service:
        """Return the facts; the revisions, where it is deployed by Knative, are from its status."""
        base = KServe.read(self, obj)
        status = ((obj.get("status") or {}).get("components") or {}).get("predictor") or {}
        ready, created = status.get("latestReadyRevision") or "", status.get("latestCreatedRevision") or ""
        rolled, previous = status.get("latestRolledoutRevision") or "", status.get("previousRolledoutRevision") or ""
        shares: Counter[str] = Counter()
        shown = status.get("traffic") or ()
        for share in shown:
            shares[share.get("revisionName") or ""] += share.get("percent") or 0
        traffic = {name: share for name, share in shares.items() if name}
        names = dict.fromkeys(name for name in (previous, rolled, ready, created, *traffic) if name)
        current = ready if traffic.get(ready) or not any(traffic.values()) else max(traffic, key=lambda n: traffic[n])
        is_on = bool(base.replicas)
        annotations = obj["metadata"].get("annotations") or {}
        return replace(
            base,
            digest=current or base.digest,
            updated_replicas=int(is_on and (not current or traffic.get(current) == 100)),
            revisions=tuple(_revision(name, traffic.get(name, 0)) for name in names),
            traffic=traffic,
            tagged=frozenset(
                share["revisionName"] for share in shown if share.get("tag") and share.get("revisionName")
            ),
            behind=rolled if rolled != ready else previous,
            is_pinned=(obj["spec"].get("predictor") or {}).get("canaryTrafficPercent") == 0,
            no_rollback=_no_rollback(ready, created, rolled, annotations),
        )

    def _maps(self, obj: Object) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield those of the object, and of each component that has one: that overrules it."""
        yield from KServe._maps(self, obj)
        spec = obj.get("spec") or {}
        places = [(f"/spec/{name}", spec.get(name)) for name in COMPONENTS]
        places += [
            (f"/spec/canary/{n}/predictor", canary.get("predictor"))
            for n, canary in enumerate(spec.get("canary") or ())
        ]
        for path, component in places:
            annotations = (component or {}).get("annotations") or {}
            if STOP in annotations:
                yield f"{path}/annotations", annotations

    def _owned(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield from KServe._owned(self)
        for name in COMPONENTS:
            yield "f:spec", (f"f:{name}", "f:annotations", f"f:{STOP}")

    def _template_writer(self, metadata: Mapping[str, Any]) -> tuple[str, str]:
        return last_writer(metadata, "f:predictor")

    def _images(self, spec: Mapping[str, Any]) -> Iterator[Image]:
        for name in COMPONENTS:
            component = spec.get(name) or {}
            yield from _images(component.get("containers"))
            model = component.get("model") or {}
            if model.get("image"):
                yield Image(model.get("name") or "model", model["image"])

    def _pod_labels(self, name: str) -> Mapping[str, str]:
        return {f"{GROUP}/inferenceservice": name}

    def _has_stopped(self, obj: Object) -> bool:
        return _condition(obj, "Stopped").get("status") == "True"

    def _no_stop(self, obj: Object) -> str:
        mode = (obj.get("status") or {}).get("deploymentMode") or (obj["metadata"].get("annotations") or {}).get(MODE)
        return "it is deployed by ModelMesh, which no annotation stops" if mode == "ModelMesh" else ""

    def rollback_target(self, workload: Workload, *, quarantined: str, history: History) -> Revision | Impossible:
        """Return the one revision that a canary of 0 % leads to, if it is another one and has not breached itself."""
        assert isinstance(workload, Service)  # noqa: S101
        if workload.no_rollback:
            return Impossible(workload.no_rollback)
        if workload.is_pinned:
            return Impossible("its canaryTrafficPercent is 0 already: there is no revision further back")
        found = next((r for r in workload.revisions if r.name == workload.behind), None)
        if not quarantined or found is None or found.hash == quarantined:
            return Impossible("its status names no earlier revision that was rolled out")
        why = unfit(workload, found, history)
        return Impossible(why) if why else found

    def roll_back(self, live: Object, old: Object | None, to: Revision) -> Write:
        """Set a canary of 0 %, only if object and status are as they were read: they decide which revision it is."""
        metadata = live["metadata"]
        return Write(
            [
                {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
                {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
                {"op": "add", "path": CANARY, "value": 0},
            ]
        )

    def prove_rolled_back(self, workload: Workload, *, quarantined: str, wanted: str) -> Verification:
        """Verify that all requests go to the revision wanted, and none to the one left, which has no other address.

        Its pods are no measure: Knative keeps as many of a revision without requests as are asked for at least.
        """
        assert isinstance(workload, Service)  # noqa: S101
        applied = workload.is_pinned
        bad, good = workload.traffic.get(quarantined, 0), workload.traffic.get(wanted, 0)
        clear = applied and bad == 0 and quarantined not in workload.tagged
        gone = clear and good == 100
        left = f"{bad} % of requests to {quarantined or 'the revision before'}, {good} % to {wanted}"
        left += f", and {quarantined} has an address of its own" if quarantined in workload.tagged else ""
        shown = f"{wanted} gets all requests; pods of the revision before it may stay, without any"
        return Verification(applied, gone, gone, clear, left, shown)


class LLMInferenceServiceRuntime(KServe):
    """serving.kserve.io/v1alpha2 LLMInferenceService."""

    resource = Resource(GROUP, "v1alpha2", "llminferenceservices", "LLMInferenceService")

    def _images(self, spec: Mapping[str, Any]) -> Iterator[Image]:
        prefill = spec.get("prefill") or {}
        for pod in (spec.get("template"), spec.get("worker"), prefill.get("template"), prefill.get("worker")):
            yield from _images((pod or {}).get("containers"))

    def _pod_labels(self, name: str) -> Mapping[str, str]:
        return {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "llminferenceservice"}

    def _has_stopped(self, obj: Object) -> bool:
        return _condition(obj, "MainWorkloadReady").get("reason") == "Stopped"


INFERENCESERVICE = InferenceServiceRuntime()
LLMINFERENCESERVICE = LLMInferenceServiceRuntime()


def is_true(value: object) -> bool:
    """Return whether KServe takes the value of the annotation for a stop."""
    return isinstance(value, str) and value.lower() == "true"


def _fields(maps: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    """Return what a stop overwrites: of an object without annotations, that it has none."""
    if not maps[ANNOTATIONS]:
        fields: dict[str, str | None] = {ANNOTATIONS: None}
    else:
        fields = {SWITCH: None}
    return fields | {f"{path}/{KEY}": json.dumps(found[STOP]) for path, found in maps.items() if STOP in found}


def _condition(obj: Object, kind: str) -> Mapping[str, Any]:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind), {})


def _images(containers: Any) -> Iterator[Image]:
    for container in containers or ():
        if container.get("image"):
            yield Image(container.get("name") or "", container["image"])


def _revision(name: str, share: int) -> Revision:
    """Return a revision by its name, which ends in its number; what it has of replicas is its share of the requests."""
    number = name.rpartition("-")[2]
    return Revision(name=name, uid=name, number=number_in(number), hash=name, digest=name, replicas=share)


def _no_rollback(ready: str, created: str, rolled: str, annotations: Mapping[str, str]) -> str:
    if not ready:
        return "its status names no revision: only Knative keeps some, not the Standard deployment mode"
    if annotations.get(TAGS) == "true":
        return f"its annotation {TAGS} gives the newest revision an address of its own, which would stay"
    if rolled == ready != created:
        return f"revision {created} is not ready: until it is, KServe goes back to none before {rolled}"
    return ""
