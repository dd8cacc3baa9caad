"""The order of a run: rounds of operator and floor in turns, then many standing signals, then the audit log."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import load
from bench.api import Api, each
from bench.contenders import Contender, Floor, Operator, writes
from bench.counting import audited, served, server_cpu, split_at_stop
from bench.lock import lock
from bench.monitors import monitors
from bench.report import FLOOR, LOCK_STEPS, ONE_WRITE, OPERATOR, Results, percentile
from bench.start import start
from bench.takeover import takeover
from bench.world import BASELINE, BREACH, BenchNamespace
from riskladder.cluster.resources import ESCALATIONS, SIGNALS
from tests.cluster import ClusterError, LocalControlPlane, control_plane_kind
from tests.cluster.install import NAMESPACE, SERVICE_ACCOUNT, install, service_account_kubeconfig

PRIORITY_BREACHES = 5
"""Breaches in each burst of updates."""

CONTROLLERS_IDLE_AFTER = 10.0
"""Seconds in which the controllers have stopped the pods of a burst, and said so."""

STANDING_DEADLINE = 600.0
USER = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    rounds: int = 3
    idle: int = 60
    burst: int = 1000
    standing: int = 3000
    updates_bursts: int = 3
    quiet_seconds: int = 30
    audited: int = 10
    locked: tuple[int, ...] = LOCK_STEPS
    replicasets: int = 20_000
    monitored: int = 60
    streamed_seconds: int = 60
    polled: int = 1000

    @property
    def updates(self) -> int:
        """Baseline updates among which a breach has to come first."""
        return min(self.burst, self.standing)


def say(text: str) -> None:
    print(f"[bench] {text}", flush=True)


def names(prefix: str, number: int) -> list[str]:
    return [f"{prefix}-{i:04}" for i in range(number)]


class Bench:
    """One run on one cluster."""

    def __init__(self, api: Api, kubeconfig: Path, directory: Path, sizes: Sizes, results: Results) -> None:
        """Take the kubeconfig of the operator's service account; logs and files go into the directory."""
        self._api = api
        self._kubeconfig = kubeconfig
        self._directory = directory
        self._template = directory / "escalation.json"
        self._sizes = sizes
        self._run = uuid.uuid4().hex[:6]
        self.results = results

    async def run(self) -> None:
        await self._capture()
        for number in range(1, self._sizes.rounds + 1):
            contenders = [OPERATOR, FLOOR, ONE_WRITE]
            for contender in contenders if number % 2 else reversed(contenders):
                await self._round(number, contender)
        if self._sizes.standing:
            await self._standing()

    def _world(self, name: str, targets: Sequence[str]) -> BenchNamespace:
        return BenchNamespace(self._api, f"bench-{self._run}-{name}", targets)

    def _operator(self) -> Operator:
        return Operator(self._kubeconfig, self._directory)

    def _floor(self, world: BenchNamespace, *, one_write: bool = False) -> Floor:
        template = None if one_write else self._template
        return Floor(self._kubeconfig, self._directory, world.name, template)

    async def _capture(self) -> None:
        """Let the operator write an Escalation, so that the floor writes one of the same content. Warms up, too."""
        say("warming up")
        targets = names("model", 5)
        async with self._world("warm-up", targets) as world, self._operator() as operator:
            missed = [target for target in targets if await load.breach(world, target) is None]
            if missed:
                raise RuntimeError(f"the operator did not contain {', '.join(missed)}")
            await operator.wait_until_idle()
            written = await self._api.request("GET", ESCALATIONS.path(world.name))
            self._template.write_text(json.dumps(_as_created(written["items"][0])))

    # --- Rounds ---------------------------------------------------------------------------------------------------

    async def _round(self, number: int, name: str) -> None:
        sizes = self._sizes
        say(f"round {number} of {sizes.rounds}, {name}: {sizes.idle + sizes.burst} Deployments")
        alone, together = names("alone", sizes.idle), names("burst", sizes.burst)
        async with (
            self._world(f"{number}-{name.replace(' ', '-')}", [*alone, *together]) as world,
            self._operator() if name == OPERATOR else self._floor(world, one_write=name == ONE_WRITE) as contender,
        ):
            await _wait_until_idle(contender)
            if name == ONE_WRITE:
                await self._against_one_write(world, alone, together)
                return
            await self._one_by_one(world, contender, alone)
            await self._burst(world, contender, together)

    async def _against_one_write(self, world: BenchNamespace, alone: Sequence[str], together: Sequence[str]) -> None:
        """Measure a floor that stops a model and leaves no trace of why."""
        latencies = await load.idle(world, alone)
        burst = await load.burst(world, together)
        self.results.add_latencies("one_write", FLOOR, [*latencies, *[None] * burst.missed])
        self.results.add("one_write_last", FLOOR, burst.last_stopped)
        say(f"  idle p50 {_ms(latencies, 50)}, last of the burst stopped after {burst.last_stopped:.2f} s")

    async def _one_by_one(self, world: BenchNamespace, contender: Contender, targets: Sequence[str]) -> None:
        cpu = contender.cpu()
        latencies = await load.idle(world, targets)
        await _wait_until_idle(contender)
        self.results.add_latencies("idle", contender.name, latencies)
        if contender.name == OPERATOR:
            self.results.add_percentiles("one_write", OPERATOR, latencies)
        self.results.add("idle_cpu", contender.name, 1000 * (contender.cpu() - cpu) / len(targets))
        say(f"  idle p50 {_ms(latencies, 50)}, p99 {_ms(latencies, 99)}")

    async def _burst(self, world: BenchNamespace, contender: Contender, targets: Sequence[str]) -> None:
        results, name, many = self.results, contender.name, len(targets)
        cpu, api_cpu, began = contender.cpu(), await server_cpu(self._api), time.monotonic()
        before = await self._written(contender)
        burst = await load.burst(world, targets)
        idle_since = await _wait_until_idle(contender)
        after = await self._written(contender)
        results.add_latencies("burst", name, [*burst.latencies, *[None] * burst.missed])
        results.add("burst_last", name, burst.last_stopped)
        if name == OPERATOR:
            results.add("one_write_last", OPERATOR, burst.last_stopped)
        results.add("burst_rate", name, burst.throughput)
        results.add("burst_sending", name, burst.sending)
        results.add("burst_cpu", name, 1000 * (contender.cpu() - cpu) / many)
        if name == FLOOR:  # the operator's trail takes longer than the controllers; here there is none
            await asyncio.sleep(CONTROLLERS_IDLE_AFTER)
        results.add("burst_api_cpu", name, 1000 * (await server_cpu(self._api) - api_cpu) / many)
        results.add("burst_writes_served", name, (after[1] - before[1]) / many)
        if isinstance(contender, Operator):
            results.add("burst_trail", name, idle_since - began)
            results.add("burst_writes", name, (after[0] - before[0]) / many)
        say(f"  burst p99 {_ms(burst.latencies, 99)}, last stopped after {burst.last_stopped:.2f} s")

    async def _written(self, contender: Contender) -> tuple[int, int]:
        """Return the writes so far by the operator's own count, and by the API server's."""
        own = writes(await contender.requests()) if isinstance(contender, Operator) else 0
        return own, writes(await served(self._api))

    # --- Standing signals -----------------------------------------------------------------------------------------

    async def _standing(self) -> None:
        sizes = self._sizes
        say(f"{sizes.standing} standing signals: {sizes.standing} Deployments")
        standing = names("standing", sizes.standing)
        breaching = {
            (number, part): names(f"breach-{number}-{part}", sizes.updates_bursts * PRIORITY_BREACHES + 2)
            for number in range(1, sizes.rounds + 1)
            for part in ("cold", "restart", FLOOR)
        }
        targets = [*standing, *(target for some in breaching.values() for target in some)]
        async with self._world("standing", targets) as world:
            for number in range(1, sizes.rounds + 1):
                say(f"standing signals, round {number} of {sizes.rounds}")
                empty = await self._cold(world, standing, breaching[number, "cold"], quiet=number == 1)
                await self._restarted(world, standing, breaching[number, "restart"], empty)
                async with self._floor(world) as floor:
                    await self._priority(world, standing, breaching[number, FLOOR], floor)
                await self._api.request("DELETE", SIGNALS.path(world.name))
                await world.observer.until(
                    lambda: not world.observer.current, STANDING_DEADLINE, "no signal to be left"
                )

    async def _cold(
        self, world: BenchNamespace, standing: Sequence[str], breaching: Sequence[str], *, quiet: bool
    ) -> int:
        """Measure a start with signals that no operator has seen; return the memory of an operator without them."""
        results, observer = self.results, world.observer
        first, second, *others = breaching
        async with self._operator() as operator:  # all its code has run, so that what comes on top is data
            await load.breach(world, first)
            await operator.wait_until_idle()
            empty = operator.rss()
        results.add("rss_base", OPERATOR, empty / 2**20)

        await each(standing, lambda target: world.report(target, BASELINE))
        await world.report(second, BREACH)
        async with self._operator() as operator:
            results.add("cold_ready", OPERATOR, time.monotonic() - operator.started)
            await observer.until(lambda: second in observer.stopped, STANDING_DEADLINE, "the breach to be contained")
            results.add("cold_breach", OPERATOR, observer.stopped[second] - operator.started)
            await observer.until(lambda: observer.current.issuperset(standing), STANDING_DEADLINE, "the statuses")
            results.add("cold_current", OPERATOR, observer.last_current - operator.started)
            await operator.wait_until_idle()
            results.add("rss_standing", OPERATOR, operator.rss() / 2**20)
            results.add("rss_first", OPERATOR, (operator.rss() - empty) / 1024 / len(standing))
            if quiet:
                await self._quiet(operator)
            await self._priority(world, standing, others, operator)
        return empty

    async def _restarted(
        self, world: BenchNamespace, standing: Sequence[str], breaching: Sequence[str], empty: int
    ) -> None:
        """Measure a restart with the same signals, judged by an earlier process, and one more that breaches."""
        results, observer, first = self.results, world.observer, breaching[0]
        await world.report(first, BREACH)
        async with self._operator() as operator:
            results.add("restart_ready", OPERATOR, time.monotonic() - operator.started)
            await observer.until(lambda: first in observer.stopped, STANDING_DEADLINE, "the breach to be contained")
            results.add("restart_breach", OPERATOR, observer.stopped[first] - operator.started)
            await operator.wait_until_idle()
            written = (await operator.requests())["patch", f"{SIGNALS.title}/status"]
            # The signal that breaches has its status written twice: contained, and then proved empty.
            results.add("restart_writes", OPERATOR, max(0, written - 2))
            results.add("rss_restart", OPERATOR, (operator.rss() - empty) / 1024 / len(standing))

    async def _priority(
        self, world: BenchNamespace, standing: Sequence[str], breaching: Sequence[str], by: Contender
    ) -> None:
        latencies: list[float | None] = []
        for number in range(self._sizes.updates_bursts):
            some = breaching[number * PRIORITY_BREACHES : (number + 1) * PRIORITY_BREACHES]
            latencies += await load.priority(world, standing[: self._sizes.updates], some)
            await _wait_until_idle(by)
        self.results.add_latencies("priority", by.name, latencies)
        say(f"  among updates, {by.name}: p50 {_ms(latencies, 50)}, p99 {_ms(latencies, 99)}")

    async def _quiet(self, operator: Operator) -> None:
        """Check that nothing is written but the Lease while nothing happens."""
        seconds = self._sizes.quiet_seconds
        say(f"  {seconds} s in which nothing happens")
        before, served_before, cpu = await operator.requests(), await served(self._api), operator.cpu()
        await asyncio.sleep(seconds)
        used = operator.cpu() - cpu
        sent = await operator.requests() - before
        answered = await served(self._api) - served_before
        other = max(writes(sent), writes(answered))
        for key in sent | answered:
            if writes(Counter([key])):
                say(f"  written all the same: {' '.join(key)}, {sent[key]} times (answered: {answered[key]})")
        self.results.add("quiet_cpu", OPERATOR, 1000 * used / seconds)
        self.results.add("quiet_writes", OPERATOR, other)
        self.results.add("quiet_leases", OPERATOR, writes(sent, leases=True) - writes(sent))


