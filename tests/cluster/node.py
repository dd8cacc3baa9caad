"""A control plane with one real node: kubelet, containerd and kube-proxy, and containers that really run.

The control plane is the local one, with all that can be done to it. The node lives in network, mount and PID namespaces
of its own (`tests.cluster.nodeinit`), joined to the control plane by relays, so that nothing of the machine's network,
mounts or firewall is touched, and two nodes do not meet. It needs root and Debian (`tests.cluster.host`).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.base import ClusterError, Progress, silent
from tests.cluster.build import ensure_binaries, ensure_programs, tail
from tests.cluster.components import API_SERVICE_IP, SERVICE_RANGE
from tests.cluster.host import CGROUP_PREFIX, LOCKS, cgroup, remove_abandoned_cgroups, why_not
from tests.cluster.images import ROOT, ensure_images, images_in_use
from tests.cluster.launcher import ALONE
from tests.cluster.local import LocalControlPlane
from tests.cluster.nodeinit import API_PORT, NODE_IP, NODE_NAME, Spec
from tests.cluster.process import Component, Spawner
from tests.cluster.scratch import Scratch, remove_abandoned
from tests.cluster.versions import KUBE_ROUTER, NODE
from tests.patience import PATIENCE

POLL_SECONDS = 0.05

EGRESS = {
    "apiVersion": "apiserver.k8s.io/v1beta1",
    "kind": "EgressSelectorConfiguration",
}

IDENTITIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "kubelet": (f"system:node:{NODE_NAME}", ("system:nodes",)),
    "kube-proxy": ("system:kube-proxy", ()),
}
"""User and groups of each program of the node."""


def ensure_programs_of_node(progress: Progress = silent, *, policies: bool = True) -> tuple[Path, Path | None]:
    """Return the directory of kubelet and kube-proxy, and the program that enforces policies if it is asked for.

    Built on the first call; minutes. Raises ClusterError, in one sentence if this machine cannot have a node.
    """
    if reason := why_not():
        raise ClusterError(reason)
    ensure_binaries(progress)  # The control plane's, first: what they share is compiled once.
    programs = ensure_programs(NODE, progress)
    return programs, ensure_programs(KUBE_ROUTER, progress) / "kube-router" if policies else None


def ensure_node(progress: Progress = silent) -> list[Path]:
    """Build everything that a node and its control plane are made of, and return where it is. Raises ClusterError."""
    programs, router = ensure_programs_of_node(progress)
    assert router is not None
    return [programs, router, ensure_images(progress)]


class NodeCluster:
    """A control plane and a real node; a context manager.

    Everything ends with it, also when this process is killed; what SIGKILL leaves (cgroups and a directory), the next
    start removes.
    """

    name = "node"

    def __init__(self, *, fake_nodes: int = 0, policies: bool = False, progress: Progress = silent) -> None:
        """Nothing is started or created before `start`.

        `fake_nodes`: how many nodes without a kubelet exist next to the real one, for pods that tolerate the taint
        `kwok.x-k8s.io/node`. `policies`: enforce NetworkPolicies.
        """
        self._fake_nodes, self._policies, self._progress = fake_nodes, policies, progress
        self._plane: LocalControlPlane | None = None
        self._scratch: Scratch | None = None
        self._spawner: Spawner | None = None
        self._init: Component | None = None
        self._router: Component | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def local(self) -> LocalControlPlane:
        """The control plane, which can be broken on purpose."""
        assert self._plane is not None, "not started"
        return self._plane

    @property
    def kubeconfig(self) -> Path:
        return self.local.kubeconfig

    @property
    def directory(self) -> Path:
        """The files of the node; its logs are in `logs`."""
        assert self._scratch is not None, "not started"
        return self._scratch.path

    def start(self) -> Self:
        """Start everything, and return when the node is Ready. Raises ClusterError naming what failed, and its log."""
        if self._scratch is not None:
            raise ClusterError(f"this node has already been started in {self._scratch.path}")
        programs, router = ensure_programs_of_node(self._progress, policies=self._policies)
        with images_in_use(self._progress) as template:
            started = time.monotonic()
            remove_abandoned()
            remove_abandoned_cgroups()
            atexit.register(self.stop)
            try:
                self._start(programs, template, router)
            except BaseException:
                self.stop()
                raise
        self._progress(f"the node {NODE_NAME} is Ready, {time.monotonic() - started:.1f} s after the start")
        return self

    def stop(self) -> None:
        """End the node, then the control plane, and remove what they left. Idempotent."""
        if self._router is not None:
            self._router.stop(0)
        if self._init is not None:
            self._init.kill()  # unshare kills PID 1 of the namespaces, with which the kernel ends all the rest.
        try:
            self._stack.close()
        except ClusterError as error:
            self._progress(f"{error}: the next start removes what is left")
        if self._plane is not None:
            self._plane.stop()
        if self._spawner is not None:
            self._spawner.close()
        if self._scratch is not None:
            self._scratch.remove()
        self._plane = self._scratch = self._spawner = self._init = self._router = None
        atexit.unregister(self.stop)

    def check(self) -> None:
        """Raise ClusterError, with the end of its log, if the node or a part of the control plane has ended."""
        for component in (self._init, self._router):
            if component is not None:
                component.check()
        self.local.check()

    # The node itself

    def inside(self, *command: str) -> str:
        """Return what a command prints in the network, mount and PID namespaces of the node.

        Raises ClusterError with its standard error if it fails.
        """
        done = subprocess.run(self.entering(*command), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def entering(self, *command: str) -> list[str]:
        """Return the command line that runs a command in the namespaces of the node."""
        return ["nsenter", f"--target={self._pid_of_init()}", "--net", "--mount", "--pid", "--", *command]

    def in_network(self, *command: str) -> list[str]:
        """Return the command line that becomes a command in the network of the node, and sees the machine otherwise."""
        return ["nsenter", f"--target={self._pid_of_init()}", "--net", "--", *command]

    def log(self, program: str) -> Path:
        """Return the log of containerd, kubelet, kube-proxy or kube-router."""
        return self.directory / "logs" / f"{program}.log"

    def send_signal(self, program: str, signal: str) -> None:
        """Send a signal, such as STOP or CONT, to containerd, kubelet, kube-proxy or kube-router."""
        pids: dict[str, int] = json.loads((self.directory / "pids.json").read_text())
        self.inside("kill", f"-{signal}", str(pids[program]))

    def _pid_of_init(self) -> int:
        assert self._init is not None, "not started"
        pid = self._init.pid
        if pid is None:
            raise ClusterError(f"the node has ended: {tail(self._init.log)}")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(children) != 1:
            raise ClusterError(f"the node has no PID 1: {tail(self._init.log)}")
        return int(children[0])

    # How it is done

    def _start(self, programs: Path, template: Path, router: Path | None) -> None:
        self._scratch = Scratch.create()
        directory = self._scratch.path
        name = CGROUP_PREFIX + directory.name
        self._stack.enter_context(cgroup(name))
        # A path that is short enough for a socket, whatever TMPDIR is.
        egress, socket = directory / "egress.json", LOCKS / f"{name}.sock"
        self._stack.callback(socket.unlink, missing_ok=True)
        egress.write_text(json.dumps(_egress(socket)))
        self._plane = plane = LocalControlPlane(
            nodes=self._fake_nodes,
            taint_fakes=True,
            hosts=(NODE_IP, API_SERVICE_IP),
            api_server_args=(
                f"--egress-selector-config-file={egress}",
                "--kubelet-preferred-address-types=InternalIP",
            ),
            progress=self._progress,
        )
        plane.start()
        spec = directory / "spec.json"
        Spec(
            directory=str(directory),
            template=str(template),
            programs=str(programs),
            api_server_port=int(plane.server.rpartition(":")[2]),
            kubeconfigs={name: str(plane.kubeconfig_for(*who)) for name, who in IDENTITIES.items()},
            ca=str(plane.ca_file),
            egress_socket=str(socket),
            cgroup=name,
        ).write(spec)
        self._spawner = Spawner()
        log = directory / "init.log"
        self._init = Component("the node", _init_command(spec), log=log, directory=directory, spawner=self._spawner)
        self._init.start()
        self._wait("containerd, kubelet and kube-proxy to start", lambda: (directory / "ready").exists())
        self._announce_api_server()
        self._wait(f"node {NODE_NAME} to be Ready", self._is_ready)
        if router is not None:
            self._enforce_policies(router)

    def _enforce_policies(self, router: Path) -> None:
        """Start kube-router, which wants its Node to be there, and return once it enforces policies."""
        assert self._spawner is not None
        nsenter, *entering = self.entering(str(router))
        program = shutil.which(nsenter)
        assert program is not None
        command = [
            *(program, *entering),
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
            f"--kubeconfig={self.kubeconfig}",
            f"--hostname-override={NODE_NAME}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--enable-ipv6=false",
            "--health-port=0",
            "--metrics-port=0",
            "--iptables-sync-period=30s",
        ]
        log = self.log("kube-router")
        self._router = Component("kube-router", command, log=log, directory=self.directory, spawner=self._spawner)
        self._router.start()
        self._wait("kube-router to enforce policies", self._enforces)

    def _enforces(self) -> bool:
        command = self.entering("iptables", "-S", "KUBE-ROUTER-FORWARD")
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _announce_api_server(self) -> None:
        """Say where pods reach the API server, as it does itself where it has an address that they can reach."""
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_IP], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": API_PORT, "protocol": "TCP"}],
        }
        path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        status, answer = self.local.rest().call("POST", path, body)
        if status != 201:
            raise ClusterError(f"EndpointSlice kubernetes could not be created: {status} {answer.decode()}")

    def _is_ready(self) -> bool:
        node: Any = self.local.rest().get(f"/api/v1/nodes/{NODE_NAME}")
        conditions = ((node or {}).get("status") or {}).get("conditions") or ()
        is_free = node is not None and not node["spec"].get("taints")
        return is_free and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def _wait(self, what: str, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                logs = "\n".join(f"{name}: {tail(self.log(name), 5)}" for name in ("containerd", "kubelet"))
                raise ClusterError(f"gave up after {PATIENCE:.0f} s waiting for {what}. {logs}")
            time.sleep(POLL_SECONDS)


def _init_command(spec: Path) -> list[str]:
    unshare, env = shutil.which(ALONE[0]), shutil.which("env")
    assert unshare is not None
    assert env is not None
    path = f"PYTHONPATH={ROOT}{os.pathsep}{ROOT / 'operator'}"
    return [
        *(unshare, *ALONE[1:]),
        *(env, path, sys.executable, "-m", "tests.cluster.nodeinit", "run", str(spec)),
    ]


def _egress(socket: Path) -> dict[str, Any]:
    """Return the configuration by which the API server reaches the node: over a Unix socket, which a path names."""
    connection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": str(socket)}}}
    return {**EGRESS, "egressSelections": [{"name": "cluster", "connection": connection}]}
