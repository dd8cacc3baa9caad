"""What the records of one escalation say, sorted by subject: facts for summaries, charts and reports.

Nothing here is concluded from what is absent. A field is ``None`` or empty where no record says it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Fact(BaseModel):
    """Something that is on record."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        ser_json_timedelta="float",
        json_schema_serialization_defaults_required=True,
    )


class Reading(Fact):
    """A reading that was acted on, with what it was judged by and what it rests on."""

    record: int
    """Number of the record that says so."""
    at: datetime | None
    """When it was observed."""
    indicator: str
    value: str
    """As it stands in the record."""
    threshold: str
    """Of the tier, in words, such as `above 0.2`; empty where the tier has none for it."""
    number: float | None
    """The value, where it is a number."""
    limit: float | None
    """The threshold, where it is a number."""
    side: str
    """`above` or `below`: on which side of the threshold it is a breach."""
    is_breach: bool
    """Whether the value is on that side of the threshold."""
    tier: str
    event: str
    """Of the record: why it is on record."""
    signal: str
    sample_size: str
    window: str
    evidence: str
    """Link to the report that it comes from."""
    reported_by: str
    credential: str
    """With which its reporter was authenticated, in words."""


class Message(Fact):
    """A message to a role, delivered or given up."""

    record: int
    at: datetime | None
    role: str
    channel: str
    about: str
    """The reason of the message."""
    delivered: bool
    """Whether the channel took it; nobody need have read it."""
    attempts: str
    times: int
    """How many messages the record stands for."""
    text: str


class Act(Fact):
    """Something that a person decided, said or wanted."""

    record: int
    at: datetime | None
    """When the operator judged it."""
    decided_at: datetime | None
    """When the API server took it."""
    who: str
    role: str
    action: str
    event: str
    refused_because: str
    """Why it does not count; empty where it counts."""
    rationale: str
    asked: str
    """What it asked for beyond the action: tier, end, safe state, resolution or duty."""
    credential: str
    """The id of the credential, as a whole; empty where none is on record."""
    impersonated: bool
    via: str
    """Through what it was impersonated, where that says so itself; else empty."""
    groups: str

    @property
    def counts(self) -> bool:
        """Whether it was counted."""
        return not self.refused_because


class Agreement(Fact):
    """What enough people have decided together."""

    record: int
    at: datetime | None
    event: str
    """`RiskAccepted`, `Resumed`, or the resolution with which it was closed."""
    tier: str
    by: tuple[str, ...]
    """Whose votes it is made of, each with the role."""
    closes: bool
    """Whether it closed the escalation."""
    text: str


class State(StrEnum):
    """What has become of something with a deadline."""

    MET = "met"
    MISSED = "missed"
    OPEN = "open"
    OVERTAKEN = "overtaken"
    """The rung was left, or the escalation closed, before the deadline."""
    UNKNOWN = "unknown"
    """The time has passed, and no record says what became of it."""


class Deadline(Fact):
    """By when people were asked for something."""

    what: str
    """`acknowledge` or `decide`."""
    rung: int
    tier: str
    due_at: datetime
    state: State
    at: datetime | None
    """When it was met."""
    by: str
    record: int | None
    """The record that says it was met or missed."""


class Revert(Fact):
    """Somebody undid a containment, and it was carried out again."""

    record: int
    at: datetime | None
    by: str
    """The field manager, which the client chooses."""
    count: str
    """So many in all, by this record."""
    text: str


class Containment(Fact):
    """One safe state: intended, applied and proved."""

    intent: str
    action: str
    tier: str
    intended_at: datetime | None
    applied_at: datetime | None
    out_of_service_at: datetime | None
    proved_at: datetime | None
    """When no pod of it was left, or the traffic was proved to go elsewhere."""
    proof: str
    """What was proved, in the words of the record; empty where no record proves it."""
    proof_record: int | None
    records: tuple[int, ...]
    problems: tuple[str, ...]
    """What records say went wrong with it."""
    reverts: tuple[Revert, ...]

    @property
    def took(self) -> timedelta | None:
        """From the intent to the proof."""
        return self.proved_at - self.intended_at if self.proved_at and self.intended_at else None

    @property
    def applied_after(self) -> timedelta | None:
        """From the intent to the write."""
        return self.applied_at - self.intended_at if self.applied_at and self.intended_at else None


class Restoration(Fact):
    """What a Resume restored, or could not."""

    record: int
    at: datetime | None
    done: bool
    text: str


class Acceptance(Fact):
    """A risk that was accepted until a date."""

    record: int
    at: datetime | None
    tier: str
    until: datetime | None
    by: tuple[str, ...]
    why: tuple[str, ...]
    """The rationales of those who accepted it."""
    ended_at: datetime | None
    ended_by: str
    """The event that ended it; empty while it stands."""


class Duty(Fact):
    """A clock of the ladder: what somebody outside has to be told by when."""

    name: str
    role: str
    started_at: datetime | None
    due_at: datetime | None
    state: State
    met_at: datetime | None
    met_by: str
    record: int
    """The record that says that it started, or was met."""


class Review(Fact):
    """An after-action review."""

    record: int
    at: datetime | None
    by: str
    role: str
    policy_updated: bool
    satisfaction: str
    lessons: str
    rationale: str


class Stall(Fact):
    """A rung on which nobody answered or decided in time."""

    record: int
    at: datetime | None
    event: str
    tier: str
    text: str


class Redacted(Fact):
    """Values that were erased from a record."""

    record: int
    fields: tuple[str, ...]
    at: str
    by: str
    reason: str
    """Empty where no redaction says so: then the chain is broken."""


class Awareness(Fact):
    """The act by which a person first showed that they knew of it."""

    record: int
    at: datetime | None
    who: str
    role: str
    act: str
    """The action, or `raised manually`."""


class Opening(Fact):
    """What the escalation started with."""

    record: int
    at: datetime | None
    event: str
    ladder: str
    generation: str
    digest: str
    tier: str
    target: str
    model: str
    version: str
    card: str
    lineage: str
    owners: str
    raised_by: str
    raised_in_role: str
    rationale: str
    silence: str
    """Why no reading is behind it; empty where one is."""
    evidence: str
    """What ran before anything was touched."""
    policy_digest: str
    """SHA-256 of the text of the policy that is on record; empty where it is not."""
    text: str


class Limit(Fact):
    """A threshold of the policy that is on record."""

    tier: str
    indicator: str
    side: str
    """`above` or `below`: on which side of it is a breach."""
    value: float


class Story(Fact):
    """Everything that the records of one escalation say."""

    opening: Opening | None
    as_of: datetime | None
    """The last time on record, or the end of the period that is asked about."""
    limits: tuple[Limit, ...]
    """The thresholds of the policy that is on record, the least severe tier first."""
    readings: tuple[Reading, ...]
    tiers: tuple[tuple[int, str, str], ...]
    """The rungs that were entered, each with its record, its tier and why."""
    messages: tuple[Message, ...]
    acts: tuple[Act, ...]
    agreements: tuple[Agreement, ...]
    deadlines: tuple[Deadline, ...]
    containments: tuple[Containment, ...]
    restorations: tuple[Restoration, ...]
    acceptances: tuple[Acceptance, ...]
    duties: tuple[Duty, ...]
    stalls: tuple[Stall, ...]
    reviews: tuple[Review, ...]
    rehearsals: tuple[str, ...]
    """Of a drill: what was tried as a dry run."""
    redacted: tuple[Redacted, ...]
    awareness: Awareness | None
    ended: Agreement | None
    """How it was closed, or that it was deleted."""
