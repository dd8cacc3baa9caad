"""Who is judged under which policy: signals grouped by ladder, with the reasons for those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from riskladder.api.base import format_time
from riskladder.api.escalation import LadderRef, PinnedPolicy
from riskladder.api.ladder import Governs
from riskladder.api.reasons import Reason
from riskladder.api.signal import Breach
from riskladder.api.tiers import Containment, ContainmentWhen, Tier
from riskladder.policy.signals.evaluate import Stream, StreamKey, Verdict, evaluate, heard, rank, tier_of, worst
from riskladder.policy.snapshot import LONG_AGO, Signal, Snapshot, is_governed, pin


@dataclass(frozen=True)
class Group:
    """The signals of one target that one ladder judges."""

    ladder: LadderRef
    policy: PinnedPolicy
    suspended: bool
    signals: tuple[Signal, ...]
    """Those that count; drills are judged but never counted."""
    verdicts: Mapping[str, Verdict]
    """By signal uid, drills included."""

    handled: tuple[tuple[datetime, str], ...] = ()
    """What people have dealt with, by closing the last escalation or by a resume: breaches observed until then, of that
    tier or a lower one. A worse one that comes to light later has not been."""
    accepted: str = ""
    """The tier up to which the risk is accepted now; empty where it is not."""
    withdrawn: tuple[str, ...] = ()
    """The tiers that streams have confirmed which no signal carries any more, and of which nothing was heard since."""

    @cached_property
    def tier(self) -> str:
        """The worst tier of the counted signals, whether people have dealt with it or not; empty at baseline."""
        return worst(self.policy, (*(self.verdicts[s.uid].tier for s in self.signals), *self.withdrawn))

    @property
    def live_tier(self) -> str:
        """The worst tier that people have neither dealt with nor accepted; empty for none."""
        return next((tier.name for tier in self.breached()), "")

    def breached(self) -> tuple[Tier, ...]:
        """Return the tiers that a counted signal has confirmed and people have not handled or accepted, worst first."""
        return self._breached

    @cached_property
    def _breached(self) -> tuple[Tier, ...]:
        names = {name for signal in self.signals for name in self._live(signal)}
        return tuple(t for t in reversed(self.policy.tiers) if t.name in names)

    def _live(self, signal: Signal) -> set[str]:
        """Return the tiers that one signal has confirmed, without those that are handled or accepted."""
        verdict = self.verdicts[signal.uid]
        names = {b.tier for b in verdict.breaches if b.confirmed and self._is_news(b.tier, self._since(b))}
        stops: set[str] = set()
        if signal.spec is not None and signal.spec.manual is not None and verdict.tier:
            raised = {verdict.tier} if self._is_news(verdict.tier, verdict.counts_at) else set()
            names |= raised
            stops = raised if signal.spec.manual.containment is not None else set()
        # The stop button works while a risk is accepted, too.
        return {name for name in names if rank(self.policy, name) > rank(self.policy, self.accepted)} | stops

    def _since(self, breach: Breach) -> datetime | None:
        """Return from when a breach counts: its last reading, or, for silence, the end of what the ladder allows."""
        declared = next((i for i in self.policy.indicators if i.name == breach.indicator), None)
        if breach.stale and breach.observed_at and declared is not None and declared.stale_after is not None:
            return (breach.heard_at or breach.observed_at) + declared.stale_after.delta
        return breach.observed_at

    def _is_news(self, tier: str, at: datetime | None) -> bool:
        return not any(
            (at is None or at <= until) and rank(self.policy, tier) <= rank(self.policy, handled)
            for until, handled in self.handled
        )

    @cached_property
    def observed_at(self) -> frozenset[datetime]:
        """When the readings were observed that breach now, and with which people have not dealt."""
        return frozenset(self._observed_at())

    def _observed_at(self) -> Iterator[datetime]:
        for signal in self.signals:
            live = self._live(signal)
            for breach in self.verdicts[signal.uid].breaches:
                if breach.tier in live and not breach.stale and breach.observed_at is not None:
                    yield breach.observed_at
            if live and signal.spec is not None and signal.spec.manual is not None:
                yield signal.spec.observed_at

    def silence(self, tier: str) -> str:
        """Return what has not been heard of, in words, where silence alone put the target in that tier; else empty."""
        if not any(t.name == tier for t in self.breached()):
            return ""
        breaches = [b for b in self.verdicts[self.cause(tier).uid].breaches if b.confirmed and b.tier == tier]
        if not breaches or not all(b.stale for b in breaches):
            return ""
        names = ", ".join(b.indicator for b in breaches)
        since = min((b.observed_at for b in breaches if b.observed_at), default=None)
        return f"nothing has been heard of {names}" + (f" since {format_time(since)}" if since else "")

    def cause(self, tier: str) -> Signal:
        """Return the signal that put the target in that tier: the newest, for the latest evidence."""
        candidates = [s for s in self.signals if tier in self._live(s)]
        return max(candidates, key=lambda s: (self.verdicts[s.uid].counts_at or LONG_AGO, s.name))


@dataclass(frozen=True, slots=True)
class Demand:
    """A containment that a breached tier asks for now."""

    group: Group
    tier: Tier
    containment: Containment
    signal: Signal
    reason: Reason = Reason.THRESHOLD_BREACHED


@dataclass(frozen=True)
class Judgement:
    """All groups of one target, and a verdict for every signal."""

    groups: tuple[Group, ...]
    verdicts: Mapping[str, Verdict]
    drills: tuple[Group, ...] = ()
    """The same for drill signals: each group's signals are the drills of one ladder."""

    def group(self, ladder: str) -> Group | None:
        """Return the group of that ladder."""
        return next((g for g in self.groups if g.ladder.name == ladder), None)

    def group_of(self, signal: Signal) -> Group | None:
        """Return the group that judges a signal, drill or not."""
        spec = signal.spec
        groups = self.drills if spec is not None and spec.drill else self.groups
        return next((g for g in groups if spec is not None and g.ladder.name == spec.ladder), None)

    @cached_property
    def at_baseline(self) -> bool:
        """Whether no counted signal of any ladder has a confirmed breach."""
        return not any(g.tier for g in self.groups)

    @cached_property
    def observed_at(self) -> frozenset[datetime]:
        """The same as of each group, of all ladders."""
        return frozenset[datetime]().union(*(group.observed_at for group in self.groups))

    @cached_property
    def heard_since(self) -> datetime:
        """When the stream was heard of last that has been silent for longest: one indicator from one source."""
        streams: dict[tuple[str, str, str], datetime] = {}
        for group in self.groups:
            for signal in group.signals:
                for one in group.verdicts[signal.uid].observed:
                    key = (group.ladder.name, signal.spec.source if signal.spec else signal.uid, one.indicator)
                    streams[key] = max(one.at, streams.get(key, one.at))
        return min(streams.values(), default=LONG_AGO)

    def demands(self) -> tuple[Demand, ...]:
        """Return the containments that are due now, the most severe of each ladder."""
        return tuple(demand for group in self.groups if not group.suspended for demand in demands_of(group))


