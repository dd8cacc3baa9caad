"""``riskladder demo``: a breach stops a real Deployment, people are told, and decide; while you watch.

Everything is real: the manifests of the checkout are applied, the operator runs as its own process under its own
service account, the readings are those that the example monitor computed, messages go over HTTP to a receiver that
checks their signature, people decide with the commands that they have, and the times are measured here, by a client
that watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.markup import escape

from riskladder.api.base import format_time
from riskladder.api.chain import noted_heads, verify_chains
from riskladder.api.decision import DecisionAction, Resolution
from riskladder.api.reasons import Reason
from riskladder.cli import demo_people as cast
from riskladder.cli.demo_client import ON_TERM, ModelClient
from riskladder.cli.demo_inbox import HOST, NETWORK, Inbox
from riskladder.cli.demo_lock import Rivals
from riskladder.cli.demo_people import Act, People
from riskladder.cli.demo_stage import PATIENCE, Milestone, Stage
from riskladder.cli.install import (
    NAMESPACE,
    InstallError,
    install,
    kubectl,
    service_account_kubeconfig,
    uninstall,
)
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Client, NotFound, Object
from riskladder.cluster.connection import ConnectionFailed, connect
from riskladder.cluster.events import CONTROLLER

MANAGER = "riskladder-demo"
NAMESPACES = resources.Resource("", "v1", "namespaces", "Namespace")
CRDS = resources.Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
SERVICES = resources.Resource("", "v1", "services", "Service")
BY_KIND = {
    r.kind: r for r in (resources.LADDERS, resources.SIGNALS, resources.DEPLOYMENTS, SERVICES, resources.SECRETS)
}
FOR_PODS = ("Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy", "ResourceQuota")
"""Kinds that only an operator in pods needs: here it runs as a local process."""

LADDER = "credit-scoring"

RECORDED = {"appliedAt": "written", "endpointsEmptyAt": "no ready endpoint left", "podsGoneAt": "pods gone"}
"""Times of a containment in an escalation's status, in words."""

REVISIONS = ("2026.11.3", "2026.11.4")
"""Those that a demo of Rollback rolls out beside the first: the one that breaches, and its correction."""


def demo(
    action: Annotated[str, typer.Option(help="ScaleToZero or Rollback.")] = "ScaleToZero",
    kubeconfig: Annotated[
        str | None, typer.Option(help="Path of an administrator's kubeconfig. Default: $KUBECONFIG.")
    ] = None,
    checkout: Annotated[Path, typer.Option(help="Where manifests/ and examples/ are.")] = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before using a cluster that is not local.")] = False,
    lock: Annotated[
        bool, typer.Option("--lock", help="Show who pulls at a contained model, and what holds it.")
    ] = False,
    model_image: Annotated[
        str | None,
        typer.Option(
            envvar="RISKLADDER_MODEL_IMAGE",
            help="Image of a model server and its client, where containers really run: shows when the client gets its "
            "last answer. Default: a stand-in that serves nothing.",
        ),
    ] = None,
    on_term: Annotated[
        str, typer.Option(help="What that model server does on SIGTERM: honor, drain or ignore it.")
    ] = "honor",
) -> None:
    """Show a breach stopping a real model, end to end."""
    if action not in ("ScaleToZero", "Rollback"):
        raise typer.BadParameter(f"{action!r} is not an action of the demo: ScaleToZero or Rollback")
    if lock and action != "ScaleToZero":
        raise typer.BadParameter("--lock is about a model that was scaled to zero: leave --action out")
    if on_term not in ON_TERM:
        raise typer.BadParameter(f"--on-term: {on_term!r} is none of {', '.join(ON_TERM)}")
    if on_term != "honor" and not model_image:
        raise typer.BadParameter("--on-term needs a model server, so --model-image: make demo CLUSTER=node has one")
    path = kubeconfig or os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    try:
        asyncio.run(_main(path, checkout, action, yes=yes, lock=lock, model_image=model_image, on_term=on_term))
    except (InstallError, ApiError, ConnectionFailed) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        typer.echo("interrupted: cleaned up", err=True)
        raise typer.Exit(130) from error


