"""A scenario of decisions: any ladder, anything that can happen to an escalation, and what has to hold after each step.

The scene carries out what the policy decides; every status goes through JSON on its way, as it does in the cluster. The
rules of who may decide what are checked a second time here, in another way than the policy does it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from riskladder.api.conditions import find, is_true
from riskladder.api.decision import DecisionAction, DecisionStatus, EscalationDecisionSpec, Resolution
from riskladder.api.escalation import CountedDecision, EscalationState, EscalationStatus, Rung
from riskladder.api.intent import Intent
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus
from riskladder.api.tiers import Axis, ContainmentAction, Quorum, QuorumMember, Tier
from riskladder.policy.containment import state
from riskladder.policy.containment.drift import record_drift
from riskladder.policy.decide import decide
from riskladder.policy.plan import DecisionUpdate, EscalationUpdate, Phase, Plan, Stop
from riskladder.policy.signals.evaluate import rank
from riskladder.policy.snapshot import Decision, Delivery, Escalation, PolicyInForce, Signal
from riskladder.policy.trail import PROOF_GRACE, after_close
from tests.unit import true_messages
from tests.unit.builders import LABELS, NAMESPACE, PROVED, Document, Scene, scaled_by, signal_document, workload

OWNER = "olga"
"""Owns the model."""
RAISER = "rob"
"""Raises signals manually."""
PEOPLE = (OWNER, RAISER, "ann", "ben", "cat", "dan")
VOTES = (DecisionAction.ACCEPT_RISK, DecisionAction.RESUME, DecisionAction.CLOSE)

Step = tuple[Any, ...]


@dataclass
class DecisionScenario(Scene):
    """A scene that checks every write."""

    people: int = 0
    notified: dict[tuple[str, str], tuple[object, ...]] = field(default_factory=dict)
    """By escalation uid and notification key: what it said when it was queued."""
    keys: dict[str, list[str]] = field(default_factory=dict)
    """By escalation uid: the keys of its records."""
    tiers: dict[tuple[str, int], str] = field(default_factory=dict)
    """By escalation uid and number of the rung: its tier."""
    unproved: set[str] = field(default_factory=set)
    """uids of decisions that say why they were refused and have no record."""
    slow: bool = False
    """Pods outlive the write that stops them."""
    targets: int = 1

    # --- What can happen ------------------------------------------------------------------------------------------

    def read(
        self, value: float, *, name: str = "monitor", drill: bool = False, manual: str = "", stop: str = ""
    ) -> None:
        """A monitor reports, or a person raises it manually."""
        document = signal_document(at=self.now, source=name, manual=manual, **({} if manual else {"bias": value}))
        document |= {"model": {"name": "credit", "owners": [OWNER]}, "drill": drill}
        if manual:
            document["manual"] |= {"raisedBy": RAISER, **({"containment": stop} if stop else {})}
        spec = ModelRiskSignalSpec.model_validate(document)
        before = next((s for s in self.signals if s.name == name), None)
        after = Signal(NAMESPACE, name, f"{name}-uid", before.generation + 1 if before else 1, SignalStatus(), spec)
        others = [s for s in self.signals if s.name != name]
        self.signals = [*others, replace(after, status=before.status) if before else after]

    def withdraw(self, name: str) -> None:
        self.signals = [s for s in self.signals if s.name != name]

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def wake(self) -> None:
        """Time passes until the policy wants to look again, exactly."""
        due = self.plan().wake_at
        self.now = due if due is not None else self.now

    def say(self, action: str, role: str, by: str, **more: Any) -> None:
        """Somebody decides something; nobody looks yet."""
        if not self.escalations:
            return
        about = self.escalations[-1 - min(more.pop("earlier", 0), len(self.escalations) - 1)]
        created = (self.now - timedelta(seconds=more.pop("ago", 0))).replace(microsecond=0)
        authorized, name = more.pop("authorized", True), more.pop("name", "") or f"d{len(self.decisions) + 1}"
        spec = {"escalation": about.name, "action": action, "role": role, "rationale": "I have looked at it"}
        spec |= {"decidedBy": {"username": by, "credentialID": more.pop("credential", f"JTI={by}")}, **more}
        made = EscalationDecisionSpec.model_validate(spec)
        uid = f"uid-{len(self.decisions) + 1}"
        self.decisions.append(Decision(NAMESPACE, name, uid, 1, created, made, DecisionStatus(), authorized))

    def agree(self, action: str, extra: str, **more: Any) -> None:
        """Everybody who is asked decides the same, and perhaps somebody more; nobody looks yet."""
        if not self.escalations:
            return
        about = self.escalation
        rung = about.status.rung
        tier = rung.tier if rung is not None else about.spec.policy.tiers[0].name
        seats = quorum_of(about, tier, DecisionAction(action))
        for member in seats:
            for number in range(member.count):
                self.say(action, member.role, f"{member.role}-{number}", **more)
        for member in seats:
            if extra:
                self.say(action, member.role, extra, **more)

    def attempt(self, *, error: str, given_up: bool, channels: Sequence[str]) -> None:
        """The outbox tries what is pending."""
        for escalation in self.escalations:
            for n in escalation.status.notifications:
                if n.is_outstanding and n.channel in channels:
                    place = (escalation.uid, n.key)
                    self.deliveries[place] = Delivery(n.attempts + 1, self.now, error, given_up)

    def restart(self) -> None:
        """Everything that is not stored is lost."""
        self.stamps.clear()
        self.deliveries.clear()
        self.rehearsals.clear()

    def prove(self, minutes: float | None) -> None:
        """The admission policy goes, or is put in force so long ago."""
        self.proof = (
            PolicyInForce("there is no policy")
            if minutes is None
            else PolicyInForce(since=self.now - timedelta(minutes=minutes))
        )

    def delete(self) -> None:
        self.target = None

    def create(self) -> None:
        if self.target is None:
            self.targets += 1
            self.target = workload(uid=f"target-{self.targets}", labels=LABELS)

    def rival(self, replicas: int) -> None:
        """Somebody else sets the replicas."""
        if self.target is not None:
            revisions = self.target.revisions
            scaled_by(self, replicas)
            self.target = replace(self.target, revisions=revisions)

    def release(self, labels: dict[str, str]) -> None:
        """The target is taken from under the ladder, or governed again."""
        if self.target is not None:
            self.target = replace(self.target, labels=labels)

    def suspend(self, on: bool) -> None:
        spec = self.ladders[0].spec
        assert spec is not None
        self.ladders = [replace(self.ladders[0], spec=spec.model_copy(update={"suspended": on}))]

    def drain(self) -> None:
        """The pods of a contained target go at last."""
        if self.target is not None and self.target.replicas == 0:
            gone = {"total_replicas": 0, "updated_replicas": 0, "pods": (), "ready_endpoints": 0}
            self.target = replace(self.target, **gone)  # type: ignore[arg-type]

    # --- How it is carried out ------------------------------------------------------------------------------------

    def run(self, *, passes: int = 10) -> list[Plan]:
        done = super().run(passes=passes)
        for escalation in list(self.escalations):
            pending = tuple(
                d
                for d in self.decisions
                if d.spec.escalation == escalation.name and find(d.status.conditions, ConditionType.ACCEPTED) is None
            )
            if pending and not escalation.is_open:
                trail = after_close(escalation, pending, self.proof, self.now)
                self.carry_out(Plan(escalations=(trail.update,), decisions=trail.decisions))
        self.check()
        return done

    def carry_out(self, plan: Plan) -> None:
        for update in plan.escalations:
            self._record(update)
        for effect in (e for e in plan.of(Phase.RESTORE) if e.on_target):
            self._may_restore(next(e for e in self.escalations if e.name == effect.escalation))
        for said in plan.decisions:
            self._said_truly(said)
        super().carry_out(plan)

    def act(self, act: Stop) -> None:
        assert self.target is not None
        before = self.target
        if act.revision is not None:
            version = int(act.revision.hash.removeprefix("hash"))
            fresh = workload(version, before.replicas, uid=before.uid, labels=before.labels)
            self.target = replace(fresh, revisions=before.revisions)
        else:
            self.target = replace(before, replicas=0)
            if not self.slow:
                self.drain()
        self.hold(act)
        escalation = next((e for e in self.snapshot().open if e.name == act.escalation), None)
        if act.again and escalation is not None:
            update = record_drift(escalation, act.intent, act.reverted_by, self.now)
            if update is not None:
                self.carry_out(Plan(escalations=(update,)))

    def _replace(self, escalation: Escalation) -> None:
        """Stored as JSON and read back; what does not validate is not stored."""
        status = EscalationStatus.model_validate_json(json.dumps(escalation.status.to_api()))
        assert status == escalation.status
        before = next(e for e in self.escalations if e.uid == escalation.uid)
        self._only_forward(escalation.uid, before.status, status, escalation)
        super()._replace(escalation)

    def _record(self, update: EscalationUpdate) -> None:
        uid = update.escalation.uid
        keys = self.keys.setdefault(uid, [])
        for entry in update.entries:
            if entry.recorded:
                assert entry.key not in keys, f"{entry.key} is on record already: {entry.message}"
                keys.append(entry.key)
            if entry.key == "opened":
                self.tiers[(uid, 1)] = entry.detail["tier"]
            elif "rung" in entry.detail:
                self.tiers[(uid, int(entry.detail["rung"]))] = entry.detail["tier"]

    # --- What has to hold -----------------------------------------------------------------------------------------

    def _only_forward(self, uid: str, before: EscalationStatus, after: EscalationStatus, about: Escalation) -> None:
        policy = about.spec.policy
        assert rank(policy, after.tier or "") >= rank(policy, before.tier or ""), "a tier fell"
        if before.rung is not None and after.rung is not None:
            _rung_keeps(before.rung, after.rung)
        clocks = {c.name: c for c in after.clocks}
        for clock in before.clocks:
            kept = clocks[clock.name]
            assert (kept.started_at, kept.due_at) == (clock.started_at, clock.due_at), "a duty was moved"
            assert clock.met_at in (None, kept.met_at)
        assert after.decisions[: len(before.decisions)] == before.decisions, "a decision was rewritten"
        for n in after.notifications:
            said = (n.message, n.about, n.role, n.channel, n.tier, n.rung, n.due_at)
            if (uid, n.key) not in self.notified:
                true_messages.assert_true(self, true_messages.open_with(about, after), n)
            assert self.notified.setdefault((uid, n.key), said) == said, f"{n.key} says something else now"
        for kind in (ConditionType.CLOSED, ConditionType.REVIEW_DONE):
            was, is_now = find(before.conditions, kind), find(after.conditions, kind)
            if was is not None and was.status == "True":
                assert is_now is not None
                assert is_now.status == "True"
        self._decided_by_the_right_people(uid, after, about)

    def _is_impersonated(self, decision: CountedDecision, about: Escalation) -> bool:
        """Return whether a ladder that refuses impersonation has got it."""
        rules = about.spec.policy.decisions
        if rules is None or rules.allow_impersonated:
            return False
        [made] = [d.spec.decided_by for d in self.decisions if d.uid == decision.uid]
        return made is None or not made.credential_id

    def _decided_by_the_right_people(self, uid: str, status: EscalationStatus, about: Escalation) -> None:
        raised = about.spec.signal.manual is not None
        for n, decision in enumerate(status.decisions):
            if not decision.counted or decision.action not in VOTES:
                continue
            assert decision.by != OWNER, f"an owner has a say in {decision.action}"
            assert not self._is_impersonated(decision, about), f"{decision.action} counts without a credential"
            assert not (raised and decision.action is DecisionAction.ACCEPT_RISK and decision.by == RAISER)
            votes = [
                d
                for d in status.decisions[: n + 1]
                if (d.counted, d.action, d.rung, d.resolution)
                == (True, decision.action, decision.rung, decision.resolution)
            ]
            assert len({v.by for v in votes}) == len(votes), "a person was counted twice"
            tier = self.tiers[(uid, decision.rung)]
            met = seated(about, quorum_of(about, tier, decision.action), votes)
            said = decision.reason == Reason.QUORUM_MET
            if decision.resolution is Resolution.RETIRED:  # of a model that is contained, who may resume it gives it up
                let_go = seated(
                    about,
                    quorum_of(about, tier, DecisionAction.RESUME) or quorum_of(about, tier, DecisionAction.CLOSE),
                    votes,
                )
                met = said if met != let_go else met
            assert met == said, f"{decision} and the seats disagree"
        for people in (
            status.risk_acceptance.by if status.risk_acceptance else (),
            status.resume.by if status.resume else (),
        ):
            assert OWNER not in people
        if status.resume is not None:
            assert Reason.QUORUM_MET in {
                d.reason for d in status.decisions if d.action is DecisionAction.RESUME and d.at == status.resume.at
            }

    def _may_restore(self, escalation: Escalation) -> None:
        status = escalation.status
        assert status.resume is not None, "restored without a decision"
        met = [d for d in status.decisions if d.action is DecisionAction.RESUME and d.reason == Reason.QUORUM_MET]
        assert met[-1].at == status.resume.at
        assert escalation.last_intent == status.resume.intent, "restored while contained again"

    def _said_truly(self, said: DecisionUpdate) -> None:
        """Check that a decision says what the escalation has counted and what is on record."""
        decision = said.decision
        escalation = next(e for e in reversed(self.escalations) if e.name == decision.spec.escalation)
        accepted = find(said.status.conditions, ConditionType.ACCEPTED)
        assert accepted is not None
        recorded = f"decision/{decision.uid}" in self.keys.get(escalation.uid, ())
        without = accepted.reason in (Reason.ALREADY_COUNTED, Reason.TOO_MANY_DECISIONS)
        assert recorded or without, f"{decision.name} is judged and not on record"
        if not recorded:
            self.unproved.add(decision.uid)

    def check(self) -> None:
        """Check what has to hold whenever nothing is left to do."""
        plan = self.plan()
        for escalation in self.escalations:
            status = escalation.status
            assert len(status.notifications) <= 512
            assert len(status.decisions) <= 256
            if escalation.is_open and status.rung is not None:
                self._goes_on(escalation, plan)
                self._is_held(escalation)
                self._is_held_until_it_is_restored(escalation)
                self._stop_button_worked(escalation)
        waiting = [d for d in self.decisions if find(d.status.conditions, ConditionType.ACCEPTED) is None]
        assert self._is_in_proof_grace() or not waiting, f"never judged: {waiting}"
        self._sleeps_until(plan.wake_at)

    def _is_in_proof_grace(self) -> bool:
        """Return whether the trail waits a second for the proof of a containment that has just been applied."""
        known = self.known().escalations
        fresh = [(e, i) for e in known if e.is_open for i in e.in_force.values()]
        noted = {(e.uid, c.intent.id) for e in known for c in e.status.containments}
        stamps = [self.stamps.get((e.uid, i.id)) for e, i in fresh if (e.uid, i.id) not in noted]
        return any(s is not None and s.applied_at and self.now < s.applied_at + PROOF_GRACE for s in stamps)

    def _goes_on(self, escalation: Escalation, plan: Plan) -> None:
        status = escalation.status
        self._says_its_state(escalation)
        assert status.waiting_on or status.next_deadline, "a dead end: nobody is waited for, and no time"
        suspended = self.snapshot().is_suspended(escalation.spec.ladder.name)
        if status.next_deadline is not None and status.next_deadline > self.now and not suspended:
            assert plan.wake_at is not None, "nobody will look when the deadline is there"
            assert plan.wake_at <= status.next_deadline

    def _says_its_state(self, escalation: Escalation) -> None:
        """The one word contradicts no condition, and what is shown of people and deadlines is what is stored."""
        status, conditions = escalation.status, escalation.status.conditions
        assert (status.state == EscalationState.CLOSED) == is_true(conditions, ConditionType.CLOSED)
        if status.state == EscalationState.CONTAINED:
            assert is_true(conditions, ConditionType.CONTAINED)
        elif status.state == EscalationState.ACCEPTED:
            assert status.risk_acceptance is not None
        assert status.summary is not None
        assert status.summary.waiting_on == ", ".join(status.waiting_on)
        assert bool(status.summary.due) == (status.next_deadline is not None)

    def _sleeps_until(self, wake: datetime | None) -> None:
        """Nothing is due before the time at which the policy wants to look again, unless it acts on nothing."""
        if any(item.spec is not None and item.spec.suspended for item in self.ladders):
            return
        if wake is not None and wake - self.now < timedelta(milliseconds=1):
            return
        at = self.now + (timedelta(days=40) if wake is None else (wake - self.now) * 0.6)
        early = decide(self.snapshot(), at)
        assert not early.urgent, f"due before {wake}, when somebody looks: {early}"
        assert not early.has_trail, f"due before {wake}, when somebody looks: {_news(early)}"

    def _is_held(self, escalation: Escalation) -> None:
        intent = escalation.in_force.get(Axis.WORKLOAD)
        snapshot = self.snapshot()
        if intent is None or self.target is None or not state.may_touch(self.target, escalation):
            return
        if snapshot.is_suspended(escalation.spec.ladder.name):
            return
        proof = state.prove(self.target, escalation, intent)
        assert proof.applied, f"contained by intent {intent.id}, and not held: {proof.left}"

    def _is_held_until_it_is_restored(self, escalation: Escalation) -> None:
        """Check that what a Resume ended is restored, or still held: also under a ladder that is suspended."""
        resume, target = escalation.status.resume, self.target
        if resume is None or not resume.steps or resume.done or state.is_contained(escalation):
            return
        if target is None or escalation.spec.drill or not state.may_touch(target, escalation):
            return
        others = [e for e in self.snapshot().open if e.name != escalation.name and state.is_contained(e)]
        waits = escalation.status.ledger is None or self._is_in_proof_grace()
        assert others or waits or target.replicas, "resumed, at zero, and nothing restores it"

    def _stop_button_worked(self, escalation: Escalation) -> None:
        """Check that a Contain decided after the last Resume has the model contained."""
        decisions = escalation.status.decisions
        resumed = [n for n, d in enumerate(decisions) if _is_met(d, DecisionAction.RESUME)]
        after = decisions[resumed[-1] + 1 :] if resumed else decisions
        pressed = [d for d in after if d.counted and d.action is DecisionAction.CONTAIN]
        free = self.target is not None and state.may_touch(self.target, escalation)
        suspended = self.snapshot().is_suspended(escalation.spec.ladder.name)
        if pressed and free and not suspended and not escalation.spec.drill:
            assert state.is_contained(escalation), f"{pressed} contained nothing"

    # --- The end --------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Everything is done that has to be, and no proof is waited for."""
        self.run()
        if self._is_in_proof_grace():
            self.wait(2)
            self.run()

    def bring_to_an_end(self) -> None:
        """People who are free to act can restore the model and close what is open, whatever has happened."""
        self.prove(60)
        self.suspend(False)
        self.wait(2)
        self.finish()
        for escalation in [e for e in self.escalations if e.is_open]:
            self._end(escalation.uid)

    def _end(self, uid: str) -> None:
        def current() -> Escalation:
            return next(e for e in self.escalations if e.uid == uid)

        earlier = len(self.escalations) - 1 - self.escalations.index(current())
        policy = current().spec.policy
        standing = {d.role for d in current().status.decisions if d.counted and d.action is DecisionAction.OBJECT}
        for role in standing:
            self.say("Object", role, "eve", withdraw=True, earlier=earlier)
        for clock in current().status.clocks:
            self.say("Comment", clock.role, "eve", clock=clock.name, earlier=earlier)
        self.finish()
        if not current().is_open:
            return
        tier = next(t for t in policy.tiers if t.name == current().status.tier)
        contained, resolution = current().in_force.get(Axis.WORKLOAD), "Remediated"
        seats = quorum_of(current(), tier.name, DecisionAction.RESUME)
        if contained is not None and (not seats or self.target is None):
            resolution = "Retired"
        elif contained is not None:
            self._all(seats, "Resume", earlier)
            assert not state.is_contained(current()), "everybody has voted to resume, and it is contained"
            self._is_restored(current(), contained)
        self._all(
            quorum_of(current(), current().status.tier or "", DecisionAction.CLOSE),
            "Close",
            earlier,
            resolution=resolution,
        )
        assert not current().is_open, "everybody has voted to close, and it is open"

    def _all(self, seats: Quorum, action: str, earlier: int, **more: Any) -> None:
        for member in seats:
            for number in range(member.count):
                self.say(action, member.role, f"{member.role}-{number}", earlier=earlier, **more)
        self.finish()

    def _is_restored(self, escalation: Escalation, contained: Intent) -> None:
        if self.target is None or not state.may_touch(self.target, escalation):
            return
        if contained.action is not ContainmentAction.SCALE_TO_ZERO:
            return
        restore = escalation.status.restore
        if restore is not None and restore.replicas:
            assert self.target.replicas == restore.replicas, "resumed, and not restored"


