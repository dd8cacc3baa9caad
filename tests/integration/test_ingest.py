"""What a monitor sends over HTTP, to the stop of a model and back, on the real control plane; and who may not send."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from riskladder.api.base import format_time
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Forbidden, Object
from riskladder.cluster.connection import connect
from tests.cluster import ControlPlane
from tests.cluster.install import NAMESPACE
from tests.integration.ingest_process import (
    ACCOUNTS,
    INGEST,
    SOURCE,
    Answer,
    Ingest,
    alert,
    binding,
    ingesting,
    monitored,
    notification,
)
from tests.integration.people import SECRETS, impersonated
from tests.integration.world import INDICATOR, TestNamespace, condition, ladder

KEY = bytes(range(32))
SIGNING = "whsec_" + base64.b64encode(KEY).decode()


@pytest.fixture(scope="module")
async def ingest(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with ingesting(installed.kubeconfig, tmp_path_factory.mktemp("ingest")) as running:
        yield running


@pytest.fixture
async def bound(world: TestNamespace, ingest: Ingest) -> TestNamespace:
    """A model that serves, its ladder, and a binding that is ready."""
    del ingest
    await monitored(world)
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(binding())
    await ready(world)
    return world


async def ready(world: TestNamespace, name: str = "fairness") -> None:
    async def check() -> bool:
        return bool(condition(await world.get(resources.BINDINGS, name), "Ready")["status"] == "True")

    await world.until(check, "the binding to be usable")


async def status_of(world: TestNamespace, name: str, **counts: int) -> Object:
    """The status of a binding, once it counts so much."""

    async def check() -> Object | None:
        found: Object = (await world.get(resources.BINDINGS, name)).get("status") or {}
        return found if {k: (found.get("counts") or {}).get(k) for k in counts} == counts else None

    return await world.until(check, f"the binding to count {counts}")


def at(seconds: float = 0) -> str:
    return format_time(datetime.now(UTC) + timedelta(seconds=seconds))


def verdicts(answer: Answer) -> list[tuple[str, Any]]:
    return [(v["verdict"], v.get("value", v.get("reason"))) for v in answer.body["verdicts"]]


# --- What arrives -----------------------------------------------------------------------------------------------------


async def test_alert_that_fires_stops_the_model(bound: TestNamespace, ingest: Ingest, admin: Client) -> None:
    token, began = ingest.token(bound.namespace, SOURCE), at(-1)
    answer = await ingest.send(bound.namespace, "fairness", notification(alert(began)), token=token)
    assert (answer.status, verdicts(answer)) == (200, [("Stored", 1.0)]), answer.body
    contained = await bound.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    [signal] = await admin.list(resources.SIGNALS, bound.namespace)
    assert signal["spec"]["readings"] == [{"indicator": INDICATOR, "value": 1.0}]
    assert signal["metadata"]["annotations"]["riskladder.dev/binding"] == "fairness"
    by = signal["spec"]["reportedBy"]
    assert (by["username"], by.get("credentialID", "")) == (f"system:serviceaccount:{bound.namespace}:{SOURCE}", "")
    opened = (await bound.records(contained["metadata"]["name"]))[0]["spec"]["detail"]
    assert (opened["reportedBy"], opened["impersonated"], opened["binding"]) == (by["username"], "true", "fairness")
    status = await status_of(bound, "fairness", deliveries=1, readings=1, refusals=0)
    assert (status["lastReading"]["indicator"], status["lastReading"]["observedAt"]) == (INDICATOR, began)


async def test_what_is_repeated_is_heard_and_counts_once(bound: TestNamespace, ingest: Ingest, admin: Client) -> None:
    """The second replica of Alertmanager sends the same, and both repeat it as long as it fires."""
    token, body = ingest.token(bound.namespace, SOURCE), notification(alert(at(-1)))
    await asyncio.gather(*(ingest.send(bound.namespace, "fairness", body, token=token) for _ in range(4)))
    contained = await bound.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await bound.quiet()
    before = await bound.records(contained["metadata"]["name"])
    await ingest.send(bound.namespace, "fairness", body, token=token)
    await bound.quiet()
    assert await bound.records(contained["metadata"]["name"]) == before
    [signal] = await admin.list(resources.SIGNALS, bound.namespace)
    assert signal["spec"]["heardAt"] > signal["spec"]["observedAt"]


async def test_resolved_alert_is_heard_and_a_late_firing_one_is_out_of_order(
    bound: TestNamespace, ingest: Ingest, admin: Client
) -> None:
    token, began = ingest.token(bound.namespace, SOURCE), at(-5)
    fired = notification(alert(began))
    await ingest.send(bound.namespace, "fairness", fired, token=token)
    await bound.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    answer = await ingest.send(bound.namespace, "fairness", notification(alert(at(-1), firing=False)), token=token)
    assert verdicts(answer) == [("Stored", 0.0)]
    [signal] = await admin.list(resources.SIGNALS, bound.namespace)
    name = signal["metadata"]["name"]
    await bound.until(lambda: _tier(bound, name, "baseline"), "the recovery to be heard")
    await ingest.send(bound.namespace, "fairness", fired, token=token)

    async def is_late() -> bool:
        return bool(condition(await bound.signal(name), "Ready")["reason"] == "OutOfOrder")

    await bound.until(is_late, "the late one to be out of order")
    assert (await bound.signal(name))["status"].get("tier") in ("baseline", None)


async def _tier(world: TestNamespace, name: str, tier: str) -> bool:
    return bool(((await world.signal(name)).get("status") or {}).get("tier") == tier)


async def test_one_monitor_of_many_models(bound: TestNamespace, ingest: Ingest) -> None:
    """The label names the workload; one that the binding does not list is refused by name, and the others count."""
    targets = {"label": "model", "allowed": ["scorer", "pricer"]}
    await bound.apply(binding("many", target=None, targetFrom=targets))
    await ready(bound, "many")
    body = notification(alert(at(-1), model="scorer"), alert(at(-1), model="vault"), alert(at(-1)))
    answer = await ingest.send(bound.namespace, "many", body, token=ingest.token(bound.namespace, SOURCE))
    assert (answer.status, verdicts(answer)) == (
        200,
        [("Stored", 1.0), ("Refused", "UnknownTarget"), ("Refused", "UnknownTarget")],
    )
    await bound.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    status = await status_of(bound, "many", readings=1, refusals=2)
    assert "expected the label model" in status["lastRefusal"]["message"]

    async def announced() -> list[str]:
        return [e["reason"] for e in await bound.events("many")]

    assert await bound.until(announced, "an Event behind the status") == ["UnknownTarget"]


async def test_watchdog_keeps_readings_fresh(bound: TestNamespace, ingest: Ingest, admin: Client) -> None:
    await bound.apply(binding(heartbeat="entry.labels.alertname == 'Watchdog'"))
    token = ingest.token(bound.namespace, SOURCE)
    ended = notification(alert(at(-60), firing=False))
    assert (await ingest.send(bound.namespace, "fairness", ended, token=token)).status == 200

    async def heard() -> bool:
        alive = notification(alert(at(-3600), name="Watchdog"))
        answer = await ingest.send(bound.namespace, "fairness", alive, token=token)
        return verdicts(answer) == [("Heartbeat", None)]

    await bound.until(heard, "the changed binding to be known")
    [signal] = await admin.list(resources.SIGNALS, bound.namespace)
    assert signal["spec"]["heardAt"] > signal["spec"]["observedAt"]
    assert signal["spec"]["readings"] == [{"indicator": INDICATOR, "value": 0.0}]
    answer = await ingest.send(bound.namespace, "fairness", notification(alert(at(), firing=False)), token=token)
    assert (answer.status, verdicts(answer)) == (200, [("Stored", 0.0)]), "the next reading is newer than the heartbeat"


# --- Who may not ------------------------------------------------------------------------------------------------------


async def test_one_answer_to_everybody_who_may_not_send(bound: TestNamespace, ingest: Ingest) -> None:
    """An unknown binding, and every token that proves nothing here, cannot be told from one another."""
    body, namespace = notification(alert(at(-1))), bound.namespace
    await bound.client.create(ACCOUNTS, namespace, {"metadata": {"name": "other"}})
    await bound.client.create(ACCOUNTS, namespace, {"metadata": {"name": "gone"}})
    gone = ingest.token(namespace, "gone")
    await bound.client.delete(ACCOUNTS, namespace, "gone")
    own = json.loads(json.dumps(ingest.account.read_text())).partition("token: ")[2].split()[0]
    good = ingest.token(namespace, SOURCE)
    tried: Mapping[str, tuple[str, str]] = {
        "no such binding": ("nothing", good),
        "no token at all": ("fairness", ""),
        "what is no token": ("fairness", "x"),
        "another account": ("fairness", ingest.token(namespace, "other")),
        "a deleted account": ("fairness", gone),
        "the audience of the API server": ("fairness", ingest.token(namespace, SOURCE, audience="")),
        "another audience": ("fairness", ingest.token(namespace, SOURCE, audience="vault")),
        "the token of ingest itself": ("fairness", own),
        "an altered token": ("fairness", good[:-4] + "AAAA"),
        "an enormous token": ("fairness", "a" * 7000),
    }
    answers = {what: await ingest.send(namespace, name, body, token=token) for what, (name, token) in tried.items()}
    assert {what: answer.status for what, answer in answers.items()} == dict.fromkeys(tried, 401)
    assert len({json.dumps(answer.body, sort_keys=True) for answer in answers.values()}) == 1
    assert await bound.client.list(resources.SIGNALS, namespace) == []
    log = ingest.process.log.read_text()
    assert good not in log
    assert own not in log


async def test_signed_delivery_is_taken_once(bound: TestNamespace, ingest: Ingest) -> None:
    await bound.client.create(
        SECRETS,
        bound.namespace,
        {"metadata": {"name": INGEST}, "stringData": {"fairness": SIGNING}},
    )
    signed_binding = binding(
        "signed",
        format="Generic",
        sender={"hmac": {"secretKey": "fairness", "scheme": "StandardWebhooks"}},
        readings=[{"indicator": INDICATOR, "pick": "entry.fields.dpd"}],
    )
    await bound.apply(signed_binding)
    await ready(bound, "signed")
    body = json.dumps({"dpd": 0.31, "observedAt": at(-1)}).encode()

    async def send(identifier: str, when: datetime, raw: bytes = body, key: str = SIGNING) -> int:
        headers = {
            "webhook-id": identifier,
            "webhook-timestamp": str(int(when.timestamp())),
            "webhook-signature": Webhook(key).sign(identifier, when, body.decode()),
        }
        return (await ingest.send(bound.namespace, "signed", raw, headers=headers)).status

    now = datetime.now(UTC)
    assert await send("one", now - timedelta(minutes=6)) == 401, "too old"
    assert await send("one", now + timedelta(minutes=6)) == 401, "ahead"
    assert await send("one", now, raw=body.replace(b"0.31", b"0.01")) == 401, "altered"
    assert await send("one", now, key="whsec_" + base64.b64encode(KEY[::-1]).decode()) == 401, "another key"
    assert await send("one", now) == 200
    assert await send("one", now) == 401, "a replay"
    assert await send("two", now) == 200, "the same reading again, which counts once"
    await bound.escalation_says("scorer", "Contained", "True", "ScaledToZero")


async def test_account_of_ingest_is_good_for_nothing_else(
    bound: TestNamespace, ingest: Ingest, world: TestNamespace
) -> None:
    """Stolen, it reports what a monitor could, and reads bindings. Everything else is forbidden."""
    connection = await connect(str(ingest.account), namespace=NAMESPACE, agent="tests")
    as_monitor = {"Impersonate-User": f"system:serviceaccount:{bound.namespace}:{SOURCE}"}
    signals = resources.SIGNALS.path(bound.namespace)
    secrets, core = SECRETS.path(bound.namespace), f"/api/v1/namespaces/{bound.namespace}"
    tried: list[tuple[str, str, Mapping[str, str]]] = [
        ("GET", secrets, {}),
        ("GET", SECRETS.path(NAMESPACE), {}),
        ("GET", f"{core}/secrets/riskladder-channels", {}),
        ("POST", secrets, {}),
        ("GET", f"{core}/pods", {}),
        ("POST", f"{core}/pods", {}),
        ("POST", f"{core}/serviceaccounts/{SOURCE}/token", {}),
        ("POST", signals, {}),
        ("GET", signals, {}),
        ("GET", signals, as_monitor),
        ("DELETE", signals, as_monitor),
        ("GET", secrets, as_monitor),
        ("POST", f"{core}/pods", as_monitor),
        ("POST", resources.DECISIONS.path(bound.namespace), as_monitor),
        ("POST", signals, {"Impersonate-User": "system:admin", "Impersonate-Group": "system:masters"}),
        ("POST", signals, {"Impersonate-User": "system:serviceaccount:riskladder-system:riskladder"}),
        ("POST", signals, {"Impersonate-User": f"system:serviceaccount:{bound.namespace}:default"}),
        ("POST", resources.LADDERS.path(bound.namespace), {}),
        ("POST", resources.BINDINGS.path(bound.namespace), {}),
        ("DELETE", resources.BINDINGS.path(bound.namespace, "fairness"), {}),
        ("PATCH", resources.BINDINGS.path(bound.namespace, "fairness"), {}),
        ("PATCH", resources.LADDERS.path(bound.namespace, "credit", "status"), {}),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {}),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {}),
        ("PATCH", resources.DEPLOYMENTS.path(bound.namespace, "scorer"), {}),
    ]
    try:
        found = {}
        for method, path, headers in tried:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            async with connection.session.request(
                method,
                connection.server + path,
                data=b"{}" if method in ("POST", "PATCH") else None,
                headers={**headers, "Content-Type": kind},
            ) as response:
                found[(method, path, headers.get("Impersonate-User", ""))] = response.status
    finally:
        await connection.close()
    assert set(found.values()) == {403}, found


async def test_binding_lends_nobody_a_source(bound: TestNamespace, installed: ControlPlane) -> None:
    """Whoever may write bindings, as everybody with `edit` may, needs the verb report on the source that it names."""
    async with impersonated(installed.kubeconfig, "eve", "system:masters") as admin:
        await admin.create(
            resources.Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
            bound.namespace,
            {
                "metadata": {"name": "editor"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}],
            },
        )
    async with impersonated(installed.kubeconfig, "mallory") as mallory:

        async def may_edit() -> bool:
            with suppress(Forbidden):
                return bool(await mallory.list(resources.BINDINGS, bound.namespace))
            return False

        await bound.until(may_edit, "the permissions of an editor")
        with pytest.raises(Forbidden, match="may not have anything reported as source"):
            await mallory.create(resources.BINDINGS, bound.namespace, binding("mine"))
        with pytest.raises(Forbidden, match="may not take the monitor of source"):
            await mallory.delete(resources.BINDINGS, bound.namespace, "fairness")
        with pytest.raises(Forbidden, match="may not have anything reported as source"):
            await mallory.merge_patch(resources.BINDINGS, bound.namespace, "fairness", {"spec": {"timeZone": "UTC"}})
        await mallory.merge_patch(resources.BINDINGS, bound.namespace, "fairness", {"metadata": {"labels": {"a": "b"}}})
    async with impersonated(installed.kubeconfig, "root", "system:masters") as root:
        with pytest.raises(Forbidden, match="the status of ladders, signals, decisions and bindings"):
            await root.request(
                "PATCH",
                resources.BINDINGS.path(bound.namespace, "fairness", "status"),
                verb="patch",
                resource="monitorbindings",
                body={"status": {"counts": {"readings": 9}}},
                content_type="application/merge-patch+json",
            )


async def test_account_that_lets_nobody_act_for_it_reports_nothing(bound: TestNamespace, ingest: Ingest) -> None:
    await bound.client.create(ACCOUNTS, bound.namespace, {"metadata": {"name": "private"}})
    await bound.apply(binding("private", serviceAccount="private"))
    await ready(bound, "private")
    token = ingest.token(bound.namespace, "private")
    answer = await ingest.send(bound.namespace, "private", notification(alert(at(-1))), token=token)
    assert (answer.status, answer.body["reason"]) == (403, "ReportRefused"), answer.body
    status = await status_of(bound, "private", readings=0, refusals=1)
    assert status["lastRefusal"]["reason"] == "ReportRefused"
    assert "impersonate" in status["lastRefusal"]["message"]


# --- Bounds -----------------------------------------------------------------------------------------------------------


async def test_bounds_hold_before_anybody_is_asked_who_it_is_from(bound: TestNamespace, ingest: Ingest) -> None:
    big = b'{"a": "' + b"x" * (1024 * 1024) + b'"}'
    deep = b"[" * 10_000 + b"]" * 10_000
    tried: list[tuple[bytes, Mapping[str, str], str, int]] = [
        (big, {}, "application/json", 413),
        (deep, {}, "application/json", 413),
        (b"", {}, "application/json", 422),
        (b"\xff\xfe{", {}, "application/json", 422),
        (b"{}", {"Content-Encoding": "gzip"}, "application/json", 415),
        (b"<a/>", {}, "application/xml", 415),
        (b"a=b", {}, "application/x-www-form-urlencoded", 415),
    ]
    for body, headers, kind, expected in tried:
        answer = await ingest.send(bound.namespace, "fairness", body, content_type=kind, headers=headers)
        assert answer.status == expected, (body[:20], answer)
        assert "expected" in answer.body["message"] or "found" in answer.body["message"]

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 65_536

    url = f"{ingest.url}/v1/namespaces/{bound.namespace}/bindings/fairness"
    async with ingest.session.post(url, data=endless(), headers={"Content-Type": "application/json"}) as response:
        assert response.status == 413


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 422, "found no JSON at line 1"),
        (b"[]", 422, "body: found a list, expected an object"),
        (b'{"version": "4"}', 422, "alerts: found nothing, expected a list of alerts"),
        (b'{"version": "4", "alerts": [{"status": "perhaps"}]}', 422, "expected firing or resolved"),
        (b'{"version": "4", "version": "4", "alerts": []}', 422, "twice"),
        (b'{"version": "4", "alerts": [], "x": NaN}', 200, ""),
        (json.dumps(notification(alert("2026-11-24T06:00:00"))).encode(), 422, "names no time zone"),
        (json.dumps(notification(alert("1970-01-01T00:00:00Z"))).encode(), 422, "the years 2000 to 2199"),
        (json.dumps(notification(alert("2099-01-01T00:00:00Z"))).encode(), 422, "no time in the future"),
        (
            json.dumps(notification(*(alert(at(-9), n=str(n)) for n in range(257)))).encode(),
            413,
            "expected at most 256",
        ),
        (json.dumps(notification(alert(at(-9)), alert(at(-9)))).encode(), 422, "found 2 values of one time"),
    ],
)
async def test_what_can_never_work_is_said_once_and_for_good(
    bound: TestNamespace, ingest: Ingest, body: bytes, status: int, said: str
) -> None:
    answer = await ingest.send(bound.namespace, "fairness", body, token=ingest.token(bound.namespace, SOURCE))
    assert answer.status == status, answer
    assert said in answer.body.get("message", ""), answer
    assert await bound.client.list(resources.SIGNALS, bound.namespace) == []
