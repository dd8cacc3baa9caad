"""Readings to tiers: thresholds, confirmation, hysteresis, staleness, order, trust.

A *stream* is one indicator reported by one source. Its state (last accepted value, how many breaching readings in a
row) lives in the status of the signal that carried its newest reading, so it survives a restart, and one object
that is updated and one object for each reading mean the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from riskladder.api.escalation import PinnedPolicy
from riskladder.api.foreign import clip
from riskladder.api.reasons import Reason
from riskladder.api.signal import Breach, Observed
from riskladder.api.text import count
from riskladder.api.tiers import Tier, Trigger
from riskladder.policy.signals import ages
from riskladder.policy.signals.ages import CLOCK_SKEW as CLOCK_SKEW
from riskladder.policy.signals.unused import REASONS, refusal, unused_readings
from riskladder.policy.snapshot import Signal

READINGS_LIMIT = 1000
"""Where the count of consecutive readings stops: only ``readings >= trigger.readings`` (at most 100) matters."""

StreamKey = tuple[str, str]
"""Source and indicator."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The state of one stream after its newest accepted reading."""

    observed: Observed
    breaches: tuple[Breach, ...]
    """One for each tier whose trigger the newest readings are beyond, confirmed or not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one signal says now."""

    usable: bool
    reason: Reason
    """For condition Ready."""
    message: str
    tier: str = ""
    """Worst tier that this signal's readings have confirmed; empty at baseline."""
    observed: tuple[Observed, ...] = ()
    breaches: tuple[Breach, ...] = ()
    stale: tuple[str, ...] = ()
    """Indicators that have been silent for too long."""
    next_change: datetime | None = None
    """When the verdict can change without any event: a reading grows stale, or stops lying in the future."""
    counts_at: datetime | None = None
    """When what it says counts as observed."""


def rank(policy: PinnedPolicy, tier: str) -> int:
    """Return the severity of a tier: 0 at baseline (or unknown), then 1 for the lowest tier."""
    return next((i for i, t in enumerate(policy.tiers, start=1) if t.name == tier), 0)


def worst(policy: PinnedPolicy, tiers: Iterable[str]) -> str:
    """Return the most severe of the tiers; empty for none."""
    return max(tiers, key=lambda tier: rank(policy, tier), default="")


def evaluate(
    policy: PinnedPolicy,
    signals: Iterable[Signal],
    now: datetime,
    *,
    time_counts: bool = True,
    kept: Mapping[StreamKey, Stream] | None = None,
) -> dict[str, Verdict]:
    """Judge all signals of one target under one policy.

    Args:
        policy: The pinned policy of the open escalation, or that of the ladder.
        signals: Valid signals (``spec`` present) that name this ladder and target.
        now: Current time, UTC.
        time_counts: False: nothing grows stale, and nothing stops being so, since the clock is wrong.
        kept: Streams as the open escalation has kept them: the signal that carried one may be gone.

    Returns:
        The verdict of each signal by uid.
    """
    signals = sorted(signals, key=lambda s: (*_order(s, now), s.name))
    stored_heads = _stored_heads(policy, signals, kept or {})
    heads = dict(stored_heads)
    ready: dict[str, _Check] = {}
    stored_orders = {key: stream.observed.order for key, (_, stream) in stored_heads.items()}
    owners: dict[StreamKey, str] = {key: uid for key, (uid, _) in stored_heads.items()}

    for signal in signals:
        assert signal.spec is not None  # noqa: S101 - the caller passes valid signals only
        check = _check(policy, signal, stored_heads, stored_orders, now)
        ready[signal.uid] = check
        if not check.usable and check.reason not in REASONS:
            continue
        for reading in signal.spec.readings:
            if reading.indicator in check.unused:
                continue
            key = (signal.spec.source, reading.indicator)
            head = heads.get(key)
            observed = ages.observe(signal, reading, now, head[1].observed if head else None)
            if head is not None and not head[0] and observed.observed_at == head[1].observed.observed_at:
                # The escalation has kept this very reading: who says it again carries it on.
                heads[key], owners[key] = (signal.uid, head[1]), signal.uid
                continue
            if head is not None and observed.order <= head[1].observed.order:
                continue
            heads[key] = (signal.uid, step(policy, head[1].breaches if head else (), observed))
            owners[key] = signal.uid

    streams: dict[str, dict[StreamKey, Stream]] = defaultdict(dict)
    for key, uid in owners.items():
        if uid:
            streams[uid][key] = heads[key][1]
    return {
        signal.uid: _verdict(policy, signal, ready[signal.uid], streams[signal.uid], now, time_counts=time_counts)
        for signal in signals
    }


