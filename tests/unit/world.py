"""One target and all that can happen to it, on the simulated API server; and what holds when all faults have ended."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

from structlog.testing import capture_logs

from riskladder.api.base import format_time
from riskladder.api.chain import verify_chains
from riskladder.api.labels import ANNOTATION_CONTAINMENT, LABEL_CONTAINED_BY, LABEL_LOCK
from riskladder.cluster.client import ApiError, Forbidden, Refused
from riskladder.cluster.resources import (
    CACHED,
    DECISIONS,
    DEPLOYMENTS,
    ESCALATIONS,
    INDEXES,
    LADDERS,
    PODS,
    RECORDS,
    REPLICASETS,
    SIGNALS,
)
from riskladder.controller import people, reconciler
from riskladder.controller.caches import reading, signals
from tests.trails import said
from tests.unit.builders import (
    KEY,
    LADDER,
    NOW,
    Document,
    contain_by,
    deployment_object,
    edited,
    pod_object,
    replicaset_object,
    signal_document,
    template,
)
from tests.unit.simulator import Operator, Queue, Server, hash_of, intents, resumed

Step = tuple[Any, ...]
QUIET_WITHIN = 40
"""Rounds in which everything must have been done once faults have ended."""


def both(spec: Document) -> None:
    contain_by("ScaleToZero")(spec)
    spec["tiers"][0]["containment"] = {"action": "Rollback"}


def with_people(spec: Document) -> None:
    """Two have to agree to restore the model; the risk may be accepted."""
    for tier in spec["tiers"]:
        tier |= {"resume": {"quorum": [{"role": "legal"}, {"role": "model-risk"}]}, "acceptRisk": {"atMost": "2h"}}


POLICIES: dict[str, Callable[[Document], object]] = {
    "zero": contain_by("ScaleToZero"),
    "rollback": contain_by("Rollback"),
    "rollback, then zero": both,
}


TWO = "two ladders"
"""The policy under which signal b is another ladder's, which scales to zero where the first rolls back."""
SECOND = "privacy"
POLICIES[TWO] = contain_by("Rollback")