def demands_of(group: Group) -> Iterator[Demand]:
    """Yield what the signals of one ladder demand: its most severe tier that contains at once, and stop buttons."""
    live = group.breached()
    for tier in live:
        if tier.containment is not None and tier.containment.when is ContainmentWhen.IMMEDIATELY:
            yield Demand(group, tier, tier.containment, group.cause(tier.name))
            break
    for signal in group.signals:
        manual = signal.spec.manual if signal.spec else None
        tier_found = tier_of(group.policy, manual.tier) if manual else None
        if manual is None or manual.containment is None or tier_found is None or tier_found not in live:
            continue
        declared = tier_found.containment or Containment(action=manual.containment)
        containment = declared.model_copy(
            update={"action": manual.containment, "when": ContainmentWhen.IMMEDIATELY, "fallback": None}
        )
        yield Demand(group, tier_found, containment, signal, Reason.CONTAINED_MANUALLY)


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

    for escalation in snapshot.open:
        if escalation.status.streams:
            by_ladder.setdefault(escalation.spec.ladder.name, [])
    groups, exercises = [], []
    for name in sorted(by_ladder):
        policy_or_why = _policy(snapshot, name)
        if isinstance(policy_or_why, Verdict):
            verdicts.update((s.uid, _keeping(s, policy_or_why)) for s in by_ladder[name])
            continue
        ladder, policy, suspended = policy_or_why
        counted = tuple(s for s in by_ladder[name] if s.spec and not s.spec.drill)
        drills = tuple(s for s in by_ladder[name] if s.spec and s.spec.drill)
        kept = _kept(snapshot, name)
        judged = {
            **evaluate(policy, counted, now, time_counts=snapshot.time_counts, kept=kept),
            **evaluate(policy, drills, now, time_counts=snapshot.time_counts),
        }
        verdicts.update(judged)
        groups.append(
            Group(
                ladder,
                policy,
                suspended,
                counted,
                judged,
                *_handled(snapshot, name, now),
                _withdrawn(kept, counted, judged),
            )
        )
        if drills:
            exercises.append(Group(ladder, policy, suspended, drills, judged))
    return Judgement(tuple(groups), verdicts, tuple(exercises))


