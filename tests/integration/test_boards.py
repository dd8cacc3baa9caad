"""The component `monitoring`, as it is installed: every query of every panel, and every rule, on what really happened.

A real Prometheus scrapes two operators, ingest, poll and a console, under which people decide. Grafana is not run: its
licence is not one that we build with. So the boards are read as it would read them, and their queries are asked.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from demo.monitoring import METRIC, Stack, monitoring
from riskladder.api.base import format_time
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object
from riskladder.cluster.connection import Access, connect
from riskladder.cluster.resources import Resource
from riskladder.console.sessions import Credential
from riskladder.console.visitor import client_of
from tests.cluster import ControlPlane
from tests.cluster.install import NAMESPACE, ROOT, kubectl, service_account_kubeconfig
from tests.cluster.peers import crds, install_crds
from tests.conftest import progress
from tests.console.place import PEOPLE as HOLDERS
from tests.console.place import ConsolePlace, console, free_port
from tests.integration.ingest_process import ROLE_BINDINGS, SOURCE, alert, binding, ingesting, monitored, notification
from tests.integration.operator_process import OperatorProcess
from tests.integration.people import PeopleNamespace, Receivers, quorum
from tests.integration.test_monitoring import PollProcess, program, usable
from tests.integration.world import INDICATOR, SERVICES, condition, ladder, signal
from tests.node import report
from tests.unit.test_docs import OPERATIONS, blocks

OPERATOR_OF_PROMETHEUS = "prometheus-operator"
MONITORS = Resource("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor")
RULES = Resource("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
COMPONENTS = ("ingest", "poll", "console", "monitoring")
SILENT, DRIFT = "psi", "drift"
EVERY = 0.5
"""Seconds between two scrapes."""


def governed() -> Object:
    """A ladder of which every part is used: people, duties, drills, staleness."""
    acknowledge = {"within": "30m"}
    return ladder(
        charter={"owner": "model-risk", "review": {"every": "90d"}},
        stakeholders=quorum(*dict.fromkeys(HOLDERS.values()), "data-science"),
        indicators=[{"name": INDICATOR}, {"name": DRIFT}, {"name": SILENT, "staleAfter": "1s"}],
        tiers=[
            {
                "name": "low",
                "triggers": [{"indicator": DRIFT, "above": 0.5}],
                "notify": [{"role": "data-science"}],
                "acknowledge": {"within": "1s"},
                "onTimeout": "Hold",
            },
            {
                "name": "moderate",
                "triggers": [{"indicator": INDICATOR, "above": 0.10}],
                "notify": [{"role": "model-risk"}],
                "acknowledge": acknowledge,
                "decide": {"within": "24h", "quorum": quorum("model-risk")},
                "acceptRisk": {"atMost": "30d"},
            },
            {
                "name": "high",
                "triggers": [{"indicator": INDICATOR, "above": 0.20}],
                "notify": [{"role": "legal"}],
                "acknowledge": acknowledge,
                "decide": {"within": "2h", "quorum": quorum("legal", "executive")},
                "resume": {"quorum": quorum("legal", "model-risk")},
                "clocks": [{"name": "authority", "within": "15d", "role": "legal"}],
                "containment": {"action": "ScaleToZero", "lock": False},
            },
        ],
    )


@dataclass(frozen=True, slots=True)
class Watched:
    """What runs, and what watches it."""

    stack: Stack
    place: ConsolePlace
    crowd: PeopleNamespace
    """The same place, where its people decide by their tokens."""
    console: str
    """URL of the console."""
    probes: Mapping[str, str]
    """By process: the address that is scraped."""
    began: float

    @property
    def seconds(self) -> int:
        """For how long all has been watched."""
        return math.ceil(time.time() - self.began) + 1

    async def ask(self, path: str, **params: Any) -> Any:
        """What the HTTP API of Prometheus answers."""
        async with self.stack.session.get(f"{self.stack.prometheus}/api/v1/{path}", params=params) as answer:
            found = await answer.json()
            assert found["status"] == "success", f"{params}: {found.get('error')}"
            return found["data"]

    async def until(self, query: str) -> Any:
        """The samples of a query, once there are any."""
        found: Any = None

        async def check() -> bool:
            nonlocal found
            found = (await self.ask("query", query=query))["result"]
            return bool(found)

        await self.place.until(check, f"an answer to {query}")
        return found


@pytest.fixture(scope="module")
def kinds(installed: ControlPlane, request: pytest.FixtureRequest) -> Iterator[None]:
    """The kinds of Prometheus Operator, which go with the module, and with them what is of these kinds."""
    install_crds(installed.kubeconfig, OPERATOR_OF_PROMETHEUS, progress=progress(request.config))
    yield
    names = [f"crd/{definition['metadata']['name']}" for definition in crds(OPERATOR_OF_PROMETHEUS)]
    kubectl(installed.kubeconfig, "delete", *names)


async def config(admin: Client) -> dict[str, Any]:
    """The boards, by uid, as the sidecar of Grafana finds them."""
    found = await admin.list(CONFIG_MAPS, NAMESPACE, labels="grafana_dashboard=1")
    boards = [json.loads(text) for one in found for text in one["data"].values()]
    return {board["uid"]: board for board in boards}


@pytest.fixture(scope="module")
async def watched(
    kinds: None,
    installed: ControlPlane,
    admin: Client,
    operator: OperatorProcess,
    operator_kubeconfig: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Watched]:
    """Everything at work, after all has happened that the boards show."""
    del kinds
    prometheus, directory, kubeconfig = program(), tmp_path_factory.mktemp("boards"), installed.kubeconfig
    endpoints, health = directory / "endpoints.yaml", f"127.0.0.1:{free_port()}"
    async with AsyncExitStack() as stack:
        standby = stack.enter_context(OperatorProcess(operator_kubeconfig, directory))
        _, url = stack.enter_context(console(kubeconfig, directory, "--health", health))
        ingest = await stack.enter_async_context(ingesting(kubeconfig, directory, components=COMPONENTS))
        rules = directory / "installed.yaml"
        rules.write_text(yaml.safe_dump((await admin.get(RULES, NAMESPACE, "riskladder"))["spec"]))
        account = service_account_kubeconfig(kubeconfig, directory / "poll.kubeconfig", "riskladder-poll", NAMESPACE)
        listen = f"127.0.0.1:{free_port()}"
        endpoints.write_text(f"endpoints:\n- {{name: main, url: 'http://{listen}', timeout: 2s}}\n")
        poll = stack.enter_context(PollProcess(account, directory, "--endpoints", str(endpoints)))
        probes = {
            "riskladder-a": operator.wait_for("started")["listen"],
            "riskladder-b": standby.wait_for("started")["listen"],
            "riskladder-ingest": ingest.process.wait_for("started")["health"],
            "riskladder-poll": poll.wait_for("started")["listen"],
            "riskladder-console": health,
        }
        standby.wait_for("caches full")
        poll.wait_for("leading")
        others = {address: {"namespace": NAMESPACE, "pod": name} for name, address in probes.items()}
        began = time.time()
        running = await stack.enter_async_context(
            monitoring(
                directory,
                prometheus,
                values={"router": 0.02},
                every=f"{EVERY * 1000:.0f}ms",
                others=others,
                further_rules=[rules],
                listen=listen,
            )
        )
        place = await stack.enter_async_context(ConsolePlace(admin, f"watched-{uuid.uuid4().hex[:8]}", kubeconfig))
        anonymous = await connect(Access(str(kubeconfig)), agent="tests", anonymous=True)
        stack.push_async_callback(anonymous.close)
        people = {person: client_of(anonymous, Credential(token)) for person, token in place.tokens.items()}
        crowd = PeopleNamespace(admin, place.namespace, people, Receivers())
        found = Watched(running, place, crowd, url, probes, began)
        await place.apply(governed())
        await place.apply(ladder("paused", suspended=True))
        await place.ladder_ready()
        await found.until('riskladder_ladder_condition{condition="Ready", status="True", ladder="credit"}')
        await asyncio.gather(governs(found), drills(found), sends(found, ingest), polls(found), shows(found))
        yield found


async def breached(watched: Watched, model: str, value: float, **changes: Any) -> str:
    """A model whose reading has opened an escalation; its name."""
    await watched.place.serve_without_waiting(model)
    await watched.place.apply(signal(model, model, value, **changes))
    found = await watched.crowd.escalation(model)
    return str(found["metadata"]["name"])


def in_three_days() -> str:
    return format_time(datetime.now(UTC).replace(microsecond=0) + timedelta(days=3))


async def governs(watched: Watched) -> None:
    """People acknowledge, decide, accept, resume, close and review; nobody comes to one; one source falls silent."""
    place, crowd = watched.place, watched.crowd
    high, waits, accepted, over = await asyncio.gather(
        breached(watched, "scorer", 0.31),
        breached(watched, "pricer", 0.15),
        breached(watched, "lender", 0.15),
        breached(watched, "ranker", 0.15),
    )
    del waits
    drifted = [{"indicator": DRIFT, "value": 0.9}]
    await breached(watched, "missed", None, readings=drifted)  # type: ignore[arg-type]
    await place.serve_without_waiting("quiet")
    for name, readings in (("silent", SILENT), ("unknown", "nonsense")):
        await place.apply(signal(name, "quiet", None, readings=[{"indicator": readings, "value": 0.01}]))
    await place.escalation_says("scorer", "Contained", "True")
    await place.scale("scorer", 1)
    await place.escalation_says("scorer", "ContainmentHolds", "True", "ContainmentReapplied")
    await place.escalation_says("scorer", "Contained", "True")
    for person, action in (("ann", "Acknowledge"), ("ann", "Resume"), ("max", "Resume")):
        await crowd.counted(person, action, high)
    await crowd.counted("max", "AcceptRisk", accepted, until=in_three_days())
    await crowd.counted("max", "Close", over, resolution="Remediated")
    review = {"policyUpdated": True, "satisfaction": 4, "lessons": "Drift was seen late."}
    await crowd.counted("max", "Review", over, review=review)


async def drills(watched: Watched) -> None:
    """An exercise that is acknowledged and decided."""
    place, crowd = watched.place, watched.crowd
    await place.serve_without_waiting("drilled")
    await place.apply(signal("exercise", "drilled", 0.15, drill=True))
    name = str((await crowd.escalation("drilled"))["metadata"]["name"])
    await crowd.counted("max", "Acknowledge", name)
    await crowd.counted("max", "AcceptRisk", name, until=in_three_days())
    await place.escalation_says("drilled", "Closed", "True", "DrillCompleted")


async def sends(watched: Watched, ingest: Any) -> None:
    """A monitor reports by HTTP, and somebody without a token tries to."""
    place = watched.place
    await monitored(place)
    await usable(place, binding())
    body = notification(alert(format_time(datetime.now(UTC)), firing=False))
    token = ingest.token(place.namespace, SOURCE)
    for number in range(8):
        given = token if number % 2 else ""
        answer = await ingest.send(place.namespace, "fairness", body, token=given)
        assert answer.status == (200 if given else 401), answer.body
        await asyncio.sleep(EVERY)  # a counter counts for a rate once it has been scraped before and after


async def polls(watched: Watched) -> None:
    """Prometheus itself is asked for a reading."""
    place = watched.place

    async def accounted() -> bool:
        return bool(await place.client.list(ROLE_BINDINGS, place.namespace, labels=""))

    await place.until(accounted, "the role of the monitor")

    async def acting() -> Object:
        return await place.get(ROLE_BINDINGS, f"{SOURCE}-ingest")

    found = await place.until(acting, "the role by which ingest acts")
    found["subjects"].append({"kind": "ServiceAccount", "name": "riskladder-poll", "namespace": NAMESPACE})
    await place.client.replace(ROLE_BINDINGS, place.namespace, f"{SOURCE}-ingest", found)
    await place.serve_without_waiting("router")
    await usable(
        place,
        binding(
            "polled",
            format="Generic",
            sender=None,
            target={"kind": "Deployment", "name": "router"},
            poll={"endpoint": "main", "query": METRIC, "every": "5s"},
            readings=[{"indicator": INDICATOR}],
        ),
    )

    async def answered() -> bool:
        return condition(await place.get(resources.BINDINGS, "polled"), "QueryOk")["status"] == "True"

    await place.until(answered, "the query to be answered")


async def shows(watched: Watched) -> None:
    """Somebody signs in, at the second attempt, and decides on a page."""
    place = watched.place
    escalation = await place.escalated("asked")
    async with place.browser(watched.console) as browser:
        for token in ("töken", "bm8=.dG9rZW4=.YXQtYWxs"):
            assert (await browser.sign_in(token)).status in (403, 422)
        page = await browser.sign_in(place.tokens["ann"])
        assert page.status == 200
        page = await place.opened(browser, escalation)
        assert (await browser.decide(page, "Acknowledge")).status == 200
        for path in ("/models", "/ladders", "/models", "/no-such-page"):
            await browser.get(path)
            await asyncio.sleep(EVERY)


# --- What the boards show ---------------------------------------------------------------------------------------------


def filled_in(expression: str, watched: Watched) -> str:
    """The query as Grafana sends it."""
    values = {"$namespace": watched.place.namespace, "$ladder": ".*", "$__range": f"{watched.seconds}s"}
    values["$__rate_interval"] = "5s"
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def numbers(result: list[Any]) -> list[tuple[dict[str, str], float]]:
    """Labels and highest number of each series that has one."""
    found = []
    for series in result:
        values = [float(text) for _, text in series.get("values") or [series["value"]]]
        real = [value for value in values if math.isfinite(value)]
        if real:
            found.append((series["metric"], max(real)))
    return found


def shown(found: list[tuple[dict[str, str], float]], unit: str) -> str:
    """The first series of a panel, for the table at the end of the run."""
    texts = []
    for labels, value in sorted(found, key=lambda one: sorted(one[0].items()))[:3]:
        words = "/".join(text for name, text in labels.items() if name not in ("namespace", "ladder", "__name__"))
        is_time = unit == "dateTimeAsIso"
        number = format_time(datetime.fromtimestamp(round(value / 1000), UTC)) if is_time else f"{value:.4g}"
        texts.append(f"{words} {number}".strip())
    more = f", … {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(texts) + more


async def panel_of(watched: Watched, panel: Object) -> str:
    """What a panel shows: what is wrong otherwise."""
    texts = []
    for target in panel["targets"]:
        query, now = filled_in(target["expr"], watched), time.time()
        if target["range"]:
            result = await watched.ask("query_range", query=query, start=now - 60, end=now, step=1)
        else:
            result = await watched.ask("query", query=query, time=now)
        found = numbers(result["result"])
        assert found, f"{panel['title']}: nothing for {query}"
        headed = {label for labels, _ in found for label in labels}
        if panel["type"] == "table":
            wanted = set(panel["transformations"][-1]["options"]["renameByName"])
            assert {name for name in wanted if not name.startswith("Value")} <= headed, panel["title"]
        texts.append(shown(found, panel["fieldConfig"]["defaults"]["unit"]))
    return "; ".join(texts)


EXPECTED = {
    "Leading": "1",
    "Replicas": "2",
    "Ingest: what became of readings": "Stored 4",
    "Ingest: senders unproved": "4",
    "Console: sign-ins": "accepted/token 1, malformed/token 1, not-known/token 1",
    "Console: decisions sent": "Acknowledge/counted 1",
    "Open escalations": "5",
    "Waiting for people": "4",
    "Deadlines missed": "1",
    "Duties overdue": "0",
    "Accepted risks": "1",
    "Stale signals": "1",
    "What went on without people": "AcknowledgementOverdue 1, Held 1",
    "Breaches that cannot be used": "UnknownIndicator 1",
    "How drills ended": "DrillCompleted 1",
    "How escalations ended": "Remediated 1",
    "Reviewed after the close": "true 1",
    "Satisfaction": "4 1",
    "Reviews that change the policy": "true 1",
}
"""What some panels show, once the gauges have followed."""


async def test_every_query_of_every_panel_has_an_answer(watched: Watched, admin: Client) -> None:
    boards = await config(admin)
    assert set(boards) == {"riskladder-operator", "riskladder-governance"}
    titles = {panel["title"] for board in boards.values() for panel in board["panels"]}
    assert set(EXPECTED) <= titles
    for board in boards.values():
        for panel in board["panels"]:
            if panel["type"] == "row":
                continue
            last: list[str] = []

            async def answered(panel: Object = panel, last: list[str] = last) -> bool:
                try:
                    last[:] = [await panel_of(watched, panel)]
                except AssertionError as error:
                    last[:] = [str(error)]
                    return False
                return EXPECTED.get(panel["title"], last[0]) == last[0]

            try:
                await watched.place.until(answered, "data")
            except AssertionError:
                pytest.fail(f"{board['title']}: {panel['title']}: {last[0]}, expected {EXPECTED.get(panel['title'])}")
            report.note(f"what the panels of {board['title']} show", f"{panel['title']:<42} {last[0]}")


async def test_variables_of_the_boards_have_values(watched: Watched, admin: Client) -> None:
    for board in (await config(admin)).values():
        for variable in board["templating"]["list"][1:]:
            selector, _, label = variable["definition"].removeprefix("label_values(").rpartition(", ")
            path, match = f"label/{label.removesuffix(')')}/values", filled_in(selector, watched)

            async def has_values(path: str = path, match: str = match) -> bool:
                return bool(await watched.ask(path, **{"match[]": match}))

            await watched.place.until(has_values, f"values of {variable['definition']}")


async def test_every_rule_is_evaluated_and_what_happened_is_alerted_about(watched: Watched) -> None:
    expected = {
        "RiskladderDeadlineMissed",
        "RiskladderStalled",
        "RiskladderAcceptanceEnds",
        "RiskladderContainmentReverted",
    }
    here = f'namespace="{watched.place.namespace}"'
    for name in sorted(expected):
        about = "" if name == "RiskladderContainmentReverted" else f", {here}"
        await watched.until(f'ALERTS{{alertname="{name}", alertstate="firing"{about}}}')

    async def evaluated() -> dict[str, tuple[str, str]] | None:
        groups = (await watched.ask("rules"))["groups"]
        found = {rule["name"]: (rule["health"], rule.get("lastError", "")) for g in groups for rule in g["rules"]}
        return found if "unknown" not in {health for health, _ in found.values()} else None

    health = await watched.place.until(evaluated, "every rule to be evaluated once")
    assert set(health.values()) == {("ok", "")}, health
    alerts = (await watched.ask("query", query='ALERTS{alertstate="firing"}'))["result"]
    assert not [one for one in alerts if one["metric"]["alertname"] in ("RiskladderNoLeader", "RiskladderTwoLeaders")]


async def test_what_the_leader_shows_of_people_is_shown_once(watched: Watched) -> None:
    """The standby has seen all of it, too, and shows none: a sum over replicas counts nothing twice."""
    leader_only = (
        "riskladder_(escalation_.*|ladder_condition|clock_due_.*|risk_acceptance_.*|closed_.*|stored_.*|last_drill_.*|"
        "open_escalations|unusable_signals|stale_signals|withheld_containments|policies|reading|reading_observed_.*)"
    )
    found = await watched.until(f'count by (pod) ({{__name__=~"{leader_only}", pod!=""}})')
    assert len(found) == 1, found
    await watched.until("count(riskladder_leading) == 2")  # both have been scraped
    twice = await watched.ask("query", query="count by (escalation, state) (riskladder_escalation_state) > 1")
    assert twice["result"] == []


async def test_service_monitor_selects_every_process_and_keeps_the_namespace_of_the_ladder(admin: Client) -> None:
    monitor = (await admin.get(MONITORS, NAMESPACE, "riskladder"))["spec"]
    [endpoint] = monitor["endpoints"]
    assert endpoint["honorLabels"] is True
    labels = ",".join(f"{name}={value}" for name, value in monitor["selector"]["matchLabels"].items())
    services = await admin.list(SERVICES, NAMESPACE, labels=labels)
    names = sorted(service["metadata"]["name"] for service in services)
    assert names == [f"riskladder{part}-metrics" for part in ("-console", "-ingest", "", "-poll")]
    deployments = {d["metadata"]["name"]: d for d in await admin.list(resources.DEPLOYMENTS, NAMESPACE)}
    for service in services:
        deployment = deployments[service["metadata"]["name"].removesuffix("-metrics")]
        [port] = [port for port in service["spec"]["ports"] if port["name"] == endpoint["port"]]
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        numbers = {one["name"]: one["containerPort"] for one in container["ports"]}
        assert numbers[port["targetPort"]] == 8080
        assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_example_of_the_docs_has_prometheus_operator_select_it(tmp_path: Path) -> None:
    [block] = [b for b in blocks(OPERATIONS, "yaml") if "kind: Kustomization" in b.text]
    kustomization = yaml.safe_load(block.text)
    for part in ("resources", "components"):
        paths = [url.removeprefix("github.com/riskladder/riskladder/") for url in kustomization[part]]
        kustomization[part] = [os.path.relpath(ROOT / path, tmp_path.resolve()) for path in paths]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    rendered = [document for document in yaml.safe_load_all(kubectl(None, "kustomize", str(tmp_path))) if document]
    labelled = {d["kind"] for d in rendered if d["metadata"].get("labels", {}).get("release")}
    assert labelled == {MONITORS.kind, RULES.kind}
    boards = [d for d in rendered if d["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    assert sorted(d["metadata"]["name"] for d in boards) == ["riskladder-governance", "riskladder-operator"]


async def test_metrics_of_the_console_name_nobody(watched: Watched) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{watched.probes['riskladder-console']}/metrics") as answer,
    ):
        text = await answer.text()
    for private in (watched.place.namespace, "system:serviceaccount", "ann", "scorer", "asked"):
        assert private not in text.replace("answer", ""), private
    assert 'riskladder_console_sign_ins_total{result="not-known",way="token"} 1.0' in text
    assert 'riskladder_console_sign_ins_total{result="malformed",way="token"} 1.0' in text
    assert 'riskladder_console_sign_ins_total{result="accepted",way="token"} 1.0' in text
    assert 'riskladder_console_decisions_total{action="Acknowledge",answer="counted"} 1.0' in text
    assert 'riskladder_console_requests_total{page="none",status="4xx"} 1.0' in text
