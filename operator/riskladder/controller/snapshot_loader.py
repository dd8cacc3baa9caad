"""Loads what a pass decides on: what the caches hold of a target, and what has to be asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from riskladder.cluster import authority
from riskladder.cluster.client import ApiError, Client
from riskladder.controller.caches.store import Store
from riskladder.controller.clock_watch import ClockWatch
from riskladder.controller.companion_lookup import CompanionLookup
from riskladder.controller.executor import Executor
from riskladder.controller.index_writer import IndexWriter
from riskladder.controller.node_lookup import NodeLookup
from riskladder.controller.observations import Observations
from riskladder.controller.outbox import Outbox
from riskladder.controller.people import People
from riskladder.controller.reservations import radius_budgets
from riskladder.controller.stray_lookup import StrayLookup
from riskladder.controller.trail_pass import IndependentWrites
from riskladder.policy.decisions import keep
from riskladder.policy.snapshot import PolicyInForce, Snapshot, TargetKey
from riskladder.workloads.companions.suspend import Companion


class SnapshotLoader:
    """Joins the caches, what is only in memory, and the answers to what is asked."""

    def __init__(
        self,
        client: Client,
        store: Store,
        executor: Executor,
        seen: Observations,
        people: People,
        index: IndexWriter,
        clock: ClockWatch,
        *,
        outbox: Outbox | None,
        unproved: Callable[[str], None],
    ) -> None:
        """Put the parts together.

        Args:
            client: Where to ask.
            store: The caches.
            executor: What is being done to companion workloads.
            seen: What is only in memory.
            people: Who may decide.
            index: The names of what is contained.
            clock: The API server's time.
            outbox: What was delivered; without one nothing is.
            unproved: Called with a namespace in which no decision proves who made it.
        """
        self._client = client
        self._store, self._seen, self._people, self._index = store, seen, people, index
        self._clock, self._outbox, self._unproved = clock, outbox, unproved
        self._companions = CompanionLookup(client, store, executor)
        self._strays = StrayLookup(client, store)
        self._nodes = NodeLookup(client, store)
        self.lock: str | None = None
        """Why the lock is not in force; empty while it is, ``None`` before anybody has looked."""

    async def look_at_lock(self) -> bool:
        """See whether admission holds what is contained; return whether that has changed.

        Raises:
            ApiError: The API server could not be asked.
        """
        with suppress(ApiError):  # asked again at the next look
            await self._people.learn_credentials()
        before, self.lock = self.lock, await authority.lock_missing(self._client)
        return before != self.lock

    def load(
        self,
        key: TargetKey,
        *,
        thorough: bool = True,
        proof: PolicyInForce | None = None,
        companions: Mapping[tuple[str, str], Companion] | None = None,
    ) -> Snapshot:
        """Return what is known of a target now.

        Args:
            key: The target.
            thorough: Whether what takes longer is looked at as well; a stop needs none of it.
            proof: Whether decisions prove who made them, where that was asked.
            companions: How the companion workloads are, where that was asked.
        """
        found = self._store.snapshot(key, thorough=thorough)
        snapshot = replace(
            found,
            proof=proof,
            deliveries=self._outbox.deliveries if self._outbox else {},
            lock=self.lock or self._unindexed(key.namespace) or self.lock,
            obstacle=self._seen.obstacle(key),
            unsaved=self._seen.unsaved(key),
            companions=companions or {},
            seeks=self._companions.seeks,
            clock_error=self._clock.error(),
            knows_credentials=self._people.knows_credentials,
        )
        snapshot = self._seen.join(self._nodes.join(self._strays.join(snapshot)))
        if not self._store.radius:
            return snapshot
        concerned = {*snapshot.ladders, *(e.spec.ladder.name for e in snapshot.open)}
        return replace(snapshot, radius_budgets=radius_budgets(self._store, key, concerned, self._clock.now()))

    def _unindexed(self, namespace: str) -> str:
        """Return why what is contained in a namespace is not held by its name; empty where it is."""
        why = self._index.problems.get(namespace)
        return f"creation and /scale are not held, since its ContainmentIndex cannot be written: {why}" if why else ""

    def is_due(self, snapshot: Snapshot) -> bool:
        """Return whether something has to be asked for, though nothing has changed."""
        return self._strays.is_due(snapshot) or self._nodes.is_due(snapshot)

    def wait(self, key: TargetKey) -> float:
        """Return in how many seconds something has to be asked for; infinity for never."""
        return min(self._strays.wait(key), self._nodes.wait(key))

    async def ask(self, key: TargetKey, tried: IndependentWrites) -> Snapshot:
        """Return a snapshot with all that has to be asked for: who may decide, and how companion workloads are.

        What is not answered waits, and nothing else with it.
        """
        snapshot = self.load(key)
        proof: PolicyInForce | None = None
        companions: Mapping[tuple[str, str], Companion] = {}
        looked = False
        with tried.alone():
            by_name = snapshot.decisions
            decided = [(e, keep.first_of(by_name[e.name])) for e in snapshot.escalations if e.name in by_name]
            proof = await self._people.ask(decided)
        with tried.alone():
            companions = await self._companions.look(key, snapshot.open)
        if proof is not None and proof.missing:
            self._unproved(key.namespace)
        with tried.alone():
            looked = await self._strays.look(snapshot)
        with tried.alone():
            looked = await self._nodes.look(snapshot) or looked
        if proof is None and not companions and not looked:
            return snapshot
        return self.load(key, proof=proof, companions=companions)  # what was asked may have taken a while
