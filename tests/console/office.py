"""A console over TLS, an operator whose messages link to it, and people who sign in at a provider: all of it real.

They govern credit models under one ladder of three tiers. The console's stories are told here, and its pictures taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from riskladder.cluster.client import Client, Object
from riskladder.cluster.connection import connect
from riskladder.cluster.resources import ESCALATIONS
from tests.cluster import LocalControlPlane
from tests.cluster.install import install, service_account_kubeconfig
from tests.cluster.ports import HOST, Ports
from tests.console.issuer import PREFIX, Issuer
from tests.integration.operator_process import OperatorProcess
from tests.integration.people import KEY, NOTIFY, PEOPLE, PeopleNamespace, Receivers, human_ladder, quorum
from tests.integration.world import INDICATOR, deployment, signal

LADDER = "credit-scoring"
SUSPENDED = "hiring"
DRIFT = "population_stability_index"


class ConsoleProcess(OperatorProcess):
    """``riskladder console`` with a log file that tests can read."""

    command: ClassVar[str] = "console"


@dataclass(slots=True)
class Office:
    """What runs, and where."""

    url: str
    """Of the console."""
    issuer: Issuer
    place: PeopleNamespace
    """Where the models are."""
    _console: ConsoleProcess
    _probes: str
    """Where the console has its probes and metrics."""

    @property
    def namespace(self) -> str:
        return self.place.namespace

    async def counted(self, name: str, **labels: str) -> float:
        """What a metric of the console says; 0 where it says nothing yet."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self._probes}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        found = [s.value for family in families for s in family.samples if (s.name, s.labels) == (name, labels)]
        return sum(found)

    async def restart(self) -> None:
        """The console ends, and with it all sessions; another one takes its place."""
        await asyncio.to_thread(self._console.stop)
        await asyncio.to_thread(self._console.start().wait_for, "started", pid=self._console.pid)

    def page_of(self, escalation: Object) -> str:
        return f"{self.url}/escalations/{self.namespace}/{escalation['metadata']['name']}"

    async def govern(self) -> None:
        """Apply the ladders."""
        for ladder in (credit_ladder(self.place.receivers), hiring_ladder(self.place.receivers)):
            await self.place.apply(ladder)
        await self.place.ladder_ready(LADDER)

    async def serve(self, *models: str, ladder: str = LADDER) -> None:
        """Let models serve."""
        for model in models:
            await self.place.apply(deployment(model, label=ladder, replicas=2))

    async def report(self, model: str, *values: float, ladder: str = LADDER, **changes: Any) -> None:
        """Report readings of a model, one an hour up to now, each once the one before was looked at."""
        now = datetime.now(UTC)
        for number, value in enumerate(values):
            body = reading(model, value, now - timedelta(hours=len(values) - 1 - number), ladder=ladder, **changes)
            generation = (await self.place.apply(body))["metadata"]["generation"]

            async def seen(name: str = body["metadata"]["name"], generation: int = generation) -> bool:
                status = (await self.place.signal(name)).get("status") or {}
                return bool(status.get("observedGeneration", 0) >= generation)

            await self.place.until(seen, f"the reading {value} of {model} to be seen")

    async def contained(self, model: str) -> Object:
        """A model that serves, breaches the highest tier, and is stopped; its escalation."""
        await self.serve(model)
        await self.report(model, 0.24)
        return await self.place.escalation_says(model, "Contained", "True")


def reading(model: str, value: float, at: datetime, *, drift: bool = True, **changes: Any) -> Object:
    """A signal of the fairness monitor, with what the drift monitor says besides."""
    readings = [
        {
            "indicator": INDICATOR,
            "value": value,
            "sampleSize": 1840,
            "window": "7d",
            "evidence": f"https://mlflow.example.com/#/experiments/12/runs/{model}",
        },
        {"indicator": DRIFT, "value": round(value / 3, 3), "sampleSize": 1840, "window": "7d"},
    ][: 2 if drift else 1]
    about = {
        "name": model,
        "version": "2026.11.3",
        "owners": [f"{PREFIX}olga@example.org"],
        "card": f"https://models.example.com/cards/{model}",
    }
    return signal(f"{model}-fairness", model, None, at=at, **({"readings": readings, "model": about} | changes))