def _kept(snapshot: Snapshot, ladder: str) -> dict[StreamKey, Stream]:
    """Return the streams as the open escalation of a ladder has kept them."""
    escalation = snapshot.open_under(ladder)
    streams = escalation.status.streams if escalation is not None else ()
    return {(s.source, s.indicator): Stream(s.observed, s.breaches) for s in streams if s.observed is not None}


def _withdrawn(
    kept: Mapping[StreamKey, Stream], signals: Iterable[Signal], verdicts: Mapping[str, Verdict]
) -> tuple[str, ...]:
    """Return the tiers confirmed by streams of which the signals say nothing as new as what was kept."""
    if not any(b.confirmed for stream in kept.values() for b in stream.breaches):
        return ()
    newest: dict[StreamKey, datetime] = {}
    for signal in signals:
        for observed in verdicts[signal.uid].observed:
            key = (signal.spec.source if signal.spec else "", observed.indicator)
            newest[key] = max(observed.at, newest.get(key, observed.at))
    lost = [stream for key, stream in kept.items() if newest.get(key, LONG_AGO) < stream.observed.at]
    return tuple(b.tier for stream in lost for b in stream.breaches if b.confirmed)


def _handled(snapshot: Snapshot, ladder: str, now: datetime) -> tuple[tuple[tuple[datetime, str], ...], str]:
    """Return until when people have handled breaches of which tier, and up to which tier the risk is accepted now.

    An acceptance of risk that outlasts its escalation decides alone, so that what it covered is looked at again when it
    ends.
    """
    escalation, before = snapshot.open_under(ladder), snapshot.handled_under(ladder)
    handled = [(one.until, one.tier) for one in before if one.acceptance is None]
    acceptance = before[-1].acceptance if before else None
    if escalation is not None:
        resume = escalation.status.resume
        acceptance = escalation.status.risk_acceptance or acceptance
        if resume is not None:
            handled.append((resume.at, resume.tier or escalation.status.tier or ""))
    running = acceptance is not None and now < acceptance.until
    if acceptance is not None and not running and not snapshot.time_counts:
        # Its end is what time alone causes: what was observed until then stays accepted, and only what is later acts.
        handled.append((acceptance.until, acceptance.tier))
    return tuple(handled), acceptance.tier if acceptance is not None and running else ""


def _policy(snapshot: Snapshot, name: str) -> tuple[LadderRef, PinnedPolicy, bool] | Verdict:
    """Return the policy that binds signals of this ladder on this target, or why there is none."""
    key = snapshot.key
    ladder = snapshot.ladders.get(name)
    if (escalation := snapshot.open_under(name)) is not None:
        found = (escalation.spec.ladder, escalation.spec.policy, snapshot.is_suspended(name))
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
    if snapshot.unsupported:
        return Verdict(False, Reason.TARGET_NOT_SUPPORTED, f"spec.target.kind: {snapshot.unsupported}")
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


def _selector_text(governs: Governs | None) -> str:
    if governs is None:
        return "none"
    parts = [f"{key}={value}" for key, value in sorted(governs.selector.match_labels.items())]
    parts += [f"{r.key} {r.operator} {','.join(r.values)}".strip() for r in governs.selector.match_expressions]
    return ", ".join(parts)


def _keeping(signal: Signal, verdict: Verdict) -> Verdict:
    """Return the verdict with what was accepted before: a ladder that reappears must not count it again."""
    return Verdict(
        verdict.usable,
        verdict.reason,
        verdict.message,
        observed=signal.carried.observed,
        breaches=heard(signal.carried.breaches),
    )
