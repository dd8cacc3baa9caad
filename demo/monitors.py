"""`python -m demo.monitors`: a metric of a real exporter stops a real Deployment, through real monitoring.

Prometheus scrapes the exporter, two Alertmanagers send what fires to `riskladder ingest`, which may write no signal of
its own: the API server lets it act as the one service account that the MonitorBinding names.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer
import yaml

from demo.ending import Ending
from demo.install import NAMESPACE, InstallError, install, kubectl, service_account_kubeconfig, uninstall
from demo.monitoring import METRIC, Stack, monitoring, prometheus
from demo.run import FOR_PODS
from demo.scene import NAMESPACES, condition
from demo.stage import Milestone, Stage
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Client
from riskladder.cluster.connection import ConnectionFailed, connect
from tests.cluster.build import ensure_programs
from tests.cluster.launcher import dying_with_us
from tests.cluster.versions import ALERTMANAGER

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

SOURCE, INDICATOR = "fairness-monitor", "unfair"
BEFORE, AFTER = 0.05, 0.31

OBJECTS = f"""
apiVersion: riskladder.dev/v1alpha1
kind: EscalationLadder
metadata: {{name: credit-scoring}}
spec:
  governs: {{selector: {{matchLabels: {{riskladder.dev/ladder: credit-scoring}}}}}}
  stakeholders: [{{role: legal}}]
  indicators:
  - {{name: {INDICATOR}, range: {{min: 0, max: 1}}}}      # 1 while the alert fires, 0 once it has ended
  tiers:
  - name: high
    triggers: [{{indicator: {INDICATOR}, above: 0}}]
    notify: [{{role: legal}}]
    decide: {{within: 1h, quorum: [{{role: legal}}]}}
    containment: {{action: ScaleToZero}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: credit-scorer
  labels: {{riskladder.dev/ladder: credit-scoring}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: credit-scorer}}}}
  template:
    metadata: {{labels: {{app: credit-scorer}}}}
    spec:
      containers: [{{name: model, image: "registry.example/credit-scorer:2026.11.2"}}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {SOURCE}}}
"""

BINDING = f"""apiVersion: riskladder.dev/v1alpha1
kind: MonitorBinding
metadata: {{name: fairness}}
spec:
  format: Alertmanager
  ladder: credit-scoring
  targetFrom: {{label: deployment, allowed: [credit-scorer]}}
  source: {SOURCE}
  serviceAccount: {SOURCE}
  sender: {{audienceToken: {{}}}}
  readings:
  - {{indicator: {INDICATOR}, where: "entry.labels.alertname == 'Unfair'", as: Breach}}
