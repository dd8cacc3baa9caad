"""The control plane itself: if these fail, no other integration test can be believed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from kubernetes import client, config

from tests.cluster import ClusterError, ControlPlane, LocalControlPlane, open_cluster
from tests.cluster.current import is_local
from tests.cluster.launcher import dying_with_us
from tests.integration.conftest import needs_local
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
T = TypeVar("T")

PARENT = """
import json, os, time
from tests.cluster import LocalControlPlane
from tests.cluster.components import NAMES
plane = LocalControlPlane(nodes=1).start()
print(json.dumps({"pids": [plane.pid(name) for name in NAMES], "directory": str(plane.directory)}), flush=True)
time.sleep(600)
"""


def eventually(what: str, get: Callable[[], T], accept: Callable[[T], bool] = bool) -> T:
    """Poll `get` until `accept` likes what it returns, and return that. An API error is not the end."""
    deadline = time.monotonic() + PATIENCE
    seen: object = None
    while time.monotonic() < deadline:
        try:
            value = get()
        except client.ApiException as error:
            seen = error.status
        else:
            if accept(value):
                return value
            seen = value
        time.sleep(0.05)
    pytest.fail(f"waited {PATIENCE:.0f} s in vain for {what}; last seen: {seen}")


def connect(kubeconfig: Path) -> client.ApiClient:
    connection: client.ApiClient = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
    return connection


# The client's own types say that everything may be None, and refuse plain dicts: Any reads better in a test.
def core_v1(plane: ControlPlane) -> Any:
    return client.CoreV1Api(connect(plane.kubeconfig))


def apps_v1(plane: ControlPlane) -> Any:
    return client.AppsV1Api(connect(plane.kubeconfig))


@pytest.fixture
def namespace(cluster: ControlPlane) -> Iterator[str]:
    core = core_v1(cluster)
    name = f"plane-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


def deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "server", "image": "nginx:alpine", "ports": [{"containerPort": 8080}]}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def service(name: str) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8080}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports}}


def ready_endpoints(plane: ControlPlane, namespace: str, name: str) -> set[str]:
    discovery: Any = client.DiscoveryV1Api(connect(plane.kubeconfig))
    slices = discovery.list_namespaced_endpoint_slice(namespace, label_selector=f"kubernetes.io/service-name={name}")
    return {
        address
        for endpoint_slice in slices.items
        for endpoint in endpoint_slice.endpoints or []
        if endpoint.conditions.ready
        for address in endpoint.addresses
    }


def test_deployment_serves_until_it_is_scaled_to_zero(cluster: ControlPlane, namespace: str) -> None:
    apps, core = apps_v1(cluster), core_v1(cluster)
    apps.create_namespaced_deployment(namespace, deployment("model", 3))
    core.create_namespaced_service(namespace, service("model"))

    eventually(
        "three ready replicas",
        lambda: apps.read_namespaced_deployment_status("model", namespace).status.ready_replicas,
        lambda ready: ready == 3,
    )
    addresses = eventually(
        "three ready endpoints", lambda: ready_endpoints(cluster, namespace, "model"), lambda found: len(found) == 3
    )
    pods = core.list_namespaced_pod(namespace).items
    assert addresses == {pod.status.pod_ip for pod in pods}

    apps.patch_namespaced_deployment_scale("model", namespace, {"spec": {"replicas": 0}})

    eventually("no endpoints", lambda: ready_endpoints(cluster, namespace, "model"), lambda found: not found)
    eventually("no pods", lambda: core.list_namespaced_pod(namespace).items, lambda items: not items)


def test_deleted_pod_vanishes_and_is_replaced(cluster: ControlPlane, namespace: str) -> None:
    apps, core = apps_v1(cluster), core_v1(cluster)
    apps.create_namespaced_deployment(namespace, deployment("model", 1))

    def running() -> list[str]:
        pods = [pod for pod in core.list_namespaced_pod(namespace).items if not pod.metadata.deletion_timestamp]
        return [pod.metadata.name for pod in pods if pod.status.phase == "Running"]

    (first,) = eventually("a running pod", running)
    core.delete_namespaced_pod(first, namespace)

    eventually("another pod", running, lambda names: len(names) == 1 and first not in names)
    eventually(
        "the deleted pod to vanish",
        lambda: [pod.metadata.name for pod in core.list_namespaced_pod(namespace).items],
        lambda names: first not in names,
    )


@pytest.fixture(scope="module")
def own(request: pytest.FixtureRequest) -> Iterator[LocalControlPlane]:
    """Another control plane next to that of the session, to be broken."""
    needs_local(request.config)
    with LocalControlPlane(nodes=2, audit=True) as plane:
        yield plane


def test_two_planes_at_once_do_not_collide(cluster: ControlPlane, own: LocalControlPlane) -> None:
    assert cluster.kubeconfig.parent != own.kubeconfig.parent
    core_v1(own).create_namespace({"metadata": {"name": "only-here"}})
    names = {item.metadata.name for item in core_v1(cluster).list_namespace().items}
    assert "only-here" not in names
    assert len(core_v1(own).list_node().items) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is a feature of Linux")
def test_sigkill_of_the_parent_leaves_no_child() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    try:
        line = parent.stdout.readline()
        assert line, f"the parent ended with {parent.wait()} before its plane was ready"
        started = json.loads(line)
        assert all(is_running(pid) for pid in started["pids"])
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()

    eventually(
        "every component to end", lambda: [pid for pid in started["pids"] if is_running(pid)], lambda left: not left
    )
    with LocalControlPlane(nodes=0):
        assert not Path(started["directory"]).exists(), "the next plane removes what a killed one left"


def is_running(pid: int) -> bool:
    """True unless the process is gone, or a zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_components_can_be_broken_and_mended(own: LocalControlPlane) -> None:
    core = core_v1(own)
    core.create_namespace({"metadata": {"name": "kept"}})

    own.kill("etcd")
    assert own.pid("etcd") is None
    own.restart("etcd")
    eventually("the namespace to be there", lambda: core.read_namespace("kept").metadata.uid)

    own.pause("kube-apiserver")
    with pytest.raises(Exception, match="timed out"):
        core.read_namespace("kept", _request_timeout=1)
    own.resume("kube-apiserver")
    own.wait_healthy("kube-apiserver")

    before = own.pid("kube-apiserver")
    own.restart("kube-apiserver")
    assert own.pid("kube-apiserver") not in (before, None)
    assert core.read_namespace("kept").metadata.name == "kept"

    apps = apps_v1(own)
    apps.create_namespaced_deployment("kept", deployment("model", 1))
    eventually(
        "the controllers to go on",
        lambda: apps.read_namespaced_deployment_status("model", "kept").status.ready_replicas,
    )


