"""What has breached under an escalation, kept in its status, so that nothing is forgotten with the signals.

A stream is one indicator from one source about one target under one ladder, whatever objects carry it. Its state is in
the status of a signal, and goes with that. So the escalation keeps it as well, from the first breach to its end: what
was counted is not counted again, an older reading stays out of order, and what breached stands until it is heard again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from riskladder.api.base import format_time
from riskladder.api.escalation import MAX_STREAMS, StreamStatus
from riskladder.api.measurement import indicator_of, no_measurement
from riskladder.api.reasons import Reason
from riskladder.api.signal import Breach, Observed
from riskladder.policy.draft import Draft
from riskladder.policy.plan import Entry, On
from riskladder.policy.repeats import repeat
from riskladder.policy.signals.evaluate import heard, step
from riskladder.policy.signals.groups import Group
from riskladder.policy.snapshot import Escalation

Key = tuple[str, str]
"""Source and indicator; of a person's judgement, the signal in place of the source, and no indicator."""


@dataclass(frozen=True, slots=True)
class _Head:
    """A stream as the signals have it."""

    source: str
    signal: str
    observed: Observed | None = None
    breaches: tuple[Breach, ...] = ()
    is_silent: bool = False
    """Whether silence has put the model in a tier."""

    @property
    def is_breaching(self) -> bool:
        """Whether it is a person's judgement, silent, or beyond a threshold, confirmed or not."""
        return self.observed is None or self.is_silent or bool(self.breaches)


def advance(draft: Draft) -> None:
    """Bring what is kept of each stream up to date, and note those that no signal carries any more."""
    snapshot, escalation = draft.snapshot, draft.escalation
    mine = [s for s in snapshot.signals if s.spec is not None and s.spec.ladder == escalation.spec.ladder.name]
    is_judged = draft.group is not None or not mine
    if escalation.spec.drill or snapshot.target is None or snapshot.target.uid != escalation.spec.target.uid:
        return
    if not is_judged:
        return
    heads = dict(_heads(draft.group)) if draft.group is not None else {}
    unread = {s.name for s in snapshot.signals if s.spec is None}
    known = {_key(stream): stream for stream in draft.streams}
    if draft.is_new and escalation.spec.signal.uid not in {s.uid for s in snapshot.signals}:
        known |= {key: s for key, s in _of_opening(escalation) if key not in known and key not in heads}
    found = {key: _followed(draft, stream, heads.get(key), unread) for key, stream in known.items()}
    for key, head in heads.items():
        if key not in found and head.is_breaching and len(found) < MAX_STREAMS:
            found[key] = _stream(key, head)
    draft.streams = tuple(found[key] for key in sorted(found))


def is_withheld(draft: Draft) -> bool:
    """Return whether something that breached has been withdrawn and not heard since, or is not known to have been."""
    return len(draft.streams) >= MAX_STREAMS or any(stream.withdrawn_at is not None for stream in draft.streams)


def _key(stream: StreamStatus) -> Key:
    return (stream.source if stream.indicator else stream.signal, stream.indicator)


def _heads(group: Group) -> Iterator[tuple[Key, _Head]]:
    newest: dict[Key, _Head] = {}
    for signal in group.signals:
        spec, verdict = signal.spec, group.verdicts[signal.uid]
        if spec is not None and spec.manual is not None and verdict.tier:
            newest[signal.name, ""] = _Head(spec.source, signal.name)
        for observed in verdict.observed if spec is not None else ():
            key = (spec.source if spec else "", observed.indicator)
            before = newest.get(key)
            if before is None or before.observed is None or observed.order > before.observed.order:
                found = [b for b in verdict.breaches if b.indicator == observed.indicator]
                is_silent = any(b.stale for b in found)
                newest[key] = _Head(key[0], signal.name, observed, heard(found), is_silent)
    yield from newest.items()


def _stream(key: Key, head: _Head) -> StreamStatus:
    return StreamStatus(
        source=head.source, indicator=key[1], signal=head.signal, observed=head.observed, breaches=head.breaches
    )


def _of_opening(escalation: Escalation) -> Iterator[tuple[Key, StreamStatus]]:
    """Yield what the signal that opened an escalation had breached, where it is gone before the first trail."""
    signal, evidence = escalation.spec.signal, escalation.spec.evidence
    if signal.source is None:
        return
    if signal.manual is not None:
        yield (signal.name, ""), StreamStatus(source=signal.source, indicator="", signal=signal.name)
    taken = evidence.taken_at if evidence is not None and evidence.taken_at < signal.observed_at else None
    for reading in signal.readings:
        name, declared = reading.indicator, indicator_of(escalation.spec.policy.indicators, reading.indicator)
        age = evidence.taken_at - signal.observed_at if evidence is not None else timedelta()
        if declared is None or no_measurement(declared, reading) is not None or age > declared.max_age.delta:
            continue
        observed = Observed(indicator=name, value=reading.value, observed_at=signal.observed_at, received_at=taken)
        if breaches := step(escalation.spec.policy, (), observed).breaches:
            key = (signal.source, name)
            yield key, _stream(key, _Head(signal.source, signal.name, observed, breaches))


def _followed(draft: Draft, stream: StreamStatus, head: _Head | None, unread: set[str]) -> StreamStatus:
    """Return a stream as it is read now, or as it was read last where no signal carries it any more."""
    is_carried = head is not None and (
        stream.observed is None or (head.observed is not None and head.observed.order >= stream.observed.order)
    )
    if head is not None and is_carried:
        return _stream(_key(stream), head)
    if stream.withdrawn_at is not None or stream.signal in unread:
        return stream
    _note(draft, stream)
    return stream.model_copy(update={"withdrawn_at": draft.now})


def _note(draft: Draft, stream: StreamStatus) -> None:
    what = f"{stream.indicator} of source {stream.source}" if stream.indicator else "what was raised manually"
    message = (
        f"no signal carries {what} any more: ModelRiskSignal {stream.signal} was deleted, or turned to another target, "
        "ladder or source; what it breached stands"
    )
    detail = {"signal": stream.signal, "source": stream.source, "indicator": stream.indicator, **_last(stream)}
    last = format_time(stream.observed.observed_at) if stream.observed else "manual"
    key = f"withdrawn/{stream.source}/{stream.indicator or stream.signal}/{last}/{draft.last_record}"
    entry = Entry(
        Reason.SIGNAL_WITHDRAWN,
        key,
        draft.now,
        message,
        {name: value for name, value in detail.items() if value},
        on=(On.ESCALATION,),
        warning=True,
    )
    draft.repeats, entry = repeat(draft.repeats, entry, draft.rung.number, stream.source)
    draft.entries.append(entry)


def _last(stream: StreamStatus) -> Mapping[str, str]:
    if stream.observed is None:
        return {}
    return {"value": repr(stream.observed.value), "observedAt": format_time(stream.observed.observed_at)}