def _news(plan: Plan) -> list[str]:
    """Return what a trail would change."""
    pairs = [(str(u.escalation.status), str(u.status), u.labels) for u in plan.escalations]
    pairs += [(str(u.signal.status), str(u.status), None) for u in plan.signals]
    changes = []
    for before, after, labels in pairs:
        at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
        changes.append(f"{before[max(at - 60, 0) : at + 60]!r} -> {after[max(at - 60, 0) : at + 60]!r} {labels}")
    return [*changes, *(str(e.key) for u in plan.escalations for e in u.entries)]


def _is_met(decision: CountedDecision, action: DecisionAction) -> bool:
    return decision.action is action and decision.reason == Reason.QUORUM_MET


def _rung_keeps(before: Rung, after: Rung) -> None:
    assert after.number >= before.number, "the number of a rung fell"
    if after.number > before.number:
        return
    assert (after.tier, after.entered_at, after.reason) == (before.tier, before.entered_at, before.reason)
    assert (after.acknowledge_by, after.decide_by) == (before.acknowledge_by, before.decide_by), "a deadline moved"
    for name in ("acknowledge_missed_at", "decide_missed_at", "stalled_at"):
        assert getattr(before, name) in (None, getattr(after, name)), f"{name} was set twice"


def quorum_of(escalation: Escalation, name: str, action: DecisionAction) -> Quorum:
    """Return who has to agree, as the documentation has it."""
    policy = escalation.spec.policy
    tier: Tier = next(t for t in policy.tiers if t.name == name)
    decides = tier.decide.quorum if tier.decide else ()
    resumes = tier.resume.quorum if tier.resume else ()
    if action is DecisionAction.ACCEPT_RISK:
        return decides
    if action is DecisionAction.RESUME:
        return resumes or decides
    fallback = (
        policy.charter.owner if policy.charter else tier.notify[0].role if tier.notify else policy.stakeholders[0].role
    )
    return decides or resumes or (QuorumMember(role=fallback),)


def seated(escalation: Escalation, quorum: Quorum, votes: Iterable[CountedDecision]) -> bool:
    """Return whether different people can take all seats: every way of seating them is tried."""
    stands_in = {s.role: {s.role, *s.alternates} for s in escalation.spec.policy.stakeholders}
    seats = [stands_in[m.role] for m in quorum for _ in range(m.count)]
    people: dict[str, set[str]] = {}
    for vote in votes:
        people.setdefault(vote.by, set()).add(vote.role)
    if len(people) < len(seats):
        return False
    return any(
        all(people[person] & seat for person, seat in zip(order, seats, strict=True))
        for order in itertools.permutations(people, len(seats))
    )


def play(scenario: DecisionScenario, steps: Iterable[Step]) -> DecisionScenario:
    """Let it happen; after every step that somebody sees, everything is done that has to be, and checked."""
    for name, seen, arguments in steps:
        getattr(scenario, name)(**arguments)
        if seen:
            scenario.run()
    scenario.run()
    return scenario


__all__ = ["OWNER", "PEOPLE", "PROVED", "RAISER", "DecisionScenario", "Document", "Step", "play"]
