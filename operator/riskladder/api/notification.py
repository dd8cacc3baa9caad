"""Messages to roles, as a status keeps them: those of an escalation, and those of a ladder."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from riskladder.api.base import AtomicList, Count, DnsLabel, Model, ReasonWord, Timestamp
from riskladder.api.foreign import Clipped

EVENTS = "events"
"""Stands for the channel of a role that has none: it is notified through Events."""

MAX_RECEIPTS = 64
"""Recipients and parts of one message that are distinguished; of more, some may get it twice."""

MAX_ASKS = 20
"""Deadlines and duties of one message: a tier has at most 16 duties."""

Thread = Annotated[str, Field(max_length=64, pattern=r"^([CGD][A-Z0-9]{6,30}/[0-9]{1,16}\.[0-9]{1,8})?$")]
"""A conversation of Slack, and the time stamp of the message that began a thread there."""

Receipt = Annotated[str, Field(max_length=16, pattern=r"^[0-9a-f]{16}$")]


class NotificationState(StrEnum):
    """How far a notification got."""

    PENDING = "Pending"
    DELIVERED = "Delivered"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class Ask(Model):
    """One thing that a message asks for, with its deadline."""

    what: Annotated[str, Field(min_length=1, max_length=128)] = Field(description="What is asked for, in words.")
    by: Timestamp = Field(description="By when.")
    who: Annotated[str, Field(max_length=512)] = Field("", description="Of whom, in words.")
    otherwise: Annotated[str, Field(max_length=512)] = Field(
        "", description="What happens by itself at that time if nobody does it, in words."
    )


class Message(Model):
    """One message to one role over one channel. What it says is fixed when it is queued."""

    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="Stable across retries and updates, so that the receiver recognizes a repetition."
    )
    role: DnsLabel = Field(description="Who is notified.")
    channel: DnsLabel = Field(description="Over which channel; `events` where the role has none: an Event only.")
    about: ReasonWord = Field(description="What it is about, one word, the same as the reason of its record or Event.")
    message: Clipped = Field("", description="What happened, in one line.")
    at: Timestamp = Field(description="When it was queued.")
    due_at: Timestamp | None = Field(None, description="The deadline that it speaks of.")
    state: NotificationState = Field(
        description="Pending, Delivered, Failed (given up), or Skipped (overtaken before it could be delivered)."
    )
    attempts: Count = Field(0, description="How often it was tried.")
    last_error: Clipped = Field("", description="Why the last try failed.")
    done_at: Timestamp | None = Field(
        None,
        description="When it was delivered, given up or skipped. Delivered without it: some of its recipients have it, "
        "and the others are still tried.",
    )
    receipts: Annotated[tuple[Receipt, ...], Field(max_length=MAX_RECEIPTS), AtomicList()] = Field(
        (), description="Who has taken which part of it, as hashes: they do not get it again."
    )

    thread: Thread = Field(
        "", description="For Slack, the conversation and the time stamp of the thread in which it stands."
    )

    @property
    def is_outstanding(self) -> bool:
        """Whether it is still to be sent, to all of its recipients or to some."""
        partly = self.state is NotificationState.DELIVERED and self.done_at is None
        return partly or self.state is NotificationState.PENDING


class Notification(Message):
    """A message of an escalation, on the rung that it belongs to."""

    serves: Clipped = Field("", description="What served in place of the model, or of it, when it was queued.")
    rung: Annotated[int, Field(ge=1)] = Field(1, description="The rung it belongs to, by number.")
    tier: DnsLabel = Field(description="The tier of that rung.")
    asks: Annotated[tuple[Ask, ...], Field(max_length=MAX_ASKS), AtomicList()] = Field(
        (), description="What it asks for by when, and what happens otherwise: the deadline that it speaks of first."
    )
