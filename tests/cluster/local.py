"""A whole Kubernetes control plane as child processes: five seconds to start, nothing left behind.

etcd, kube-apiserver, kube-controller-manager and kube-scheduler are the real programs; kwok stands in for the kubelets.
So everything but containers behaves as in production, and each component can be killed, paused and restarted by tests.
"""

from __future__ import annotations

import atexit
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster import components
from tests.cluster.base import ClusterError, Progress, silent
from tests.cluster.build import ensure_binaries, tail
from tests.cluster.components import API_SERVER, CONTROLLER_MANAGER, ETCD, KWOK, NAMES, SCHEDULER, Addresses, Layout
from tests.cluster.identity import ADMIN, Identities
from tests.cluster.ports import HOST, Ports
from tests.cluster.process import Component, PortTakenError, Spawner
from tests.cluster.rest import Rest
from tests.cluster.scratch import Scratch
from tests.cluster.versions import KUBERNETES
from tests.patience import PATIENCE

POLL_SECONDS = 0.03
GRACE_SECONDS = 3.0
START_ATTEMPTS = 5
RELOADS = re.compile(
    r'^apiserver_authentication_config_controller_automatic_reloads_total\{.*status="(\w+)"\} (\S+)$', re.MULTILINE
)


class LocalControlPlane:
    """A control plane on the loopback address; a context manager.

    Everything it starts ends with it, also when this process is killed (on Linux), and its directory is removed: by
    `stop`, or by the next plane if this process could not.
    """

    name = "local"

    def __init__(
        self,
        *,
        nodes: int = 3,
        fsync: bool = True,
        audit: bool = False,
        api_server_args: Sequence[str] = (),
        hosts: Sequence[str] = (),
        taint_fakes: bool = False,
        trusted: Sequence[Mapping[str, Any]] = (),
        progress: Progress = silent,
    ) -> None:
        """Nothing is started or created before `start`.

        `nodes`: how many fake nodes. `fsync`: False makes etcd faster, and unsafe if the machine dies.
        `audit`: write every request, as metadata, to `audit_log`. `api_server_args`: further kube-apiserver flags.
        `hosts`: further names and addresses for its certificate. `taint_fakes`: keep pods off the fake nodes unless
        they tolerate them. `trusted`: see `trust`; from the start it costs nothing.
        """
        self.version = KUBERNETES.version
        self._nodes = [f"node-{number}" for number in range(nodes)]
        self._fsync, self._audit, self._api_server_args = fsync, audit, tuple(api_server_args)
        self._hosts, self._taint_fakes = tuple(hosts), taint_fakes
        self._trusted = list(trusted)
        self._progress = progress
        self._scratch: Scratch | None = None
        self._ports: Ports | None = None
        self._spawner: Spawner | None = None
        self._components: dict[str, Component] = {}

    # Life

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start everything; return once Deployments run. Raises ClusterError naming what failed, and its log."""
        if self._scratch is not None:
            raise ClusterError(f"this control plane has already been started in {self._scratch.path}")
        binaries = ensure_binaries(self._progress)
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self._start(binaries)
            except PortTakenError as error:
                self.stop()
                if attempt == START_ATTEMPTS:
                    raise
                self._progress(f"trying other ports: {str(error).splitlines()[0]}")
            except BaseException:
                self.stop()
                raise
            else:
                return self
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End every component, the last started first, and remove the directory. Idempotent."""
        for component in reversed(self._components.values()):
            component.stop(GRACE_SECONDS)
        self._components = {}
        if self._spawner is not None:
            self._spawner.close()
        if self._ports is not None:
            self._ports.release()
        if self._scratch is not None:
            self._scratch.remove()
        self._spawner = self._ports = self._scratch = None
        atexit.unregister(self.stop)

    def check(self) -> None:
        """Raise ClusterError, with the end of its log, if a component has ended that nobody has killed."""
        for component in self._components.values():
            if component.expected:
                component.check()

    # What there is to know

    @property
    def local(self) -> LocalControlPlane:
        """This plane can be broken on purpose."""
        return self

    @property
    def directory(self) -> Path:
        """Everything this plane writes; removed by `stop`."""
        return self._layout.directory

    @property
    def kubeconfig(self) -> Path:
        """Of an administrator (group system:masters)."""
        return self._layout.kubeconfig(ADMIN)

    @property
    def ca_file(self) -> Path:
        return self._layout.ca

    @property
    def server(self) -> str:
        return self._addresses.server

    @property
    def etcd_endpoint(self) -> str:
        """For tests that read or write what is stored, past the API server."""
        return f"http://{HOST}:{self._addresses.etcd}"

    @property
    def service_account_key(self) -> Path:
        """The private key by which the API server signs the tokens of service accounts."""
        return self._layout.pki / "service-account.key"

    @property
    def audit_log(self) -> Path:
        """One JSON audit event a line. Raises ClusterError unless the plane was made with `audit=True`."""
        if not self._audit:
            raise ClusterError("no audit log: make the control plane with audit=True")
        return self._layout.audit_log

    def logs(self, component: str) -> Path:
        """The log of a component, over all its restarts."""
        return self._component(component).log

    def pid(self, component: str) -> int | None:
        """The process id of a component, or None while it does not run."""
        return self._component(component).pid

    def kubeconfig_for(self, user: str, groups: Iterable[str] = ()) -> Path:
        """A kubeconfig with a new client certificate for a user; RBAC decides what it may do."""
        return self._identities.kubeconfig_for(user, groups)

    def trust(self, *authenticators: Mapping[str, Any]) -> None:
        """Take tokens by these entries of an AuthenticationConfiguration, in place of those of before; none: no others.

        Returns once the API server does so, which takes it ten seconds with an issuer that is new. Raises ClusterError
        where it refuses.
        """
        if list(authenticators) == self._trusted:
            return
        before = self._reloads()
        components.write_authentication(self._layout, authenticators)

        def is_loaded() -> bool:
            now = self._reloads()
            if now.get("failure") != before.get("failure"):
                components.write_authentication(self._layout, self._trusted)
                said = [
                    line for line in self.logs(API_SERVER).read_text().splitlines() if "authentication config" in line
                ]
                raise ClusterError(f"the API server does not take the authenticators: {said[-1]}")
            return now.get("success") != before.get("success")

        self._wait("the API server to load the authentication", is_loaded)
        self._trusted = list(authenticators)

    def _reloads(self) -> dict[str, str]:
        """How often the API server has read the authentication again, by its outcome."""
        _, body = self.rest().call("GET", "/metrics")
        return dict(RELOADS.findall(body.decode()))

    # Faults

    def kill(self, component: str) -> None:
        """SIGKILL; it stays dead until `restart`."""
        self._component(component).kill()

    def pause(self, component: str) -> None:
        """SIGSTOP: connections stay open and nothing answers, until `resume`."""
        self._component(component).pause()

    def resume(self, component: str) -> None:
        """Go on after `pause`. Does not wait for the component to be healthy: see `wait_healthy`."""
        self._component(component).resume()

    def restart(self, component: str) -> None:
        """End a component, unless it is dead already, start it on the same port, and wait until it is healthy."""
        self._component(component).stop(GRACE_SECONDS)
        self._component(component).start()
        self.wait_healthy(component)

    def wait_healthy(self, component: str) -> None:
        """Wait until the health check of a component succeeds."""
        url = self._addresses.health(component)
        base, path = url.rsplit("/", 1)
        secure = url.startswith("https:")
        rest = Rest(base, ca=self.ca_file, certificate=self._layout.admin_pem) if secure else Rest(base)
        self._wait(f"{component} to be healthy", lambda: rest.ok(f"/{path}"))

    # How it is done

    def _start(self, binaries: Path) -> None:
        started = time.monotonic()
        self._scratch = Scratch.create()
        self._layout = Layout(self._scratch.path)
        self._ports = Ports()
        self._addresses = Addresses.claim(self._ports)
        self._spawner = Spawner()
        atexit.register(self.stop)
        self._layout.make()
        components.write_policies(self._layout)
        components.write_authentication(self._layout, self._trusted)
        self._identities = Identities(self._layout, self.server, self._hosts)
        self._identities.write()
        self._components = {name: self._make(name, command) for name, command in self._commands(binaries).items()}
        self._progress(f"starting Kubernetes {self.version} at {self.server}")
        self._launch(ETCD)
        self._launch(API_SERVER)
        for name in (CONTROLLER_MANAGER, SCHEDULER, KWOK):
            self._component(name).start()
        self._create_nodes()
        for name in (CONTROLLER_MANAGER, SCHEDULER, KWOK):
            self.wait_healthy(name)
        self._wait("the default service account", lambda: self._get("namespaces/default/serviceaccounts/default"))
        self._wait("the nodes to be Ready", self._nodes_ready)
        self._progress(f"Kubernetes {self.version} is ready after {time.monotonic() - started:.1f} s")

    def _commands(self, binaries: Path) -> dict[str, list[str]]:
        layout, at = self._layout, self._addresses
        stages = sorted((binaries.parent / "stages").rglob("*.yaml"))
        return {
            ETCD: components.etcd(binaries / ETCD, layout, at, fsync=self._fsync),
            API_SERVER: components.api_server(
                binaries / API_SERVER, layout, at, audit=self._audit, extra=self._api_server_args
            ),
            CONTROLLER_MANAGER: components.controller_manager(binaries / CONTROLLER_MANAGER, layout, at),
            SCHEDULER: components.scheduler(binaries / SCHEDULER, layout, at),
            KWOK: components.kwok(binaries / KWOK, layout, at, stages),
        }

    def _make(self, name: str, command: list[str]) -> Component:
        assert self._spawner is not None
        return Component(name, command, log=self._layout.log(name), directory=self.directory, spawner=self._spawner)

    def _component(self, name: str) -> Component:
        try:
            return self._components[name]
        except KeyError:
            state = "the control plane is not running" if not self._components else f"there are {', '.join(NAMES)}"
            raise ClusterError(f"no component {name!r}: {state}") from None

    def _launch(self, name: str) -> None:
        self._component(name).start()
        self.wait_healthy(name)

    def _create_nodes(self) -> None:
        rest = self.rest()
        for name in self._nodes:
            status, body = rest.call("POST", "/api/v1/nodes", components.node(name, tainted=self._taint_fakes))
            if status != 201:
                raise ClusterError(f"node {name} could not be created: {status} {body.decode(errors='replace')}")

    def _nodes_ready(self) -> bool:
        """All nodes are Ready and without taints: until the controller manager removes these, no pod is scheduled."""
        nodes = self._get("nodes")
        return nodes is not None and all(
            all(taint["key"] == components.FAKE for taint in node["spec"].get("taints") or ())
            and any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
            for node in nodes["items"]
        )

    def rest(self) -> Rest:
        """Plain requests as an administrator."""
        return Rest(self.server, ca=self.ca_file, certificate=self._layout.admin_pem)

    def _get(self, path: str) -> Any:
        return self.rest().get(f"/api/v1/{path}")

    def _wait(self, what: str, condition: Callable[[], object]) -> None:
        """Poll a condition, and notice at once when a component dies meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                ends = "\n".join(f"{name}: {tail(each.log, 3)}" for name, each in self._components.items())
                raise ClusterError(f"gave up after {PATIENCE:.0f} s waiting for {what}. The ends of the logs:\n{ends}")
            time.sleep(POLL_SECONDS)
