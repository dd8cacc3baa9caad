"""Fallback: the traffic to a model goes elsewhere, by the selector of a Service or the backends of an HTTPRoute.

Sources: ``Service.spec.selector`` (core/v1) is followed by the EndpointSlice controller, whose slices carry
``kubernetes.io/service-name``. ``HTTPRoute.spec.rules[].backendRefs`` (gateway.networking.k8s.io/v1): a rule that has
none, a redirect for example, sends nothing to a model; ``status.parents[]`` says with ``Accepted`` and its
``observedGeneration`` what a Gateway has taken over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from riskladder.api.hold import Hold
from riskladder.api.intent import MAX_SAVED, NetworkTargetRef, SavedField
from riskladder.api.text import count
from riskladder.api.tiers import Fallback
from riskladder.workloads.grant import Component, Grant
from riskladder.workloads.holding import release_patch
from riskladder.workloads.model import Workload
from riskladder.workloads.network import HTTPROUTES, RESOURCES, SERVICES, NetworkObject, title
from riskladder.workloads.results import Impossible, JsonPatch, Object, ObjectWrite, Verification
from riskladder.workloads.runtimes.replicas import last_writer
from riskladder.workloads.safe_states.network_path import Conflict, NotReady, Planned, held, labels_of, reach, seen
from riskladder.workloads.safe_states.words import destination, path_of

PATHS = {SERVICES.kind: "/spec/selector", HTTPROUTES.kind: "/spec/rules"}
"""What is changed of each kind."""

Rules = Sequence[Mapping[str, Any]]

FALLBACK = Component(
    "fallback",
    (
        Grant(
            SERVICES.group,
            (SERVICES.plural,),
            ("get", "list", "watch", "patch"),
            "Fallback: sends the traffic of a Service that a ladder names to the pods it names, and gives it back",
        ),
    ),
    "Action Fallback by the selector of a Service",
)
FALLBACK_HTTPROUTE = Component(
    "fallback-httproute",
    (
        Grant(
            HTTPROUTES.group,
            (HTTPROUTES.plural,),
            ("get", "list", "watch", "patch"),
            "Fallback: sends the traffic of an HTTPRoute that a ladder names to the Service it names, and back",
        ),
    ),
    "Action Fallback by the backends of an HTTPRoute (gateway.networking.k8s.io/v1)",
)


# --- Facts in ---------------------------------------------------------------------------------------------------------


def read_service(obj: Object) -> NetworkObject:
    """Return the facts of a Service."""
    spec = obj.get("spec") or {}
    problem = "it is of type ExternalName, which has no endpoints" if spec.get("type") == "ExternalName" else ""
    by = last_writer(obj["metadata"], "f:selector")
    return NetworkObject.read(SERVICES.kind, obj, spec.get("selector") or None, by, problem)


def read_route(obj: Object) -> NetworkObject:
    """Return the facts of an HTTPRoute; what its Gateways have not taken over yet is its problem."""
    metadata, rules = obj["metadata"], (obj.get("spec") or {}).get("rules") or None
    waiting = [
        str((parent.get("parentRef") or {}).get("name", ""))
        for parent in (obj.get("status") or {}).get("parents") or ()
        if not _accepted(parent, metadata.get("generation", 0))
    ]
    problem = f"not accepted as it is now by {', '.join(waiting)}" if waiting else ""
    return NetworkObject.read(HTTPROUTES.kind, obj, rules, last_writer(metadata, "f:rules"), problem)


def _accepted(parent: Mapping[str, Any], generation: int) -> bool:
    return any(
        c.get("type") == "Accepted" and c.get("status") == "True" and c.get("observedGeneration", 0) >= generation
        for c in parent.get("conditions") or ()
    )


# --- The rules of a route ---------------------------------------------------------------------------------------------


def diverted(rules: Rules, backend: str) -> list[dict[str, Any]]:
    """Return the rules with all of their traffic sent to the backend, and otherwise unchanged.

    The port is that of the backend it takes the place of: a reference to a Service needs one.
    """
    found = []
    for rule in rules:
        changed, references = deepcopy(dict(rule)), rule.get("backendRefs") or ()
        if references:
            port = next((r["port"] for r in references if r.get("port")), None)
            only = {"group": "", "kind": "Service", "name": backend, "weight": 1}
            changed["backendRefs"] = [only | ({"port": port} if port else {})]
        found.append(changed)
    return found


def is_diverted(rules: Rules, backend: str) -> bool:
    """Return whether no rule sends anything to another backend."""
    return all(
        (r.get("group", ""), r.get("kind", "Service"), r["name"]) == ("", "Service", backend)
        and "namespace" not in r
        and r.get("weight", 1) > 0
        for rule in rules
        for r in rule.get("backendRefs") or ()
    )


def undiverted(rules: Rules, before: Rules, backend: str) -> list[dict[str, Any]] | None:
    """Return the rules with their backends as they were; ``None`` where somebody has changed the backends meanwhile.

    Whatever else was changed of a rule meanwhile stays.
    """
    ours = diverted(before, backend)
    if [r.get("backendRefs") for r in rules] != [r.get("backendRefs") for r in ours]:
        return None
    found = []
    for now, then in zip(rules, before, strict=True):
        changed = deepcopy(dict(now))
        if then.get("backendRefs"):
            changed["backendRefs"] = deepcopy(then["backendRefs"])
        found.append(changed)
    return found


# --- The act ----------------------------------------------------------------------------------------------------------


def choose(workload: Workload, fallback: Fallback | None) -> Planned | Impossible:
    """Return where the traffic can be sent, or why it cannot."""
    target_ref = path_of(fallback)
    if target_ref is None:
        unsupported = reach(workload, SERVICES.kind)
        return unsupported if isinstance(unsupported, Impossible) else Impossible("no fallback is named")
    network_path = reach(workload, target_ref.kind)
    if isinstance(network_path, Impossible):
        return network_path
    if taken := network_path.taken.get((target_ref.kind, target_ref.name)):
        return Impossible(f"{target_ref.kind} {target_ref.name} is diverted already, for {taken}")
    why = usable(workload, target_ref)
    found = seen(workload, target_ref)
    if why or found is None:
        return Impossible(why)
    if why := _leads_back(workload, target_ref, found):
        return Impossible(why)
    text = json.dumps(found.content, sort_keys=True, separators=(",", ":"))
    if len(text) > MAX_SAVED:
        return Impossible(
            f"what is overwritten of {target_ref.kind} {target_ref.name} is too long to be saved: {len(text)}"
        )
    replacement = json.dumps(target_ref.selector if target_ref.backend is None else target_ref.backend, sort_keys=True)
    saved = SavedField(path=PATHS[target_ref.kind], object=title(target_ref), value=text, replacement=replacement)
    message = f"send traffic of {target_ref.kind} {target_ref.name} to {destination(target_ref)}"
    return Planned(target_ref, saved, message)


def usable(workload: Workload, target_ref: NetworkTargetRef) -> str:
    """Return why the Service or HTTPRoute cannot be used, or nothing."""
    found = seen(workload, target_ref)
    if found is None:
        return f"there is no {target_ref.kind} {target_ref.name}"
    if target_ref.kind == SERVICES.kind:
        if found.problem:
            return f"Service {target_ref.name}: {found.problem}"
        return "" if found.content else f"Service {target_ref.name} has no selector: its endpoints are somebody else's"
    if not any(rule.get("backendRefs") for rule in found.content or ()):
        return f"no rule of HTTPRoute {target_ref.name} has a backend"
    return ""


def _leads_back(workload: Workload, target_ref: NetworkTargetRef, found: NetworkObject) -> str:
    """Return why traffic would still reach the workload, or does not come this way."""
    pods = {pod.name for pod in workload.pods}
    if target_ref.kind == HTTPROUTES.kind:
        path = workload.network_path
        served = path.serving.get(target_ref.backend or "", frozenset()) if path else frozenset()
        return f"Service {target_ref.backend} leads to pods of the {workload.kind} itself" if served & pods else ""
    wanted, labels = (target_ref.selector or {}).items(), list(labels_of(workload))
    if any(wanted <= of.items() for of in labels):
        return f"the fallback's selector selects pods of the {workload.kind} itself"
    is_there = found.content == target_ref.selector or any(found.content.items() <= of.items() for of in labels)
    return (
        "" if is_there or not labels else f"Service {target_ref.name} does not select the pods of the {workload.kind}"
    )


def divert(
    workload: Workload, target_ref: NetworkTargetRef, hold: Hold | None = None, lock: str = ""
) -> ObjectWrite | Impossible:
    """Return the write that sends traffic elsewhere, only if the object is as it was seen (a compare-and-swap).

    Args:
        workload: Whose traffic it is.
        target_ref: The Service or HTTPRoute.
        hold: What the object is to carry of that.
        lock: The action that the lock is to hold it to; empty for no lock.
    """
    network_path = reach(workload, target_ref.kind)
    if isinstance(network_path, Impossible):
        return network_path
    found = seen(workload, target_ref)
    if why := usable(workload, target_ref):
        return Impossible(why)
    assert found is not None  # noqa: S101
    write = _patch(found, _wanted(found, target_ref))
    return held(write, found, hold, lock)


def _wanted(found: NetworkObject, target_ref: NetworkTargetRef) -> Any:
    if target_ref.kind == SERVICES.kind:
        return dict(target_ref.selector or {})
    return diverted(found.content, target_ref.backend or "")


def _restore_content(found: NetworkObject, content: Any) -> ObjectWrite:
    write = _patch(found, content)
    return replace(write, body=[*write.body, *release_patch(found.carried)])


def _patch(found: NetworkObject, content: Any) -> ObjectWrite:
    path = PATHS[found.kind]
    patch: JsonPatch = [
        {"op": "test", "path": "/metadata/uid", "value": found.uid},
        {"op": "test", "path": path, "value": found.content},
        {"op": "replace", "path": path, "value": content},
    ]
    return ObjectWrite(RESOURCES[found.kind], found.name, "patch", patch)


def in_place(found: NetworkObject | None, target_ref: NetworkTargetRef) -> bool:
    """Return whether traffic is sent elsewhere."""
    if found is None or not found.content:
        return False
    if target_ref.kind == SERVICES.kind:
        return bool(found.content == target_ref.selector)
    return is_diverted(found.content, target_ref.backend or "")


def prove(workload: Workload, target_ref: NetworkTargetRef) -> Verification:
    """Verify that traffic goes elsewhere, no pod of the workload is listed as ready there, and another serves."""
    network_path, found = reach(workload, target_ref.kind), seen(workload, target_ref)
    if isinstance(network_path, Impossible):
        return Verification(False, False, False, False, network_path.why)
    if found is None:
        return Verification(False, False, False, False, f"there is no {target_ref.kind} {target_ref.name}")
    applied, service = in_place(found, target_ref), target_ref.backend or target_ref.name
    ready = network_path.serving.get(service, frozenset())
    mine = ready & {pod.name for pod in workload.pods}
    taken_over = target_ref.kind == SERVICES.kind or not found.problem
    empty = applied and not mine and taken_over
    others = len(ready - mine)
    left = f"{count(len(mine), 'ready endpoint')} of it and {others} of the fallback in Service {service}"
    if not applied:
        left = f"{target_ref.kind} {target_ref.name} does not send all traffic to the fallback; {left}"
    elif not taken_over:
        left = f"HTTPRoute {target_ref.name} is {found.problem}; {left}"
    listed = workload.ready_endpoints
    elsewhere = f"; other Services still list {listed} of its endpoints as ready" if listed else ""
    shown = f"Service {service} lists no ready pod of it, and the fallback has served{elsewhere}"
    return Verification(applied, empty, empty and others > 0, empty, left, shown)


def _target_ref_of(saved: SavedField) -> NetworkTargetRef:
    kind, _, name = saved.object.partition("/")
    replacement = json.loads(saved.replacement or "null")
    if kind == SERVICES.kind:
        return NetworkTargetRef(kind=kind, name=name, selector=replacement)
    return NetworkTargetRef(kind=kind, name=name, backend=replacement)


def restore(workload: Workload, saved: SavedField) -> ObjectWrite | Conflict | NotReady | None:
    """Return the write that sends traffic back; nothing where it is as it was before."""
    target_ref = _target_ref_of(saved)
    network_path, found = reach(workload, target_ref.kind), seen(workload, target_ref)
    what = f"{target_ref.kind} {target_ref.name}"
    if isinstance(network_path, Impossible):
        return NotReady(f"{what}: {network_path.why}")
    if found is None:
        return Conflict(f"{what} is no longer there")
    before = json.loads(saved.value or "null")
    if found.content == before:
        return None
    by = found.set_by or "somebody"
    changed = Conflict(f"{what} was changed by {by} while the model was contained: it stays as it is")
    if target_ref.kind == SERVICES.kind:
        return _restore_content(found, before) if found.content == target_ref.selector else changed
    rules = undiverted(found.content or (), before, target_ref.backend or "")
    if rules is not None:
        return _restore_content(found, rules) if rules != found.content else None
    is_back = [r.get("backendRefs") for r in found.content or ()] == [r.get("backendRefs") for r in before]
    return None if is_back else changed
