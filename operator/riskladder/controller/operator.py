"""The operator process: connect, wait for the API, watch, lead or stand by, and end cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import time
import uuid
from asyncio import sslproto
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import structlog

from riskladder.api.base import GROUP, VERSION
from riskladder.cluster import health
from riskladder.cluster.client import ApiError, Client, NotFound, drained
from riskladder.cluster.connection import Connection, connect
from riskladder.cluster.failure_log import FailureLog
from riskladder.cluster.informer import Informer
from riskladder.cluster.lease import Elector
from riskladder.cluster.policies import wrong_user
from riskladder.cluster.resources import CACHED, OWN, WATCHED, followed
from riskladder.controller.caches.store import Store
from riskladder.controller.clock_watch import LOOK_EVERY
from riskladder.controller.kopf_library import kopf
from riskladder.controller.kopf_watch import Handlers, NoMemories, kopf_settings, watchers_alive
from riskladder.controller.metrics import Metrics
from riskladder.controller.reconciler import Reconciler
from riskladder.notify.egress import Egress
from riskladder.notify.notifier import Notifier
from riskladder.policy.installation import judge_definitions
from riskladder.workloads.registry import Runtimes

log = structlog.get_logger(__name__)

CRD_RETRY = 2.0
"""Seconds between looks for missing CustomResourceDefinitions."""

RESYNC_EVERY = 600.0
"""Seconds between comparisons of the caches with fresh lists: what a lost event left behind is re-applied then."""

FIRST_RESYNC = 15.0
"""Seconds after the start at which that is done first: Kopf lists later than the caches are filled."""

START_GRACE = 30.0
"""Seconds in which the watchers must come up before the liveness probe fails."""


GAUGES_EVERY = 5.0
"""Seconds between looks at where the streams of readings, people and duties stand."""

LOCK_EVERY, LOCK_EVERY_IDLE = 2.0, 20.0
"""Seconds between looks at the policy that holds a contained workload, while one is contained and otherwise."""

WATCHERS_EVERY = 0.5
"""Seconds between looks at whether all watchers live."""


class WatcherDied(Exception):  # noqa: N818 - reads as a sentence in the log
    """A watcher ended for good: changes of one resource are no longer seen."""


NEW_OBJECTS = 10_000
"""Objects after which garbage is collected. Python's 700 are made by every pass, and hardly ever are any in a cycle."""


READ_BUFFER = 64 * 1024
"""Bytes that a TLS connection reads at once. Each has a buffer of that size, by default of 256 KiB, all of it resident;
there are twenty watches, and a hundred connections in a burst."""


def _give_memory_back() -> None:
    """Return what reading the first lists took: they were far larger than what is kept of them.

    What is left then stays, and no garbage collection has to look through it again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
    with contextlib.suppress(OSError, AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run, from the command line and the environment."""

    kubeconfig: str | None = None
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty: all."""
    namespace: str | None = None
    """The operator's own namespace, for the Lease."""
    observe_only: bool = False
    listen: str = "0.0.0.0:8080"
    lease: str = "riskladder"
    notify_hosts: tuple[str, ...] = ()
    """Hosts that notifications may go to."""
    notify_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    console_url: str = ""
    """Where people reach the console: messages link to it."""
    """Networks that they may go to although their addresses are not public."""
    runtimes: Runtimes = field(default_factory=Runtimes)
    """The kinds of workloads that may be targets."""