"""


class MonitorsDemo:
    """One run."""

    def __init__(self, client: Client, kubeconfig: Path, checkout: Path) -> None:
        """Prepare; ``run`` does everything."""
        self._client, self._kubeconfig, self._checkout = client, kubeconfig, checkout
        self._namespace = f"riskladder-demo-{secrets.token_hex(3)}"
        self._stage = Stage()
        self._say, self._detail, self._until = self._stage.say, self._stage.detail, self._stage.until

    async def run(self, *, keep: bool, throwaway: bool, ending: Ending) -> None:
        """Install, show, and clean up whatever happens."""
        program = prometheus()
        assert program is not None  # noqa: S101 - the command has looked
        self._say("Looking for Alertmanager; the first time it is built, which takes some minutes")
        alertmanager = await asyncio.to_thread(ensure_programs, ALERTMANAGER) / "alertmanager"
        try:
            self._say("Installing the CRDs, the RBAC rules, the admission policies and the component ingest")
            async with self._stage.progress("installing"):
                await asyncio.to_thread(
                    install, self._kubeconfig, self._checkout, components=["ingest"], without=FOR_PODS
                )
            with tempfile.TemporaryDirectory(prefix="riskladder-demo-") as directory:
                await self._show(Path(directory), program, alertmanager)
                if keep:
                    self._say("Everything but the monitoring goes on until Ctrl-C. In another terminal:")
                    self._stage.command(
                        f"export KUBECONFIG={self._kubeconfig} PATH={Path(sys.executable).parent}:$PATH"
                    )
                    self._stage.command(f"kubectl -n {self._namespace} get riskladder")
                    await ending.stay()
        finally:
            if not throwaway:
                self._say("Cleaning up")
                async with self._stage.progress("removing what was made"):
                    with contextlib.suppress(ApiError):
                        await self._client.delete(NAMESPACES, None, self._namespace)
                    with contextlib.suppress(InstallError):
                        await asyncio.to_thread(uninstall, self._kubeconfig, self._checkout)
        self._say("Done. A metric stopped the model, and nobody had to write a Kubernetes object", "bold green")

    async def _show(self, directory: Path, program: Path, alertmanager: Path) -> None:
        accounts = {
            name: await asyncio.to_thread(
                service_account_kubeconfig, self._kubeconfig, directory / f"{name}.kubeconfig", name, NAMESPACE
            )
            for name in ("riskladder", "riskladder-ingest")
        }
        await self._client.create(NAMESPACES, None, {"metadata": {"name": self._namespace}})
        self._say("Starting the operator and ingest, each as its own service account")
        operator = self._process(directory / "operator.log", "operator", accounts["riskladder"], "leading")
        ingest = self._process(
            directory / "ingest.log", "ingest", accounts["riskladder-ingest"], "started", "--health", "127.0.0.1:0"
        )
        async with operator, ingest as log:
            url = f"http://{_field(log, 'listen')}/v1/namespaces/{self._namespace}/bindings/fairness"
            await self._bind(directory)
            token = directory / "token"
            command = ("create", "token", SOURCE, "--audience=riskladder-ingest", "--duration=600s")
            token.write_text(await self._kubectl(*command))
            self._say("Starting an exporter, Prometheus and two Alertmanagers that do not know each other")
            self._detail("Each sends to [cyan]riskladder ingest[/cyan], with the token of the monitor's account")
            async with monitoring(
                directory,
                program,
                alertmanager=alertmanager,
                url=url,
                token=token,
                values={"credit-scorer": BEFORE},
                replicas=2,
                every="1s",
            ) as stack:
                await stack.sees(METRIC, str(BEFORE))
                await self._stop(stack)
                await self._recover(stack)

    async def _bind(self, directory: Path) -> None:
        self._say(f"Applying a ladder, a Deployment with 3 replicas, and a MonitorBinding in {self._namespace}")
        await asyncio.to_thread(
            kubectl, self._kubeconfig, "-n", self._namespace, "apply", "--server-side", "-f", "-", given=OBJECTS
        )
        self._stage.quote("binding.yaml", BINDING.rstrip())
        file = directory / "binding.yaml"
        document = yaml.safe_load(BINDING)
        document["metadata"]["namespace"] = self._namespace
        file.write_text(yaml.safe_dump(document))
        self._detail("[dim]$[/dim] kubectl apply -f binding.yaml")
        self._detail("[dim]$[/dim] riskladder bind rbac binding.yaml | kubectl apply -f -")
        await self._kubectl("apply", "--server-side", "-f", str(file))
        rbac = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "riskladder", "bind", "rbac", str(file)), stdout=asyncio.subprocess.PIPE
        )
        written, _ = await rbac.communicate()
        if rbac.returncode:
            raise InstallError("riskladder bind rbac failed")
        await asyncio.to_thread(kubectl, self._kubeconfig, "apply", "--server-side", "-f", "-", given=written.decode())

        async def is_usable() -> bool:
            return condition(await self._client.get(resources.BINDINGS, self._namespace, "fairness"), "Ready")

        async def serves() -> bool:
            found = await self._client.get(resources.DEPLOYMENTS, self._namespace, "credit-scorer")
            return bool((found.get("status") or {}).get("readyReplicas") == 3)

        await self._until("the binding to be usable", is_usable)
        await self._until("3 replicas", serves)

    async def _stop(self, stack: Stack) -> None:
        stopped = Milestone(lambda _, obj: obj["spec"]["replicas"] == 0)
        watching = asyncio.create_task(stopped.watch(self._client, resources.DEPLOYMENTS, self._namespace))
        await stopped.open.wait()
        self._say(f"The metric goes from {BEFORE} to {AFTER}")
        flipped = time.monotonic()
        stack.exporter.values["credit-scorer"] = AFTER
        await asyncio.wait_for(watching, 60)
        self._say(f"No replicas are wanted any more, {stopped.at - flipped:.2f} s after the metric", "bold green")
        self._detail("[dim]of which scraping and evaluating, once a second each, take up to two[/dim]")

        async def is_out() -> bool:
            found = await self._client.list(resources.ESCALATIONS, self._namespace)
            return bool(found) and condition(found[0], "Contained")

        await self._until("the proof that nothing serves", is_out)
        await self._print("get", "mb,mrs,esc")

    async def _recover(self, stack: Stack) -> None:
        self._say(f"The metric goes back to {BEFORE}: Alertmanager says that the alert has ended")
        stack.exporter.values["credit-scorer"] = BEFORE

        async def is_heard() -> bool:
            found = await self._client.list(resources.SIGNALS, self._namespace)
            bound = await self._client.get(resources.BINDINGS, self._namespace, "fairness")
            counts = (bound.get("status") or {}).get("counts") or {}
            tiers = [(s.get("status") or {}).get("tier") for s in found]
            return tiers == ["baseline"] and int(counts.get("readings", 0)) > 1

        await self._until("the end to be heard", is_heard)
        found = await self._client.list(resources.ESCALATIONS, self._namespace)
        self._detail(f"{len(found)} escalation: what the second Alertmanager repeated has changed nothing")
        self._detail("the model stays stopped until people decide: an alert that ends restores nothing")
        await self._print("get", "mb,mrs,esc")

    async def _print(self, *arguments: str) -> None:
        self._stage.quote(f"kubectl {' '.join(arguments)}", (await self._kubectl(*arguments)).rstrip())

    async def _kubectl(self, *arguments: str) -> str:
        return (await asyncio.to_thread(kubectl, self._kubeconfig, "-n", self._namespace, *arguments)).strip()

    @contextlib.asynccontextmanager
    async def _process(self, log: Path, command: str, account: Path, event: str, *options: str) -> AsyncIterator[Path]:
        """Run a command of riskladder; it ends with us, however we end."""
        called = [sys.executable, "-m", "riskladder", command, "--kubeconfig", str(account)]
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *dying_with_us([*called, "--listen", "127.0.0.1:0", *options]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

        async def says() -> bool:
            if process.returncode is not None:
                raise InstallError(f"{command} ended with code {process.returncode}: {_text(log)[-2000:]}")
            return f'"event": "{event}"' in _text(log)

        try:
            await self._until(f"{command} to work", says, 30.0)
            yield log
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


def _field(log: Path, field: str) -> str:
    line = next(line for line in _text(log).splitlines() if '"event": "started"' in line)
    return str(yaml.safe_load(line)[field])


@app.command()
def demo(
    kubeconfig: Annotated[
        str | None, typer.Option(help="Path of an administrator's kubeconfig. Default: $KUBECONFIG.")
    ] = None,
    checkout: Annotated[Path, typer.Option(help="Where manifests/ is.")] = Path(),
    keep: Annotated[bool, typer.Option("--keep", help="Keep everything running at the end, until Ctrl-C.")] = False,
    check_options: Annotated[
        bool, typer.Option("--check-options", hidden=True, help="Only say what is wrong with the options.")
    ] = False,
    throwaway: Annotated[
        bool,
        typer.Option(envvar="RISKLADDER_THROWAWAY", help="The cluster ends with the demo: nothing is removed from it."),
    ] = False,
) -> None:
    """Show a metric stopping a real model, through Prometheus and Alertmanager."""
    if prometheus() is None:
        raise typer.BadParameter(
            "Prometheus is missing: apt-get install --no-install-recommends prometheus, or set PROMETHEUS to it"
        )
    if check_options:
        return
    path = kubeconfig or os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())

    async def run() -> None:
        connection = await connect(path, namespace=NAMESPACE, agent="demo")
        try:
            with Ending() as ending:
                await MonitorsDemo(Client(connection), Path(path), checkout).run(
                    keep=keep, throwaway=throwaway, ending=ending
                )
        finally:
            await connection.close()

    try:
        asyncio.run(run())
    except (InstallError, ApiError, ConnectionFailed, RuntimeError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from error


if __name__ == "__main__":
    app(prog_name="python -m demo.monitors")