async def audit(directory: Path, results: Results, breaches: int) -> None:
    """Count the requests of single breaches in an API server's audit log, on a small plane of its own."""
    say(f"requests of {breaches} single breaches, from an audit log")
    with LocalControlPlane(nodes=1, audit=True) as plane:
        await asyncio.to_thread(install, plane.kubeconfig)
        kubeconfig = await asyncio.to_thread(service_account_kubeconfig, plane.kubeconfig, directory / "audited.json")
        api = await Api.open(str(plane.kubeconfig))
        try:
            targets, counts = names("model", breaches), []
            async with (
                BenchNamespace(api, "bench-audit", targets) as world,
                Operator(kubeconfig, directory) as operator,
            ):
                await operator.wait_until_idle()
                for target in targets:
                    size = plane.audit_log.stat().st_size
                    await load.breach(world, target)
                    await operator.wait_until_idle()
                    counts.append(split_at_stop(audited(plane.audit_log, USER, size), target))
        finally:
            await api.close()
    for key, values in zip(
        ("requests_before", "writes_before", "requests_total", "writes_total"), zip(*counts, strict=True), strict=True
    ):
        # What comes before the stop is an invariant: the worst counts.
        results.add(key, OPERATOR, max(values) if key.endswith("before") else float(median(values)))


