"""Leader election by a Lease, with times short enough that a standby stops a model within seconds of a crash.

The client library's elector measures expiry by the wall clock and does not release; this one uses the monotonic
clock, so a clock jump elects nobody twice, and gives the Lease up on a clean stop. Safety never rests on it: two
operators that both believe to lead meet in the compare-and-swap of every write.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from riskladder.cluster.client import ApiError, Client, Conflict, NotFound, Object
from riskladder.cluster.failure_log import FailureLog
from riskladder.cluster.resources import LEASES

PER_REQUEST = 10.0
"""How many times the latency of a request the Lease lasts, at least: several renewals have to get through in it."""

LONGEST = 15.0
"""Seconds that it lasts at most, however slow the API server is."""

RETRY_AT_ONCE = 0.05
"""Seconds after which a leader that could not renew tries again: one slow answer must not cost the lead."""

log = structlog.get_logger(__name__)


class Elector:
    """Holds, or waits for, one Lease."""

    def __init__(
        self,
        client: Client,
        *,
        name: str,
        identity: str,
        on_change: Callable[[bool], None],
        duration: float = 2.0,
        renew_every: float = 0.6,
        retry_every: float = 0.3,
    ) -> None:
        """Prepare to take part.

        The times are for an API server that answers at once; where it does not, they are as much longer as it takes:
        a slow link still has a leader.

        Args:
            client: The API client; the Lease lives in its namespace.
            name: Name of the Lease.
            identity: This process, unlike any other.
            on_change: Called with ``True`` when this process begins to lead and ``False`` when it no longer may.
            duration: Seconds without renewal after which others take over.
            renew_every: Seconds between renewals.
            retry_every: Seconds between attempts of a standby.
        """
        self._client = client
        self._name = name
        self._identity = identity
        self._on_change = on_change
        self._failures = FailureLog("lease")
        self._shortest = duration
        self._latency = 0.0
        """Seconds that a request takes recently."""
        self._promised = duration
        """Seconds for which this process has the Lease, as it was written last."""
        self._renew_every = renew_every
        self._retry_every = retry_every
        self._seen: tuple[str, str, float] = ("", "", 0.0)
        """Holder and renewTime as last seen, and when (monotonic) they were first seen so."""
        self._renewed = 0.0
        self._held: Object | None = None
        """The Lease as this process wrote it last: renewed without reading it again."""
        self._taking_part: asyncio.Task[None] | None = None
        self.leading = False

    async def run(self) -> None:
        """Take part until cancelled, or until the Lease is given up."""
        self._taking_part = asyncio.current_task()
        while True:
            delay = await self._once()
            await asyncio.sleep(delay)

    async def _once(self) -> float:
        """Do one round, and return the seconds until the next."""
        started = _now()
        try:
            async with asyncio.timeout(max(self.duration / 4, 4 * self._latency)):
                held = await self._try()
        except (ApiError, TimeoutError) as error:
            self._failures.failed(str(error) or "timed out", lease=self._name)
            if isinstance(error, TimeoutError):
                self._latency = min(max(_now() - started, self._latency), LONGEST / PER_REQUEST)
            held = self.leading and _now() - self._renewed < self._promised * 0.9
            delay = RETRY_AT_ONCE if held else self._retry_every
        else:
            self._failures.succeeded(lease=self._name)
            if held:
                self._renewed = started
            delay = self._renew_every if held else self._retry_every
        self._set(held)
        return delay

    @property
    def duration(self) -> float:
        """Seconds without renewal after which others take over, by what a request takes recently."""
        return min(max(self._shortest, PER_REQUEST * self._latency), LONGEST)

    async def _timed(self, request: Awaitable[Object]) -> Object:
        """Return the answer to a request, whose time is taken; one answer that is fast does not make the link so."""
        started = _now()
        answer = await request
        taken = _now() - started
        self._latency = max(taken, 0.7 * self._latency + 0.3 * taken)
        return answer

    def _set(self, leading: bool) -> None:
        if leading != self.leading:
            self.leading = leading
            log.info("leading" if leading else "standing by", lease=self._name, identity=self._identity)
            self._on_change(leading)

    async def _try(self) -> bool:
        """Do one round: renew, take over, or find it held by another."""
        namespace = self._client.namespace
        if self._held is not None and await self._write(self._held):
            return True
        try:
            lease = await self._timed(self._client.get(LEASES, namespace, self._name))
        except NotFound:
            return await self._write(None)
        spec = lease.get("spec") or {}
        holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
        if (holder, renewed) != self._seen[:2]:
            self._seen = (holder, renewed, _now())
        expired = _now() - self._seen[2] >= float(spec.get("leaseDurationSeconds") or self.duration)
        if holder and holder != self._identity and not expired:
            return False
        return await self._write(lease)

    async def _write(self, lease: Object | None) -> bool:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        before = (lease or {}).get("spec") or {}
        mine = before.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self.duration),
            "acquireTime": before.get("acquireTime") if mine else now,
            "renewTime": now,
            "leaseTransitions": (before.get("leaseTransitions") or 0) + (0 if mine or lease is None else 1),
        }
        namespace = self._client.namespace
        metadata = {"name": self._name, "namespace": namespace}
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        self._held = None
        try:
            if lease is None:
                self._held = await self._timed(self._client.create(LEASES, namespace, body))
            else:
                metadata["resourceVersion"] = lease["metadata"]["resourceVersion"]
                self._held = await self._timed(self._client.replace(LEASES, namespace, self._name, body))
        except (Conflict, NotFound):
            return False
        self._promised = float(str(spec["leaseDurationSeconds"]))
        return True

    async def release(self) -> None:
        """Give the Lease up and take part no more, so that a standby need not wait for it to expire.

        It is given up wherever it names this process, also where that could not renew it in time. That takes no longer
        than it lasts.
        """
        task, self._taking_part = self._taking_part, None
        if task is None:
            return
        self._set(False)
        task.cancel()  # with what it has sent: whether that is stored before or after shows below
        await asyncio.wait({task})
        self._held = None
        try:
            async with asyncio.timeout(max(self._promised, self.duration)):
                await self._give_up()
        except (ApiError, TimeoutError) as error:
            log.warning("lease", lease=self._name, error=str(error) or "timed out")

    async def _give_up(self) -> None:
        """Write that this process has not got the Lease, until that stands."""
        while True:
            try:
                lease = await self._client.get(LEASES, self._client.namespace, self._name)
                if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                    lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._client.replace(LEASES, self._client.namespace, self._name, lease)
            except NotFound:
                return
            except Conflict:  # with a renewal that nobody waited for any longer
                await asyncio.sleep(RETRY_AT_ONCE)
            else:
                return


def _now() -> float:
    """Seconds on the clock by which the event loop sleeps."""
    return asyncio.get_running_loop().time()
