"""Small real objects for unit tests: written as the YAML a user writes, read by the models the operator uses."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonpatch
import yaml

from riskladder.api.base import format_time
from riskladder.api.chain import digest
from riskladder.api.conditions import Condition, find
from riskladder.api.decision import DecisionStatus, EscalationDecisionSpec
from riskladder.api.escalation import EscalationStatus, LedgerHead
from riskladder.api.hold import write_hold
from riskladder.api.intent import Intent
from riskladder.api.labels import ANNOTATION_CONTAINMENT, LABEL_CONTAINED_BY, LABEL_LOCK
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.reasons import ConditionType
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus
from riskladder.policy.containment.holds import with_holds
from riskladder.policy.decide import decide
from riskladder.policy.plan import Effect, Entry, EscalationUpdate, NewEscalation, Phase, Plan, Stop
from riskladder.policy.snapshot import (
    Decision,
    Delivery,
    Escalation,
    Ladder,
    PolicyInForce,
    Signal,
    Snapshot,
    Stamps,
    TargetKey,
    breached_by,
    handled_by,
    latest,
)
from riskladder.workloads.companions import keda
from riskladder.workloads.companions.suspend import Companion
from riskladder.workloads.holding import Carried, read_carried
from riskladder.workloads.model import Pod, Workload
from riskladder.workloads.runtimes import deployment
from riskladder.workloads.runtimes.deployment import DEPLOYMENT
from riskladder.workloads.runtimes.replicas import read_pod

Document = dict[str, Any]
Edit = Callable[[Document], object]

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NAMESPACE = "models"
KEY = TargetKey(NAMESPACE, "Deployment", "scorer")
LABELS = {"ladder": "credit"}

LADDER = yaml.safe_load("""
charter: {owner: model-risk}
governs: {selector: {matchLabels: {ladder: credit}}}
stakeholders: [{role: model-risk}, {role: legal}]
indicators:
- {name: bias, staleAfter: 24h, whenStale: moderate}
- {name: drift}
tiers:
- name: moderate
  triggers:
  - {indicator: bias, above: 0.1, readings: 2, clearsAt: 0.08}
  - {indicator: drift, above: 0.2}
  acknowledge: {within: 30m}
  decide: {within: 24h, quorum: [{role: model-risk}]}
  closesWhen: {for: 1h}
- name: high
  triggers: [{indicator: bias, above: 0.2}]
  decide: {within: 1h, quorum: [{role: legal}]}
  containment: {action: ScaleToZero}
