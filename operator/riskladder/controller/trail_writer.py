"""Writes the trail: records first, then Events, then the status that makes both final.

A crash may come between any two writes. What was written before it is recognised afterwards: a record by its place
and key, an Event by its name, a status by being equal. So every write is done at least once and counts once. Nothing is
written of an escalation whose namespace was deleted, even where one of the same name stands there by now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import structlog

from riskladder.api.base import API_VERSION
from riskladder.api.conditions import find
from riskladder.api.escalation import EscalationStatus, LedgerHead, TargetIdentity
from riskladder.api.foreign import ACTOR_LIMIT, clip
from riskladder.api.labels import FIELD_MANAGER
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.record import GENESIS_HASH, clipped_particulars
from riskladder.cluster import events, ledger, resources
from riskladder.cluster.client import JSON_PATCH, STRICT, ApiError, Client, NotFound, Object, Refused
from riskladder.cluster.events import ObjectReference, Series
from riskladder.cluster.incarnations import Incarnations
from riskladder.cluster.resources import Resource
from riskladder.policy.escalation import deliveries
from riskladder.policy.plan import CLOSED_KEY, DecisionUpdate, Entry, EscalationUpdate, LadderUpdate, On, SignalUpdate
from riskladder.policy.snapshot import Decision, Escalation, Ladder, Signal

log = structlog.get_logger(__name__)

STRICT_KINDS = (resources.SIGNALS, resources.ESCALATIONS, resources.DECISIONS)
"""What is decided again from what is stored. A field that an older CustomResourceDefinition drops would be written over
and over, or be an answer that is lost: so such a status is refused as a whole. That of a ladder, which is looked at now
and then, is written without it: it says what is outdated."""

EVENT_ATTEMPTS = 3
"""Attempts at one Event before it is left out."""

MUTED_FOR = 60.0
"""Seconds for which each further Event of a namespace is tried once, after one was left out."""

Stored = Callable[[Resource, Object], None]
"""Called with every object as the API server stored it, so that the caches never lag behind our own writes."""


class TrailWriter:
    """Writes records, Events and statuses of one operator."""

    def __init__(self, client: Client, *, instance: str, stored: Stored) -> None:
        """Prepare.

        Args:
            client: Where to write.
            instance: This process, for Events.
            stored: Called with what was stored.
        """
        self._client = client
        self._instance = instance
        self._stored = stored
        self._incarnations = Incarnations(client)
        self._left_behind: dict[str, frozenset[str]] = {}
        """By escalation uid: keys of records that a killed operator had written without the status that goes with them,
        and behind which others have been written since: those acts are on record, however late their status comes."""
        self._beyond_status: dict[str, int] = {}
        """Generation, by uid, of the objects whose stored spec is so wrong that the API server refuses any status."""
        self._failed_events: dict[str, int] = {}
        """By name of the Event: attempts that failed."""
        self._muted: dict[str, float] = {}
        """By namespace: until when an Event is tried only once (monotonic)."""

    async def escalation(self, update: EscalationUpdate) -> bool:
        """Bring an escalation's records, Events, labels and status up to date, in that order.

        Returns:
            Whether its status is stored, and all that was to be on record is: else the escalation is gone.

        Raises:
            ApiError: A write was refused or not answered; ``Refused`` where somebody else has written the escalation.
        """
        escalation = update.escalation
        version = escalation.resource_version
        written = await self.entries(escalation, update.entries)
        if written is None:
            return False
        if update.labels:  # after the records: a lock is removed by what is on record
            labelled = await self._client.merge_patch(
                resources.ESCALATIONS,
                escalation.namespace,
                escalation.name,
                {"metadata": {"labels": dict(update.labels), "resourceVersion": version}},
            )
            self._stored(resources.ESCALATIONS, labelled)
            version = labelled["metadata"]["resourceVersion"]
        status, recalled = deliveries.recall(update.status, escalation.uid, written.others)
        for entry in recalled:
            await self._event(_reference(resources.ESCALATIONS, escalation), entry, None)
        status = status.model_copy(update={"ledger": written.head or LedgerHead(sequence=0, hash=GENESIS_HASH)})
        return await self.status(escalation, status, version)

    async def status(self, escalation: Escalation, status: EscalationStatus, version: str = "") -> bool:
        """Replace the status of an escalation; return whether it is still there.

        Args:
            escalation: As it was seen.
            status: As it is to be.
            version: Its resourceVersion, where it has been written since.

        Raises:
            ApiError: The write was refused or not answered; ``Refused`` where somebody else has written the escalation.
        """
        value = version or escalation.resource_version
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": value}
        about = _reference(resources.ESCALATIONS, escalation)
        return await self._status(about, status.to_api(), resources.ESCALATIONS, test)

    async def entries(self, escalation: Escalation, entries: tuple[Entry, ...]) -> ledger.Appended | None:
        """Append the records, then write the Events.

        Returns:
            What became of the append; ``None``, and nothing is written, where the escalation lives in another namespace
            of that name, which is gone.
        """
        # The uid: a later escalation of the same name continues the chain.
        left_behind = self._left_behind.get(escalation.uid, frozenset())
        records = [
            ledger.LedgerEntry(
                event=str(entry.event),
                key=f"{escalation.uid}/{entry.key}",
                at=entry.at,
                actor=clip(entry.actor, ACTOR_LIMIT),
                detail=clipped_particulars((("message", entry.message), *entry.detail.items())),
            )
            for entry in entries
            if entry.recorded and f"{escalation.uid}/{entry.key}" not in left_behind
        ]
        namespace, name, head = escalation.namespace, escalation.name, escalation.status.ledger
        written = ledger.Appended(head)
        if records:
            namespace_uid = await self._incarnations.uid_of(namespace, name, escalation.uid, head)
            if namespace_uid is None:
                log.warning(
                    "not recorded",
                    namespace=namespace,
                    escalation=name,
                    event_reasons=[record.event for record in records],
                    reason="neither the escalation nor its last record is in the namespace as it is now",
                )
                return None
            written = await ledger.append(self._client, namespace, namespace_uid, name, head, records)
        if written.others:
            keys = (str(other["detail"].get(ledger.KEY, "")) for other in written.others)
            self._left_behind[escalation.uid] = left_behind.union(keys)
        about = _reference(resources.ESCALATIONS, escalation)
        for on, entry, series in _gathered(entries):
            await self._event(_regarding(on, escalation), entry, None if on is On.ESCALATION else about, series)
        return written

    async def stored(self, escalation: Escalation) -> Object | None:
        """Return an escalation as it is stored; ``None`` where it is gone, whatever has its name now.

        Raises:
            ApiError: The request was refused or not answered.
        """
        try:
            found = await self._client.get(resources.ESCALATIONS, escalation.namespace, escalation.name)
        except NotFound:
            return None
        return found if found["metadata"]["uid"] == escalation.uid else None

    async def says_closed(self, escalation: Escalation) -> bool:
        """Return whether the chain says that an escalation was closed, behind the head that is known of it.

        Raises:
            ApiError: A request was refused or not answered.
        """
        behind = await ledger.behind(self._client, escalation.namespace, escalation.name, escalation.status.ledger)
        return any(entry["detail"].get(ledger.KEY) == f"{escalation.uid}/{CLOSED_KEY}" for entry in behind)

    async def target(self, namespace: str, target: TargetIdentity, entry: Entry) -> None:
        """Write an Event about a target that has no escalation.

        Raises:
            ApiError: The write was refused or not answered.
        """
        about = ObjectReference(target.api_version, target.kind, namespace, target.name, target.uid)
        await self._event(about, entry, None)

    async def signal(self, update: SignalUpdate) -> None:
        """Write a signal's Events and status.

        Raises:
            ApiError: A write was refused or not answered; ``Refused`` where the signal has changed meanwhile. Its
                status counts readings: one that another operator has counted must not be lost to a write that is late.
        """
        signal = update.signal
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": signal.resource_version}
        await self._judged(resources.SIGNALS, signal, update.entries, update.status.to_api(), test)

    async def decision(self, update: DecisionUpdate) -> None:
        """Write the outcome of a decision to its status, and an Event where it was refused."""
        decision = update.decision
        about = _reference(resources.DECISIONS, decision)
        accepted = find(update.status.conditions, ConditionType.ACCEPTED)
        if accepted is not None and accepted.status != "True":
            note = f"{decision.spec.action} as {decision.spec.role} was not counted: {accepted.message}"
            entry = Entry(
                Reason.DECISION_REFUSED, accepted.reason, accepted.last_transition_time, note, on=(), warning=True
            )
            await self._event(about, entry, None)
        await self._status(about, update.status.to_api(), resources.DECISIONS)

    async def ladder(self, ladder: Ladder, update: LadderUpdate) -> None:
        """Write a ladder's Events and status."""
        await self._judged(resources.LADDERS, ladder, update.entries, update.status.to_api())

    def takes_status(self, judged: Signal | Ladder) -> bool:
        """Return whether the API server would store a status of this object, as far as is known."""
        return self._beyond_status.get(judged.uid) != judged.generation

    async def _judged(
        self,
        resource: Resource,
        judged: Signal | Ladder,
        entries: tuple[Entry, ...],
        status: dict[str, Any],
        *tests: dict[str, Any],
    ) -> None:
        """Write the Events and the status of what people wrote.

        The API server accepts a status where the spec breaks a rule of a newer schema, but not where it is one
        on which a rule cannot even be evaluated: then the Event and the log have to do.
        """
        if not self.takes_status(judged):
            return
        about = _reference(resource, judged)
        for entry in entries:
            await self._event(about, entry, None)
        try:
            await self._status(about, status, resource, *(tests if judged.spec is not None else ()))
        except Refused as error:
            if judged.spec is not None:
                raise
            self._beyond_status[judged.uid] = judged.generation
            problems = list(judged.problems)
            log.error(
                "invalid",
                kind=resource.kind,
                namespace=judged.namespace,
                name=judged.name,
                problems=problems,
                status_refused=error.message[:300],
            )

    async def _status(
        self, about: ObjectReference, status: dict[str, Any], resource: Resource, *tests: dict[str, Any]
    ) -> bool:
        """Replace the status of this very object (not of another of the same name); return whether it is there."""
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": about.uid},
            *tests,
            {"op": "add", "path": "/status", "value": status},
        ]
        try:
            stored = await self._client.request(
                "PATCH",
                resource.path(about.namespace, about.name, "status"),
                verb="patch",
                resource=f"{resource.title}/status",
                body=patch,
                content_type=JSON_PATCH,
                params={"fieldManager": FIELD_MANAGER} | (STRICT if resource in STRICT_KINDS else {}),
            )
        except NotFound:
            return False  # deleted meanwhile: nobody is left to notify
        self._stored(resource, stored)
        return True

    async def _event(
        self,
        regarding: ObjectReference,
        entry: Entry,
        related: ObjectReference | None,
        series: Series | None = None,
    ) -> None:
        event = events.event_object(
            regarding,
            reason=str(entry.event),
            key=entry.key,
            note=entry.message,
            at=entry.at,
            warning=entry.warning,
            instance=self._instance,
            related=related,
            series=series,
        )
        await self._write_event(event)

    async def _write_event(self, event: Object) -> None:
        """Create an Event. One that is refused or not answered again and again is left out: no status waits for it.

        Raises:
            ApiError: It failed, and is worth another attempt.
        """
        namespace, name = event["metadata"]["namespace"], event["metadata"]["name"]
        try:
            await events.write(self._client, event)
        except ApiError as error:
            failed = self._failed_events.pop(name, 0) + 1
            is_muted = time.monotonic() < self._muted.get(namespace, 0.0)
            if failed < EVENT_ATTEMPTS and not is_muted:
                self._failed_events[name] = failed
                raise
            if error.is_final:
                raise
            self._muted[namespace] = time.monotonic() + MUTED_FOR
            log.warning(
                "event not written", namespace=namespace, about=event["regarding"]["name"], error=str(error)[:500]
            )
        else:
            self._failed_events.pop(name, None)
            self._muted.pop(namespace, None)


