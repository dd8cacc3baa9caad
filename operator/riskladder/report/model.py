"""What a report says, as data: accounts of escalations, and the figures of a period. Pure: no I/O, no clock."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from riskladder.api.chain import ChainKey, distinct, position_of
from riskladder.api.reasons import Reason
from riskladder.people.export import Export, Object, end_of
from riskladder.people.facts import Fact, Story
from riskladder.people.story import after, as_it_was, episodes, story
from riskladder.people.story_people import answers, decides
from riskladder.people.summary import sentences
from riskladder.people.timeline import Step, Timeline, timeline_of
from riskladder.report.gaps import gaps_of


class Speed(Fact):
    """How long each stage took; `null` where the records do not have both ends of it. In seconds."""

    notify: timedelta | None
    """From the opening to the first message that a channel took."""
    acknowledge: timedelta | None
    """From the opening to the first decision that counts, comments aside."""
    decide: timedelta | None
    """From the opening to the first agreement of a quorum."""
    contain: timedelta | None
    """From the first intent to its proof."""
    resume: timedelta | None
    """From the first decision to resume to the last write that restored what was there."""


STAGES = ("notify", "acknowledge", "decide", "contain", "resume")


class Verification(Fact):
    """What the rest can be checked by."""

    intact: bool
    error: str
    """What is wrong with the first bad record."""
    records: int
    """How many records of the chain are good."""
    head: str
    """Hash of the last good record."""
    compared: str
    """With which heads the chain agrees, and where each comes from."""
    is_compared: bool
    redacted: int
    """Values that were erased, each by a redaction that says so."""
    namespace_uid: str
    ladder_digest: str
    """SHA-256 of the ladder, as the opening has it."""
    policy_digest: str
    """SHA-256 of the text of the policy that is on record."""
    commands: tuple[str, ...]
    """What to run to check it."""


class Account(Fact):
    """One escalation."""

    namespace: str
    name: str
    target: str
    ladder: str
    tier: str
    drill: bool
    opened: datetime | None
    closed: str
    """When and how it was closed; empty while it is open."""
    contained: str
    summary: tuple[str, ...]
    """Five sentences."""
    speed: Speed
    story: Story
    drill_result: tuple[tuple[str, str], ...]
    """Of a drill that is over: who or what, and how it went."""
    gaps: tuple[str, ...]
    """What the records do not say."""
    verification: Verification

    @property
    def key(self) -> str:
        """Its name with its namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def is_open(self) -> bool:
        """Whether no record ends it."""
        return self.story.ended is None

    @property
    def reached(self) -> str:
        """The worst rung that was entered last: the tier that it is counted under."""
        return self.story.tiers[-1][1] if self.story.tiers else self.tier


@dataclass(frozen=True, slots=True)
class Told:
    """An account, and the timeline that it is made of."""

    account: Account
    timeline: Timeline


def accounts(export: Export, *, source: str, until: datetime | None = None) -> tuple[Told, ...]:
    """Return an account of each escalation on record, by the time of its opening.

    Args:
        export: Records and escalations.
        source: The file that they come from; empty for the cluster.
        until: As of when it is told; by default as of the last record of each.

    Raises:
        ValueError: The status of an escalation has a ledger that is none.
    """
    return accounts_of(by_chain(export), source=source, until=until)


def accounts_of(chains: Mapping[ChainKey, Export], *, source: str, until: datetime | None = None) -> tuple[Told, ...]:
    """Return the same of chains that are told apart already.

    Args:
        chains: What there is about each.
        source: The file that they come from; empty for the cluster.
        until: As of when it is told; by default as of the last record of each.

    Raises:
        ValueError: The status of an escalation has a ledger that is none.
    """
    found: list[Told] = []
    for key, part in chains.items():
        parts = episodes(timeline_of(part, key))
        parts = tuple(as_it_was(timeline, until) for timeline in parts) if until is not None else parts
        found += [told(timeline, source=source, until=until) for timeline in parts if timeline.steps]
    return tuple(sorted(found, key=_by_opening))


def _by_opening(told: Told) -> tuple[str, str]:
    opened = told.account.opened
    return (opened.isoformat() if opened else "", told.account.key)


def by_chain(export: Export) -> Mapping[ChainKey, Export]:
    """Return what there is about each chain."""
    records: dict[ChainKey, list[Object]] = {}
    for record in distinct(export.records):
        records.setdefault(position_of(record).key, []).append(dict(record))
    found = {}
    for key in sorted(records):
        mine = [e for e in export.escalations if _key(e) == key]
        found[key] = Export(records[key], mine, export.namespace, export.origin, export.is_yaml)
    return found


def _key(escalation: Object) -> ChainKey:
    metadata = escalation.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    return ChainKey(str(about.get("namespace") or ""), str(about.get("name") or ""))


def told(timeline: Timeline, *, source: str, until: datetime | None = None) -> Told:
    """Return the account of one escalation.

    Args:
        timeline: Of it.
        source: The file that it comes from; empty for the cluster.
        until: As of when it is told.
    """
    found = story(timeline, until=until)
    result = timeline.result
    shown = () if result is None else (*result.answers, ("containment (dry run)", result.containment))
    failed = () if result is None else (("channels that failed", result.channels_failed),)
    account = Account(
        namespace=timeline.key.namespace,
        name=timeline.key.escalation,
        target=timeline.target,
        ladder=found.opening.ladder if found.opening and found.opening.ladder else timeline.ladder,
        tier=timeline.tier,
        drill=timeline.drill,
        opened=timeline.opened,
        closed=timeline.closed,
        contained=timeline.contained,
        summary=sentences(timeline, found),
        speed=_speed(timeline.steps, found, timeline.opened),
        story=found,
        drill_result=(*shown, *failed),
        gaps=gaps_of(timeline, found),
        verification=_verification(timeline, found, source),
    )
    return Told(account, timeline)


def _speed(steps: Iterable[Step], found: Story, opened: datetime | None) -> Speed:
    known = list(steps)
    first = found.containments[0] if found.containments else None
    resumed = next((a.at for a in found.agreements if a.event == Reason.RESUMED), None)
    restored = [r.at for r in found.restorations if r.done and r.at is not None]
    return Speed(
        notify=after(opened, next((m.at for m in found.messages if m.delivered), None)),
        acknowledge=after(opened, next((step.at for step in known if answers(step)), None)),
        decide=after(opened, next((step.at for step in known if decides(step)), None)),
        contain=first.took if first else None,
        resume=after(resumed, max(restored, default=None)),
    )


def _verification(timeline: Timeline, found: Story, source: str) -> Verification:
    chain, key = timeline.chain, timeline.key
    where = shlex.quote(source) if source else "--live"
    namespace = f" --namespace {shlex.quote(key.namespace)}" if key.namespace else ""
    name = shlex.quote(key.escalation)
    head = f" --head {shlex.quote(f'{key}={chain.length}:{chain.head}')}" if chain.length else ""
    return Verification(
        intact=chain.intact,
        error=chain.error,
        records=chain.length,
        head=chain.head,
        compared=end_of(chain),
        is_compared=bool(chain.origins),
        redacted=chain.redacted,
        namespace_uid=chain.namespace_uid,
        ladder_digest=found.opening.digest if found.opening else "",
        policy_digest=found.opening.policy_digest if found.opening else "",
        commands=(
            f"riskladder verify {where}{namespace} --escalation {name}{head}",
            f"riskladder timeline {name}{f' {where}' if source else ''}{namespace}",
        ),
    )