def step(policy: PinnedPolicy, before: Iterable[Breach], observed: Observed, *, counted: bool = False) -> Stream:
    """Return the stream after a reading (a pure fold: each reading counts once, in the order of observedAt).

    Args:
        policy: The thresholds.
        before: The stream's breaches before this reading.
        observed: The reading.
        counted: The reading has been counted already; only say again where it stands, since thresholds may have been
            edited meanwhile.
    """
    previous = {breach.tier: breach for breach in before}
    breaches = []
    for tier in policy.tiers:
        trigger = next((t for t in tier.triggers if t.indicator == observed.indicator), None)
        if trigger is None:
            continue
        last = previous.get(tier.name)
        beyond = trigger.is_beyond(observed.value)
        stands = last is not None and last.confirmed and not _is_cleared(trigger, observed.value)
        if not beyond and not stands:
            continue
        count = last.readings if last else 0
        if beyond and (last is None or not counted):
            count = min(count + 1, READINGS_LIMIT)
        breaches.append(
            Breach(
                indicator=observed.indicator,
                tier=tier.name,
                value=observed.value,
                threshold=_threshold(trigger),
                readings=count,
                confirmed=stands or count >= trigger.readings,
                observed_at=observed.at,
            )
        )
    return Stream(observed, tuple(breaches))


def _threshold(trigger: Trigger) -> float:
    return trigger.above if trigger.above is not None else trigger.below or 0.0


def is_beyond(policy: PinnedPolicy, breach: Breach) -> bool:
    """Return whether the value of a breach is beyond the threshold of its tier now, hysteresis left out."""
    tier = tier_of(policy, breach.tier)
    trigger = next((t for t in tier.triggers if t.indicator == breach.indicator), None) if tier else None
    return trigger is not None and breach.value is not None and trigger.is_beyond(breach.value)


def _is_cleared(trigger: Trigger, value: float) -> bool:
    """Apply hysteresis: a standing breach clears at or past clearsAt, by default at the threshold."""
    limit = trigger.clears_at if trigger.clears_at is not None else _threshold(trigger)
    return value <= limit if trigger.above is not None else value >= limit


def _order(signal: Signal, now: datetime) -> tuple[datetime, datetime]:
    assert signal.spec is not None  # noqa: S101
    return ages.counts_at(signal, now), signal.spec.observed_at


def heard(breaches: Iterable[Breach]) -> tuple[Breach, ...]:
    """Return the breaches by values alone: silence confirms nothing that outlasts it, and forgets no reading."""
    return tuple(
        b.model_copy(update={"stale": False, "confirmed": False}) if b.stale else b
        for b in breaches
        if b.readings or not b.stale
    )


def _stored_heads(
    policy: PinnedPolicy, signals: Iterable[Signal], kept: Mapping[StreamKey, Stream]
) -> dict[StreamKey, tuple[str, Stream]]:
    """Return the newest stored state of each stream with the uid of the signal that carries it, empty for none."""
    heads: dict[StreamKey, tuple[str, Stream]] = {}
    for signal in signals:
        assert signal.spec is not None  # noqa: S101
        for observed in signal.carried.observed:
            key = (signal.spec.source, observed.indicator)
            if key in heads and heads[key][1].observed.order >= observed.order:
                continue
            breaches = tuple(b for b in heard(signal.carried.breaches) if b.indicator == observed.indicator)
            heads[key] = (signal.uid, step(policy, breaches, observed, counted=True))
    for key, stream in kept.items():
        if key not in heads or heads[key][1].observed.order < stream.observed.order:
            heads[key] = ("", step(policy, stream.breaches, stream.observed, counted=True))
    return heads


class _Check(NamedTuple):
    """Whether the newest content of a signal can be used."""

    usable: bool
    reason: Reason
    message: str
    next_change: datetime | None = None
    """When that may change without any event."""
    unused: Mapping[str, tuple[Reason, str]] = {}
    """The readings that do not count, by indicator."""