async def run(kubeconfig: Path, directory: Path, sizes: Sizes, results: Results) -> None:
    """Install into a cluster, measure, and remove what was measured; the installation stays.

    What has been measured is in the results as soon as it is, also where a later part does not work.
    """
    say("installing")
    await asyncio.to_thread(install, kubeconfig)
    account = await asyncio.to_thread(service_account_kubeconfig, kubeconfig, directory / "operator.json")
    api = await Api.open(str(kubeconfig))
    try:
        await Bench(api, account, directory, sizes, results).run()
    finally:
        await api.close()
    try:
        if control_plane_kind(os.environ.get("CLUSTER", "auto")) == "local":
            await audit(directory, results, sizes.audited)
            await takeover(directory, results, say)
            if sizes.locked:
                await lock(directory, results, sizes.locked, say)
            if sizes.monitored:
                await monitors(directory, results, sizes.monitored, sizes.streamed_seconds, sizes.polled, say)
            if sizes.replicasets:
                await start(directory, results, sizes.replicasets, say)
    except ClusterError as error:
        say(f"no planes of their own here: requests, takeover, lock, monitors and start are not measured: {error}")


async def _wait_until_idle(contender: Contender) -> float:
    """Wait until it has written what it has to write; the floor writes nothing after the stop."""
    if isinstance(contender, Operator):
        return await contender.wait_until_idle()
    await asyncio.sleep(1.0)
    return time.monotonic()


def _as_created(escalation: dict[str, object]) -> dict[str, object]:
    metadata = escalation["metadata"]
    assert isinstance(metadata, dict)
    return {
        "apiVersion": ESCALATIONS.api_version,
        "kind": ESCALATIONS.kind,
        "metadata": {"labels": metadata["labels"]},
        "spec": escalation["spec"],
    }


def _ms(latencies: Sequence[float | None], percent: float) -> str:
    known = [value for value in latencies if value is not None]
    return f"{1000 * percentile(known, percent):.1f} ms" if known else "-"