async def _main(
    kubeconfig: str, checkout: Path, action: str, *, yes: bool, lock: bool, model_image: str | None, on_term: str
) -> None:
    connection = await connect(kubeconfig, namespace=NAMESPACE, agent="demo")
    try:
        host = connection.server.split("//")[-1].rsplit(":", 1)[0]
        if host not in ("127.0.0.1", "localhost", "[::1]") and not yes and os.environ.get("RISKLADDER_YES") != "1":
            typer.confirm(
                f"{connection.server} is not a local cluster. Install Riskladder and run the demo there?", abort=True
            )
        client = Client(connection)
        namespace = f"riskladder-demo-{secrets.token_hex(3)}"
        options = Options(action=action, lock=lock, model_image=model_image, on_term=on_term)
        await Demo(client, Path(kubeconfig), checkout, namespace, options).run()
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class Options:
    """What is shown."""

    action: str = "ScaleToZero"
    lock: bool = False
    model_image: str | None = None
    on_term: str = "honor"


class Demo:
    """One run."""

    def __init__(
        self, client: Client, kubeconfig: Path, checkout: Path, namespace: str, options: Options = Options()
    ) -> None:
        """Prepare; ``run`` does everything."""
        self._client = client
        self._kubeconfig = kubeconfig
        self._checkout = checkout
        self._action = options.action
        self._on_term = options.on_term
        self._namespace = namespace
        self._stage = Stage()
        self._say, self._detail, self._until = self._stage.say, self._stage.detail, self._stage.until
        self._people = People(self._stage, client, kubeconfig, checkout, namespace)
        self._rivals = Rivals(self._stage, client, kubeconfig, checkout, namespace)
        self._lock = options.lock
        self._model_client = (
            ModelClient(self._stage, client, kubeconfig, namespace, options.model_image)
            if options.model_image
            else None
        )
        self._inbox = Inbox()
        self._breached_at = 0.0
        self._result = ""

    async def run(self) -> None:
        """Install, show, and clean up whatever happens."""
        fresh = not await self._exists(CRDS, "escalationladders.riskladder.dev")
        try:
            self._say("Installing the CRDs, the RBAC rules and the admission policies")
            async with self._stage.progress("installing"):
                await asyncio.to_thread(install, self._kubeconfig, self._checkout, without=FOR_PODS)
            with tempfile.TemporaryDirectory(prefix="riskladder-demo-") as directory:
                config = await asyncio.to_thread(
                    service_account_kubeconfig, self._kubeconfig, Path(directory) / "operator.kubeconfig"
                )
                async with self._operator(config, Path(directory) / "operator.log"), self._inbox:
                    await self._show()
        finally:
            await asyncio.shield(self._clean_up(fresh))
        self._say(f"Done. {self._result}", "bold green")

    async def _clean_up(self, fresh: bool) -> None:
        """Remove the namespace, and what was installed, unless it had been there before."""
        self._say("Cleaning up")
        with contextlib.suppress(InstallError):
            # With their pods: a namespace with pods that are still ending is not looked at again for many seconds.
            what = ("delete", "deployments", "--all", "--cascade=foreground", "--timeout=40s")
            await asyncio.to_thread(kubectl, self._kubeconfig, "-n", self._namespace, *what)
        with contextlib.suppress(ApiError):
            await self._client.delete(NAMESPACES, None, self._namespace)
        with contextlib.suppress(InstallError):
            await self._until("the namespace to go", self._is_gone)
        if fresh:
            async with self._stage.progress("removing what was installed"):
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
        """The operator as its own process under its own service account."""
        self._say(f"Starting the operator as system:serviceaccount:{NAMESPACE}:riskladder (never as an administrator)")
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "riskladder", "operator", "--kubeconfig", str(config)),
                *("--listen", "127.0.0.1:0", "--notify-host", HOST, "--notify-network", NETWORK),
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

    # --- The story ------------------------------------------------------------------------------------------------

    async def _show(self) -> None:
        ladder, workload, baseline, breach = (
            self._documents(path)
            for path in (
                "ladders/credit-scoring.yaml",
                "workloads/credit-scorer.yaml",
                "monitor/signal-baseline.yaml",
                "monitor/signal-breach.yaml",
            )
        )
        ladder[0]["spec"]["tiers"][-1]["containment"]["action"] = self._action
        cast.told_by(ladder[0], self._inbox)
        if self._model_client is not None:
            self._model_client.serve(workload[0], self._on_term)
        for signal_ in (baseline[0], breach[0]):
            signal_["spec"]["model"]["owners"] = [cast.OWNER.name]
        await self._client.create(NAMESPACES, None, {"metadata": {"name": self._namespace}})
        self._say(f"Applying ladder {LADDER} and Deployment credit-scorer (3 replicas) in {self._namespace}")
        await self._apply(self._inbox.secret_manifest())
        await self._people.admit(MANAGER)
        for document in (*ladder, *workload):
            await self._apply(document)
        await self._until("the ladder to be Ready", self._ladder_ready)
        await self._until("3 ready endpoints", lambda: self._endpoints(3))
        await self._people.until_they_count(LADDER)
        await self._measure("A monitor reports at baseline", baseline[0], "baseline")
        self._detail("signal tier: [green]baseline[/green]; nothing is written beyond its status")
        if self._action == "Rollback":
            self._say(f"A new revision of the model is rolled out: {REVISIONS[0]}")
            await self._deploy(workload[0], REVISIONS[0])
        if self._lock:
            await self._rivals.autoscale()
        if self._model_client is not None:
            await self._model_client.start("credit-scorer")
        breach[0]["spec"]["observedAt"] = format_time(datetime.now(UTC) + timedelta(milliseconds=1))
        self._say("The monitor reports a breach: " + _readings(breach[0]))
        await self._breach(breach[0])
        name = await self._report_containment()
        if self._lock:
            await self._show_rivals(name, baseline[0], workload[0])
            return
        await self._report_events()
        await self._show_people(name, baseline[0], workload[0])
        await self._report(name)

    async def _measure(self, what: str, document: Object, tier: str) -> None:
        """Let the monitor report, and wait until the operator has read it."""
        self._say(f"{what}: {_readings(document)}")
        document["spec"]["observedAt"] = format_time(datetime.now(UTC) + timedelta(milliseconds=1))
        await self._apply(document)
        await self._until(f"tier {tier}", lambda: self._tier(tier))

    async def _deploy(self, workload: Object, revision: str) -> None:
        workload["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "MODEL_VERSION", "value": revision}]
        await self._apply(workload)
        await asyncio.to_thread(
            kubectl,
            self._kubeconfig,
            *("-n", self._namespace, "rollout", "status", "deployment/credit-scorer", "--timeout=60s"),
        )
        await self._until("3 ready endpoints", lambda: self._endpoints(3))

    async def _breach(self, signal_: Object) -> None:
        """Apply the breaching signal and time what follows, as a watching client sees it."""
        contained, emptied = Milestone(self._is_contained), Milestone(_is_empty)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(contained.watch(self._client, resources.DEPLOYMENTS, self._namespace))
            tasks.create_task(emptied.watch(self._client, resources.ENDPOINTSLICES, self._namespace))
            await contained.open.wait()
            await emptied.open.wait()
            created, sent = time.monotonic(), time.time()
            self._breached_at = created
            await self._apply(signal_)
        to_zero = self._action == "ScaleToZero"
        done = "replicas 0" if to_zero else "the last good revision is in place"
        self._milestone("contained", done, contained.at - created)
        left = "no ready endpoint is left" if to_zero else "no ready endpoint of the breached revision is left"
        self._milestone("proved", left, emptied.at - created)
        self._result = (
            f"The model was contained {contained.at - created:.3f} s after the breach was reported, "
            f"and that was proved after {emptied.at - created:.3f} s. Two people brought it back."
        )
        await self._until("the trail", self._is_proved)
        await self._until("tier high", lambda: self._tier("high"))
        if self._model_client is not None:
            await self._report_last_answer(self._model_client, sent)

    async def _report_last_answer(self, model_client: ModelClient, sent: float) -> None:
        """Say when the client got its last answer, and what the record says beside it."""
        version = REVISIONS[0] if self._action == "Rollback" else None
        last = await model_client.last_answers(sent, version)
        of = f" of revision {version}" if version else ""
        for what, at in (("on a new connection", last.new), ("on a kept connection", last.kept)):
            self._milestone("last answer", f"{what}{of}", at - sent)
        escalation = await self._escalation()
        assert escalation is not None  # noqa: S101 - it is contained, so it is there
        recorded = escalation["status"]["containment"]
        said = [
            f"{what} after {datetime.fromisoformat(recorded[name]).timestamp() - sent:.3f} s"
            for name, what in RECORDED.items()
            if recorded.get(name)
        ]
        self._detail(f"the record says: {', '.join(said)}")
        self._result += f" Its client got the last answer after {max(last.new, last.kept) - sent:.3f} s."

    def _is_contained(self, first: Object, now: Object) -> bool:
        if self._action == "ScaleToZero":
            return bool(now["spec"].get("replicas") == 0)
        return _version(now) != _version(first)

    def _milestone(self, word: str, what: str, seconds: float) -> None:
        self._detail(
            f"[bold red]{word}[/bold red]: {what}, [bold]{seconds * 1000:.0f} ms[/bold] after the signal was sent"
        )

    async def _is_gone(self) -> bool:
        return not await self._exists(NAMESPACES, self._namespace)

    # --- What is there --------------------------------------------------------------------------------------------

    def _documents(self, path: str) -> list[Object]:
        file = self._checkout / "examples" / path
        if not file.is_file():
            raise InstallError(f"{file} is missing: run the demo from a checkout, or give --checkout")
        documents: list[Object] = list(yaml.safe_load_all(file.read_text()))
        for document in documents:
            document["metadata"]["namespace"] = self._namespace
            _stringify_times(document)
        return documents

    async def _apply(self, document: Object) -> Object:
        return await self._client.apply(BY_KIND[document["kind"]], self._namespace, document, manager=MANAGER)

    async def _ladder_ready(self) -> bool:
        return _condition(await self._client.get(resources.LADDERS, self._namespace, LADDER), "Ready")

    async def _endpoints(self, number: int) -> bool:
        slices = await self._client.list(resources.ENDPOINTSLICES, self._namespace)
        return sum(len(_ready(s)) for s in slices) == number

    async def _signal(self) -> Object:
        return await self._client.get(resources.SIGNALS, self._namespace, "credit-scorer-fairness")

    async def _tier(self, tier: str) -> bool:
        return ((await self._signal()).get("status") or {}).get("tier") == tier

    async def _escalation(self) -> Object | None:
        found = await self._client.list(resources.ESCALATIONS, self._namespace)
        return found[0] if found else None

    async def _is_proved(self) -> bool:
        escalation = await self._escalation()
        return escalation is not None and _condition(escalation, "Contained")

    async def _report_containment(self) -> str:
        """Say what was done; the name of the escalation."""
        escalation = await self._escalation()
        assert escalation is not None  # noqa: S101 - it is contained, so it is there
        name, status = str(escalation["metadata"]["name"]), escalation["status"]
        self._detail(f"tier: [bold red]{status['tier']}[/bold red]; escalation: [bold]{name}[/bold]")
        self._detail(f"waiting on {', '.join(status['waitingOn'])} until {status['nextDeadline']}")
        if self._action == "Rollback":
            before, now = escalation["spec"]["evidence"], status["containment"]
            self._detail(f"rolled back from revision {before['revision']} to revision {now['revision']}")
        return name

    async def _report_events(self) -> None:
        """What Events say of it."""
        self._say("Events")
        events = await self._client.list(resources.EVENTS, self._namespace)
        ours = [e for e in events if e.get("reportingController") == CONTROLLER and e["reason"] != Reason.NOTIFIED]
        for event in sorted(ours, key=lambda e: str(e["eventTime"])):
            about = event["regarding"]
            self._detail(
                f"{event['eventTime'][11:23]}  {event['type']:7}  [bold]{event['reason']}[/bold] on {about['kind']}"
            )
            self._detail(f"  [dim]{escape(event['note'])}[/dim]")

    # --- People ---------------------------------------------------------------------------------------------------

    async def _show_people(self, name: str, baseline: Object, workload: Object) -> None:
        """They are told, and bring the model back."""
        people, ann, eve, max_, olga = self._people, cast.LEGAL, cast.EXECUTIVE, cast.MODEL_RISK, cast.OWNER
        await self._show_message(ann.role)
        await self._show_lock()
        self._say(f"{_who(ann)} acknowledges, so that nobody is reminded")
        await people.decide(ann, Act(DecisionAction.ACKNOWLEDGE, "Looking into it", "ack"), name)
        self._say(f"{_who(olga)} owns the model, and wants it back")
        wish = Act(DecisionAction.RESUME, "It is fine", "resume")
        await people.decide(olga, wish, name, refused=True)
        await self._measure("The cause is removed. The monitor reports", baseline, "baseline")
        self._detail("good readings bring nothing back by themselves: that is for people")
        agreed = Act(DecisionAction.RESUME, "Retrained and measured", "resume")
        self._say(f"{_who(ann)} agrees to bring it back: one of two who are needed")
        await people.decide(ann, agreed, name)
        self._say(f"{_who(max_)} agrees as well: two of two")
        await people.decide(max_, agreed, name)
        await self._show_resumed(workload)
        self._say(f"{_who(ann)} and {_who(eve)} agree that it is over")
        over = Act(DecisionAction.CLOSE, "Corrected, back within limits", "close", Resolution.REMEDIATED)
        await people.decide(ann, over, name)
        await people.decide(eve, over, name)
        if await self._inbox.message(ann.role, Reason.REMEDIATED, PATIENCE) is None:
            raise InstallError("nobody was told of the end")
        await self._until("everybody to have been told of the end", self._all_is_told)

    async def _show_message(self, role: str) -> None:
        message = await self._inbox.message(role, Reason.NOTIFIED, PATIENCE)
        if message is None:
            raise InstallError(f"{role} was not told within {PATIENCE:g} s")
        took = (message.at - self._breached_at) * 1000
        self._say(f"{role} is told {took:.0f} ms after the signal was sent; so are the other roles of the tier")
        self._stage.quote("A webhook of this demo got it, and verified its signature", message.data["text"])

    async def _show_lock(self) -> None:
        """An administrator cannot undo it in passing."""
        self._say("An administrator tries to undo it")
        command: tuple[str, ...] = ("scale", "deployment/credit-scorer", "--replicas=3")
        if self._action == "Rollback":
            command = ("set", "env", "deployment/credit-scorer", f"MODEL_VERSION={REVISIONS[0]}")
        if await self._rivals.attempt(*command):
            self._detail("  taken: the lock is not in force on this API server. The operator puts it right, on record")
            await self._until("the model to be contained again", self._is_contained_now)

    async def _show_resumed(self, workload: Object) -> None:
        """The lock is off: the replicas come back, or the corrected revision may be rolled out."""
        since, began = time.monotonic(), time.time()
        await self._until("the lock to be lifted", self._is_unlocked)
        if self._action == "Rollback":
            self._detail(f"the lock is lifted; the corrected revision {REVISIONS[1]} is rolled out")
            await self._deploy(workload, REVISIONS[1])
            self._detail(f"[bold green]back in service[/bold green]: 3 ready endpoints of {REVISIONS[1]}")
            return
        await self._until("3 ready endpoints", lambda: self._endpoints(3))
        took = (time.monotonic() - since) * 1000
        self._detail(
            f"[bold green]back in service[/bold green]: the lock is lifted, 3 ready endpoints, {took:.0f} ms later"
        )
        if self._model_client is not None:
            again = await self._model_client.answered_again(began)
            self._detail(f"the client is answered again, {again:.1f} s after the lock was lifted")

    async def _is_contained_now(self) -> bool:
        deployment = await self._client.get(resources.DEPLOYMENTS, self._namespace, "credit-scorer")
        if self._action == "ScaleToZero":
            return deployment["spec"].get("replicas") == 0 and await self._is_proved()
        return _version(deployment) != REVISIONS[0] and await self._is_proved()

    async def _is_unlocked(self) -> bool:
        escalation = await self._escalation()
        return escalation is not None and bool((escalation["status"].get("resume") or {}).get("appliedAt"))

    async def _all_is_told(self) -> bool:
        escalation = await self._escalation()
        messages = escalation["status"].get("notifications") or () if escalation else ()
        return all(message["state"] != "Pending" for message in messages)

    # --- Everybody pulls at it ------------------------------------------------------------------------------------

    async def _show_rivals(self, first: str, baseline: Object, workload: Object) -> None:
        """The lock holds the model against everybody, until the people whose decision it is bring it back."""
        rivals, people, ann, max_ = self._rivals, self._people, cast.LEGAL, cast.MODEL_RISK
        await rivals.pull(workload)
        await rivals.see_autoscaler()
        await rivals.break_glass(first)
        second = await rivals.recreate(workload)
        await self._measure("The cause is removed. The monitor reports", baseline, "baseline")
        self._say(f"{_who(ann)} and {_who(max_)} decide that the model is brought back")
        agreed = Act(DecisionAction.RESUME, "Retrained and measured", "resume")
        await people.decide(ann, agreed, second)
        await people.decide(max_, agreed, second)
        await rivals.serve(workload)
        await self._until("3 ready endpoints", lambda: self._endpoints(3))
        self._detail("  [bold green]back in service[/bold green]: 3 ready endpoints")
        for name in (first, second):
            await self._verify(name, f" of {name}")

    # --- The end --------------------------------------------------------------------------------------------------

    async def _report(self, name: str) -> None:
        """Print the trail: the same that stays after any breach."""
        escalation = await self._client.get(resources.ESCALATIONS, self._namespace, name)
        self._say("Conditions of the escalation")
        for condition in escalation["status"]["conditions"]:
            facts = f"{condition['type']:17} {condition['status']:7} {condition['reason']:13}"
            self._detail(f"{facts} [dim]{escape(condition['message'])}[/dim]")
        records = await self._records(name)
        self._say("The record chain: what happened, who did it, and a hash over it and all before")
        for record in records:
            spec = record["spec"]
            who, what = escape(spec["actor"]), escape(_summary(spec["event"], spec["detail"]))
            self._detail(
                f"{spec['sequence']:2}  {spec['at'][11:23]}  {spec['event']:18}  {who:10}  {what:22}  "
                f"[dim]sha256 {spec['hash'][:16]}…[/dim]"
            )
        await self._verify(name)

    async def _records(self, name: str) -> list[Object]:
        found = await self._client.list(resources.RECORDS, self._namespace)
        return sorted((r for r in found if r["spec"]["escalation"] == name), key=lambda r: int(r["spec"]["sequence"]))

    async def _verify(self, name: str, of: str = "") -> None:
        """Verify the record chain of an escalation."""
        escalation = await self._client.get(resources.ESCALATIONS, self._namespace, name)
        [result] = verify_chains(await self._records(name), noted_heads([escalation]))
        if not result.intact:
            raise InstallError(f"the record chain is broken: {result.error}")
        what = f"{result.length} records{of}, unbroken up to the head in the escalation's status"
        self._say(f"Verified: {what}", "bold green")


def _who(person: cast.Person) -> str:
    return f"{person.name.capitalize()} ({person.role})"


def _summary(event: str, detail: dict[str, str]) -> str:
    """What one line has room for."""
    if event == Reason.NOTIFIED:
        return f"{detail['role']}: {detail['about']}"
    if "decision" in detail:
        return f"{detail['action']} as {detail['role']}"
    return ""


def _is_empty(first: Object, now: Object) -> bool:
    return not _ready(first) & _ready(now)


def _version(deployment: Object) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])


def _condition(obj: Object, kind: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def _ready(slice_: Object) -> set[str]:
    return {
        (e.get("targetRef") or {}).get("name", "")
        for e in slice_.get("endpoints") or ()
        if (e.get("conditions") or {}).get("ready") is not False
    }


def _readings(document: Object) -> str:
    return ", ".join(f"{r['indicator']} {r['value']}" for r in document["spec"]["readings"])


def _stringify_times(document: Object) -> None:
    """YAML reads an unquoted time as a time; the API wants the text."""
    spec = document.get("spec") or {}
    if isinstance(spec.get("observedAt"), datetime):
        spec["observedAt"] = format_time(spec["observedAt"])
    review = ((spec.get("charter") or {}).get("review")) or {}
    if "lastReviewed" in review:
        review["lastReviewed"] = str(review["lastReviewed"])


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


def _said(log: Path) -> set[str]:
    text = _text(log)
    return {word for word in ("caches full", "leading") if f'"event": "{word}"' in text}