def credit_ladder(receivers: Receivers) -> Object:
    """Three tiers: the lowest for those who build the models, the highest stops them and asks counsel."""
    return human_ladder(
        receivers,
        {
            "name": "low",
            "triggers": [{"indicator": DRIFT, "above": 0.2}, {"indicator": INDICATOR, "above": 0.08, "readings": 2}],
            "notify": [{"role": "data-science"}],
            "acknowledge": {"within": "8h", "remindEvery": "1h"},
            "onTimeout": "Hold",
            "closesWhen": {"cleared": True, "for": "1h"},
        },
        {
            "name": "moderate",
            "triggers": [{"indicator": INDICATOR, "above": 0.10}],
            "notify": [{"role": "data-science"}, {"role": "model-risk", "after": "10m"}],
            "remedies": ["Run the fairness suite again on the last seven days", "Check the upstream feature job"],
            "acknowledge": {"within": "30m", "remindEvery": "10m"},
            "decide": {"within": "24h", "quorum": quorum("model-risk")},
            "acceptRisk": {"atMost": "30d"},
            "onTimeout": "Escalate",
        },
        {
            "name": "high",
            "triggers": [{"indicator": INDICATOR, "above": 0.20}],
            "notify": [
                {"role": "legal"},
                {"role": "security"},
                {"role": "executive", "after": "5m"},
                {"role": "model-risk", "after": "5m"},
            ],
            "acknowledge": {"within": "10m", "remindEvery": "5m"},
            "decide": {"within": "1h", "quorum": quorum("legal", "executive")},
            "acceptRisk": {"atMost": "30d"},
            "onTimeout": "Hold",
            "containment": {"action": "ScaleToZero", "lock": True},
            "resume": {"quorum": quorum("legal", "model-risk")},
            "clocks": [
                {"name": "ai-act-art-73", "within": "15d", "role": "legal"},
                {"name": "board-report", "within": "3d", "role": "model-risk"},
            ],
        },
        name=LADDER,
        **_reached(receivers),
        governs={"selector": {"matchLabels": {"riskladder.dev/ladder": LADDER}}},
        charter={
            "owner": "model-risk",
            "scope": "Retail credit models in production",
            "policyUrl": "https://intranet.example.com/policies/mr-12",
            "review": {"every": "90d", "lastReviewed": f"{datetime.now(UTC) - timedelta(days=20):%Y-%m-%d}"},
        },
        drillWithin="2h",
        decisions={"allowImpersonated": False},
        indicators=[
            {
                "name": INDICATOR,
                "description": "Selection-rate gap between groups",
                "range": {"min": 0, "max": 1},
                "staleAfter": "26h",
                "whenStale": "moderate",
            },
            {
                "name": DRIFT,
                "description": "Shift of the inputs against the reference window",
                "range": {"min": 0},
                "staleAfter": "26h",
                "whenStale": "low",
            },
        ],
        blastRadius={"atMost": 20, "per": "1h", "whenExceeded": "AskFirst", "decideWithin": "15m"},
    )


def _reached(receivers: Receivers) -> Object:
    """Everybody over one channel."""
    roles = dict.fromkeys(PEOPLE.values())
    channel = {"name": "mail", "type": "Webhook", "secretKey": KEY, "url": receivers.url("mail")}
    return {"stakeholders": [{"role": role, "notify": ["mail"]} for role in roles], "channels": [channel]}


def hiring_ladder(receivers: Receivers, *, suspended: bool = False) -> Object:
    """A ladder of one tier, of a second scope."""
    return human_ladder(
        receivers,
        {
            "name": "high",
            "triggers": [{"indicator": INDICATOR, "above": 0.20}],
            "notify": [{"role": "legal"}, {"role": "data-science"}],
            "acknowledge": {"within": "2h"},
            "decide": {"within": "2d", "quorum": quorum("legal")},
            "onTimeout": "Hold",
        },
        name=SUSPENDED,
        **_reached(receivers),
        governs={"selector": {"matchLabels": {"riskladder.dev/ladder": SUSPENDED}}},
        charter={"owner": "model-risk", "scope": "Models that rank applicants"},
        suspended=suspended,
    )


