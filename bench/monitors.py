"""What it costs that a monitor sends its own words to `riskladder ingest`, or is asked by `riskladder poll`.

The floor of a breach is the same signal written directly. Both go to the same operator, in turns.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web

from bench import load
from bench.api import Api
from bench.contenders import Contender, Operator
from bench.report import FLOOR, OPERATOR, Results
from bench.world import BenchNamespace
from riskladder.cluster.resources import BINDINGS, SIGNALS
from tests.cluster import LocalControlPlane
from tests.cluster.install import NAMESPACE, install, kubectl, service_account_kubeconfig
from tests.cluster.ports import HOST, Ports

SOURCE, INDICATOR = "fairness-monitor", "demographic_parity_difference"
RATE, SECONDS, SENDERS = 500, 60, 64
"""Bodies a second, for so long, over so many connections."""
STREAMS = 200
"""Models that those bodies are about, in turns."""
POLLED, EVERY, ROUNDS = 1000, 15, 3
"""Models of one query, seconds between two of them, and how many are measured."""
READY_DEADLINE = 60.0


class Reporting(Contender):
    """`riskladder ingest` or `riskladder poll`, under its own service account."""

    def __init__(self, command: str, kubeconfig: Path, directory: Path, *options: str) -> None:
        self.name = command
        called = [sys.executable, "-m", "riskladder", command, "--kubeconfig", str(kubeconfig), *options]
        super().__init__(called, directory / f"{command}.log")

    def address(self, field: str) -> str:
        """Return an address that it has bound, from its log."""
        for line in self._log.read_text().splitlines():
            if '"started"' in line:
                return str(json.loads(line)[field])
        return ""

    async def _is_ready(self) -> bool:
        probe = "health" if self.name == "ingest" else "listen"
        if not (address := self.address(probe)):
            return False
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}/readyz") as answer:
            return answer.status == 200


async def monitors(directory: Path, results: Results, breaches: int, seconds: int, polled: int, say: Any) -> None:
    """Measure on a plane of its own."""
    say("what monitors send, and what they are asked for")
    with LocalControlPlane(nodes=1) as plane:
        await asyncio.to_thread(install, plane.kubeconfig, components=["ingest", "poll"])
        accounts = {
            name: await asyncio.to_thread(
                service_account_kubeconfig, plane.kubeconfig, directory / f"{name}.json", name, NAMESPACE
            )
            for name in ("riskladder", "riskladder-ingest", "riskladder-poll")
        }
        api = await Api.open(str(plane.kubeconfig))
        try:
            targets = [f"model-{number}" for number in range(2 * breaches)]
            async with (
                BenchNamespace(api, "bench-monitors", targets) as world,
                Operator(accounts["riskladder"], directory) as operator,
                Reporting(
                    "ingest",
                    accounts["riskladder-ingest"],
                    directory,
                    "--listen",
                    "127.0.0.1:0",
                    "--health",
                    "127.0.0.1:0",
                ) as ingest,
            ):
                await operator.wait_until_idle()
                await _grant(api, world.name, targets)
                token = await asyncio.to_thread(_token, plane.kubeconfig, world.name)
                url = f"http://{ingest.address('listen')}/v1/namespaces/{world.name}/bindings/alerts"
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                async with aiohttp.ClientSession(
                    headers=headers, connector=aiohttp.TCPConnector(limit=SENDERS)
                ) as session:
                    await _taken(session, url)
                    await _latencies(world, session, url, targets, results)
                    await operator.wait_until_idle()
                    if seconds:
                        await _stream(ingest, session, url, seconds, results, say)
            if polled:
                await _polled(api, accounts, directory, polled, results, say)
        finally:
            await api.close()


async def _grant(api: Api, namespace: str, targets: Sequence[str]) -> None:
    """Let the two processes act as one account that reports as one source, and bind what it sends."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    await api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": SOURCE}})
    own = [
        {"apiGroups": ["riskladder.dev"], "resources": ["modelrisksignals"], "verbs": ["create", "patch"]},
        {"apiGroups": ["riskladder.dev"], "resources": ["sources"], "resourceNames": [SOURCE], "verbs": ["report"]},
    ]
    acting = [
        {
            "apiGroups": ["authentication.k8s.io"],
            "resources": ["serviceaccounts"],
            "resourceNames": [SOURCE],
            "verbs": ["impersonate:serviceaccount"],
        },
        {
            "apiGroups": ["riskladder.dev"],
            "resources": ["modelrisksignals"],
            "verbs": ["impersonate-on:serviceaccount:create", "impersonate-on:serviceaccount:patch"],
        },
    ]
    here = {"kind": "ServiceAccount", "name": SOURCE, "namespace": namespace}
    there = [{"kind": "ServiceAccount", "name": f"riskladder-{n}", "namespace": NAMESPACE} for n in ("ingest", "poll")]
    for name, rules, subjects in ((SOURCE, own, [here]), (f"{SOURCE}-acting", acting, there)):
        await api.request("POST", f"{rbac}/roles", {"metadata": {"name": name}, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        body = {"metadata": {"name": name}, "roleRef": role, "subjects": subjects}
        await api.request("POST", f"{rbac}/rolebindings", body)
    streams = [f"stream-{number}" for number in range(STREAMS)]
    spec = {
        "format": "Alertmanager",
        "ladder": "bench",
        "targetFrom": {"label": "deployment", "allowed": [*targets, *streams][:1000]},
        "source": SOURCE,
        "serviceAccount": SOURCE,
        "sender": {"audienceToken": {}},
        "readings": [{"indicator": INDICATOR, "as": "Breach"}],
    }
    await api.request("POST", BINDINGS.path(namespace), _binding("alerts", spec))


def _binding(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": BINDINGS.api_version, "kind": BINDINGS.kind, "metadata": {"name": name}, "spec": spec}


def _token(kubeconfig: Path, namespace: str) -> str:
    return kubectl(
        kubeconfig, "-n", namespace, "create", "token", SOURCE, "--audience=riskladder-ingest", "--duration=3600s"
    ).strip()


def _notification(target: str, *, firing: bool) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    alert = {
        "status": "firing" if firing else "resolved",
        "labels": {"alertname": "Unfair", "deployment": target, "severity": "critical"},
        "annotations": {"summary": f"{target} is unfair"},
        "startsAt": now,
        "endsAt": "0001-01-01T00:00:00Z" if firing else now,
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": "28251fda5416fe8a",
    }
    return {"version": "4", "groupKey": "{}", "status": alert["status"], "truncatedAlerts": 0, "alerts": [alert]}


async def _taken(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until the binding is known and its permissions are in force."""
    deadline = time.monotonic() + READY_DEADLINE
    while True:
        async with session.post(url, json=_notification("stream-0", firing=False)) as answer:
            said = await answer.text()
            if answer.status == 200:
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"ingest takes nothing: {said[:500]}")
        await asyncio.sleep(0.2)


async def _latencies(
    world: BenchNamespace, session: aiohttp.ClientSession, url: str, targets: Sequence[str], results: Results
) -> None:
    """Breach one model at a time: over HTTP, and by its signal, in turns."""
    measured: dict[str, list[float | None]] = {OPERATOR: [], FLOOR: []}
    for number, target in enumerate(targets):
        await asyncio.sleep(random.uniform(*load.PAUSE))
        if number % 2:
            measured[FLOOR].append(await load.breach(world, target))
            continue
        sent = time.monotonic()
        async with session.post(url, json=_notification(target, firing=True)) as answer:
            answer.raise_for_status()
        is_seen = await world.observer.seen(lambda target=target: target in world.observer.stopped, load.ONE_DEADLINE)  # type: ignore[misc]
        measured[OPERATOR].append(world.observer.stopped[target] - sent if is_seen else None)
    for contender, latencies in measured.items():
        results.add_latencies("ingest", contender, latencies)


async def _stream(
    ingest: Reporting, session: aiohttp.ClientSession, url: str, seconds: int, results: Results, say: Any
) -> None:
    """Send bodies at a fixed pace, whether the answers keep up or not."""
    taken: list[float] = []
    refused = 0
    cpu, began = ingest.cpu(), time.monotonic()
    due = iter(range(RATE * seconds))

    async def sender() -> None:
        nonlocal refused
        for number in due:
            await asyncio.sleep(began + number / RATE - time.monotonic())
            sent = time.monotonic()
            async with session.post(url, json=_notification(f"stream-{number % STREAMS}", firing=False)) as answer:
                await answer.read()
                if answer.status == 200:
                    taken.append(time.monotonic() - sent)
                else:
                    refused += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(sender())
    took = time.monotonic() - began
    results.add("ingest_rate", OPERATOR, len(taken) / took)
    results.add_percentiles("ingest_answer", OPERATOR, taken)
    results.add("ingest_refused", OPERATOR, refused)
    results.add("ingest_cpu", OPERATOR, 1000 * (ingest.cpu() - cpu) / max(len(taken), 1))
    results.add("ingest_rss", OPERATOR, ingest.rss_peak() / 2**20)
    say(f"  {len(taken)} bodies taken in {took:.0f} s, {refused} asked to come back")


# --- One query for many models ----------------------------------------------------------------------------------------


async def _polled(
    api: Api, accounts: dict[str, Path], directory: Path, polled: int, results: Results, say: Any
) -> None:
    program = shutil.which("prometheus")
    if program is None:
        say("  no Prometheus here: one query for many models is not measured")
        return
    say(f"  one query for {polled} models every {EVERY} s")
    models = [f"polled-{number}" for number in range(polled)]
    with tempfile.TemporaryDirectory(prefix="riskladder-prometheus-") as scratch:
        async with _prometheus(program, Path(scratch), models) as url, BenchNamespace(api, "bench-polled", []) as world:
            await _grant(api, world.name, [])
            endpoints = directory / "endpoints.yaml"
            endpoints.write_text(f"endpoints:\n- {{name: main, url: '{url}', timeout: 10s}}\n")
            spec = {
                "format": "Generic",
                "ladder": "bench",
                "targetFrom": {"label": "deployment", "allowed": models},
                "source": SOURCE,
                "serviceAccount": SOURCE,
                "poll": {"endpoint": "main", "query": "model_unfairness", "every": f"{EVERY}s"},
                "readings": [{"indicator": INDICATOR}],
            }
            await api.request("POST", BINDINGS.path(world.name), _binding("polled", spec))
            async with Reporting(
                "poll", accounts["riskladder-poll"], directory, "--endpoints", str(endpoints), "--listen", "127.0.0.1:0"
            ) as poll:
                await _rounds(api, world.name, poll, polled, results)


async def _rounds(api: Api, namespace: str, poll: Reporting, polled: int, results: Results) -> None:
    """Take the time from the first signal of an answer to its last one, and what it costs."""
    seen: dict[str, dict[str, float]] = {}
    version = await api.version(SIGNALS.path(namespace))
    complete: list[str] = []
    cpu_before = 0.0
    async for lines in api.watch(SIGNALS.path(namespace), version):
        now = time.monotonic()
        for line in lines.split(b"\n"):
            event = json.loads(line)
            obj = event["object"]
            at = obj["spec"]["observedAt"]
            seen.setdefault(at, {}).setdefault(obj["metadata"]["name"], now)
            if len(seen[at]) == polled and at not in complete:
                complete.append(at)
                times = seen[at].values()
                if len(complete) == 1:  # the signals are created in the first one
                    cpu_before = poll.cpu()
                    continue
                results.add("poll_spread", OPERATOR, max(times) - min(times))
                results.add("poll_cpu", OPERATOR, 1000 * (poll.cpu() - cpu_before) / polled)
                cpu_before = poll.cpu()
        if len(complete) > ROUNDS:
            return


class _prometheus:  # noqa: N801 - used as a function
    """A Prometheus that scrapes one exporter of many models."""

    def __init__(self, program: str, directory: Path, models: Sequence[str]) -> None:
        self._program, self._directory, self._models = program, directory, models
        self._ports = Ports()

    async def __aenter__(self) -> str:
        lines = ["# TYPE model_unfairness gauge"]
        lines += [f'model_unfairness{{deployment="{model}"}} 0.05' for model in self._models]
        text = "\n".join(lines) + "\n"

        async def show(_: aiohttp.web.Request) -> aiohttp.web.Response:
            return aiohttp.web.Response(text=text)

        app = aiohttp.web.Application()
        app.router.add_get("/metrics", show)
        self._runner = aiohttp.web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await aiohttp.web.TCPSite(self._runner, HOST, 0).start()
        host, port = self._runner.addresses[0][:2]
        config = self._directory / "prometheus.yaml"
        config.write_text(
            "global: {scrape_interval: 5s}\n"
            f"scrape_configs:\n- job_name: models\n  static_configs: [{{targets: ['{host}:{port}']}}]\n"
        )
        listen = f"{HOST}:{self._ports.claim()}"
        with (self._directory / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._program,
                f"--config.file={config}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address={listen}",
                stdout=log,
                stderr=log,
            )
        url = f"http://{listen}"
        await self._scraped(url)
        return url

    async def _scraped(self, url: str) -> None:
        deadline = time.monotonic() + READY_DEADLINE
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < deadline:
                try:
                    query = {"query": "count(model_unfairness)"}
                    async with session.get(f"{url}/api/v1/query", params=query) as answer:
                        if (await answer.json())["data"]["result"]:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.2)
        raise RuntimeError("Prometheus has scraped nothing")

    async def __aexit__(self, *_: object) -> None:
        self._process.terminate()
        await self._process.wait()
        await self._runner.cleanup()
        self._ports.release()
