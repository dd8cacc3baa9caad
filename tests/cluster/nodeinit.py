"""PID 1 of a real node: containerd, kubelet and kube-proxy in network, mount and PID namespaces of their own.

Started by `tests.cluster.node` through unshare, with the path of a JSON file that holds a `Spec`. Nothing of the
machine is changed: interfaces, firewall rules, mounts and processes end with this process, by whatever signal, for the
kernel ends a PID namespace with its PID 1. Only the cgroups are left, which the parent, or the next node, removes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.cluster.relay import NetworkNamespace, http_connect_proxy, relay

NODE_NAME = "real-0"
NODE_IP = "10.200.0.1"
API_PORT = 6443
"""Where pods reach the API server, on the node's address: the operator's NetworkPolicy lets it use this port."""

POD_RANGE = "10.64.0.0/24"
"""Apart from the addresses of Services and of fake pods."""

KUBELET_ROOT = Path("/run/kubelet")
"""Below its directory on disk, by a path that is short enough for the kubelet's sockets, whatever TMPDIR is."""

CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")
DEADLINE_SECONDS = 60.0

KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What a kubelet would set for the whole machine: it finds these values in files that are mounted there instead."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a node is made of. Paths are text, for JSON."""

    directory: str
    """Its files: state, configuration and logs."""

    template: str
    """containerd's directory with the images unpacked, which is copied by hard links."""

    programs: str
    """The directory with kubelet and kube-proxy."""

    api_server_port: int
    """Port of the API server on the loopback address of the machine."""

    kubeconfigs: dict[str, str]
    """By program."""

    ca: str
    egress_socket: str
    """Unix socket by which the API server reaches the kubelet and the pods."""

    cgroup: str

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Spec:
        return cls(**json.loads(file.read_text()))


