"""One run of the demo: install, start the operator, play the scenes, and clean up whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from demo.consoles import consoles
from demo.ending import Ending
from demo.inbox import HOST, NETWORK, Inbox
from demo.install import NAMESPACE, InstallError, install, kubectl, service_account_kubeconfig, uninstall
from demo.people import LEGAL, MODEL_RISK, OWNER
from demo.scenario import Options, Scenario
from demo.scene import NAMESPACES
from demo.stage import Stage
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Client, NotFound
from riskladder.workloads.safe_states.prompt_stop import PROMPT_STOP
from tests.cluster.launcher import dying_with_us

CRDS = resources.Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
FOR_PODS = ("Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy", "ResourceQuota")
"""Kinds that only an operator in pods needs: here it runs as a local process."""

COMPONENTS = (PROMPT_STOP.component,)
"""What the operator of the demo is enabled to do beyond its core: the pods of a stopped model end in time."""


@dataclass(frozen=True, slots=True)
class End:
    """What happens to the cluster at the end of the demo."""

    keep: bool = False
    """Whether it goes on until Ctrl-C."""
    throwaway: bool = False
    """Whether the cluster ends with the demo: nothing needs to be removed from it."""


class Demo:
    """One run."""

    def __init__(
        self,
        client: Client,
        kubeconfig: Path,
        checkout: Path,
        namespace: str,
        options: Options,
        end: End,
        ending: Ending,
    ) -> None:
        """Prepare; ``run`` does everything."""
        self._end, self._ending, self._options = end, ending, options
        self._client, self._kubeconfig, self._checkout, self._namespace = client, kubeconfig, checkout, namespace
        self._stage = Stage()
        self._say, self._until = self._stage.say, self._stage.until
        self._inbox = Inbox()
        self._scenario = Scenario(self._stage, client, kubeconfig, checkout, namespace, self._inbox, options)

    async def run(self) -> None:
        """Install, show, and clean up whatever happens."""
        fresh = not await self._exists(CRDS, "escalationladders.riskladder.dev")
        try:
            self._say("Installing the CRDs, the RBAC rules and the admission policies")
            async with self._stage.progress("installing"):
                await asyncio.to_thread(
                    install, self._kubeconfig, self._checkout, components=COMPONENTS, without=FOR_PODS
                )
            with tempfile.TemporaryDirectory(prefix="riskladder-demo-") as directory:
                config = await asyncio.to_thread(
                    service_account_kubeconfig, self._kubeconfig, Path(directory) / "operator.kubeconfig"
                )
                async with self._operator(config, Path(directory) / "operator.log"), self._inbox:
                    await self._scenario.show()
                    if self._options.console:
                        await self._show_pages()
                    if self._end.keep:
                        await self._stay()
        finally:
            if not self._end.throwaway:
                await asyncio.shield(self._clean_up(fresh))
        self._say(f"Done. {self._scenario.result}", "bold green")

    async def _show_pages(self) -> None:
        """Give three people a console each, until Ctrl-C."""
        people = (LEGAL, MODEL_RISK, OWNER)
        self._say("Starting a console for each of three people")
        page = f"/escalations/{self._namespace}/{self._scenario.escalation}"
        async with consoles(self._kubeconfig, people, page) as links:
            for person, link in links.items():
                whose = f"{person.role} ({person.name}{', who owns the model' if person == OWNER else ''})"
                self._say(f"Open as {whose}")
                self._stage.command(link)
            self._say("Each link works once. Ann and Max together can bring the model back. Ctrl-C ends everything.")
            await self._ending.stay()

    async def _stay(self) -> None:
        """Keep the cluster and the operator running until Ctrl-C, and say how to look at them."""
        self._say("Everything goes on until Ctrl-C. In another terminal:")
        self._stage.command(f"export KUBECONFIG={self._kubeconfig} PATH={Path(sys.executable).parent}:$PATH")
        self._stage.command(f"kubectl -n {self._namespace} get riskladder")
        self._stage.command(f"kubectl riskladder status -n {self._namespace}")
        if self._scenario.escalation:
            self._stage.command(f"kubectl riskladder show {self._scenario.escalation} -n {self._namespace}")
        await self._ending.stay()

    async def _clean_up(self, fresh: bool) -> None:
        """Remove the namespace and, unless it had been there before, what was installed; both at the same time."""
        self._say("Cleaning up")
        async with self._stage.progress("removing what was made"), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._remove_namespace())
            if fresh:
                tasks.create_task(self._uninstall())

    async def _remove_namespace(self) -> None:
        with contextlib.suppress(InstallError):
            # With their pods: a namespace with pods that are still ending is not looked at again for many seconds.
            what = ("delete", "deployments", "--all", "--cascade=foreground", "--timeout=40s")
            await asyncio.to_thread(kubectl, self._kubeconfig, "-n", self._namespace, *what)
        with contextlib.suppress(ApiError):
            await self._client.delete(NAMESPACES, None, self._namespace)
        with contextlib.suppress(InstallError):
            await self._until("the namespace to go", self._is_gone)

    async def _uninstall(self) -> None:
        with contextlib.suppress(InstallError):
            await asyncio.to_thread(uninstall, self._kubeconfig, self._checkout)

    async def _exists(self, resource: resources.Resource, name: str) -> bool:
        try:
            await self._client.get(resource, None, name)
        except NotFound:
            return False
        return True

    @contextlib.asynccontextmanager
    async def _operator(self, config: Path, log: Path) -> AsyncIterator[None]:
        """Run the operator as its own process under its own service account; it ends with us, however we end."""
        self._say(f"Starting the operator as system:serviceaccount:{NAMESPACE}:riskladder (never as an administrator)")
        command = [
            *(sys.executable, "-m", "riskladder", "operator", "--kubeconfig", str(config)),
            *(f"--enable={component}" for component in COMPONENTS),
            *("--listen", "127.0.0.1:0", "--notify-host", HOST, "--notify-network", NETWORK),
        ]
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *dying_with_us(command),  # also by SIGKILL, which nobody sees
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

        async def leads() -> bool:
            if process.returncode is not None:
                raise InstallError(f"the operator ended with code {process.returncode}: {_text(log)[-2000:]}")
            return {"caches full", "leading"} <= _said(log)

        try:
            await self._until("the operator to lead (does another one hold its Lease?)", leads, 15.0)
            yield
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()

    async def _is_gone(self) -> bool:
        return not await self._exists(NAMESPACES, self._namespace)


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


def _said(log: Path) -> set[str]:
    text = _text(log)
    return {word for word in ("caches full", "leading") if f'"event": "{word}"' in text}
