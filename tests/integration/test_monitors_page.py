"""The page for monitors: every snippet of it runs, against a real API server, operator, ingest and Alertmanager."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from demo.monitoring import METRIC, monitoring, prometheus
from riskladder.api.base import format_time
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object
from riskladder.cluster.resources import Resource
from tests.cluster import ControlPlane
from tests.cluster.build import ensure_programs
from tests.cluster.install import NAMESPACE, ROOT, install, kubectl, service_account_kubeconfig
from tests.cluster.ports import HOST, Ports
from tests.cluster.process import Component, Spawner
from tests.cluster.versions import ALERTMANAGER
from tests.conftest import progress
from tests.documented import shell
from tests.integration.ingest_process import Ingest, ingesting
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import TestNamespace, condition
from tests.patience import PATIENCE

PAGE = ROOT / "docs" / "monitors.md"
SAMPLES = ROOT / "tests" / "monitors" / "samples"
EXAMPLES = ROOT / "examples"
PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")

Snippet = tuple[str, str, int]
"""Section, language, and which of these in the section."""

RUN_HERE: set[Snippet] = {
    *(("Python", "python", number) for number in range(2)),
    *(("The command line", "sh", number) for number in range(2)),
    *(("curl", "sh", number) for number in range(2)),
    ("curl", "yaml", 0),
    *(("Alertmanager", "yaml", number) for number in range(5)),
    *(("Prometheus", "yaml", number) for number in range(2)),
    *(("Evidently", "sh", number) for number in range(2)),
    ("NannyML", "sh", 0),
    ("MLflow", "yaml", 0),
    ("MLflow", "sh", 0),
    ("Grafana", "yaml", 0),
    ("MonitorBinding", "json", 0),
    ("One reading", "yaml", 0),
    ("A person's judgement", "yaml", 0),
    ("Refusals", "console", 0),
}


def snippets() -> dict[Snippet, str]:
    """Every block of the page, by its section of the second level."""
    found: dict[Snippet, str] = {}
    section, counts = "", dict[tuple[str, str], int]()
    for heading, indent, language, text in re.findall(
        r"^## ([^\n]+)$|^( *)```(\w+)\n(.*?)^ *```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    ):
        if heading:
            section = heading
            continue
        number = counts.get((section, language), 0)
        counts[section, language] = number + 1
        found[section, language, number] = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
    return found


def snippet(section: str, language: str, number: int = 0) -> str:
    return snippets()[section, language, number]


def test_every_snippet_of_the_page_is_run_here() -> None:
    assert set(snippets()) == RUN_HERE


@dataclass(frozen=True, slots=True)
class Page:
    """The namespaces that the page speaks of, with its ladder, its model and its monitor."""

    world: TestNamespace
    ingest: Ingest
    kubeconfig: Path
    """Of an administrator."""
    monitor: Path
    """Of the service account of the monitor."""

    def run(
        self, script: str, kubeconfig: Path, directory: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of the page, with riskladder and kubectl of this checkout."""
        given = {"INGEST": self.ingest.url, **environment}
        return shell(script, kubeconfig, directory, without=("TOKEN",), **given)

    def until_done(self, script: str, kubeconfig: Path, directory: Path, **environment: str) -> str:
        """What a script prints; permissions and bindings need a moment to be known."""
        deadline = time.monotonic() + PATIENCE
        while True:
            done = self.run(script, kubeconfig, directory, **environment)
            if done.returncode == 0:
                return done.stdout
            assert time.monotonic() < deadline, done.stdout + done.stderr
            time.sleep(0.3)

    def apply(self, text: str) -> None:
        kubectl(self.kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", "-", given=text)

    def grant(self, directory: Path, text: str) -> None:
        """What `riskladder bind rbac` writes for a binding."""
        (directory / "binding.yaml").write_text(text)
        self.until_done("riskladder bind rbac binding.yaml | kubectl apply -f -", self.kubeconfig, directory)

    async def usable(self, name: str) -> None:
        async def check() -> bool:
            return condition(await self.world.get(resources.BINDINGS, name), "Ready")["status"] == "True"

        await self.world.until(check, f"binding {name} to be usable")

    async def stored(self, check: Callable[[Object], bool], what: str) -> Object:
        """The spec of the signal that fits."""

        async def look() -> Object | None:
            found = await self.world.client.list(resources.SIGNALS, self.world.namespace)
            return next((one["spec"] for one in found if check(one["spec"])), None)

        return await self.world.until(look, what)


def of(indicator: str, value: float) -> Callable[[Object], bool]:
    return lambda spec: [(r["indicator"], r["value"]) for r in spec["readings"]] == [(indicator, value)]


@pytest.fixture(scope="module")
async def page(
    installed: ControlPlane, operator: OperatorProcess, admin: Client, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Page]:
    del operator
    directory, names = tmp_path_factory.mktemp("page"), ("models", "monitors", "monitoring")
    for name in names:
        kubectl(installed.kubeconfig, "create", "namespace", name)
    kubectl(installed.kubeconfig, "apply", "-f", str(ROOT / "docs" / "examples" / "monitor-rbac.yaml"))
    kubectl(installed.kubeconfig, "-n", "monitoring", "create", "serviceaccount", "alertmanager")
    kubectl(installed.kubeconfig, "-n", "monitors", "create", "serviceaccount", "drift-monitor")
    monitor = service_account_kubeconfig(installed.kubeconfig, directory / "monitor", "fairness-monitor", "monitors")
    kubectl(installed.kubeconfig, "apply", "--server-side", "-f", "-", given=yaml.safe_dump(with_alert()))
    kubectl(installed.kubeconfig, "apply", "--server-side", "-f", str(EXAMPLES / "workloads" / "credit-scorer.yaml"))
    async with ingesting(installed.kubeconfig, directory) as ingest:
        yield Page(TestNamespace(admin, "models"), ingest, installed.kubeconfig, monitor)
    for name in names:
        kubectl(installed.kubeconfig, "delete", "namespace", name, "--wait=false")


def with_alert() -> Object:
    """The ladder of the examples with the indicator of the page, of an alert; without the channels of the example."""
    ladder: Object = yaml.safe_load((EXAMPLES / "ladders" / "credit-scoring.yaml").read_text("utf-8"))
    more = yaml.safe_load(snippet("Alertmanager", "yaml", 4))
    ladder["spec"]["indicators"] += more["indicators"]
    for tier in more["tiers"]:
        [same] = [one for one in ladder["spec"]["tiers"] if one["name"] == tier["name"]]
        same["triggers"] += tier["triggers"]
    ladder["spec"].pop("channels")
    for stakeholder in ladder["spec"]["stakeholders"]:
        stakeholder.pop("notify")
    return ladder


# --- The monitor's own account ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
async def test_python_reports_with_the_permissions_of_the_example(page: Page, tmp_path: Path, number: int) -> None:
    (tmp_path / "monitor.py").write_text(snippet("Python", "python", number))
    said = page.until_done("python monitor.py && ! python monitor.py | grep -E 'no use|later'", page.monitor, tmp_path)
    indicators = {"demographic_parity_difference"} | ({"population_stability_index"} if number else set())
    spec = await page.stored(lambda s: {r["indicator"] for r in s["readings"]} == indicators, "the readings")
    assert spec["source"] == "fairness-monitor"
    assert "to try again" not in said
    if number:
        assert (spec["readings"][0]["window"], spec["model"]["version"]) == ("1d", "2026.11.3")
        assert spec["heardAt"] > spec["observedAt"]


async def test_command_line_reports_and_its_exit_code_says_how_to_go_on(page: Page, tmp_path: Path) -> None:
    said = page.until_done(snippet("The command line", "sh", 0), page.monitor, tmp_path)
    assert "is stored in namespace models, under ladder credit-scoring" in said
    said = page.until_done(snippet("The command line", "sh", 1), page.monitor, tmp_path)
    assert said == "refused: fix the monitor\n"
    waiting = snippet("The command line", "sh", 0).rstrip() + " --wait 30"
    denied = page.run(waiting, page.monitor, tmp_path)
    assert denied.returncode == 1, "the example does not let the monitor look"
    assert "this account may not get it" in denied.stderr
    assert "READY: the model is in tier high" in page.until_done(waiting, page.kubeconfig, tmp_path)
    unsaid = "riskladder signal credit-scorer --source fairness-monitor -n models demographic_parity_difference=0.01"
    said = page.until_done(f"{unsaid} --dry-run", page.kubeconfig, tmp_path)
    assert "under ladder credit-scoring" in said, "an administrator may read the label"
    unsent = page.run(unsaid, page.monitor, tmp_path)
    assert (unsent.returncode, "may neither read Deployment credit-scorer nor list" in unsent.stderr) == (2, True)
    elsewhere = page.run(unsaid.replace("fairness", "drift") + " --ladder credit-scoring", page.monitor, tmp_path)
    assert (elsewhere.returncode, 'may not report as source "drift-monitor"' in elsewhere.stderr) == (1, True)


def environment(page: Page) -> dict[str, str]:
    content = yaml.safe_load(page.monitor.read_text())
    cluster, authority = content["clusters"][0]["cluster"], page.monitor.with_name("ca.crt")
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    return {"SERVER": cluster["server"], "TOKEN": content["users"][0]["user"]["token"], "CA": str(authority)}


async def test_curl_reports_to_the_api_server(page: Page, tmp_path: Path) -> None:
    """Twice: the first time it creates the signal, the second time it updates it."""
    observed = set[str]()
    while len(observed) < 2:
        page.until_done(snippet("curl", "sh", 0), page.monitor, tmp_path, **environment(page))
        observed.add((await page.world.signal("credit-scorer-fairness"))["spec"]["observedAt"])
        await asyncio.sleep(0.2)
    [command] = re.findall(r"^\$ (.*)$", snippet("Refusals", "console"), re.MULTILINE)
    assert "condition met" in page.until_done(command, page.kubeconfig, tmp_path)


def test_misspelt_field_is_answered_as_the_page_says(page: Page, tmp_path: Path) -> None:
    wrong = snippet("curl", "sh", 0).replace("sampleSize", "samplesize")
    done = page.run(wrong, page.monitor, tmp_path, **environment(page))
    assert done.returncode != 0
    assert '"code": 500' in done.stdout
    for words in ("failed to create typed patch object", "field not declared in schema", "samplesize"):
        assert words in done.stdout


@pytest.mark.parametrize("section", ["One reading", "A person's judgement"])
def test_object_of_the_page_is_taken(page: Page, section: str) -> None:
    document = yaml.safe_load(snippet(section, "yaml"))
    document["metadata"]["name"] += "-page"
    kubectl(page.kubeconfig, "create", "--dry-run=server", "-f", "-", given=json.dumps(document))


# --- Ingest -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def acting(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page, and what `riskladder bind rbac` grants for the account of the monitor."""
    page.grant(tmp_path_factory.mktemp("rbac"), snippet("curl", "yaml"))
    return page


async def test_curl_posts_to_ingest_and_what_is_no_reading_is_named(acting: Page, tmp_path: Path) -> None:
    acting.apply(snippet("curl", "yaml"))
    await acting.usable("credit-fairness")
    script = snippet("curl", "sh", 1)
    said = json.loads(acting.until_done(script, acting.kubeconfig, tmp_path))
    assert [v["verdict"] for v in said["verdicts"]] == ["Stored"]
    shown = json.loads(snippet("MonitorBinding", "json"))
    refused = acting.run(script.replace("0.27", '"27 %"'), acting.kubeconfig, tmp_path)
    assert (refused.returncode, "422" in refused.stderr) == (22, True), refused.stderr
    found = json.loads(refused.stdout)
    keys = shown["verdicts"][0].keys()
    assert {k: v for k, v in found["verdicts"][0].items() if k in keys} == shown["verdicts"][0]
    assert found["reason"] == shown["reason"] == "NoReading"
    nobody = acting.run(script.replace("--audience=riskladder-ingest", ""), acting.kubeconfig, tmp_path)
    assert (nobody.returncode, "401" in nobody.stderr) == (22, True), "a token for the API server is none for ingest"


async def test_alertmanager_posts_with_the_configuration_of_the_page(
    acting: Page, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    acting.apply(snippet("Alertmanager", "yaml", 3))
    await acting.usable("credit-alerts")
    rules = yaml.safe_load(snippet("Alertmanager", "yaml", 2))
    if (promtool := shutil.which("promtool")) is not None:
        (tmp_path / "rules.yaml").write_text(snippet("Alertmanager", "yaml", 2))
        acting.until_done(f"{promtool} check rules rules.yaml", acting.kubeconfig, tmp_path)
    [unfair, watchdog] = rules["groups"][0]["rules"]
    labels = {"alertname": unfair["alert"], **unfair["labels"]}
    alive = {"alertname": watchdog["alert"], **watchdog["labels"]}
    indicator = "demographic_parity_alert"
    async with alertmanager(acting, tmp_path, request) as post:
        began = datetime.now(UTC)
        await post([{"labels": labels, "startsAt": format_time(began)}])
        spec = await acting.stored(of(indicator, 1.0), "the alert to be a reading")
        assert (spec["source"], datetime.fromisoformat(spec["observedAt"]) <= datetime.now(UTC)) == (
            "fairness-monitor",
            True,
        )
        await post([{"labels": alive, "startsAt": format_time(began)}])

        async def heard() -> bool:
            return any(
                one["spec"].get("heardAt", "") > one["spec"]["observedAt"]
                for one in await acting.world.client.list(resources.SIGNALS, "models")
                if one["spec"]["readings"][0]["indicator"] == indicator
            )

        await acting.world.until(heard, "the Watchdog to be heard")
        await post([{"labels": labels, "startsAt": format_time(began), "endsAt": format_time(datetime.now(UTC))}])
        await acting.stored(of(indicator, 0.0), "the end of the alert to be a reading")

    async def counted() -> Object | None:
        status: Object = (await acting.world.get(resources.BINDINGS, "credit-alerts"))["status"]
        return status if status["lastReading"]["value"] == 0.0 else None

    status = await acting.world.until(counted, "the binding to say that it was")
    assert status.get("counts", {}).get("refusals", 0) == 0


class alertmanager:  # noqa: N801 - reads as what it starts
    """A real Alertmanager with the configuration of the page; gives a function that sends alerts as Prometheus does."""

    def __init__(self, page: Page, directory: Path, request: pytest.FixtureRequest) -> None:
        self._page, self._directory = page, directory
        self._program = ensure_programs(ALERTMANAGER, progress(request.config)) / "alertmanager"
        self._ports, self._spawner = Ports(), Spawner()

    async def __aenter__(self) -> Callable[[list[Object]], Awaitable[None]]:
        token = self._directory / "token"
        token.write_text(self._page.ingest.token("monitoring", "alertmanager"))
        text = snippet("Alertmanager", "yaml", 0)
        replaced = {
            "http://riskladder-ingest.riskladder-system": self._page.ingest.url,
            "/var/run/secrets/riskladder-ingest/token": str(token),
            "group_interval: 1m": "group_interval: 1s",  # so that a test need not wait a minute for the end
        }
        for found, wanted in replaced.items():
            assert found in text
            text = text.replace(found, wanted)
        config, address = self._directory / "alertmanager.yaml", f"{HOST}:{self._ports.claim()}"
        config.write_text(text)
        self._component = Component(
            "alertmanager",
            [
                *(str(self._program), f"--config.file={config}", f"--storage.path={self._directory / 'data'}"),
                *(f"--web.listen-address={address}", "--cluster.listen-address="),
            ],
            log=self._directory / "alertmanager.log",
            directory=self._directory,
            spawner=self._spawner,
        )
        self._component.start()
        base = f"http://{address}"
        await self._ready(base)

        async def post(alerts: list[Object]) -> None:
            async with aiohttp.ClientSession() as session, session.post(f"{base}/api/v2/alerts", json=alerts) as answer:
                assert answer.status == 200, await answer.text()

        return post

    async def _ready(self, base: str) -> None:
        deadline = time.monotonic() + PATIENCE
        async with aiohttp.ClientSession() as session:
            while True:
                self._component.check()
                try:
                    async with session.get(f"{base}/-/ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                assert time.monotonic() < deadline, "Alertmanager was not ready in time"
                await asyncio.sleep(0.05)

    async def __aexit__(self, *_: object) -> None:
        self._component.stop(5)
        self._spawner.close()
        self._ports.release()


def test_volumes_of_the_page_are_taken_for_a_pod(page: Page) -> None:
    volumes = yaml.safe_load(snippet("Alertmanager", "yaml", 1))
    container = {"name": "alertmanager", "image": "alertmanager", "volumeMounts": volumes["volumeMounts"]}
    spec = {"serviceAccountName": "alertmanager", "containers": [container], "volumes": volumes["volumes"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "monitoring"}, "spec": spec}
    kubectl(page.kubeconfig, "create", "--dry-run=server", "-f", "-", given=json.dumps(pod))


# --- Poll -------------------------------------------------------------------------------------------------------------


class PollProcess(OperatorProcess):
    command = "poll"


async def test_poll_asks_a_real_prometheus_as_the_page_says(page: Page, tmp_path: Path) -> None:
    program = prometheus()
    if program is None:
        pytest.skip("needs Prometheus: apt-get install --no-install-recommends prometheus")
    install(page.kubeconfig, components=["ingest", "poll"])
    text = snippet("Prometheus", "yaml", 1)
    assert METRIC in text
    page.grant(tmp_path, text)
    page.apply(text)
    account = service_account_kubeconfig(page.kubeconfig, tmp_path / "poll.kubeconfig", "riskladder-poll", NAMESPACE)
    async with monitoring(tmp_path, program, values={"credit-scorer": 0.0625}) as stack:
        file = tmp_path / "endpoints.yaml"
        file.write_text(
            snippet("Prometheus", "yaml", 0).replace("http://prometheus.monitoring.svc:9090", stack.prometheus)
        )
        assert stack.prometheus in file.read_text()
        await stack.sees(f'{METRIC}{{deployment="credit-scorer"}}', "0.0625")
        with PollProcess(account, tmp_path, "--endpoints", str(file)) as process:
            process.wait_for("leading")
            await page.usable("credit-gap")
            await page.stored(of("demographic_parity_difference", 0.0625), "the sample to be a reading")
    kubectl(page.kubeconfig, "-n", "models", "delete", "monitorbinding", "credit-gap")


# --- Report files -----------------------------------------------------------------------------------------------------


async def test_report_of_evidently_is_bound_tried_granted_and_posted(page: Page, tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "evidently" / "evidently-0.7-report-with-tests.json", tmp_path / "report.json")
    shutil.copy(EXAMPLES / "monitor" / "binding-evidently.yaml", tmp_path)
    shutil.copy(EXAMPLES / "ladders" / "credit-scoring.yaml", tmp_path / "ladder.yaml")
    page.until_done(snippet("Evidently", "sh", 0), page.kubeconfig, tmp_path)
    draft = yaml.safe_load((tmp_path / "draft.yaml").read_text())
    assert (draft["kind"], draft["spec"]["format"]) == ("MonitorBinding", "Evidently")
    token = page.ingest.token("monitors", "drift-monitor")
    said = page.until_done(snippet("Evidently", "sh", 1), page.kubeconfig, tmp_path, TOKEN=token)
    assert json.loads(said.splitlines()[-1])["verdicts"][0]["verdict"] == "Stored"


def test_chunks_of_nannyml_are_tried(page: Page, tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "nannyml" / "nannyml-0.13-cbpe.records.json", tmp_path / "chunks.json")
    shutil.copy(EXAMPLES / "monitor" / "binding-nannyml.yaml", tmp_path)
    said = page.until_done(snippet("NannyML", "sh"), page.kubeconfig, tmp_path)
    assert "estimated_roc_auc" in said


# --- Signed -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def keys(acting: Page, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The Secret of the page, made as it says."""
    acting.until_done(snippet("MLflow", "sh"), acting.kubeconfig, tmp_path_factory.mktemp("secret"))
    secret = await acting.world.get(SECRETS, "riskladder-ingest")
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


async def test_grafana_is_heard_when_it_signs(acting: Page, keys: Mapping[str, str]) -> None:
    acting.apply(snippet("Grafana", "yaml"))
    await acting.usable("credit-grafana")
    body = {
        "receiver": "riskladder",
        "status": "firing",
        "groupKey": "{}",
        "version": "1",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "DemographicParity"},
                "annotations": {},
                "startsAt": format_time(datetime.now(UTC)),
                "endsAt": "0001-01-01T00:00:00Z",
                "values": {"A": 40211, "B": 0.28125},
            }
        ],
    }
    raw, now = json.dumps(body).encode(), str(int(time.time()))
    digest = hmac.new(keys["grafana"].encode(), now.encode() + b":" + raw, hashlib.sha256).hexdigest()
    headers = {"X-Grafana-Alerting-Timestamp": now, "X-Grafana-Alerting-Signature": digest}
    answer = await acting.ingest.send("models", "credit-grafana", raw, headers=headers)
    assert answer.status == 200, answer.body
    await acting.stored(of("demographic_parity_difference", 0.28125), "the value of Grafana")
    unsigned = {name: value for name, value in headers.items() if "Timestamp" not in name}
    assert (await acting.ingest.send("models", "credit-grafana", raw, headers=unsigned)).status == 401