async def tell(office: Office) -> dict[str, Object]:
    """A day of the models: one stopped, one looked at, one accepted, one drilled, one closed, one suspended, one well.

    Each escalation by what it shows.
    """
    place = office.place
    await office.serve(
        "credit-scorer", "mortgage-pricing", "card-limits", "overdraft-risk", "loan-renewal", "collections"
    )
    await office.serve("cv-ranking", ladder=SUSPENDED)
    await office.report("collections", 0.031, 0.036, 0.034)
    await office.report("mortgage-pricing", 0.052, 0.061, 0.118)
    await office.report("card-limits", 0.048, 0.131)
    await office.report("loan-renewal", 0.044, 0.107)
    await office.report("cv-ranking", 0.09, 0.22, ladder=SUSPENDED, drift=False)
    await office.report("credit-scorer", 0.057, 0.063, 0.078, 0.086, 0.127, 0.241)
    found = {"contained": await place.escalation_says("credit-scorer", "Contained", "True")}
    for key, model in (("moderate", "mortgage-pricing"), ("accepted", "card-limits"), ("closed", "loan-renewal")):
        found[key] = await place.escalation(model)
    found["suspended"] = await place.escalation("cv-ranking")
    names = {key: obj["metadata"]["name"] for key, obj in found.items()}

    await place.apply(hiring_ladder(place.receivers, suspended=True))
    await place.counted(
        "dan", "Acknowledge", names["moderate"], rationale="The upstream feature job failed last night."
    )
    until = f"{datetime.now(UTC) + timedelta(days=14):%Y-%m-%dT%H:%M:%SZ}"
    reason = "Manual review covers the affected segment until retraining is done."
    await place.counted("max", "AcceptRisk", names["accepted"], rationale=reason, until=until)
    reason = "The monitor compared two schemas; the gap is gone with the right one."
    await place.counted("max", "Close", names["closed"], rationale=reason, resolution="FalsePositive")
    await place.drill("max", "overdraft-risk", ladder=LADDER)
    found["drill"] = await place.escalation("overdraft-risk")
    reason = "Counsel is on it. The complaint desk knows."
    await place.counted("eve", "Acknowledge", names["contained"], rationale=reason)
    await place.quiet()
    return {key: await place.get(ESCALATIONS, obj["metadata"]["name"]) for key, obj in found.items()}


@asynccontextmanager
async def working(
    plane: LocalControlPlane, issuer: Issuer, directory: Path, namespace: str = "credit", title: str = ""
) -> AsyncIterator[Office]:
    """An office on a control plane that trusts the provider, as long as the context lasts."""
    await asyncio.to_thread(install, plane.kubeconfig, components=["prompt-stop"])
    account = await asyncio.to_thread(service_account_kubeconfig, plane.kubeconfig, directory / "operator.kubeconfig")
    ports = Ports()
    url, probes = f"https://{HOST}:{(port := ports.claim())}", f"{HOST}:{ports.claim()}"
    secret = directory / "client-secret"
    secret.write_text(issuer.client_secret)
    options: dict[str, object] = {
        "--url": url,
        "--listen": f"{HOST}:{port}",
        "--health": probes,
        "--certificate": issuer.authority.certificate("console"),
        "--title": title,
        "--namespace": namespace,
        "--openid-issuer": issuer.url,
        "--openid-client-id": issuer.client_id,
        "--openid-client-secret-file": secret,
        "--openid-ca-file": issuer.authority.ca,
    }
    arguments = [str(part) for pair in options.items() for part in pair]
    async with AsyncExitStack() as stack:
        stack.callback(ports.release)
        receivers = await stack.enter_async_context(Receivers())
        operator = stack.enter_context(
            OperatorProcess(account, directory, *NOTIFY, "--console-url", url, "--enable=prompt-stop")
        )
        console = stack.enter_context(ConsoleProcess(plane.kubeconfig, directory, *arguments))
        await asyncio.to_thread(operator.wait_until_leading)
        await asyncio.to_thread(console.wait_for, "started")
        admin = await connect(str(plane.kubeconfig), namespace="riskladder-system", agent="tests")
        stack.push_async_callback(admin.close)
        people = {}
        anonymous = await connect(str(plane.kubeconfig), agent="tests", anonymous=True)
        stack.push_async_callback(anonymous.close)
        for name in PEOPLE:
            token = (await issuer.tokens(name)).id_token
            people[name] = Client(anonymous, headers=[("Authorization", f"Bearer {token}")])
        place = PeopleNamespace(Client(admin), namespace, people, receivers, PREFIX)
        office = Office(url, issuer, await stack.enter_async_context(place), console, probes)
        await office.govern()
        yield office