class Operator:
    """One replica."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; ``run`` does everything."""
        self._settings = settings
        self._identity = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._metrics = Metrics()
        self._stage = "connecting to the API server"
        self._started = time.monotonic()
        self._checks_user: asyncio.Task[None] | None = None
        self._expected_watchers = len(WATCHED) * max(len(settings.namespaces), 1)
        self._handlers: Handlers | None = None
        self._reconciler: Reconciler | None = None
        self._elector: Elector | None = None
        self._informers: list[Informer] = []
        self._stop = asyncio.Event()
        self._indexed: set[str] = set()
        """The namespaces that have an index of what is contained."""
        self.hangs = False
        """Whether something of Kopf's has not ended with ``run``, and will not."""

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT.

        Returns:
            The exit code: 0 after a clean stop, 1 where the watchers gave up.

        Raises:
            ConnectionFailed: The credentials are missing or unusable.
            OSError: The port of the health server is taken.
        """
        self._catch_signals()
        sslproto.SSLProtocol.max_size = READ_BUFFER
        connection = await connect(self._settings.kubeconfig, namespace=self._settings.namespace)
        client = Client(connection, observe=self._metrics.observe_request)
        try:
            runner, bound = await health.serve(
                self._settings.listen,
                healthy=self._unhealthy,
                ready=self._unready,
                collect=self._collect,
                registry=self._metrics.registry,
                further=self._metrics.text,
            )
            log.info("started", identity=self._identity, server=connection.server, listen=bound, pid=os.getpid())
            try:
                if not await self._unless_stopped(self._wait_for_api(client)):
                    return 0
                self._checks_user = asyncio.create_task(self._check_user(client))  # a stop does not wait for it
                return await self._operate(client)
            finally:
                if self._checks_user is not None:
                    self._checks_user.cancel()
                await runner.cleanup()
        finally:
            await connection.close()

    async def _check_user(self, client: Client) -> None:
        """Warn once where admission will refuse what this operator writes, since it is not the user that is named."""
        if not self._settings.observe_only and (why := await wrong_user(client)):
            log.warning("wrong user", reason=why, remedy="start it with a token of that service account")

    async def _unless_stopped(self, work: object) -> bool:
        """Do something that may take for ever, but not longer than until the stop signal."""
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        stop = asyncio.ensure_future(self._stop.wait())
        done, pending = await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        for left in pending:
            left.cancel()
        if task in done:
            task.result()
        return task in done

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    async def _operate(self, client: Client) -> int:
        """Work until the end, with a session of the watchers' own: Kopf closes what it is given when it ends."""
        kopf_connection = await connect(self._settings.kubeconfig, agent="operator watching")
        try:
            return await self._work(client, kopf_connection)
        finally:
            await kopf_connection.close()
            log.info("stopped")

    async def _work(self, client: Client, kopf_connection: Connection) -> int:
        notifier = Notifier(
            Egress(self._settings.notify_hosts, self._settings.notify_networks), console=self._settings.console_url
        )
        reconciler = self._reconciler = Reconciler(
            client,
            self._metrics,
            instance=self._identity,
            notifier=notifier,
            observe_only=self._settings.observe_only,
            runtimes=self._settings.runtimes,
            clock=client.clock,
        )
        handlers = self._handlers = Handlers(reconciler.store)

        @kopf.on.login(id="login", registry=handlers.registry)
        async def login(**_: object) -> kopf.AiohttpSession:
            return kopf.AiohttpSession(aiohttp_session=kopf_connection.session, server=kopf_connection.server)

        self._elector = Elector(
            client, name=self._settings.lease, identity=self._identity, on_change=lambda _: self._steer()
        )
        self._stage = "filling the caches"
        stop_kopf = asyncio.Event()
        not_of_kopf = asyncio.all_tasks()
        watchers = await kopf.spawn_tasks(
            registry=handlers.registry,
            settings=kopf_settings(),
            standalone=True,
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            stop_flag=stop_kopf,
            memories=NoMemories(),
            # Its own guess needs a user name, which the user id of a container has not. Kopf exports no type for it.
            identity=self._identity,  # type: ignore[arg-type]
        )
        self._catch_signals()  # Kopf has installed its own, which would end it before the pass under way
        watching = asyncio.create_task(kopf.run_tasks(watchers, ignored=not_of_kopf), name="kopf")
        informers = self._informers = self._follow(client, reconciler.store)
        helpers = [
            asyncio.create_task(self._fill(client, reconciler.store), name="fill"),
            asyncio.create_task(self._resync(client, reconciler), name="resync"),
            asyncio.create_task(self._guard_watchers(), name="watchers"),
            asyncio.create_task(self._watch_lock(reconciler), name="lock"),
            asyncio.create_task(self._watch_clock(reconciler), name="clock"),
            asyncio.create_task(self._watch_definitions(reconciler), name="definitions"),
            asyncio.create_task(reconciler.journal.run(), name="journal"),
            asyncio.create_task(self._keep_gauges(reconciler), name="gauges"),
        ]
        helpers += [asyncio.create_task(informer.run(), name="informer") for informer in informers]
        if not self._settings.observe_only:
            helpers.append(asyncio.create_task(self._elector.run(), name="elector"))
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        failed: list[asyncio.Task[Any]] = []
        try:
            done, _ = await asyncio.wait({watching, stopping, *helpers}, return_when=asyncio.FIRST_COMPLETED)
            while helpers[0] in done and not (done - {helpers[0]}):
                done, _ = await asyncio.wait({watching, stopping, *helpers[1:]}, return_when=asyncio.FIRST_COMPLETED)
            failed = [task for task in done if task not in (stopping, helpers[0])]
            for task in failed:
                log.error("gave up", task=task.get_name(), error=repr(None if task.cancelled() else task.exception()))
            log.info("stopping", reason="failure" if failed else "signal")
            self._stop.set()  # also where a task has failed: nothing is begun any more, whoever leads
            await reconciler.scheduler.stop()
            reconciler.journal.flush()
            if reconciler.outbox is not None:
                await reconciler.outbox.close()
            await self._elector.release()
            return 1 if failed else 0
        finally:
            for task in (*helpers, stopping):
                task.cancel()
            stop_kopf.set()
            # Not wait_for: it waits for a task that ignores being cancelled, as Kopf does where a watcher failed.
            ended, _ = await asyncio.wait({watching}, timeout=0.5 if failed else 5)
            self.hangs = not ended
            watching.cancel()

    # --- Stages ---------------------------------------------------------------------------------------------------

    async def _wait_for_api(self, client: Client) -> None:
        """Wait until the API server answers and knows our kinds; say what is missing."""
        while True:
            try:
                found = await client.request("GET", f"/apis/{GROUP}/{VERSION}", verb="get", resource="apiresourcelists")
                names = {resource["name"] for resource in found.get("resources") or ()}
                missing = [resource.title for resource in OWN if resource.plural not in names]
                if not missing:
                    return
                self._stage = f"waiting for CustomResourceDefinitions: {', '.join(missing)}"
            except NotFound:
                self._stage = f"waiting for CustomResourceDefinitions of {GROUP}: apply crds/ first"
            except ApiError as error:
                self._stage = f"waiting for the API server: {error}"
            log.warning("waiting", reason=self._stage)
            await asyncio.sleep(CRD_RETRY)

    async def _fill(self, client: Client, store: Store) -> None:
        """Fill the caches: by lists of our own, since Kopf does not report when it has listed everything."""
        failures = 0
        while True:
            try:
                await self._list_watched(client, store)
                self._indexed = await self._look_at_indexes()
                break
            except ApiError as error:
                failures += 1
                log.warning("list failed", error=str(error))
                await asyncio.sleep(min(0.1 * 2**failures, CRD_RETRY))
        await asyncio.gather(*(informer.synced.wait() for informer in self._informers))
        while watchers_alive() < self._expected_watchers:  # noqa: ASYNC110 - Kopf has no event for it
            await asyncio.sleep(0.02)
        self._stage = ""
        _give_memory_back()
        log.info("caches full", seconds=round(time.monotonic() - self._started, 3))
        self._steer()

    async def _list_watched(self, client: Client, store: Store) -> None:
        """Compare what Kopf follows with fresh lists: a deletion whose event was lost is found here."""
        for resource in WATCHED:
            for namespace in self._settings.namespaces or (None,):
                present: set[str] = set()
                version = ""
                async for items, at in client.pages(resource, namespace):
                    version = at
                    for obj in drained(items):
                        present.add(obj["metadata"]["uid"])
                        store.put(resource, obj)
                store.drop_unless(resource, present, namespace=namespace or "", version=version)

    async def _look_at_indexes(self) -> set[str]:
        """Return the namespaces in which something is, or was, contained."""
        assert self._reconciler is not None  # noqa: S101
        return await self._reconciler.index.look(self._settings.namespaces)

    def _follow(self, client: Client, store: Store) -> list[Informer]:
        """Return informers of what belongs to the targets."""
        return [
            Informer(
                client,
                resource,
                namespace,
                put=store.put,
                drop=store.drop,
                drop_unless=lambda of, present, where, version: store.drop_unless(
                    of, present, namespace=where, version=version
                ),
                optional=resource not in CACHED,
            )
            for resource in followed(self._settings.runtimes)
            for namespace in self._settings.namespaces or (None,)
        ]

    async def _guard_watchers(self) -> None:
        """End with an error once a watcher has died, so that a standby, or this process started again, can see.

        Kopf starts no watcher twice, and does not always end by itself without one.
        """
        complete = False
        while True:
            await asyncio.sleep(WATCHERS_EVERY)
            alive = watchers_alive()
            if complete and alive < self._expected_watchers:
                raise WatcherDied(self._unhealthy())
            complete = complete or alive >= self._expected_watchers

    async def _watch_lock(self, reconciler: Reconciler) -> None:
        """Look at the admission policy that holds what is contained: often while something is."""
        failures = FailureLog("lock not seen")
        while True:
            contained = False
            try:
                contained = await reconciler.look_at_lock()
            except ApiError as error:
                failures.failed(str(error))
            if contained:
                await asyncio.sleep(LOCK_EVERY)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reconciler.lock_matters.wait(), LOCK_EVERY_IDLE)
            reconciler.lock_matters.clear()

    async def _watch_clock(self, reconciler: Reconciler) -> None:
        """Compare the clocks now and then: a wrong one must not wait for a deadline to show."""
        while True:
            reconciler.clock.look()
            await asyncio.sleep(LOOK_EVERY)

    async def _watch_definitions(self, reconciler: Reconciler) -> None:
        """Compare the CustomResourceDefinitions with those of this version, at the start and now and then."""
        while True:
            await reconciler.definitions.findings()
            await asyncio.sleep(reconciler.definitions.wait)

    async def _keep_gauges(self, reconciler: Reconciler) -> None:
        """Show how readings, people and duties stand, while this replica leads: only the leader judges."""
        metrics, store = self._metrics, reconciler.store
        while True:
            if self._leads():
                await metrics.readings.refresh(store.signal_statuses())
                await metrics.governance.refresh(store.governed(), reconciler.clock.now())
            if not self._leads():  # it may have changed meanwhile
                metrics.stand_by()
            await asyncio.sleep(GAUGES_EVERY)

    def _leads(self) -> bool:
        return self._elector is not None and self._elector.leading and not self._stage

    def _steer(self) -> None:
        """Work while the caches are full and this replica leads, until it is to stop."""
        assert self._reconciler is not None  # noqa: S101
        leading = self._elector is not None and self._elector.leading
        self._metrics.leading.set(leading)
        if not leading:
            self._metrics.stand_by()
        outbox = self._reconciler.outbox
        if not self._stage and not self._stop.is_set() and (leading or self._settings.observe_only):
            if outbox is not None and leading:
                outbox.activate()
            self._reconciler.scheduler.activate()
            self._reconciler.resync(self._indexed)
        else:
            if outbox is not None:
                outbox.pause()
            self._reconciler.scheduler.pause()
            self._reconciler.stand_by()

    async def _resync(self, client: Client, reconciler: Reconciler) -> None:
        """Look at everything again: soon after the start, for what changed between two lists, and now and then."""
        after = FIRST_RESYNC
        while True:
            await asyncio.sleep(after)
            after = RESYNC_EVERY
            try:
                await self._list_watched(client, reconciler.store)
                self._indexed = await self._look_at_indexes()
                reconciler.resync(self._indexed)
            except ApiError as error:
                log.warning("resync failed", error=str(error))

    # --- Probes ---------------------------------------------------------------------------------------------------

    def _unhealthy(self) -> str:
        """Return why the process must be restarted: a watcher that has died does not restart by itself."""
        if self._handlers is None or (time.monotonic() - self._started < START_GRACE and self._stage):
            return ""
        alive = watchers_alive()
        if alive < self._expected_watchers:
            return f"{self._expected_watchers - alive} of {self._expected_watchers} watchers have died"
        return ""

    def _unready(self) -> str:
        return self._stage or self._unhealthy() or self._outdated()

    def _outdated(self) -> str:
        """Return why this process is no replacement for one that is ready; it works, and leads where no other does.

        So a new image does not come before its CustomResourceDefinitions: the rollout waits, and the replicas of before
        go on. What happens to them later is said on the ladders.
        """
        watch = self._reconciler.definitions if self._reconciler is not None else None
        if watch is None or watch.were_usable or watch.known is None:
            return ""
        return judge_definitions(watch.known).message

    def _collect(self) -> None:
        if self._reconciler is None or self._handlers is None:
            return
        for state, depth in self._reconciler.scheduler.depth().items():
            self._metrics.queue_depth.labels(state).set(depth)
        self._metrics.queue_age.set(self._reconciler.scheduler.age())
        now = time.monotonic()
        for resource, heard in self._handlers.heard.items():
            self._metrics.watch_age.labels(resource).set(now - heard)
        for informer in self._informers:
            self._metrics.watch_age.labels(informer.resource.title).set(now - informer.heard)
        if not self._leads():
            return  # a standby shows nothing of escalations: a sum over replicas counts none twice
        self._metrics.open_escalations.clear()
        tiers = Counter(
            (e.namespace, e.spec.ladder.name, e.status.tier or "unknown")
            for e in self._reconciler.store.escalations.open_ones()
        )
        for labels, number in tiers.items():
            self._metrics.open_escalations.labels(*labels).set(number)
        self._metrics.unusable.clear()
        for about, number in self._reconciler.store.count_unusable().items():
            self._metrics.unusable.labels(*about).set(number)
        self._metrics.withheld.clear()
        waiting = Counter(
            (e.namespace, e.spec.ladder.name)
            for e in self._reconciler.store.escalations.open_ones()
            if e.status.waiting is not None
        )
        for ladder, number in waiting.items():
            self._metrics.withheld.labels(*ladder).set(number)
