"""Writes the status of ladders: what they govern, what is missing of permissions and policies, and of the clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from riskladder.cluster.client import Client, Forbidden
from riskladder.cluster.permissions import LOOK_EVERY, Permissions, title_of
from riskladder.controller.caches.endpoints import Name
from riskladder.controller.caches.entries import LadderKey
from riskladder.controller.caches.store import Store
from riskladder.controller.clock_watch import ClockWatch
from riskladder.controller.definition_watch import DefinitionWatch
from riskladder.controller.outbox import Outbox
from riskladder.controller.people import People
from riskladder.controller.policy_watch import PolicyWatch
from riskladder.controller.trail_writer import TrailWriter
from riskladder.policy.containment.radius import demanded
from riskladder.policy.enabled import ends_no_pods, missing_components, slow_stops
from riskladder.policy.installation import PolicyFindings
from riskladder.policy.ladders import OF_DECISIONS, update_ladder
from riskladder.policy.snapshot import PolicyInForce
from riskladder.policy.storm import Demanded
from riskladder.workloads.safe_states.prompt_stop import PODS

PERMISSION_RECHECK = LOOK_EVERY
"""Seconds between looks at whether a missing permission has been granted."""

PROOF_RECHECK = 30.0
"""Seconds between looks at whether the admission policies are still in force."""


async def look_at_both(people: People, watch: PolicyWatch) -> tuple[PolicyInForce, PolicyFindings]:
    """Return whether decisions are proved, and which policies are not in force, without one contradicting the other.

    Each look is shared for some seconds. Where only one of them has seen the policy for decisions go, or come back,
    both are made again, so that it is warned of once.
    """
    proof, policies = await people.proof_or_why(), await watch.findings()
    if OF_DECISIONS in policies.faulty and not proof.missing:
        return await people.proof_or_why(afresh=True), await watch.findings(afresh=True)
    return proof, policies


class LadderWriter:
    """Brings the statuses of ladders up to date."""

    def __init__(
        self,
        client: Client,
        store: Store,
        trail: TrailWriter,
        people: People,
        policies: PolicyWatch,
        definitions: DefinitionWatch,
        clock: ClockWatch,
        *,
        outbox: Outbox | None,
        again: Callable[[LadderKey, float], None],
        afresh: Callable[[str], None],
        refusals: Callable[[Name], list[str]],
    ) -> None:
        """Write through the trail.

        Args:
            client: Asks which permissions are missing.
            store: Has the ladders.
            trail: Writes their Events and statuses.
            people: Knows whether decisions are proved.
            policies: Knows which admission policies are missing or altered.
            definitions: Knows whether the kinds store what is written.
            clock: The time.
            outbox: Knows which channels are unavailable; ``None`` for no channels.
            again: Has a ladder looked at again after so many seconds.
            afresh: Has the ladders of a namespace looked at again.
            refusals: Returns what of the trail of a ladder's escalations the API server refuses.
        """
        self._refusals = refusals
        self._store = store
        self._trail = trail
        self._people = people
        self._policies = policies
        self._definitions = definitions
        self._clock = clock
        self._outbox = outbox
        self._again = again
        self._afresh = afresh
        self._permissions = Permissions(
            client, (*store.runtimes, *store.runtimes.companions, *store.runtimes.safe_states)
        )

    def forbidden(self, namespace: str) -> None:
        """Ask again what is missing, for its ladders to say: a request of that namespace was refused by RBAC."""
        self._permissions.forget(namespace)
        self._afresh(namespace)

    @contextmanager
    def watching(self, namespace: str) -> Iterator[None]:
        """Take note of a request that RBAC refuses."""
        try:
            yield
        except Forbidden:
            self.forbidden(namespace)
            raise

    def _not_enabled(self, key: LadderKey) -> list[str]:
        """Return what a ladder asks for that needs a component which is not enabled."""
        spec = self._store.ladders[key.namespace, key.name].ladder.spec
        return missing_components(spec, self._store.runtimes) if spec is not None else []

    def _slow_stops(self, key: LadderKey, missing: Collection[str]) -> str | None:
        """Return which tiers of a ladder stop a model more slowly than they ask for; ``None`` where it is not valid."""
        spec = self._store.ladders[key.namespace, key.name].ladder.spec
        if spec is None:
            return None
        deletion = title_of((PODS.group, PODS.plural, "delete"), key.namespace)
        may_not = f"the operator may not {deletion}" if deletion in missing else ""
        return slow_stops(spec, ends_no_pods(self._store.runtimes) or may_not)

    def _demanded(self, key: LadderKey) -> Demanded | None:
        """Return what escalations say of containments beyond the blast radius; ``None`` where the ladder has none."""
        name = (key.namespace, key.name)
        limit = self._store.radius.limit(name)
        return demanded(self._store.escalations.open_ones(name), limit) if limit is not None else None

    async def write(self, key: LadderKey, *, observe_only: bool) -> None:
        """Write the status of a ladder, where it differs.

        Args:
            key: The ladder.
            observe_only: Write nothing.

        Raises:
            ApiError: A request was refused or not answered.
        """
        entry = self._store.ladders.get((key.namespace, key.name))
        if entry is None:
            return
        missing = await self._permissions.missing(key.namespace)
        if missing:
            self._again(key, PERMISSION_RECHECK)
        proof, policies = await look_at_both(self._people, self._policies)
        definitions = await self._definitions.findings()
        is_faulty = (
            proof.missing or policies.missing or policies.altered or policies.unknown or not definitions.is_usable
        )
        self._again(key, PERMISSION_RECHECK if is_faulty else PROOF_RECHECK)
        now = self._clock.now()
        update, wake = update_ladder(
            entry.ladder,
            entry.status,
            created=entry.created,
            open_escalations=len(self._store.escalations.open_ones((key.namespace, key.name))),
            missing=missing,
            refusals=self._refusals((key.namespace, key.name)),
            not_enabled=self._not_enabled(key),
            unproved=proof.missing,
            policies=policies,
            definitions=definitions,
            slow_stops=self._slow_stops(key, missing),
            unavailable=self._outbox.unavailable.get((key.namespace, key.name)) if self._outbox else None,
            clock_error=self._clock.error(),
            deliveries=self._outbox.deliveries if self._outbox else {},
            unusable=self._store.unusable((key.namespace, key.name)),
            demanded=self._demanded(key),
            now=now,
        )
        if wake is not None:
            self._again(key, min(max((wake - now).total_seconds(), 1.0), 86400.0))
        if update.status != entry.status and not observe_only:
            await self._trail.ladder(entry.ladder, update)