async def test_mlflow_says_which_version_serves(acting: Page, keys: Mapping[str, str]) -> None:
    acting.apply(snippet("curl", "yaml"))
    acting.apply(snippet("MLflow", "yaml"))
    await acting.usable("credit-registry")
    await acting.usable("credit-fairness")
    measured = {"gap": 0.03125, "measured_at": format_time(datetime.now(UTC))}
    token = acting.ingest.token("monitors", "fairness-monitor")
    assert (await acting.ingest.send("models", "credit-fairness", measured, token=token)).status == 200
    data = {"name": "credit-scorer", "alias": "champion", "version": "7"}
    event: dict[str, Any] = {"entity": "model_version_alias", "action": "created", "data": data}
    raw = json.dumps(event | {"timestamp": format_time(datetime.now(UTC))}).encode()
    now, identifier = str(int(time.time())), "7d8f0c52"
    content = f"{identifier}.{now}.".encode() + raw
    digest = base64.b64encode(hmac.new(keys["mlflow"].encode(), content, hashlib.sha256).digest()).decode()
    headers = {
        "X-MLflow-Delivery-Id": identifier,
        "X-MLflow-Timestamp": now,
        "X-MLflow-Signature": f"v1,{digest}",
    }
    answer = await acting.ingest.send("models", "credit-registry", raw, headers=headers)
    assert answer.status == 200, answer.body
    spec = await acting.stored(of("demographic_parity_difference", 0.03125), "the reading")
    assert spec["model"]["version"] == "7"
