"""The command lines of a plane: what each component is notified, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.ports import HOST, Ports

ETCD, API_SERVER = "etcd", "kube-apiserver"
CONTROLLER_MANAGER, SCHEDULER, KWOK = "kube-controller-manager", "kube-scheduler", "kwok"
NAMES = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER, KWOK)
"""In the order of starting; stopping goes the other way."""

USERS = {CONTROLLER_MANAGER: "system:kube-controller-manager", SCHEDULER: "system:kube-scheduler"}
"""The identities that the default RBAC roles are bound to. kwok acts as an administrator."""

SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
"""Of the Service `kubernetes`: the first address of the range."""

POD_RANGE = "10.128.0.0/9"
"""Both hold tens of thousands of addresses and do not overlap: a burst test makes thousands of pods and Services."""

QPS, BURST = 1000, 2000
"""Client-side limits of the controllers. The defaults (20 and 30) would make a burst of 1,000 Deployments wait on them
rather than on anything under test."""

WORKERS = 10

FAKE = "kwok.x-k8s.io/node"
"""Annotation of the nodes that kwok plays, and their taint where there is a real node."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The ports of one plane, all on the loopback address."""

    etcd: int
    etcd_peer: int
    api_server: int
    controller_manager: int
    scheduler: int
    kwok: int

    @classmethod
    def claim(cls, ports: Ports) -> Addresses:
        return cls(*(ports.claim() for _ in range(6)))

    @property
    def server(self) -> str:
        return f"https://{HOST}:{self.api_server}"

    def health(self, component: str) -> str:
        """The URL that answers 200 when a component can work."""
        return {
            ETCD: f"http://{HOST}:{self.etcd}/readyz",
            API_SERVER: f"{self.server}/readyz",
            CONTROLLER_MANAGER: f"https://{HOST}:{self.controller_manager}/healthz",
            SCHEDULER: f"https://{HOST}:{self.scheduler}/readyz",
            KWOK: f"http://{HOST}:{self.kwok}/healthz",
        }[component]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of one plane are, below its directory."""

    directory: Path

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def ca(self) -> Path:
        return self.pki / "ca.crt"

    @property
    def admin_pem(self) -> Path:
        """Certificate and key of the administrator in one file, as OpenSSL likes them."""
        return self.pki / "admin.pem"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.jsonl"

    @property
    def audit_policy(self) -> Path:
        return self.directory / "audit-policy.yaml"

    @property
    def authentication(self) -> Path:
        """Whose tokens the API server takes besides its own; it reads the file again when it changes."""
        return self.directory / "authentication.yaml"

    def kubeconfig(self, name: str) -> Path:
        return self.directory / "kubeconfigs" / f"{name}.kubeconfig"

    def log(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"

    def make(self) -> None:
        """Create the directories, for their owner only."""
        for file in (self.ca, self.log(ETCD), self.kubeconfig("admin")):
            file.parent.mkdir(mode=0o700)


AUDIT_POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}

KWOK_OPTIONS: dict[str, Any] = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    # A configuration file replaces every default, so all four are said here.
    "options": {
        "podPlayStageParallelism": 16,
        "nodePlayStageParallelism": 4,
        "nodeLeaseParallelism": 4,
        "podsOnNodeSyncParallelism": 1,
    },
}


def etcd(binary: Path, layout: Layout, at: Addresses, *, fsync: bool) -> list[str]:
    """A single member. Without fsync it is faster, and loses data when the machine (not the process) dies."""
    client, peer = f"http://{HOST}:{at.etcd}", f"http://{HOST}:{at.etcd_peer}"
    command = [
        str(binary),
        "--name=default",
        f"--data-dir={layout.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        # In milliseconds. A lone member has nobody to wait for: the defaults add a second to every start.
        "--heartbeat-interval=20",
        "--election-timeout=200",
    ]
    return command if fsync else [*command, "--unsafe-no-fsync"]


def api_server(binary: Path, layout: Layout, at: Addresses, *, audit: bool, extra: Sequence[str]) -> list[str]:
    """Admission, RBAC, priority and fairness as by default, so that tests meet what production does."""
    command = [
        str(binary),
        f"--etcd-servers=http://{HOST}:{at.etcd}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        f"--secure-port={at.api_server}",
        f"--tls-cert-file={layout.pki / 'server.crt'}",
        f"--tls-private-key-file={layout.pki / 'server.key'}",
        f"--client-ca-file={layout.ca}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={layout.pki / 'service-account.key'}",
        f"--service-account-signing-key-file={layout.pki / 'service-account.key'}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--authentication-config={layout.authentication}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        # The address it would announce for pods is the loopback one. A real node announces one that pods can reach.
        "--endpoint-reconciler-type=none",
        f"--kubelet-client-certificate={layout.admin_pem}",
        f"--kubelet-client-key={layout.admin_pem}",
    ]
    if audit:
        # A rotation in the middle of a test would hide requests from it: none before 10 GB.
        command += [f"--audit-policy-file={layout.audit_policy}", f"--audit-log-path={layout.audit_log}"]
        command += ["--audit-log-maxsize=10000"]
    return [*command, *extra]


def controller_manager(binary: Path, layout: Layout, at: Addresses) -> list[str]:
    """Every default controller. Fake nodes beat only through kwok, so a paused kwok must not evict their pods."""
    workers = ("deployment", "replicaset", "statefulset", "job", "endpoint", "service-endpoint", "namespace", "gc")
    return [
        str(binary),
        f"--kubeconfig={layout.kubeconfig(CONTROLLER_MANAGER)}",
        f"--root-ca-file={layout.ca}",
        f"--service-account-private-key-file={layout.pki / 'service-account.key'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        f"--bind-address={HOST}",
        f"--secure-port={at.controller_manager}",
        *_serving(layout),
        f"--kube-api-qps={QPS}",
        f"--kube-api-burst={BURST}",
        *(f"--concurrent-{worker}-syncs={WORKERS}" for worker in workers),
        "--node-monitor-grace-period=10m",
    ]


def scheduler(binary: Path, layout: Layout, at: Addresses) -> list[str]:
    return [
        str(binary),
        f"--kubeconfig={layout.kubeconfig(SCHEDULER)}",
        "--leader-elect=false",
        f"--bind-address={HOST}",
        f"--secure-port={at.scheduler}",
        *_serving(layout),
        f"--kube-api-qps={QPS}",
        f"--kube-api-burst={BURST}",
    ]


def kwok(binary: Path, layout: Layout, at: Addresses, stages: Sequence[Path]) -> list[str]:
    """It plays the kubelets: nodes and pods become Ready at once, deleted pods vanish at once."""
    return [
        str(binary),
        f"--kubeconfig={layout.kubeconfig(KWOK)}",
        f"--manage-nodes-with-annotation-selector={FAKE}=fake",
        f"--cidr={POD_RANGE}",
        f"--node-ip={HOST}",
        f"--server-address={HOST}:{at.kwok}",
        f"--config={layout.directory / 'kwok.yaml'}",
        *(f"--config={stage}" for stage in stages),
    ]


def node(name: str, *, tainted: bool = False) -> dict[str, Any]:
    """A fake node with the labels that a kubelet would set, and room for a large model.

    `tainted`: only for pods that tolerate fake nodes, where there is a real one for all others.
    """
    room = {"cpu": "256", "memory": "2Ti", "ephemeral-storage": "2Ti", "pods": "10000", "nvidia.com/gpu": "64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "type": "kwok",
            },
            "annotations": {FAKE: "fake"},
        },
        "spec": {"taints": [{"key": FAKE, "value": "fake", "effect": "NoSchedule"}] if tainted else []},
        "status": {"allocatable": room, "capacity": room},
    }


def write_policies(layout: Layout) -> None:
    """The files that command lines above point at. JSON is YAML."""
    layout.audit_policy.write_text(json.dumps(AUDIT_POLICY))
    (layout.directory / "kwok.yaml").write_text(json.dumps(KWOK_OPTIONS))


def write_authentication(layout: Layout, authenticators: Sequence[Mapping[str, Any]]) -> None:
    """Write whose tokens the API server takes. It never sees half a file."""
    configuration = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": list(authenticators),
    }
    new = layout.authentication.with_suffix(".new")
    new.write_text(json.dumps(configuration))
    new.rename(layout.authentication)


def _serving(layout: Layout) -> list[str]:
    return [f"--tls-cert-file={layout.pki / 'server.crt'}", f"--tls-private-key-file={layout.pki / 'server.key'}"]
