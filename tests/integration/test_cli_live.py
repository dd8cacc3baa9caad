"""`verify`, `timeline`, `report` and `export` on a real control plane, with records that its API server admitted."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from typer.testing import CliRunner, Result

from riskladder.cli.main import app
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Client, Conflict, NotFound, Refused
from riskladder.cluster.connection import connect
from riskladder.cluster.ledger import LedgerEntry
from tests.cluster import ControlPlane, LocalControlPlane
from tests.integration.conftest import needs_local
from tests.patience import PATIENCE
from tests.trails import ESCALATION, OPENED, Document, chain, escalation

ROOT = Path(__file__).parents[2]
KUBECTL = Path(sys.executable).with_name("kubectl")
DEFINITIONS = resources.Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
NAMESPACES = resources.Resource("", "v1", "namespaces", "Namespace")
T = TypeVar("T")


@asynccontextmanager
async def client_of(plane: ControlPlane, *, as_operator: bool = True) -> AsyncIterator[Client]:
    connection = await connect(str(plane.kubeconfig), agent="test")
    if not as_operator:
        yield Client(connection)
        await connection.close()
        return
    # Under the operator's name: the policies, where another test has installed them, let nobody else append a record.
    connection.session.headers.update(
        {
            "Impersonate-User": "system:serviceaccount:riskladder-system:riskladder",
            "Impersonate-Group": "system:masters",
        }
    )
    try:
        yield Client(connection)
    finally:
        await connection.close()


def on(plane: ControlPlane, act: Callable[[Client], Awaitable[T]], *, as_operator: bool = True) -> T:
    async def run() -> T:
        async with client_of(plane, as_operator=as_operator) as client:
            return await act(client)

    return asyncio.run(run())


def riskladder(plane: ControlPlane, *arguments: str, kubeconfig: Path | None = None) -> Result:
    return CliRunner().invoke(app, [*arguments, "--kubeconfig", str(kubeconfig or plane.kubeconfig)])


def kubectl(plane: ControlPlane, *arguments: str) -> str:
    command = [str(KUBECTL), "--kubeconfig", str(plane.kubeconfig), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


async def install(client: Client) -> None:
    """Create the CRDs that are absent, and wait until all are served."""
    for file in sorted((ROOT / "crds").glob("riskladder.dev_*.yaml")):
        with suppress(Conflict):
            await client.create(DEFINITIONS, None, yaml.safe_load(file.read_text()))
    deadline = asyncio.get_running_loop().time() + PATIENCE
    for resource in resources.OWN:
        while True:
            try:
                await client.list(resource, limit=1)
                break
            except NotFound:
                assert asyncio.get_running_loop().time() < deadline, f"{resource.title} is not served"
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A control plane of the module's own: an operator at work would go on with the chains that are written here."""
    needs_local(request.config)
    with LocalControlPlane(nodes=1) as plane:
        yield plane


@pytest.fixture(scope="module", autouse=True)
def crds(cluster: ControlPlane) -> None:
    on(cluster, install, as_operator=False)


@pytest.fixture
def namespace(cluster: ControlPlane) -> Iterator[str]:
    name = f"trail-{uuid.uuid4().hex[:8]}"
    on(cluster, lambda c: c.create(NAMESPACES, None, {"metadata": {"name": name}}), as_operator=False)
    yield name
    on(cluster, lambda c: c.delete(NAMESPACES, None, name), as_operator=False)


def uid_of(plane: ControlPlane, namespace: str) -> str:
    """The policies, where another test has installed them, let a record name no other namespace."""
    return str(on(plane, lambda c: c.get(NAMESPACES, None, namespace))["metadata"]["uid"])


def full_escalation(records: list[Document]) -> Document:
    """One that the API server takes."""
    document = escalation(records)
    uid, at, digest = str(uuid.uuid4()), "2026-11-24T06:00:00Z", "ab" * 32
    document["spec"] |= {
        "ladder": {"name": "credit-scoring", "uid": uid, "generation": 3, "digest": digest},
        "policy": {"tiers": [{"name": "high"}]},
        "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "credit-scorer", "uid": uid},
        "signal": {"name": "credit-scorer-fairness", "uid": uid, "observedAt": at},
    }
    for condition in document["status"]["conditions"]:
        condition |= {"lastTransitionTime": at, "observedGeneration": 1}
    return document


