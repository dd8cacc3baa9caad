"""What the operator has seen of containments since it started: times and obstacles, never the only copy of a fact."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from riskladder.api.decision import DecisionAction
from riskladder.api.escalation import CountedDecision, PinnedPolicy
from riskladder.api.hold import Hold
from riskladder.api.intent import Intent
from riskladder.api.tiers import ContainmentAction
from riskladder.controller.caches.endpoints import Name
from riskladder.controller.caches.store import Store
from riskladder.controller.metrics import Metrics
from riskladder.policy.containment import state
from riskladder.policy.containment.holds import with_holds
from riskladder.policy.plan import Stop
from riskladder.policy.snapshot import Escalation, Snapshot, Stamps, TargetKey

CONTENTION_FREE, CONTENTION_LONGEST, CONTENTION_MEMORY = 3, 15.0, 60.0
"""How often within CONTENTION_MEMORY seconds a containment is re-applied at once; then each wait is twice the one
before, up to CONTENTION_LONGEST seconds."""

OBSTACLE_LIMIT = 1000
"""Characters that are kept of what refuses a write."""


@dataclass(slots=True)
class Reverted:
    """A containment that somebody reverted and that was re-applied, still to be recorded."""

    escalation: str
    intent: Intent
    by: str
    at: datetime


@dataclass(slots=True)
class Pending:
    """A containment write that the API server has acknowledged, until an Escalation says so."""

    hold: Hold
    policy: PinnedPolicy | None
    stamps: Stamps
    namespace_uid: str = ""
    """Of the namespace, where the Escalation could not be created at once; later it may be another one."""


@dataclass(frozen=True, slots=True)
class Unsaved:
    """An Escalation that could not be saved the last time: its ladder, and why."""

    ladder: Name
    why: str


@dataclass(slots=True)
class ObservedTarget:
    """All that is in memory of one target: what is forgotten of it is forgotten with this."""

    changed_at: datetime | None = None
    """When the change that led to a containment was seen."""
    obstacle: str = ""
    """Why it could not be written the last time, where trying again at once is of no use."""
    unsaved: Unsaved | None = None
    pending: Pending | None = None
    reverted: list[Reverted] = field(default_factory=list)
    """What is still to be recorded, oldest first."""
    reapplied: list[float] = field(default_factory=list)
    """When containments were re-applied recently (monotonic)."""

    def recently_reapplied(self) -> list[float]:
        """Return those of the last CONTENTION_MEMORY seconds, oldest first, and forget the others."""
        if self.reapplied:
            now = time.monotonic()
            self.reapplied = [at for at in self.reapplied if now - at < CONTENTION_MEMORY]
        return self.reapplied

    def is_empty(self) -> bool:
        """Return whether nothing is known of it that is of any use."""
        refusals = self.obstacle or self.unsaved
        return not (refusals or self.changed_at or self.pending or self.reverted or self.recently_reapplied())


@dataclass(slots=True)
class ObservedEscalation:
    """All that is in memory of one escalation, as a whole or by the number of an intent."""

    stamps: dict[int, Stamps] = field(default_factory=dict)
    """When each stage of a containment was seen complete."""
    rehearsals: dict[int, tuple[datetime, str]] = field(default_factory=dict)
    """What became of the containments of a drill as dry runs, until that is written."""
    unwritten: str = ""
    """Why its records or its status could not be written the last time."""
    pressed: tuple[CountedDecision, ...] = ()
    """Decisions to stop the model, of which the record or the status was refused."""
    is_just_pressed: bool = False
    """Whether one of those is new since that was asked for."""


class Observations:
    """What is in memory of each target and of each escalation, and joins a snapshot."""

    def __init__(
        self, store: Store, metrics: Metrics, *, now: Callable[[], datetime], refusing: Callable[[str], None]
    ) -> None:
        """Start without having seen anything.

        Args:
            store: Says which escalations there are.
            metrics: Takes the times.
            now: Returns the current time, UTC.
            refusing: Is called with a namespace whenever something else of the trail is refused there, or nothing more.
        """
        self._refusing = refusing
        self._targets: dict[TargetKey, ObservedTarget] = {}
        self._store = store
        self._metrics = metrics
        self._now = now
        self._escalations: dict[str, ObservedEscalation] = {}
        """By uid."""
        self._late: dict[Name, str] = {}
        """By escalation that is closed: why what was decided on it since could not be written the last time."""

    def _of(self, key: TargetKey) -> ObservedTarget:
        """Return what is noted of a target, to note more."""
        if (known := self._targets.get(key)) is None:
            known = self._targets[key] = ObservedTarget()
        return known

    def _of_escalation(self, uid: str) -> ObservedEscalation:
        """Return what is noted of an escalation, to note more."""
        if (known := self._escalations.get(uid)) is None:
            known = self._escalations[uid] = ObservedEscalation()
        return known

    def changed(self, key: TargetKey) -> None:
        """Note that something was seen on which a containment may depend."""
        known = self._of(key)
        known.changed_at = known.changed_at or self._now()

    def forget(self, open_uids: Collection[str]) -> None:
        """Keep what is about open escalations only."""
        self._escalations = {uid: known for uid, known in self._escalations.items() if uid in open_uids}
        self._late = {name: why for name, why in self._late.items() if self._store.decisions.undecided(*name)}

    def stand_by(self) -> None:
        """Forget what has no Escalation yet: what is contained says why, and whoever leads now goes by that."""
        for known in self._targets.values():
            known.pending = None
        for seen in self._escalations.values():
            seen.pressed, seen.is_just_pressed = (), False

    def quiet(self, key: TargetKey, snapshot: Snapshot, *, is_saving: bool, is_writing: bool) -> None:
        """Note that nothing has to be contained: what comes later is timed from then, and refuses again.

        Args:
            key: The target.
            snapshot: As it was decided upon.
            is_saving: Whether an Escalation is to be saved, or a further intent of one.
            is_writing: Whether the target may have to be written, as where a model is restored.
        """
        if (known := self._targets.get(key)) is None:
            return
        if not self.is_under_way(snapshot):
            known.changed_at = None
        if not is_saving:
            self.saved(key)
        if not is_saving and not is_writing:
            known.obstacle = ""
        if known.is_empty():
            del self._targets[key]

    # --- Joining a snapshot ---------------------------------------------------------------------------------------

    def join(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with all that is known of its containments, noting what is seen complete now."""
        snapshot = with_holds(self._with_pressed(self._with_pending(snapshot)))
        for escalation in snapshot.open if snapshot.target is not None else ():
            for intent in escalation.in_force.values():
                self._stamp(snapshot, escalation, intent)
        known = {e.uid: seen for e in snapshot.escalations if (seen := self._escalations.get(e.uid))}
        return replace(
            snapshot,
            stamps={(uid, intent): at for uid, seen in known.items() for intent, at in seen.stamps.items()},
            rehearsals={
                (uid, intent): found for uid, seen in known.items() for intent, found in seen.rehearsals.items()
            },
            unwritten={uid: seen.unwritten for uid, seen in known.items() if seen.unwritten},
        )

    def _with_pending(self, snapshot: Snapshot) -> Snapshot:
        """Add what has been contained and has no Escalation yet; what is known of it passes to the Escalation."""
        known = self._targets.get(snapshot.key)
        if known is None or known.pending is None:
            return snapshot
        pending = known.pending
        intent = pending.hold.intent
        escalation = next((e for e in snapshot.escalations if e.name == pending.hold.escalation), None)
        if escalation is not None and any(i.id == intent.id for i in escalation.saved):
            self._of_escalation(escalation.uid).stamps.setdefault(intent.id, pending.stamps)
            known.pending = None
            return snapshot
        if escalation is None and self._store.escalations.is_known(snapshot.key.namespace, pending.hold.escalation):
            known.pending = None  # it is over already: another operator has seen to it
            return snapshot
        if snapshot.target is not None and snapshot.target.uid == pending.hold.target.uid:
            quarantined = pending.hold.evidence.pod_template_hash or ""
            pending.stamps = self._stamped(snapshot, intent, quarantined, pending.stamps)
            if escalation is not None:
                self._of_escalation(escalation.uid).stamps[intent.id] = pending.stamps
        return replace(snapshot, pending=pending.hold, pending_policy=pending.policy)

    def _with_pressed(self, snapshot: Snapshot) -> Snapshot:
        """Add what was decided for a stop and could not be written."""
        pressed = {uid: seen.pressed for e in snapshot.escalations if (seen := self._escalations.get(uid := e.uid))}
        if not any(pressed.values()):
            return snapshot
        found = (replace(e, pressed=p) if (p := pressed.get(e.uid)) else e for e in snapshot.escalations)
        return replace(snapshot, escalations=tuple(found))

    def press(self, escalation: Escalation, decisions: Iterable[CountedDecision]) -> None:
        """Note what of a status that could not be written has the model stopped: that comes first."""
        known = {decision.uid for decision in escalation.status.decisions}
        contains = (d for d in decisions if d.counted and d.action is DecisionAction.CONTAIN)
        if pressed := tuple(d for d in contains if d.uid not in known):
            seen = self._of_escalation(escalation.uid)
            before = {decision.uid for decision in seen.pressed}
            seen.pressed = pressed
            seen.is_just_pressed |= any(decision.uid not in before for decision in pressed)

    def is_just_pressed(self, snapshot: Snapshot) -> bool:
        """Return whether a stop was decided, and could not be written, since this was asked last.

        A stop that has been seen to once waits for the next attempt to write like everything else.
        """
        found = [s for e in snapshot.open if (s := self._escalations.get(e.uid)) and s.is_just_pressed]
        for seen in found:
            seen.is_just_pressed = False
        return bool(found)

    def rehearsed(self, uid: str, intent: int, problem: str) -> None:
        """Note what became of a containment of a drill as a dry run: why it would not be possible, or nothing."""
        self._of_escalation(uid).rehearsals[intent] = (self._now(), problem)

    def _stamp(self, snapshot: Snapshot, escalation: Escalation, intent: Intent) -> None:
        """Note the time at which a stage of the containment is first seen complete."""
        seen = self._escalations.get(escalation.uid)
        before = seen.stamps.get(intent.id) if seen is not None else None
        recorded = escalation.status.containment(intent.action.axis)
        if (
            seen is None
            or before is None
            or (recorded is not None and recorded.intent.id == intent.id and recorded.pods_gone_at)
        ):
            return
        seen.stamps[intent.id] = self._stamped(snapshot, intent, state.quarantined_hash(escalation, intent), before)

    def _stamped(self, snapshot: Snapshot, intent: Intent, quarantined: str, before: Stamps) -> Stamps:
        """Return what is known of the stages of a containment, with those that are seen complete now."""
        if snapshot.target is None:
            return before
        proof, now = state.verify(snapshot.target, intent, quarantined), self._now()
        after = Stamps(
            applied_at=before.applied_at,
            endpoints_empty_at=before.endpoints_empty_at or (now if proof.endpoints_empty else None),
            pods_gone_at=before.pods_gone_at or (now if proof.pods_gone else None),
        )
        for stage in ("endpoints_empty", "pods_gone"):
            at = getattr(after, f"{stage}_at")
            if at is not None and getattr(before, f"{stage}_at") is None:
                self.measure(snapshot.key, stage, intent, at)
        return after

    def measure(self, key: TargetKey, stage: str, intent: Intent, at: datetime) -> None:
        """Count how long a stage took from the change that led to it."""
        known = self._targets.get(key)
        seen = (known.changed_at if known else None) or intent.intended_at
        action: ContainmentAction = intent.action
        self._metrics.containment.labels(stage, str(action)).observe(max((at - seen).total_seconds(), 0.0))

    def is_under_way(self, snapshot: Snapshot) -> bool:
        """Return whether a containment has been applied and is not proved yet."""
        if snapshot.pending is not None:
            return True
        active = [(s, i.id) for e in snapshot.open if (s := self._escalations.get(e.uid)) for i in e.in_force.values()]
        known = [stamps for seen, intent in active if (stamps := seen.stamps.get(intent))]
        return any(stamps.pods_gone_at is None for stamps in known)

    # --- What became of a stop ------------------------------------------------------------------------------------

    def stopped(self, key: TargetKey, stop: Stop, escalation: Escalation | None) -> None:
        """Note that the write of a stop was acknowledged.

        Args:
            key: The target.
            stop: What was done.
            escalation: The escalation that it was done for, where it is there.
        """
        at, target = self._now(), self._of(key)
        target.obstacle = ""
        if escalation is not None and any(i.id == stop.intent.id for i in escalation.intents):
            stamps = self._of_escalation(escalation.uid).stamps
            before = stamps.get(stop.intent.id, Stamps())
            stamps[stop.intent.id] = replace(before, applied_at=before.applied_at or at)
        elif stop.hold is not None and (stop.hold.escalation, stop.hold.intent.id) == (stop.escalation, stop.intent.id):
            known = target.pending
            is_known = known is not None and (known.hold.escalation, known.hold.intent.id) == (
                stop.hold.escalation,
                stop.intent.id,
            )
            if not is_known:
                target.pending = Pending(stop.hold, stop.policy, Stamps(applied_at=at))
        self.measure(key, "applied", stop.intent, at)
        if stop.again:
            self._metrics.drift.labels(stop.reverted_by).inc()
            target.reverted.append(Reverted(stop.escalation, stop.intent, stop.reverted_by, at))
            target.reapplied.append(time.monotonic())

    def not_saved(self, key: TargetKey, ladder: str, why: str) -> None:
        """Note what refuses an Escalation."""
        self._metrics.refused.labels("escalation").inc()
        known = self._of(key)
        before, known.unsaved = known.unsaved, Unsaved((key.namespace, ladder), why[:OBSTACLE_LIMIT])
        if before != known.unsaved:
            self._refusing(key.namespace)

    def saved(self, key: TargetKey) -> None:
        """Note that nothing refuses it, or that there is none to be saved any more."""
        if (known := self._targets.get(key)) is not None and known.unsaved:
            known.unsaved = None
            self._refusing(key.namespace)

    def left_behind(self, key: TargetKey) -> None:
        """Forget what is to be recorded of a target whose namespace is gone: a new one of that name inherits nothing.

        How often it was contained of late stays: until the namespace is gone, somebody may revert that.
        """
        self.saved(key)
        if known := self._targets.pop(key, None):
            self._targets[key] = ObservedTarget(reapplied=known.reapplied)

    def home(self, key: TargetKey) -> str:
        """Return the uid of the namespace of what was contained and has no Escalation yet; empty if unknown."""
        known = self._targets.get(key)
        return known.pending.namespace_uid if known and known.pending else ""

    def lives_in(self, key: TargetKey, namespace_uid: str) -> None:
        """Note the uid of the namespace of what was contained, when its Escalation could not be created."""
        known = self._targets.get(key)
        if known and known.pending and not known.pending.namespace_uid:
            known.pending.namespace_uid = namespace_uid

    def unwritten_of(self, escalations: Iterable[Escalation]) -> dict[str, str]:
        """Return, by uid, why what is new of some escalations could not be written the last time."""
        found = ((e.uid, self._escalations.get(e.uid)) for e in escalations)
        return {uid: seen.unwritten for uid, seen in found if seen is not None and seen.unwritten}

    def not_written(self, escalation: Escalation, why: str) -> None:
        """Note what refuses the records or the status of an escalation."""
        self._metrics.refused.labels("escalation").inc()
        seen = self._of_escalation(escalation.uid)
        before, seen.unwritten = seen.unwritten, why[:OBSTACLE_LIMIT]
        if before != seen.unwritten:
            self._refusing(escalation.namespace)

    def written(self, namespace: str, uid: str) -> None:
        """Note that nothing refuses them."""
        if (seen := self._escalations.get(uid)) is None:
            return
        seen.pressed, seen.is_just_pressed = (), False
        if seen.unwritten:
            seen.unwritten = ""
            self._refusing(namespace)

    def late(self, escalation: Name, why: str) -> None:
        """Note what refuses to record what was decided on a closed escalation; empty for nothing."""
        before = self._late.pop(escalation, "")
        if why:
            self._metrics.refused.labels("escalation").inc()
            self._late[escalation] = why[:OBSTACLE_LIMIT]
        if before != self._late.get(escalation, ""):
            self._refusing(escalation[0])

    def refusals(self, ladder: Name) -> list[str]:
        """Return what of the trail of a ladder's escalations the API server refuses, and in which words."""
        found = [
            f"the Escalation of {key.kind} {key.name} cannot be saved: {unsaved.why}"
            for key, known in self._targets.items()
            if (unsaved := known.unsaved) and unsaved.ladder == ladder
        ]
        if any(seen.unwritten for seen in self._escalations.values()):
            unwritten = self.unwritten_of(open_ := list(self._store.escalations.open_ones(ladder)))
            found += [
                f"what is new of Escalation {e.name} cannot be written: {why}"
                for e in open_
                if (why := unwritten.get(e.uid))
            ]
        found += [
            f"what was decided on Escalation {name} cannot be written: {why}"
            for (namespace, name), why in self._late.items()
            if self._store.escalations.ladder_of(namespace, name) == ladder
        ]
        return found

    def refused(self, key: TargetKey, why: str) -> None:
        """Note what refuses a write on a target."""
        self._metrics.refused.labels("target").inc()
        self._of(key).obstacle = why[:OBSTACLE_LIMIT]

    def not_refused(self, key: TargetKey) -> None:
        """Note that nothing refuses that any more."""
        if (known := self._targets.get(key)) is not None:
            known.obstacle = ""

    def obstacle(self, key: TargetKey) -> str:
        """Return why a target could not be written the last time; empty where trying again may help."""
        return known.obstacle if (known := self._targets.get(key)) else ""

    def unsaved(self, key: TargetKey) -> str:
        """Return why an Escalation of a target could not be saved the last time; empty for nothing."""
        return known.unsaved.why if (known := self._targets.get(key)) and known.unsaved else ""

    def reverted(self, key: TargetKey) -> Reverted | None:
        """Return the oldest containment of a target that was reverted and applied again, and is not on record."""
        return known.reverted[0] if (known := self._targets.get(key)) and known.reverted else None

    def recorded(self, key: TargetKey, reverted: Reverted) -> None:
        """Note that one of those is on record, or that nobody is left whom to tell."""
        if (known := self._targets.get(key)) is not None and reverted in known.reverted:
            known.reverted.remove(reverted)

    def patience(self, key: TargetKey) -> float:
        """Return the seconds to wait before a containment that is reverted over and over is re-applied."""
        if (known := self._targets.get(key)) is None:
            return 0.0
        now, recent = time.monotonic(), known.recently_reapplied()
        if len(recent) < CONTENTION_FREE:
            return 0.0
        return recent[-1] + min(0.5 * 2.0 ** (len(recent) - CONTENTION_FREE), CONTENTION_LONGEST) - now