class Node:
    """The processes of one node."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._directory = Path(spec.directory)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._essential: dict[int, str] = {}
        self._ended: asyncio.Queue[str] = asyncio.Queue()

    async def run(self) -> str:
        """Start everything, write `ready`, and return why it had to end."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        outside = NetworkNamespace()
        inside = outside.leave_for_new()
        await http_connect_proxy(Path(self._spec.egress_socket), inside)  # Before the mounts hide where it is.
        private_mounts(self._directory)
        set_up_network()
        # The same address as on the machine, so that the same kubeconfigs serve on both sides.
        api_server = ("127.0.0.1", self._spec.api_server_port)
        await relay(inside, [api_server, (NODE_IP, API_PORT)], outside, api_server)
        copy_template(Path(self._spec.template), self._directory / "containerd")
        write(self._directory / "containerd.toml", containerd_configuration(self._directory))
        write(self._directory / "cni" / "10-ptp.conflist", json.dumps(CNI))
        self._start("containerd", ["containerd", "--config", str(self._directory / "containerd.toml")])
        await self._until_containerd_answers()
        for name, command in self._agents().items():
            self._start(name, command)
        write(self._directory / "pids.json", json.dumps({name: pid for pid, name in self._essential.items()}))
        (self._directory / "ready").touch()
        return await self._ended.get()

    def _agents(self) -> dict[str, list[str]]:
        spec, programs = self._spec, Path(self._spec.programs)
        for name, configuration in (("kubelet", self._kubelet()), ("kube-proxy", self._kube_proxy())):
            write(self._directory / f"{name}.json", json.dumps(configuration))
        return {
            "kubelet": [
                str(programs / "kubelet"),
                f"--config={self._directory / 'kubelet.json'}",
                f"--kubeconfig={spec.kubeconfigs['kubelet']}",
                f"--root-dir={KUBELET_ROOT}",
                f"--hostname-override={NODE_NAME}",
                f"--node-ip={NODE_IP}",
            ],
            "kube-proxy": [str(programs / "kube-proxy"), f"--config={self._directory / 'kube-proxy.json'}"],
        }

    def _kubelet(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": self._spec.ca},
            },
            "authorization": {"mode": "Webhook"},
            "failSwapOn": False,
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._spec.cgroup}",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            # The disk and the memory are the machine's: that they are full is no reason to evict a pod of a test.
            "evictionHard": {
                f"{part}.{what}": "0%"
                for part, what in (
                    ("memory", "available"),
                    ("nodefs", "available"),
                    ("nodefs", "inodesFree"),
                    ("imagefs", "available"),
                    ("imagefs", "inodesFree"),
                )
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "volumePluginDir": str(self._directory / "volume-plugins"),
            "podLogsDir": str(self._directory / "pod-logs"),
            "makeIPTablesUtilChains": False,
            "oomScoreAdj": 0,  # Less needs a capability that a container lacks.
            "resolvConf": "",
            "kubeAPIQPS": 100,
            "kubeAPIBurst": 200,
            "serializeImagePulls": False,
        }

    def _kube_proxy(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": self._spec.kubeconfigs["kube-proxy"]},
            "clusterCIDR": POD_RANGE,
            "detectLocalMode": "ClusterCIDR",
            "hostnameOverride": NODE_NAME,
            # Zero leaves the settings of the kernel as they are: they are read-only in a network namespace.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "oomScoreAdj": 0,
        }

    # Processes

    def _start(self, name: str, command: list[str]) -> None:
        process = spawn(command, self._directory / "logs" / f"{name}.log")
        self._processes.append(process)  # Unreferenced, it would be collected behind the back of `_reap`.
        self._essential[process.pid] = name

    async def _until_containerd_answers(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        # Blocking on purpose: in a thread, `_reap` could take the exit code before subprocess sees it.
        while not containerd_answers():
            if time.monotonic() > deadline or not self._ended.empty():
                raise TimeoutError(f"containerd does not answer. {self._end_of_log('containerd')}")
            await asyncio.sleep(0.02)

    def _reap(self) -> None:
        """Collect every process that has ended: PID 1 inherits those whose parents ended before them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if name := self._essential.pop(pid, ""):
                self._ended.put_nowait(f"{name} ended early: {_status(status)}. {self._end_of_log(name)}")

    def _end_of_log(self, name: str) -> str:
        log = (self._directory / "logs" / f"{name}.log").read_text(errors="replace")
        return f"The end of its log:\n{log[-2000:]}"


def private_mounts(directory: Path) -> None:
    """Hide the places of the machine that a node writes to. The mount namespace is a private one already."""
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for name in ("lock", "netns", "containerd", "kubelet", "var-lib", "var-lib-work"):
        (Path("/run") / name).mkdir()
    # libcni and the kubelet have paths below /var/lib hard-coded, and would make them there.
    mount(
        "-t",
        "overlay",
        "-o",
        "lowerdir=/var/lib,upperdir=/run/var-lib,workdir=/run/var-lib-work",
        "overlay",
        "/var/lib",
    )
    for name in ("logs", "containerd", "cni", "kubelet", "var-log", "kernel"):
        (directory / name).mkdir(exist_ok=True)
    mount("--bind", str(directory / "var-log"), "/var/log")
    mount("--bind", str(directory / "kubelet"), str(KUBELET_ROOT))
    for setting, value in KERNEL_SETTINGS.items():
        file = directory / "kernel" / setting.replace("/", "_")
        write(file, value)
        if (Path("/proc/sys") / setting).exists():
            mount("--bind", str(file), f"/proc/sys/{setting}")


def set_up_network() -> None:
    """Give the new network namespace an address of its own. Nothing leads out of it but the relay."""
    for arguments in (
        "link set lo up",
        "link add node0 type veth peer name node1",
        f"addr add {NODE_IP}/24 dev node0",
        "link set node0 up",
        "link set node1 up",
        "route add default dev node0",
    ):
        run("ip", *arguments.split())
    write(Path("/proc/sys/net/ipv4/ip_forward"), "1")


def copy_template(template: Path, target: Path) -> None:
    """Copy containerd's directory: layers by hard links, since they are never written again; databases whole."""
    target.rmdir()
    for command in (["cp", "-al"], ["cp", "-a", "--reflink=auto"]):  # The second, where it is another file system.
        done = subprocess.run([*command, str(template), str(target)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        run("rm", "-rf", str(target))
    else:
        raise OSError(f"{template} could not be copied to {target}: {done.stderr.strip()[-500:]}")
    for database in template.rglob("*.db"):
        run("cp", "-a", "--remove-destination", str(database), str(target / database.relative_to(template)))


def containerd_configuration(directory: Path) -> str:
    """Return containerd's configuration, in the version that Debian 12 and 13 both read."""
    disabled = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in ("aufs", "btrfs", "devmapper", "zfs"))
    cri = "io.containerd.grpc.v1.cri"
    return f"""version = 2
root = "{directory / "containerd"}"
state = "{CONTAINERD_SOCKET.parent}"
disabled_plugins = [{disabled}]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."{cri}"]
  sandbox_image = "docker.io/library/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."{cri}".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{directory / "cni"}"
  [plugins."{cri}".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory / "opt"}"
"""


CNI: dict[str, Any] = {
    "cniVersion": "0.4.0",
    "name": "riskladder",
    "plugins": [
        {
            "type": "ptp",
            "mtu": 1500,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni-ipam",
                "ranges": [[{"subnet": POD_RANGE}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}
"""Routed point-to-point links: no bridge, so no bridge netfilter is needed."""


def containerd_answers() -> bool:
    return (
        CONTAINERD_SOCKET.exists()
        and subprocess.run(["ctr", "version"], capture_output=True, check=False).returncode == 0
    )


def unpack(directory: Path, sources: list[str]) -> None:
    """Fill a new containerd directory with images: of archives, and `IMAGE=NAME` for a further name of one."""
    private_mounts(directory)
    write(directory / "containerd.toml", containerd_configuration(directory))
    process = spawn(
        ["containerd", "--config", str(directory / "containerd.toml")], directory / "logs" / "containerd.log"
    )
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not containerd_answers():
        if time.monotonic() > deadline or process.poll() is not None:
            raise TimeoutError("containerd does not answer")
        time.sleep(0.02)
    for source in sources:
        image, _, name = source.partition("=")
        run("ctr", "--namespace=k8s.io", "images", *(("tag", image, name) if name else ("import", image)))
    process.terminate()
    process.wait()


def spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")


def mount(*arguments: str) -> None:
    run("mount", *arguments)


def write(file: Path, text: str) -> None:
    file.write_text(text)


def _status(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.WEXITSTATUS(status)}"


def main(arguments: list[str]) -> int:
    """`nodeinit run SPEC` or `nodeinit unpack DIRECTORY SOURCE…`. Print why it ended, and return 1 for a failure."""
    action, subject, *rest = arguments
    try:
        if action == "unpack":
            unpack(Path(subject), rest)
            return 0
        asyncio.run(_run(Path(subject)))
    except (OSError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


async def _run(spec: Path) -> None:
    print(await Node(Spec.read(spec)).run(), file=sys.stderr, flush=True)
    os._exit(1)  # The kernel ends all the rest: cancelling each open connection would only fill the log.


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