def _check(
    policy: PinnedPolicy,
    signal: Signal,
    stored_heads: Mapping[StreamKey, tuple[str, Stream]],
    stored_orders: Mapping[StreamKey, tuple[datetime, datetime]],
    now: datetime,
) -> _Check:
    """Return whether the newest content of a signal can be used."""
    spec = signal.spec
    assert spec is not None  # noqa: S101
    if spec.manual is None and policy.trusted_sources and spec.source not in policy.trusted_sources:
        trusted = ", ".join(policy.trusted_sources)
        message = f"spec.source: {spec.source} is not trusted by the ladder, which trusts {trusted}"
        return _Check(False, Reason.UNTRUSTED_SOURCE, message)
    if spec.manual is not None:
        if not rank(policy, spec.manual.tier):
            known = ", ".join(t.name for t in policy.tiers)
            message = f"spec.manual.tier: {spec.manual.tier} is no tier of the ladder, which has {known}"
            return _Check(False, Reason.UNKNOWN_TIER, message)
        if why := ages.manual_too_old(signal, now):
            return _Check(False, Reason.READING_TOO_OLD, why)
        return _Check(True, Reason.ACCEPTED, f"raised to {spec.manual.tier} manually")
    if spec.observed_at > now + CLOCK_SKEW:
        when = spec.observed_at - CLOCK_SKEW
        message = f"spec.observedAt: {spec.observed_at:%Y-%m-%dT%H:%M:%SZ} lies more than 5 minutes in the future"
        return _Check(False, Reason.INVALID_READING, message, when)
    last = signal.carried.observed
    newest = max((o.order for o in last), default=None)
    if newest is None:  # a new object: it may not rewrite what other objects of the same stream have already said
        heads = [h[1].observed.order for r in spec.readings if (h := stored_heads.get((spec.source, r.indicator)))]
        newest = min(heads) if len(heads) == len(spec.readings) and heads else None
    if newest is not None and not ages.is_later(signal, now, newest):
        message = (
            f"spec.observedAt: {spec.observed_at:%Y-%m-%dT%H:%M:%SZ} is older than the last accepted reading "
            f"({newest[1]:%Y-%m-%dT%H:%M:%SZ})"
        )
        return _Check(False, Reason.OUT_OF_ORDER, message, newest[0] if newest[0] > now else None)
    if unused := unused_readings(policy, signal, now, stored_orders):
        reason, message = refusal(policy, signal, unused)
        return _Check(False, reason, clip(message, 1024), unused=unused)
    counted = {o.indicator: o.value for o in last if o.observed_at == spec.observed_at}
    changed = sorted(r.indicator for r in spec.readings if counted.get(r.indicator, r.value) != r.value)
    message = f"{count(len(spec.readings), 'reading')} of {spec.observed_at:%Y-%m-%dT%H:%M:%SZ} accepted"
    if changed:
        message = (
            f"spec.readings: the new value of {', '.join(changed)} is ignored, since a reading counts once: "
            f"give it a newer spec.observedAt than {spec.observed_at:%Y-%m-%dT%H:%M:%SZ}"
        )
    return _Check(True, Reason.ACCEPTED, message[:1024])


def _verdict(
    policy: PinnedPolicy,
    signal: Signal,
    check: _Check,
    streams: Mapping[StreamKey, Stream],
    now: datetime,
    *,
    time_counts: bool,
) -> Verdict:
    usable, reason, message, next_change, _ = check
    spec = signal.spec
    assert spec is not None  # noqa: S101
    if reason is Reason.UNTRUSTED_SOURCE:
        return Verdict(False, reason, message, next_change=next_change)
    if spec.manual is not None:
        tier = spec.manual.tier if usable else ""
        return Verdict(
            usable, reason, message, tier=tier, next_change=next_change, counts_at=ages.counts_at(signal, now)
        )

    mine = sorted((key[1], stream) for key, stream in streams.items() if key[0] == spec.source)
    superseded = [o for o in signal.carried.observed if (spec.source, o.indicator) not in streams]
    observed = tuple(sorted([*(s.observed for _, s in mine), *superseded], key=lambda o: o.indicator))
    breaches: list[Breach] = []
    stale: list[str] = []
    changes = [next_change] if next_change else []
    for indicator, stream in mine:
        breaches.extend(b for b in stream.breaches if rank(policy, b.tier))
        declared = next((i for i in policy.indicators if i.name == indicator), None)
        if declared is None or declared.stale_after is None:
            continue
        heard = ages.heard_at(signal, now)
        is_later = heard is not None and heard > stream.observed.at
        last = heard if heard is not None and is_later else stream.observed.at
        due = last + declared.stale_after.delta
        if due > now:
            changes.append(due)
        if not (now >= due if time_counts else _was_stale(signal, stream)):
            continue
        stale.append(indicator)
        spoken = next((b for b in breaches if (b.indicator, b.tier) == (indicator, declared.when_stale)), None)
        if declared.when_stale and not (spoken and spoken.confirmed):
            breaches = [b for b in breaches if b is not spoken]
            breaches.append(
                Breach(
                    indicator=indicator,
                    tier=declared.when_stale,
                    value=stream.observed.value,
                    readings=spoken.readings if spoken else 0,
                    confirmed=True,
                    observed_at=stream.observed.at,
                    stale=True,
                    heard_at=last if is_later else None,
                )
            )
    return Verdict(
        usable=usable,
        reason=reason,
        message=message,
        tier=worst(policy, (b.tier for b in breaches if b.confirmed)),
        observed=observed,
        breaches=tuple(sorted(breaches, key=lambda b: (b.indicator, rank(policy, b.tier)))),
        stale=tuple(stale),
        next_change=min(changes, default=None),
        counts_at=ages.counts_at(signal, now),
    )


def _was_stale(signal: Signal, stream: Stream) -> bool:
    """Return whether silence after this very reading has put the signal in a tier before."""
    observed = stream.observed
    return any(
        b.stale and (b.indicator, b.observed_at) == (observed.indicator, observed.at) for b in signal.carried.breaches
    )


def tier_of(policy: PinnedPolicy, name: str) -> Tier | None:
    """Return the tier of that name."""
    return next((tier for tier in policy.tiers if tier.name == name), None)