class SimulatedCluster:
    """One target, its ladder, its signals, a controller that rolls out, and two operators."""

    def __init__(self, policy: str) -> None:
        self.now = NOW
        self.server = Server()
        self._pods = 0
        self._ladder = edited(edited(LADDER, POLICIES[policy]), with_people)
        self._second = edited(edited(LADDER, contain_by("ScaleToZero")), with_people) if policy == TWO else None
        self.votes = 0
        self._put_ladder()
        self.create(2)
        for number, version in enumerate((1, 2), start=1):
            self.server.save(REPLICASETS, replicaset_object(version, number, owner=self.target()["metadata"]["uid"]))
        self.roll_out()
        self.operators = [Operator(self.server, name) for name in ("one", "two")]
        self.newest = NOW
        """The latest observedAt of all."""
        self.latest = NOW
        """The latest that the clock has said."""
        self.exhausted: list[bool] = []
        """Whenever an operator was to go on: whether it had nothing left to ask for in the end."""

    # --- What can happen ------------------------------------------------------------------------------------------

    def read(self, name: str, value: float, minutes: int) -> None:
        """A monitor reports, late, early or twice."""
        at = self.now + timedelta(minutes=minutes)
        self.newest = max(self.newest, at)
        ladder = SECOND if name == "b" and self._second is not None else "credit"
        spec = signal_document(at=at, source="monitor", ladder=ladder, bias=value)
        before = self.server.find(SIGNALS, name)
        self.server.save(SIGNALS, {**(before or {"metadata": {"name": name}}), "spec": spec})

    def operate(self, which: int, requests: int, fault: str = "") -> None:
        """An operator goes on; a fault strikes the last request."""
        asks = True
        for number in range(requests):
            asks = self.operators[which].step(fault if number == requests - 1 else "")
        self.exhausted.append(not asks)

    def keep_up(self, which: int) -> None:
        """It sees everything and does all it has to, as it does most of the time."""
        self.operators[which].deliver(*CACHED)
        if self.server.refuses or self.server.refuses_trail:  # it tries again and again: its waits are not simulated
            self.operate(which, 40)
        else:
            self.operators[which].finish()

    def deliver(self, which: int, kinds: Sequence[Any] = CACHED) -> None:
        self.operators[which].deliver(*kinds)

    def scale(self, replicas: int) -> None:
        """An autoscaler, a person or a sync."""
        self._change(DEPLOYMENTS, lambda spec: spec.update(replicas=replicas))

    def strip(self) -> None:
        """Somebody takes away what the target carries, while the lock is."""
        self._annotate({}, {})

    def forge(self, label: bool) -> None:
        """Somebody puts there what looks like it: the label alone, or the annotation of another object."""
        text = json.dumps({"version": 1, "uid": "another"})
        self._annotate({LABEL_CONTAINED_BY: "scorer-forged"} if label else {}, {ANNOTATION_CONTAINMENT: text})

    def _annotate(self, labels: Document, annotations: Document) -> None:
        target = self.server.find(DEPLOYMENTS, KEY.name)
        if target is not None and self._is_saved(target):
            own = (LABEL_CONTAINED_BY, LABEL_LOCK)
            kept = {key: value for key, value in target["metadata"]["labels"].items() if key not in own}
            metadata = {**target["metadata"], "labels": kept | labels, "annotations": annotations}
            self.server.save(DEPLOYMENTS, {**target, "metadata": metadata})

    def _is_saved(self, target: Document) -> bool:
        """Whether the Escalation says what the target carries: before that nothing else does, and the lock has to."""
        text = target["metadata"].get("annotations", {}).get(ANNOTATION_CONTAINMENT)
        hold = json.loads(text) if text else {}
        found = self.server.find(ESCALATIONS, hold.get("escalation", ""))
        return "intent" not in hold or hold["intent"]["id"] in [i["id"] for i in (intents(found) if found else ())]

    def refuse(self, status: int) -> None:
        """Admission refuses everything on the target, for good or (0) no more."""
        self.server.refuses = _refusal(status) if status else None

    def refuse_trail(self, what: str, status: int) -> None:
        """A quota, a policy or a missing permission refuses records or statuses, for a while or (0) no more."""
        self.server.refuses_trail = {what: _refusal(status)} if status else {}

    def erase(self) -> None:
        """Somebody deletes the newest escalation."""
        found = self.server.all(ESCALATIONS)
        if found:
            self.server.delete(ESCALATIONS, found[-1]["metadata"]["name"])

    def deploy(self, version: int) -> None:
        self._change(DEPLOYMENTS, lambda spec: spec.update(template=template(version)))

    def prune(self) -> None:
        """The history is cut down to the revision in place."""
        if (target := self.server.find(DEPLOYMENTS, KEY.name)) is not None:
            keep = hash_of(target["spec"]["template"])
            for old in self.server.all(REPLICASETS):
                if not old["metadata"]["name"].endswith(keep):
                    self.server.delete(REPLICASETS, old["metadata"]["name"])

    def ladder(self, what: str) -> None:
        match what:
            case "delete":
                self.server.delete(LADDERS, "credit")
                return
            case "suspend":
                self._ladder["suspended"] = True
            case "act":
                self._ladder["suspended"] = False
            case "loosen":
                self._ladder["tiers"][1]["triggers"][0]["above"] = 0.9
            case "tighten":
                self._ladder["tiers"][1]["triggers"][0]["above"] = 0.2
        self._put_ladder()

    def vote(self, who: str, action: str, role: str, **more: Any) -> None:
        """Somebody decides on the newest escalation."""
        found = self.server.all(ESCALATIONS)
        if found:
            self.votes += 1
            name = found[-1]["metadata"]["name"]
            spec = {"escalation": name, "action": action, "role": role, "rationale": "I have looked at it", **more}
            if action == "AcceptRisk":
                spec["until"] = format_time((self.now + timedelta(hours=1)).replace(microsecond=0))
            self.server.decide(f"d{self.votes}", spec, who, format_time(self.now.replace(microsecond=0)))

    def agree(self, action: str, **more: Any) -> None:
        """Both roles are of one mind."""
        self.vote("ann", action, "legal", **more)
        self.vote("ben", action, "model-risk", **more)

    def prove(self, on: bool) -> None:
        """The policy that proves who decides goes, or is put in force from now on."""
        if on and not self.server.admission:
            self.server.put_policy(format_time(self.now.replace(microsecond=0)))
        elif not on:
            self.server.admission.clear()
            self.server.revoked = True

    def answer_too_early(self, name: str) -> None:
        """An operator of an older version says that a decision was counted, and dies before anything else says so."""
        decision = self.server.find(DECISIONS, name)
        assert decision is not None
        accepted = {"type": "Accepted", "status": "True", "reason": "Objected", "message": "it was counted"}
        since = {"lastTransitionTime": format_time(self.now), "observedGeneration": 1}
        self.server.save(DECISIONS, {**decision, "status": {"conditions": [accepted | since]}})

    def age_answers(self) -> None:
        """All answers are as an older version gave them."""
        for decision in self.server.all(DECISIONS):
            status = {key: value for key, value in decision["status"].items() if key != "escalationUid"}
            self.server.save(DECISIONS, {**decision, "status": status})

    def bar(self, who: str) -> None:
        """Somebody loses every role."""
        self.server.barred.add(who)
        self.server.revoked = True

    def withdraw(self, name: str) -> None:
        self.server.delete(SIGNALS, name)

    def delete(self) -> None:
        for resource in (DEPLOYMENTS, REPLICASETS, PODS):
            for obj in self.server.all(resource):
                self.server.delete(resource, obj["metadata"]["name"])

    def create(self, version: int) -> None:
        if self.server.find(DEPLOYMENTS, KEY.name) is None:
            fresh = deployment_object(version)
            fresh["metadata"] = {key: fresh["metadata"][key] for key in ("name", "labels")}
            self.server.save(DEPLOYMENTS, fresh)

    def jump(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)
        self.latest = max(self.latest, self.now)

    def roll_out(self, *, finish: bool = True) -> None:
        """The Deployment controller makes the ReplicaSet and, when it finishes, nothing but its pods is left."""
        target = self.server.find(DEPLOYMENTS, KEY.name)
        if target is None:
            return
        uid, version = target["metadata"]["uid"], int(hash_of(target["spec"]["template"]).removeprefix("hash"))
        annotation = "deployment.kubernetes.io/revision"
        numbers = {
            r["metadata"]["name"]: int(r["metadata"]["annotations"][annotation]) for r in self.server.all(REPLICASETS)
        }
        newest = max(numbers.values(), default=0)
        is_newest = newest and numbers.get(f"scorer-hash{version}") == newest
        number = newest if is_newest else newest + 1
        self.server.save(REPLICASETS, replicaset_object(version, number, owner=uid))
        wanted = target["spec"]["replicas"]
        status = {"observedGeneration": target["metadata"]["generation"], "replicas": wanted, "updatedReplicas": wanted}
        if not finish:
            status |= {"replicas": len(self.server.all(PODS)), "updatedReplicas": 0}
        self.server.save(DEPLOYMENTS, {**target, "status": status}, by="controller")
        if finish:
            self._run_pods(uid, version, wanted)

    def _run_pods(self, uid: str, version: int, wanted: int) -> None:
        owner = f"{uid}/hash{version}"
        running = self.server.all(PODS)
        kept = [p for p in running if p["metadata"]["ownerReferences"][0]["uid"] == owner][:wanted]
        for pod in running:
            if pod not in kept:
                self.server.delete(PODS, pod["metadata"]["name"])
        for _ in range(wanted - len(kept)):
            self._pods += 1
            self.server.save(PODS, pod_object(f"pod-{self._pods}", version, owner=uid))

    def _put_ladder(self) -> None:
        before = self.server.find(LADDERS, "credit") or {"metadata": {"name": "credit"}}
        self.server.save(LADDERS, {**before, "spec": copy.deepcopy(self._ladder)})
        if self._second is not None and self.server.find(LADDERS, SECOND) is None:
            self.server.save(LADDERS, {"metadata": {"name": SECOND}, "spec": copy.deepcopy(self._second)})

    def _change(self, resource: Any, edit: Callable[[Document], object]) -> None:
        target = self.server.find(resource, KEY.name)
        if target is not None:
            self.server.save(resource, {**target, "spec": edited(target["spec"], edit)})

    def target(self) -> Document:
        found = self.server.find(DEPLOYMENTS, KEY.name)
        assert found is not None
        return found

    def events(self) -> list[str]:
        """Return what is on record, in order."""
        return [record["spec"]["event"] for record in said(self.server.all(RECORDS))]

    # --- When all faults have ended -------------------------------------------------------------------------------

    def run_until_idle(self) -> None:
        """Everything is delivered and nobody dies: after some rounds nothing is left to write (invariant 9)."""
        self.refuse(0)
        self.refuse_trail("", 0)
        self.now = max(self.now, self.newest)
        quiet = 0
        for _ in range(QUIET_WITHIN):
            before = self.server.revision
            for operator in self.operators:
                operator.deliver(*CACHED)
                operator.finish()
                self.roll_out()
            self.now += timedelta(seconds=2)
            quiet = quiet + 1 if self.server.revision == before else 0
            if quiet == 3:
                return
        raise AssertionError("invariant 9: it never comes to rest")

    def check(self, *, breached: bool) -> None:
        """Invariant 1: what stands is contained; and its trail is complete."""
        target = self.server.find(DEPLOYMENTS, KEY.name)
        is_open = [e for e in self.server.all(ESCALATIONS) if not condition(e, "Closed").startswith("True")]
        ours = [e for e in is_open if target and e["spec"]["target"]["uid"] == target["metadata"]["uid"]]
        suspended = self._ladder.get("suspended", False)
        until = [e.get("status", {}).get("riskAcceptance", {}).get("until", "") for e in self.server.all(ESCALATIONS)]
        accepted = max(until, default="") > format_time(self.now)
        if target is not None and breached and not suspended and not accepted:
            assert [e for e in ours if intents(e)], "invariant 1: a containing breach stands, no intent"
        ladders = [e["spec"]["ladder"]["name"] for e in ours]
        assert len(ladders) == len(set(ladders)), "one open escalation for each target and ladder"
        in_force = [e for e in ours if any(i["id"] > resumed(e) for i in intents(e))]
        for escalation in ours:
            known, acts = intents(escalation), not suspended or escalation["spec"]["ladder"]["name"] == SECOND
            if target is None or not known:
                continue
            by = target["metadata"]["labels"].get(LABEL_CONTAINED_BY)
            if known[-1]["id"] > resumed(escalation):
                if not acts:
                    continue
                for intent in known:
                    if intent["id"] > resumed(escalation):
                        self._is_contained(escalation, intent, target)
                holders = [e["metadata"]["name"] for e in in_force]
                assert by in holders or "targetRef" in known[-1], "contained, and not held"
            else:
                assert by != escalation["metadata"]["name"], "resumed, and still held"
                assert escalation["status"]["resume"].get("appliedAt"), "resumed, and never restored"
                assert condition(escalation, "Contained").startswith("False")
        self._is_indexed(target)
        self._is_judged()
        problems = [result.error for result in verify_chains(self.server.all(RECORDS)) if not result.intact]
        assert not problems

    def _is_indexed(self, target: Document | None) -> None:
        """Check that the index lists what is contained on the workload itself, and nothing else."""
        indexes = [found["spec"]["targets"] for found in self.server.all(INDEXES)]
        listed = {entry["escalation"] for targets in indexes for entry in targets.values()}
        locked = {
            e["metadata"]["name"]
            for e in self.server.all(ESCALATIONS)
            if "riskladder.dev/containment" in e["metadata"]["labels"]
            and not condition(e, "Closed").startswith("True")
            and any(i["action"] in ("ScaleToZero", "Rollback") and i["id"] > resumed(e) for i in intents(e))
        }
        assert listed <= locked, "the index lists what is not contained"
        assert bool(listed) == bool(locked), "the index does not list what is contained"

    def _is_judged(self) -> None:
        """Every decision was judged, is on record once, and says what its escalation and the record say."""
        escalations = {e["metadata"]["name"]: e for e in self.server.all(ESCALATIONS)}
        records = [r["spec"] for r in said(self.server.all(RECORDS))]
        for decision in self.server.all(DECISIONS):
            uid, about = decision["metadata"]["uid"], escalations[decision["spec"]["escalation"]]
            verdict = condition(decision, "Accepted")
            assert verdict, f"never judged: {decision['spec']}"
            key = f"{about['metadata']['uid']}/decision/{uid}"
            mine = [record["event"] for record in records if record["detail"]["key"] == key]
            listed = [d for d in about["status"]["decisions"] if d["uid"] == uid]
            if (decision["spec"]["action"], verdict) == ("Acknowledge", "False AlreadyCounted"):
                assert not listed, "said over again, it takes a place"
                continue
            if decision["spec"]["action"] == "Comment" and len(mine) == 1 and not listed:
                continue  # so many were made since that it is left to the records
            most = 2 if self.server.revoked else 1
            assert len(listed) == 1 <= len(mine) <= most, f"on record as {mine}, listed as {listed}"
            assert verdict.startswith("True") == listed[0]["counted"] == (mine[-1] != "DecisionRefused")
            assert not listed[0]["counted"] or uid in self.server.proved, "counted, and nothing proves who decided"

    def stopped(self) -> None:
        """It is at zero by now, whatever is refused."""
        assert self.target()["spec"]["replicas"] == 0, "not stopped"

    def _is_contained(self, escalation: Document, intent: Document, target: Document) -> None:
        if intent["action"] == "Rollback":
            assert hash_of(target["spec"]["template"]) == intent["podTemplateHash"], "invariant 1: not rolled back"
        else:
            assert target["spec"]["replicas"] == 0, "invariant 1: not at zero"
        assert condition(escalation, "Contained").startswith("True"), "contained, and its status does not say so"
        uid = escalation["metadata"]["uid"]
        keys = [r["spec"]["detail"]["key"].removeprefix(f"{uid}/") for r in said(self.server.all(RECORDS))]
        assert keys.count("opened") == 1
        assert f"contained/{intent['id']}" in keys
        if intent["reason"] not in ("AlreadyAtZero", "AlreadyContained"):
            assert f"applied/{intent['id']}" in keys


