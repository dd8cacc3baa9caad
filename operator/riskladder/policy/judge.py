"""Who is judged under which policy: signals grouped by ladder, with the reasons for those that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from riskladder.api.escalation import LadderRef, PinnedPolicy
from riskladder.api.ladder import Governs
from riskladder.api.reasons import Reason
from riskladder.api.tiers import Containment, ContainmentWhen, Tier
from riskladder.policy.evaluate import Verdict, evaluate, heard, worst
from riskladder.policy.snapshot import Ladder, Signal, Snapshot, is_governed, pin


@dataclass(frozen=True, slots=True)
class Group:
    """The signals of one target that one ladder judges."""

    ladder: LadderRef
    policy: PinnedPolicy
    suspended: bool
    signals: tuple[Signal, ...]
    """Those that count; drills are judged but never counted."""
    verdicts: Mapping[str, Verdict]
    """By signal uid, drills included."""

    @property
    def tier(self) -> str:
        """The worst tier of the counted signals; empty at baseline."""
        return worst(self.policy, (self.verdicts[s.uid].tier for s in self.signals))

    def breached(self) -> tuple[Tier, ...]:
        """Every tier that some counted signal has confirmed, worst first."""
        names: set[str] = set()
        for signal in self.signals:
            verdict = self.verdicts[signal.uid]
            names.update(b.tier for b in verdict.breaches if b.confirmed)
            if verdict.tier:
                names.add(verdict.tier)
        return tuple(t for t in reversed(self.policy.tiers) if t.name in names)

    def cause(self, tier: str) -> Signal:
        """The signal that put the target in that tier: the newest, so that the evidence is what was seen last."""
        candidates = [
            s
            for s in self.signals
            if self.verdicts[s.uid].tier == tier
            or any(b.tier == tier and b.confirmed for b in self.verdicts[s.uid].breaches)
        ]
        return max(candidates, key=lambda s: (s.spec.observed_at, s.name) if s.spec else (datetime.min, s.name))


@dataclass(frozen=True, slots=True)
class Demand:
    """A containment that a breached tier asks for now."""

    group: Group
    tier: Tier
    containment: Containment
    signal: Signal


@dataclass(frozen=True, slots=True)
class Judgement:
    """All groups of one target, and a verdict for every signal."""

    groups: tuple[Group, ...]
    verdicts: Mapping[str, Verdict]

    def group(self, ladder: str) -> Group | None:
        """The group of that ladder."""
        return next((g for g in self.groups if g.ladder.name == ladder), None)

    @property
    def at_baseline(self) -> bool:
        """Whether no counted signal of any ladder has a confirmed breach."""
        return not any(g.tier for g in self.groups)

    def demands(self) -> tuple[Demand, ...]:
        """The containments that are due now, the most severe of each ladder."""
        found = []
        for group in self.groups:
            if group.suspended:
                continue
            for tier in group.breached():
                if tier.containment is not None and tier.containment.when is ContainmentWhen.IMMEDIATELY:
                    found.append(Demand(group, tier, tier.containment, group.cause(tier.name)))
                    break
        return tuple(found)


def judge(snapshot: Snapshot, now: datetime) -> Judgement:
    """Judge every signal of the target, each under the policy that binds it.

    An open escalation keeps the policy it was opened under, whatever became of the ladder; every other signal is
    judged by its ladder as it is now.
    """
    verdicts: dict[str, Verdict] = {}
    by_ladder: dict[str, list[Signal]] = {}
    for signal in snapshot.signals:
        if signal.spec is None:
            verdicts[signal.uid] = Verdict(False, Reason.INVALID, "; ".join(signal.problems) or "does not validate")
        else:
            by_ladder.setdefault(signal.spec.ladder, []).append(signal)

    groups = []
    for name in sorted(by_ladder):
        policy_or_why = _policy(snapshot, name)
        if isinstance(policy_or_why, Verdict):
            verdicts.update((s.uid, _keeping(s, policy_or_why)) for s in by_ladder[name])
            continue
        ladder, policy, suspended = policy_or_why
        counted = tuple(s for s in by_ladder[name] if s.spec and not s.spec.drill)
        drills = tuple(s for s in by_ladder[name] if s.spec and s.spec.drill)
        judged = {**evaluate(policy, counted, now), **evaluate(policy, drills, now)}
        verdicts.update(judged)
        groups.append(Group(ladder, policy, suspended, counted, judged))
    return Judgement(tuple(groups), verdicts)


def _policy(snapshot: Snapshot, name: str) -> tuple[LadderRef, PinnedPolicy, bool] | Verdict:
    """The policy that binds signals of this ladder on this target, or why there is none."""
    key = snapshot.key
    ladder = snapshot.ladders.get(name)
    escalation = snapshot.open
    if escalation is not None and escalation.spec.ladder.name == name:
        found = (escalation.spec.ladder, escalation.spec.policy, _is_suspended(ladder))
    elif ladder is None:
        return Verdict(
            False, Reason.LADDER_NOT_FOUND, f"spec.ladder: no EscalationLadder {name} in namespace {key.namespace}"
        )
    elif ladder.spec is None:
        return Verdict(
            False, Reason.LADDER_INVALID, f"spec.ladder: EscalationLadder {name} is invalid: see its condition Ready"
        )
    else:
        reference = LadderRef(name=name, uid=ladder.uid, generation=ladder.generation, digest=ladder.digest)
        found = (reference, pin(ladder.spec), ladder.spec.suspended)
    if not snapshot.supported:
        return Verdict(
            False,
            Reason.TARGET_NOT_SUPPORTED,
            f"spec.target.kind: {key.kind} is not supported by this operator (Deployment is)",
        )
    if snapshot.target is None:
        return Verdict(
            False, Reason.TARGET_NOT_FOUND, f"spec.target: no {key.kind} {key.name} in namespace {key.namespace}"
        )
    governs = found[1].governs
    if governs is None or not is_governed(governs, snapshot.target.labels):
        return Verdict(
            False,
            Reason.TARGET_NOT_GOVERNED,
            f"spec.target: {key.kind} {key.name} does not carry the labels of EscalationLadder {name} "
            f"(spec.governs.selector: {_selector_text(governs)})",
        )
    return found


def _is_suspended(ladder: Ladder | None) -> bool:
    return ladder is not None and ladder.spec is not None and ladder.spec.suspended


def _selector_text(governs: Governs | None) -> str:
    if governs is None:
        return "none"
    parts = [f"{key}={value}" for key, value in sorted(governs.selector.match_labels.items())]
    parts += [f"{r.key} {r.operator} {','.join(r.values)}".strip() for r in governs.selector.match_expressions]
    return ", ".join(parts)


def _keeping(signal: Signal, verdict: Verdict) -> Verdict:
    """The verdict, with what the signal had accepted before: a ladder that comes back must not count it again."""
    return Verdict(
        verdict.usable,
        verdict.reason,
        verdict.message,
        observed=signal.carried.observed,
        breaches=heard(signal.carried.breaches),
    )