def _gathered(entries: tuple[Entry, ...]) -> Iterator[tuple[On, Entry, Series | None]]:
    """Yield what is to be said by Events: what one pass has to say about one object is one Event, and a series.

    Its reason is that of the first warning among them, or else of the first; its note has what all of them say. After a
    crash the pass is repeated, and may have more to say: it is known by all that it says, so that nothing is lost.
    """
    groups: dict[On, list[Entry]] = {}
    for entry in entries:
        for on in entry.on:
            groups.setdefault(on, []).append(entry)
    for on, found in groups.items():
        leading, times = next((entry for entry in found if entry.warning), found[0]), [entry.at for entry in found]
        series = Series(len(found), max(times)) if len(found) > 1 else None
        message = "; ".join(dict.fromkeys(entry.message for entry in found))
        yield on, replace(leading, key="; ".join(e.key for e in found), message=message, at=min(times)), series


def _reference(resource: Resource, about: Escalation | Signal | Ladder | Decision) -> ObjectReference:
    return ObjectReference(API_VERSION, resource.kind, about.namespace, about.name, about.uid)


def _regarding(on: On, escalation: Escalation) -> ObjectReference:
    """Return the object an entry of an escalation is about."""
    if on is On.TARGET:
        target = escalation.spec.target
        return ObjectReference(target.api_version, target.kind, escalation.namespace, target.name, target.uid)
    if on is On.SIGNAL:
        signal = escalation.spec.signal
        return ObjectReference(API_VERSION, resources.SIGNALS.kind, escalation.namespace, signal.name, signal.uid)
    return _reference(resources.ESCALATIONS, escalation)