def _refusal(status: int) -> Callable[..., ApiError]:
    """Return what makes the error by which something is refused."""
    errors = {422: (Refused, "Invalid"), 403: (Forbidden, "Forbidden"), 500: (ApiError, "InternalError")}
    kind, reason = errors[status]
    return lambda **about: kind(status, reason, "denied by a policy", **about)


async def _one_after_the_other(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """In place of asyncio.gather: nothing runs concurrently."""
    try:
        return [await part for part in work]
    finally:
        for part in work:
            part.close()


def condition(obj: Document, kind: str) -> str:
    found = [c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == kind]
    return f"{found[0]['status']} {found[0]['reason']}" if found else ""


def simulate(policy: str, steps: Sequence[Step], *, breached: bool, stands: bool = False) -> SimulatedCluster:
    """Let it happen, let all faults end, and check.

    Args:
        policy: Name of one of POLICIES.
        steps: What happens: names of methods of SimulatedCluster, with their arguments.
        breached: Whether a containing breach is reported in the end.
        stands: Whether a containing breach stands anyway.
    """

    def now() -> Any:
        return world.now

    with (
        mock.patch.object(reconciler, "Scheduler", Queue),
        mock.patch.object(reconciler, "utcnow", new=now),
        mock.patch.object(signals, "validate", return_value=[]),
        mock.patch.object(reading, "validate", return_value=[]),
        mock.patch.object(people, "asyncio", SimpleNamespace(gather=_one_after_the_other)),
        capture_logs(),
    ):
        world = SimulatedCluster(policy)
        for name, *arguments in steps:
            more = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
            getattr(world, name)(*arguments, **more)
        if world.votes:
            world.now = max(world.now, world.latest)
            world.run_until_idle()  # what was decided is judged before anything more is known
        if breached:
            world.ladder("act")
            world.now = max(world.now, world.newest) + timedelta(minutes=1)
            world.read("a", 0.95, 0)
            world.create(2)
        world.run_until_idle()
        world.check(breached=breached or stands)
        before = world.server.revision
        for operator in world.operators:  # everything is notified once more
            operator.deliver(*CACHED)
            operator.finish()
        assert world.server.revision == before, "invariant 9: a write, and nothing has changed"
    return world