""")
"""Bias 0.15 twice is moderate, 0.3 is high and contains; drift 0.3 is moderate."""


def at(minutes: float = 0, *, seconds: float = 0) -> datetime:
    """So long after NOW."""
    return NOW + timedelta(minutes=minutes, seconds=seconds)


def edited(document: Document, edit: Edit | None) -> Document:
    """A copy, changed in place by ``edit``."""
    document = copy.deepcopy(document)
    if edit is not None:
        edit(document)
    return document


def contain_by(action: str, **more: Any) -> Edit:
    """The edit of a ladder that makes tier high contain so."""
    return lambda spec: spec["tiers"][1]["containment"].update(action=action, **more)


def ladder(edit: Edit | None = None, *, name: str = "credit", generation: int = 1, uid: str = "") -> Ladder:
    """LADDER, or an edited form of it."""
    spec = EscalationLadderSpec.model_validate(edited(LADDER, edit))
    return Ladder(NAMESPACE, name, uid or f"{name}-uid", generation, digest(spec.to_api()), spec)


def signal_document(
    *, at: datetime = NOW, source: str = "monitor", ladder: str = "credit", manual: str = "", **readings: float
) -> Document:
    """The spec of a signal."""
    spec: Document = {"ladder": ladder, "target": {"kind": KEY.kind, "name": KEY.name}, "source": source}
    spec["observedAt"] = format_time(at)
    if manual:
        spec["manual"] = {"tier": manual, "rationale": "it answers nonsense"}
    else:
        spec["readings"] = [{"indicator": name, "value": value} for name, value in readings.items()]
    return spec


def signal(
    name: str = "fairness",
    *,
    status: SignalStatus | None = None,
    generation: int = 1,
    drill: bool = False,
    **document: Any,
) -> Signal:
    """A signal, by default of bias at NOW; see ``signal_document``."""
    spec = ModelRiskSignalSpec.model_validate({**signal_document(**document), "drill": drill})
    return Signal(NAMESPACE, name, f"{name}-uid", generation, status or SignalStatus(), spec)


# --- Workloads --------------------------------------------------------------------------------------------------------


def template(version: int) -> Document:
    """The pod template of one version of the model."""
    containers = [{"name": "server", "image": f"scorer:{version}"}]
    return {"metadata": {"labels": {"app": "scorer"}}, "spec": {"containers": containers}}


def deployment_object(version: int = 2, replicas: int = 3, **metadata: Any) -> Document:
    """A Deployment that has been rolled out."""
    about = {"namespace": NAMESPACE, "name": KEY.name, "uid": "target-uid", "resourceVersion": "1", "generation": 1}
    return {
        "metadata": {**about, "labels": dict(LABELS), **metadata},
        "spec": {"replicas": replicas, "template": template(version)},
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "availableReplicas": replicas,
        },
    }


def replicaset_object(version: int, number: int, *, owner: str = "target-uid", replicas: int = 0) -> Document:
    """The ReplicaSet of one version."""
    with_hash = template(version)
    with_hash["metadata"]["labels"] |= {deployment.HASH_LABEL: f"hash{version}"}
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": f"scorer-hash{version}",
            "uid": f"{owner}/hash{version}",
            "resourceVersion": "1",
            "labels": {deployment.HASH_LABEL: f"hash{version}"},
            "annotations": {deployment.REVISION_ANNOTATION: str(number)},
            "ownerReferences": [{"kind": "Deployment", "uid": owner, "controller": True}],
        },
        "spec": {"template": with_hash},
        "status": {"replicas": replicas},
    }


def pod_object(name: str, version: int, *, owner: str = "target-uid", phase: str = "Running") -> Document:
    """A pod of one version."""
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": name,
            "uid": f"{name}-uid",
            "resourceVersion": "1",
            "ownerReferences": [{"kind": "ReplicaSet", "uid": f"{owner}/hash{version}", "controller": True}],
        },
        "spec": template(version)["spec"],
        "status": {"phase": phase, "containerStatuses": [{"name": "server", "imageID": f"scorer@sha256:{version}"}]},
    }


def workload(
    version: int = 2, replicas: int = 3, *, history: Sequence[int] = (1, 2), pods: int | None = None, **changes: Any
) -> Workload:
    """A Deployment of that version with the ReplicaSets of ``history`` (version by version) and its pods."""
    running = replicas if pods is None else pods
    facts = DEPLOYMENT.read(deployment_object(version, replicas))
    revisions = tuple(deployment.read_replicaset(replicaset_object(v, n)) for n, v in enumerate(history, start=1))
    joined = replace(
        facts,
        revisions=revisions,
        pods=tuple(read_pod(pod_object(f"pod-{n}", version)) for n in range(running)),
        ready_endpoints=running,
        total_replicas=running,
        updated_replicas=running,
        template_since=NOW - timedelta(days=1),
    )
    return replace(joined, **changes)


# --- A scene: one target whose plans are carried out without a fault --------------------------------------------------


PROVED = PolicyInForce(since=NOW - timedelta(days=1))


def _has_messages(escalation: Escalation) -> bool:
    return any(n.is_outstanding for n in escalation.status.notifications)


@dataclass
class Scene:
    """The objects about one target, and what an operator that meets no fault makes of them."""

    signals: Sequence[Signal] = ()
    target: Workload | None = field(default_factory=workload)
    ladders: Sequence[Ladder] = field(default_factory=lambda: [ladder()])
    now: datetime = NOW
    escalations: list[Escalation] = field(default_factory=list)
    stamps: dict[tuple[str, int], Stamps] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    """All that has been written to the trail."""
    decisions: list[Decision] = field(default_factory=list)
    proof: PolicyInForce = PROVED
    deliveries: dict[tuple[str, str], Delivery] = field(default_factory=dict)
    rehearsals: dict[tuple[str, int], tuple[datetime, str]] = field(default_factory=dict)
    applied: dict[tuple[str, int], datetime] = field(default_factory=dict)
    """By escalation and intent: when it was contained."""
    companions: dict[tuple[str, str], Companion] = field(default_factory=dict)
    clock_error: timedelta = timedelta()
    """By how much the operator's clock is ahead of the API server's."""
    strays: tuple[str, ...] | None = ()
    """Pods that the target left behind, where it is gone."""
    listed: tuple[str, ...] = ()
    """Pods that it has made and left behind, and that a Service lists, where it is gone."""
    unconfirmed: tuple[Pod, ...] = ()
    """Pods of it that vanished without the word of their node, where it is gone."""
    switched: list[tuple[str, bool]] = field(default_factory=list)
    """Companion workloads that were suspended or resumed, in order."""

    def snapshot(self) -> Snapshot:
        """Return what an operator sees."""
        over = [e for e in self.escalations if not e.is_open and self.target and e.spec.target.uid == self.target.uid]
        closed = [e for e in over if not e.spec.drill]
        pending = [d for d in self.decisions if find(d.status.conditions, ConditionType.ACCEPTED) is None]
        return Snapshot(
            key=KEY,
            target=self.target,
            ladders={item.name: item for item in self.ladders},
            signals=tuple(self.signals),
            escalations=tuple(e for e in self.escalations if e.is_open or _has_messages(e)),
            last_closed={e.spec.ladder.name: e.uid for e in closed},
            stamps=dict(self.stamps),
            handled=latest(one for e in self.escalations if not e.is_open for one in handled_by(e)),
            closed=frozenset(e.name for e in over),
            breached=frozenset(h for e in over for h in breached_by(e)),
            decisions={
                e.name: tuple(d for d in pending if d.spec.escalation == e.name) for e in self.escalations if e.is_open
            },
            proof=self.proof,
            deliveries=self.deliveries,
            rehearsals=self.rehearsals,
            companions=self.companions,
            strays=self.target.strays if self.target is not None else self.strays,
            listed=self.target.listed if self.target is not None else self.listed,
            unconfirmed=self.target.unconfirmed if self.target is not None else self.unconfirmed,
            clock_error=self.clock_error,
        )

    def decide(self, action: str, role: str, by: str = "", **more: Any) -> Decision:
        """Somebody decides on the newest escalation, in that role (as a person of the same name, unless given).

        ``on`` names another escalation.
        """
        number = len(self.decisions) + 1
        spec = {
            "escalation": more.get("on") or self.escalation.name,
            "action": action,
            "role": role,
            "rationale": "I have looked at it",
            "decidedBy": {"username": by or f"{role}@bank.example"},
            **{key: value for key, value in more.items() if key not in ("authorized", "created", "on")},
        }
        self.decisions.append(
            Decision(
                namespace=NAMESPACE,
                name=f"d{number}",
                uid=f"d{number}-uid",
                generation=1,
                created=more.get("created", self.now.replace(microsecond=0)),
                spec=EscalationDecisionSpec.model_validate(spec),
                status=DecisionStatus(),
                authorized=more.get("authorized", True),
            )
        )
        self.run()
        return self.decisions[number - 1]

    def verdict(self, decision: Decision) -> tuple[str, str]:
        """Status and reason of a decision's condition Accepted."""
        current = next(d for d in self.decisions if d.name == decision.name)
        found = find(current.status.conditions, ConditionType.ACCEPTED)
        return (str(found.status), found.reason) if found else ("", "")

    def deliver(
        self, *channels: str, error: str = "", given_up: bool = False, receipts: tuple[str, ...] = ()
    ) -> list[str]:
        """The outbox tries what is outstanding (over these channels, or all); the keys that it tried."""
        tried = []
        for escalation in self.escalations:
            for n in escalation.status.notifications:
                if n.is_outstanding and (not channels or n.channel in channels):
                    delivery = Delivery(n.attempts + 1, self.now, error, given_up, receipts)
                    self.deliveries[(escalation.uid, n.key)] = delivery
                    tried.append(n.key)
        self.run()
        return tried

    def pending(self) -> list[str]:
        """Keys of what is in the outbox of the newest escalation."""
        return [n.key for n in self.escalation.status.notifications if str(n.state) == "Pending"]

    def known(self) -> Snapshot:
        """Return what an operator sees, with what objects carry."""
        return with_holds(self.snapshot())

    def plan(self) -> Plan:
        """Return what it decides."""
        return decide(self.snapshot(), self.now)

    def run(self, *, passes: int = 10) -> list[Plan]:
        """Carry plans out until there is nothing to write; the plans that had something."""
        done = []
        for _ in range(passes):
            plan = self.plan()
            if not plan.urgent and not plan.has_trail:
                return done
            done.append(plan)
            self.carry_out(plan)
        raise AssertionError(f"not quiet after {passes} passes: {done[-1]}")

    def carry_out(self, plan: Plan) -> None:
        """All writes of a plan."""
        if plan.opening is not None:
            self.escalations.append(stored(plan.opening, uid=f"esc-{len(self.escalations) + 1}"))
            self._stamp(self.escalation)
        if plan.noted is not None:
            self._replace(written(plan.noted))
            self._stamp(self.escalation)
        if plan.stop is not None:
            self.act(plan.stop)
        for update in plan.escalations:
            self.entries.extend(update.entries)
            self._replace(written(update))
        for said in plan.decisions:
            judged = replace(said.decision, status=said.status)
            self.decisions = [judged if d.uid == judged.uid else d for d in self.decisions]
        for effect in plan.effects:
            self.effect(effect)
        for update in plan.signals:
            self.entries.extend(update.entries)
            mine = {s.name: s for s in self.signals} | {
                update.signal.name: replace(update.signal, status=update.status)
            }
            self.signals = list(mine.values())

    def effect(self, effect: Effect) -> None:
        """One further write: its patch is applied to what the scene has of the object."""
        match effect.phase:
            case Phase.RESTORE if effect.on_target:
                scaled_by(self, int(set_to(effect, "/spec/replicas")), "riskladder")
            case Phase.COMPANION:
                seen = self.companions[effect.resource.kind, effect.name]
                suspended = suspends(effect)
                self.companions[seen.kind, seen.name] = replace(seen, suspended=suspended)
                self.switched.append((seen.name, suspended))
            case Phase.REHEARSE:
                drill = next(e for e in self.escalations if e.name == effect.escalation)
                self.rehearsals[drill.uid, effect.intent] = (self.now, effect.impossible)
            case Phase.UPKEEP:
                self._carry(effect)

    def act(self, act: Stop) -> None:
        """The containment, proved at once."""
        assert self.target is not None
        if act.revision is not None:
            version = int(act.revision.hash.removeprefix("hash"))
            fresh = workload(version, self.target.replicas, uid=self.target.uid, labels=self.target.labels)
            at = self.target.generation
            self.target = replace(fresh, revisions=self.target.revisions, generation=at, observed_generation=at)
        else:
            self.target = replace(
                self.target, replicas=0, total_replicas=0, updated_replicas=0, pods=(), ready_endpoints=0
            )
        self.hold(act)

    def hold(self, act: Stop) -> None:
        """The target carries the hold of a containment."""
        assert self.target is not None
        assert act.hold is not None
        self.applied.setdefault((act.hold.escalation, act.intent.id), self.now)
        text = write_hold(act.hold.model_copy(update={"uid": self.target.uid}))
        if act.intent.target_ref is None:
            self.target = replace(self.target, carried=Carried(act.hold.escalation, act.lock, text))
        for escalation in self.snapshot().open:
            self._stamp(escalation)

    def intend(self) -> None:
        """Save what is intended and no more: so it is where the API server refuses what contains."""
        plan = decide(replace(self.snapshot(), obstacle="refused"), self.now)
        assert plan.opens
        assert plan.stop is None
        self.carry_out(plan)

    def acted(self) -> Plan:
        """Contain, and return what is to be saved of that."""
        self.carry_out(self.plan())
        plan = self.plan()
        assert plan.opens
        return plan

    def raised(self) -> Intent:
        """Contain for a further intent of the newest escalation, and return that."""
        self.carry_out(self.plan())
        return self.known().escalations[-1].intents[-1]

    def _stamp(self, escalation: Escalation) -> None:
        """Pass on when it was contained to the escalation that says so."""
        for intent in next(e for e in self.known().escalations if e.uid == escalation.uid).intents:
            if (at := self.applied.get((escalation.name, intent.id))) is not None:
                self.stamps.setdefault((escalation.uid, intent.id), Stamps(applied_at=at))

    def _carry(self, write: Effect) -> None:
        """A hold is written on the target, or removed from it."""
        assert self.target is not None
        about = {"uid": self.target.uid, "resourceVersion": self.target.resource_version}
        metadata = about | carrying(self.target.labels, self.target.carried)
        after = jsonpatch.apply_patch({"metadata": metadata}, json.loads(json.dumps(write.body)))
        self.target = replace(self.target, carried=read_carried(after["metadata"]))

    def _replace(self, escalation: Escalation) -> None:
        self.escalations = [escalation if e.uid == escalation.uid else e for e in self.escalations]

    @property
    def escalation(self) -> Escalation:
        """The newest escalation."""
        return self.escalations[-1]

    def events(self) -> list[str]:
        """Reasons of everything recorded, in order."""
        return [str(entry.event) for entry in self.entries if entry.recorded]

    def trail(self) -> list[str]:
        """Keys of everything recorded, in order."""
        return [entry.key for entry in self.entries if entry.recorded]

    def under(self, name: str) -> Escalation:
        """The newest escalation of that ladder."""
        return next(e for e in reversed(self.escalations) if e.spec.ladder.name == name)

    def condition(self, kind: ConditionType, of: Escalation | None = None) -> Condition:
        """A condition of an escalation, by default the newest."""
        found = find((of or self.escalation).status.conditions, kind)
        assert found is not None, f"{kind} is missing"
        return found

    def reason(self, kind: ConditionType, of: Escalation | None = None) -> tuple[str, str]:
        """Its status and reason."""
        found = self.condition(kind, of)
        return str(found.status), found.reason