def store(plane: ControlPlane, records: list[Document], head: Document | None = None) -> None:
    """Create the records manually, and the escalation with its status."""

    async def create(client: Client) -> None:
        for record in records:
            await client.create(resources.RECORDS, record["metadata"]["namespace"], record)
        if head is not None:
            where, name = head["metadata"]["namespace"], head["metadata"]["name"]
            await client.create(resources.ESCALATIONS, where, head)
            await client.merge_patch(
                resources.ESCALATIONS, where, name, {"status": head["status"]}, subresource="status"
            )

    on(plane, create)


def test_intact_chain_is_verified_and_shown_live(cluster: ControlPlane, namespace: str) -> None:
    records = chain(namespace=namespace, namespace_uid=uid_of(cluster, namespace))
    store(cluster, records, full_escalation(records))
    verified = riskladder(cluster, "verify", "--live", "-n", namespace)
    assert (verified.exit_code, verified.stderr) == (0, "")
    assert verified.stdout.startswith(f"OK      {namespace}/{ESCALATION}")
    assert f"4:{records[-1]['spec']['hash']}  ends at the head of the Escalation on the cluster" in verified.stdout

    command = [sys.executable, "-m", "riskladder", "verify", "--live", "-n", namespace]
    environment = {"PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(cluster.kubeconfig)}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert process.stdout == verified.stdout

    everywhere = json.loads(riskladder(cluster, "verify", "--live", "-A", "-o", "json").stdout)
    [mine] = [found for found in everywhere["chains"] if found["namespace"] == namespace]
    assert (mine["intact"], mine["length"], mine["notedHead"]) == (True, 4, 4)

    timeline = riskladder(cluster, "timeline", ESCALATION, "-n", namespace)
    assert (timeline.exit_code, timeline.stderr) == (0, "")
    text = " ".join(timeline.stdout.split())
    assert "Chain verified, 4 records, ends at the head of the Escalation on the cluster" in text
    assert "3 2026-11-24 06:00:03.612 +0.492 s RolledBack riskladder" in text


PERIOD = ("--since", "2026-11-24T00:00:00Z", "--until", "2026-11-25T00:00:00Z")


def test_live_report_and_archive_say_the_same(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    records = chain(namespace=namespace, namespace_uid=uid_of(cluster, namespace))
    store(cluster, records, full_escalation(records))
    live = riskladder(cluster, "report", ESCALATION, "-n", namespace)
    assert (live.exit_code, live.stderr) == (0, "")
    assert "ends at the head of the Escalation on the cluster" in live.stdout
    assert f"riskladder verify --live --namespace {namespace} --escalation {ESCALATION} --head" in live.stdout

    archive = tmp_path / "trail.tar.gz"
    written = riskladder(cluster, "export", str(archive), "-n", namespace, *PERIOD)
    assert (written.exit_code, written.stderr) == (0, "")
    kinds = "4 EscalationRecords, 1 Escalation, 0 EscalationDecisions, 0 EscalationLadders"
    assert written.stdout == f"{archive}: {kinds}\n"
    verified = json.loads(riskladder(cluster, "verify", str(archive), "-o", "json").stdout)
    assert [(c["length"], c["head"]) for c in verified["chains"]] == [(4, records[-1]["spec"]["hash"])]

    reports = [
        json.loads(riskladder(cluster, "report", ESCALATION, *where, "-o", "json").stdout)["escalations"][0]
        for where in (("-n", namespace), (str(archive),))
    ]
    for name in ("summary", "story", "speed"):
        assert reports[0][name] == reports[1][name]
    period = riskladder(cluster, "report", "-n", namespace, *PERIOD, "-o", "json")
    assert json.loads(period.stdout)["period"]["escalations"] == 1


def test_missing_end_shows_live(cluster: ControlPlane, namespace: str) -> None:
    records = chain(namespace=namespace, namespace_uid=uid_of(cluster, namespace))
    store(cluster, records[:3], full_escalation(records))
    result = riskladder(cluster, "verify", "--live", "-n", namespace)
    assert result.exit_code == 1
    assert f"record {ESCALATION}-000004 is missing: the end is cut off" in result.stdout


def test_what_the_api_server_refuses_is_found_in_an_edited_export(
    cluster: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    records = chain(namespace=namespace, namespace_uid=uid_of(cluster, namespace))
    store(cluster, records, full_escalation(records))
    name = records[1]["metadata"]["name"]
    with pytest.raises(Refused, match="immutable"):
        on(
            cluster,
            lambda c: c.merge_patch(resources.RECORDS, namespace, name, {"spec": {"sequence": 7}}),
        )

    export = tmp_path / "trail.yaml"
    export.write_text(kubectl(cluster, "get", "escr,esc", "-n", namespace, "-o", "yaml"))
    assert riskladder(cluster, "verify", str(export)).exit_code == 0
    lines = tmp_path / "trail.json"
    lines.write_text(kubectl(cluster, "get", "escr,esc", "-n", namespace, "-o", "json"))
    assert riskladder(cluster, "verify", str(lines)).exit_code == 0

    items = json.loads(lines.read_text())["items"]
    edits: list[tuple[Callable[[list[Any]], Any], str]] = [
        (lambda i: i[1]["spec"].update(actor="mallory"), f"record {name} was changed"),
        (lambda i: i.pop(1), f"record {name} is missing: after 1 comes"),
        (lambda i: i.pop(3), f"record {ESCALATION}-000004 is missing: the end is cut off"),
    ]
    records_first = sorted(items, key=lambda item: item["kind"] != "EscalationRecord")
    for edit, says in edits:
        edited = copy.deepcopy(records_first)
        edit(edited)
        lines.write_text("\n".join(map(json.dumps, edited)))
        result = riskladder(cluster, "verify", str(lines))
        assert (result.exit_code, says in result.stdout) == (1, True), result
        assert riskladder(cluster, "timeline", ESCALATION, str(lines)).exit_code == 1


def test_texts_that_yaml_takes_for_something_else_survive_the_export(
    cluster: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Whatever kubectl quotes or does not: `=`, base 60, exponents, old booleans, times, white space."""
    awkward = [
        "=",
        "12:30",
        "1e3",
        "1_000",
        "0o17",
        "08",
        "yes",
        "y",
        "~",
        "<<",
        "2026-11-24",
        "a\tb\n c",
        "😀\u2028",
        " x ",
    ]
    detail = {f"{n}": text for n, text in enumerate(awkward)} | {
        "yes": "no",
        "1e3": "x",
        "null": "",
        "=": "=",
        "<<": "<<",
    }
    records = chain(
        [LedgerEntry("Commented", "c", OPENED, "=", detail)],
        namespace=namespace,
        namespace_uid=uid_of(cluster, namespace),
    )
    store(cluster, records)
    for form in ("yaml", "json"):
        export = tmp_path / f"trail.{form}"
        export.write_text(kubectl(cluster, "get", "escr", "-n", namespace, "-o", form))
        result = riskladder(cluster, "verify", str(export))
        assert result.exit_code == 0, (result, export.read_text())


def test_what_cannot_be_checked_live(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    nobody = riskladder(cluster, "verify", "--live", "--escalation", "none", "-n", namespace)
    assert (nobody.exit_code, nobody.stderr) == (
        2,
        f"error: no record of an escalation none in namespace {namespace}\n",
    )
    assert riskladder(cluster, "timeline", "none", "-n", namespace).exit_code == 2

    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    away = tmp_path / "away.kubeconfig"
    away.write_text(yaml.safe_dump(config))
    silent = riskladder(cluster, "verify", "--live", kubeconfig=away)
    assert (silent.exit_code, silent.stdout) == (2, "")
    assert silent.stderr.startswith("error: the cluster does not answer: ")
    assert silent.stderr.count("\n") == 1


def test_without_permission(cluster: ControlPlane, namespace: str) -> None:
    if cluster.local is None:
        pytest.skip("needs a plane that signs certificates for anybody")
    stranger = cluster.local.kubeconfig_for("auditor-without-rights", [])
    result = riskladder(cluster, "verify", "--live", "-n", namespace, kubeconfig=stranger)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no permission to list escalations.riskladder.dev" in result.stderr
    assert "auditor-without-rights" in result.stderr


def test_api_errors_are_the_clients(cluster: ControlPlane, namespace: str) -> None:
    records = chain(namespace=namespace, namespace_uid=uid_of(cluster, namespace))
    records[0]["metadata"]["name"] = "misnamed"
    with pytest.raises(ApiError, match=r"metadata\.name must be"):
        store(cluster, records[:1])