def test_identity_and_audit_log_of_a_user(own: LocalControlPlane) -> None:
    kubeconfig = own.kubeconfig_for("system:serviceaccount:a:b", ["auditors"])
    nobody = client.CoreV1Api(connect(kubeconfig))
    with pytest.raises(client.ApiException) as refused:
        nobody.list_namespace()
    assert refused.value.status == 403

    def of_the_user() -> list[dict[str, Any]]:
        lines = own.audit_log.read_text().splitlines(keepends=True)  # of the last one not all may have been written yet
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if event["user"]["username"] == "system:serviceaccount:a:b"]

    mine = eventually("the request in the audit log", of_the_user)
    assert [(event["verb"], event["responseStatus"]["code"]) for event in mine] == [("list", 403)]
    assert "auditors" in mine[0]["user"]["groups"]


@pytest.mark.parametrize(
    ("kind", "number"), [("local", signal.SIGTERM), ("current", signal.SIGINT), ("current", signal.SIGHUP)]
)
def test_run_forwards_signals_and_cleans_up(
    kind: str, number: signal.Signals, own: LocalControlPlane, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    script = (
        "import os, pathlib, signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(7))\n"
        f"pathlib.Path({str(written)!r}).write_text(os.environ['KUBECONFIG'])\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-m", "tests.cluster", "run", f"--cluster={kind}", "--", sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "KUBECONFIG": str(own.kubeconfig)}
    heeding = ["/usr/bin/env", "--default-signal=HUP"]  # also where these tests are run under nohup
    process = subprocess.Popen([*heeding, *dying_with_us(command)], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
    try:
        kubeconfig = Path(eventually("the command to run", lambda: written.read_text() if written.exists() else ""))
        assert kubeconfig.exists()
        assert kubeconfig != own.kubeconfig
        process.send_signal(number)
        assert process.wait(PATIENCE) == 7
        assert not kubeconfig.exists()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("server", "local"),
    [
        ("https://127.0.0.1:6443", True),
        ("https://[::1]:6443", True),
        ("https://localhost:6443", True),
        ("https://box.local", True),
        ("https://10.0.0.1:6443", False),
        ("https://localhost.example.com", False),
        ("https://127.0.0.1.example.com", False),
    ],
)
def test_only_servers_on_this_machine_are_local(server: str, local: bool) -> None:
    assert is_local(server) is local


def test_remote_context_is_refused_without_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config"
    file.write_text(
        json.dumps(
            {
                "current-context": "production",
                "contexts": [{"name": "production", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1", "certificate-authority": "ca"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.delenv("RISKLADDER_YES", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(ClusterError, match=r"production is https://10\.0\.0\.1"):
        open_cluster("current")

    monkeypatch.setenv("RISKLADDER_YES", "1")
    plane = open_cluster("current")
    try:
        assert plane.kubeconfig != file
        assert str(tmp_path / "ca") in plane.kubeconfig.read_text(), "a relative path still names the same file"
        assert plane.local is None
    finally:
        plane.stop()
    assert not plane.kubeconfig.exists()