def carrying(labels: Mapping[str, str], carried: Carried) -> Document:
    """The labels and annotations of an object that carries this."""
    ours = {LABEL_CONTAINED_BY: carried.by, LABEL_LOCK: carried.lock}
    text = {ANNOTATION_CONTAINMENT: carried.text} if carried.text else {}
    return {"labels": {**labels, **{k: v for k, v in ours.items() if v}}, "annotations": {"a": "b", **text}}


def contained(*, action: str = "ScaleToZero", **more: object) -> Scene:
    """A model that is contained, with a complete trail."""
    scene = Scene([signal(bias=0.3)], ladders=[ladder(contain_by(action, **more))])
    scene.run()
    return scene


def scaled_by(scene: Scene, replicas: int, manager: str = "hpa") -> None:
    """Somebody sets the replicas, and pods come up."""
    assert scene.target is not None
    fresh = workload(replicas=replicas, uid=scene.target.uid, labels=scene.target.labels)
    scene.target = replace(fresh, generation=9, observed_generation=9, replicas_set_by=manager)


def set_to(effect: Effect, path: str) -> Any:
    """Return what a patch puts at that path."""
    return next(step["value"] for step in effect.body if step["op"] != "test" and step["path"] == path)


def suspends(effect: Effect) -> bool:
    """Return whether the patch of a companion workload suspends it, or lets it run."""
    value = effect.body[-1].get("value")
    return value is True or value == keda.PAUSED or value == {keda.ANNOTATION: keda.PAUSED}


def stored(opening: NewEscalation, uid: str = "esc-1") -> Escalation:
    """The escalation as it is after the opening has been written."""
    return Escalation(opening.namespace, opening.name, uid, 1, opening.labels, opening.spec, EscalationStatus())


def written(update: EscalationUpdate) -> Escalation:
    """The escalation as it is after its trail has been written."""
    before = update.escalation
    head = before.status.ledger or LedgerHead(sequence=0, hash="0" * 64)
    head = LedgerHead(sequence=head.sequence + sum(e.recorded for e in update.entries), hash=head.hash)
    labels: dict[str, str | None] = {**before.labels, **(update.labels or {})}
    kept = {key: value for key, value in labels.items() if value is not None}
    return replace(before, status=update.status.model_copy(update={"ledger": head}), labels=kept, unsaved=())


def recorded(entries: Iterable[Entry], key: str) -> Entry:
    """The entry of that key."""
    return next(entry for entry in entries if entry.key == key)
