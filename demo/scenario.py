"""What the demo shows: a breach, the stop, who is notified, who may decide what, and the record of it all."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.markup import escape

from demo import people as cast
from demo.client import ModelClient
from demo.inbox import Inbox
from demo.install import InstallError, kubectl
from demo.other_clients import OtherClients
from demo.people import LedgerEntry, People
from demo.scene import LADDER, MANAGER, NAMESPACES, Scene, is_out_of_service, readings, version
from demo.stage import PATIENCE, Milestone, Stage
from riskladder.api.base import format_time
from riskladder.api.chain import noted_heads, verify_chains
from riskladder.api.decision import DecisionAction, Resolution
from riskladder.api.reasons import Reason
from riskladder.api.record import entries_of
from riskladder.api.tiers import Containment
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object
from riskladder.cluster.events import CONTROLLER

RECORDED = {"appliedAt": "written", "endpointsEmptyAt": "out of service", "podsGoneAt": "pods gone"}
"""Times of a containment in an escalation's status, in words."""

REVISIONS = ("2026.11.3", "2026.11.4")
"""Those that a demo of Rollback rolls out after the first: the one that breaches, and its correction."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is shown."""

    action: str = "ScaleToZero"
    lock: bool = False
    model_image: str | None = None
    on_term: str = "honor"
    short: bool = False
    """Whether it ends with the stop and its record."""
    console: bool = False
    """Whether people decide on pages, and not here."""


class Scenario:
    """The demo's scenario in one namespace, on a cluster with a running operator."""

    def __init__(
        self,
        stage: Stage,
        client: Client,
        kubeconfig: Path,
        checkout: Path,
        namespace: str,
        inbox: Inbox,
        options: Options,
    ) -> None:
        """Take what the demo needs; ``show`` runs it."""
        self._client = client
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self._action = options.action
        self._on_term = options.on_term
        self._lock = options.lock
        self._short, self._console = options.short, options.console
        self._stage = stage
        self._say, self._detail, self._until = stage.say, stage.detail, stage.until
        self._scene = Scene(client, checkout, namespace)
        self._people = People(stage, client, kubeconfig, checkout, namespace)
        self._other_clients = OtherClients(stage, client, kubeconfig, checkout, namespace)
        self._model_client = (
            ModelClient(stage, client, kubeconfig, namespace, options.model_image) if options.model_image else None
        )
        self._inbox = inbox
        self._breached_at = 0.0
        self.result = ""
        """What came of it, in one line."""
        self.escalation = ""
        """Name of the escalation, once it is open."""

    async def show(self) -> None:
        """Show the demo, from the first reading at baseline to the verified record."""
        ladder, workload, baseline, breach = (
            self._scene.documents(path)
            for path in (
                "ladders/credit-scoring.yaml",
                "workloads/credit-scorer.yaml",
                "monitor/signal-baseline.yaml",
                "monitor/signal-breach.yaml",
            )
        )
        ladder[0]["spec"]["tiers"][-1]["containment"]["action"] = self._action
        ladder[0]["spec"]["decisions"] = {"allowImpersonated": True}  # the administrator plays all people
        cast.notify_over(ladder[0], self._inbox)
        if self._model_client is not None:
            self._model_client.serve(workload[0], self._on_term)
        for signal_ in (baseline[0], breach[0]):
            signal_["spec"]["model"]["owners"] = [cast.OWNER.name]
        await self._client.create(NAMESPACES, None, {"metadata": {"name": self._namespace}})
        self._say(f"Applying ladder {LADDER} and Deployment credit-scorer (3 replicas) in {self._namespace}")
        await self._scene.apply(self._inbox.secret_manifest())
        await self._people.admit(MANAGER)
        for document in (*ladder, *workload):
            await self._scene.apply(document)
        await self._until("the ladder to be Ready", self._scene.ladder_ready)
        await self._until("3 ready endpoints", lambda: self._scene.endpoints(3))
        await self._people.until_they_count(LADDER)
        await self._measure("A monitor reports at baseline", baseline[0], "baseline")
        self._detail("signal tier: [green]baseline[/green]; nothing is written beyond its status")
        if self._action == "Rollback":
            self._say(f"A new revision of the model is rolled out: {REVISIONS[0]}")
            await self._deploy(workload[0], REVISIONS[0])
        if self._lock:
            await self._other_clients.autoscale()
        if self._model_client is not None:
            await self._model_client.start("credit-scorer")
            if self._action == "ScaleToZero":
                grace = Containment.model_fields["grace"].default
                self._detail(f"the ladder gives the pods of a stopped model {grace} (containment.grace)")
        breach[0]["spec"]["observedAt"] = format_time(datetime.now(UTC) + timedelta(milliseconds=1))
        self._say("The monitor reports a breach: " + readings(breach[0]))
        await self._breach(breach[0])
        name = self.escalation = await self._report_containment()
        if self._lock:
            await self._show_other_clients(name, baseline[0], workload[0])
            return
        if self._console:
            await self._show_message(cast.LEGAL.role)
            return
        if self._short:
            await self._show_message(cast.LEGAL.role)
            await self._show_lock()
            await self._verify(name)
            return
        await self._report_events()
        await self._show_people(name, baseline[0], workload[0])
        await self._report(name)

    async def _measure(self, what: str, document: Object, tier: str) -> None:
        """Let the monitor report, and wait until the operator has read it."""
        self._say(f"{what}: {readings(document)}")
        document["spec"]["observedAt"] = format_time(datetime.now(UTC) + timedelta(milliseconds=1))
        await self._scene.apply(document)
        await self._until(f"tier {tier}", lambda: self._scene.tier(tier))

    async def _deploy(self, workload: Object, revision: str) -> None:
        workload["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "MODEL_VERSION", "value": revision}]
        await self._scene.apply(workload)
        await asyncio.to_thread(
            kubectl,
            self._kubeconfig,
            *("-n", self._namespace, "rollout", "status", "deployment/credit-scorer", "--timeout=60s"),
        )
        await self._until("3 ready endpoints", lambda: self._scene.endpoints(3))

    async def _breach(self, signal_: Object) -> None:
        """Apply the breaching signal and time what follows, as a watching client sees it."""
        contained, emptied = Milestone(self._is_contained), Milestone(is_out_of_service)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(contained.watch(self._client, resources.DEPLOYMENTS, self._namespace))
            tasks.create_task(emptied.watch(self._client, resources.ENDPOINTSLICES, self._namespace))
            await contained.open.wait()
            await emptied.open.wait()
            created, sent = time.monotonic(), time.time()
            self._breached_at = created
            await self._scene.apply(signal_)
        to_zero = self._action == "ScaleToZero"
        done = "replicas 0" if to_zero else "the last good revision is in place"
        self._milestone(done, contained.at - created)
        left = "it is out of service" if to_zero else "the breached revision is out of service"
        self._milestone(left, emptied.at - created)
        self.result = (
            f"The model was ordered to stop {contained.at - created:.3f} s after the breach was reported, and was out "
            f"of service after {emptied.at - created:.3f} s."
        )
        if not self._short and not self._console:
            self.result += " Two people brought it back."
        await self._until("its pods to end, and the operator to have proved it", self._scene.is_proved)
        await self._until("tier high", lambda: self._scene.tier("high"))
        if self._model_client is not None:
            await self._report_last_answer(self._model_client, sent)

    async def _report_last_answer(self, model_client: ModelClient, sent: float) -> None:
        """Say when the client got its last answer, and what the record says."""
        version = REVISIONS[0] if self._action == "Rollback" else None
        last = await model_client.last_answers(sent, version)
        of = f" of {version}" if version else ""
        seconds = {what: at - sent for what, at in (("new", last.new), ("kept", last.kept)) if at is not None}
        for what, took in seconds.items():
            self._milestone(f"last answer{of} on a {what} connection", took)
        escalation = await self._scene.escalation()
        assert escalation is not None  # noqa: S101 - it is contained, so it is there
        recorded = escalation["status"]["containments"][0]
        said = [
            f"{what} after {datetime.fromisoformat(recorded[name]).timestamp() - sent:.3f} s"
            for name, what in RECORDED.items()
            if recorded.get(name)
        ]
        self._detail(f"the record says: {', '.join(said)}")
        self.result += f" Its client got the last answer after {max(seconds.values(), default=0.0):.3f} s."

    def _is_contained(self, first: Object, now: Object) -> bool:
        if self._action == "ScaleToZero":
            return bool(now["spec"].get("replicas") == 0)
        return version(now) != version(first)

    @property
    def _width(self) -> int:
        """Characters of the longest of the milestones, which are below one another."""
        if self._action == "ScaleToZero":
            return len("last answer on a kept connection")
        return len(f"last answer of {REVISIONS[0]} on a kept connection")

    def _milestone(self, what: str, seconds: float) -> None:
        self._detail(
            f"[bold red]{what:{self._width}}[/bold red] [bold]{seconds * 1000:6.0f} ms[/bold] after the signal was sent"
        )

    async def _report_containment(self) -> str:
        """Say what was done; the name of the escalation."""
        escalation = await self._scene.escalation()
        assert escalation is not None  # noqa: S101 - it is contained, so it is there
        name, status = str(escalation["metadata"]["name"]), escalation["status"]
        self._detail(f"tier: [bold red]{status['tier']}[/bold red]; escalation: [bold]{name}[/bold]")
        self._detail(f"waiting on {status['summary']['waitingOn']} until {status['summary']['due']}")
        if self._action == "Rollback":
            before, now = escalation["spec"]["evidence"], status["containments"][0]["intent"]
            self._detail(f"rolled back from revision {before['revision']} to revision {now['revision']}")
        return name

    async def _report_events(self) -> None:
        """Show what Events say of it."""
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
        """Show how people are notified, and restore the model."""
        people, ann, eve, max_, olga = self._people, cast.LEGAL, cast.EXECUTIVE, cast.MODEL_RISK, cast.OWNER
        await self._show_message(ann.role)
        await self._show_lock()
        self._say(f"{_who(ann)} acknowledges, so that nobody is reminded")
        await people.decide(ann, LedgerEntry(DecisionAction.ACKNOWLEDGE, "Looking into it", "ack"), name)
        self._say(f"{_who(olga)} owns the model, and wants it back")
        wish = LedgerEntry(DecisionAction.RESUME, "It is fine", "resume")
        await people.decide(olga, wish, name, refused=True)
        await self._measure("The cause is removed. The monitor reports", baseline, "baseline")
        self._detail("good readings bring nothing back by themselves: that is for people")
        agreed = LedgerEntry(DecisionAction.RESUME, "Retrained and measured", "resume")
        self._say(f"{_who(ann)} agrees to restore it: one of two who are needed")
        await people.decide(ann, agreed, name)
        self._say(f"{_who(max_)} agrees as well: two of two")
        await people.decide(max_, agreed, name)
        await self._show_resumed(workload)
        self._say(f"{_who(ann)} and {_who(eve)} agree that it is over")
        over = LedgerEntry(DecisionAction.CLOSE, "Corrected, back within limits", "close", Resolution.REMEDIATED)
        await people.decide(ann, over, name)
        await people.decide(eve, over, name)
        if await self._inbox.message(ann.role, Reason.REMEDIATED, PATIENCE) is None:
            raise InstallError("nobody was notified of the end")
        await self._until("everybody to have been notified of the end", self._everybody_is_notified)

    async def _show_message(self, role: str) -> None:
        message = await self._inbox.message(role, Reason.NOTIFIED, PATIENCE)
        if message is None:
            raise InstallError(f"{role} was not notified within {PATIENCE:g} s")
        took = (message.at - self._breached_at) * 1000
        self._say(f"{role} is notified {took:.0f} ms after the signal was sent; so are the other roles of the tier")
        self._stage.quote("A webhook of this demo got it, and verified its signature", message.data["text"])

    async def _show_lock(self) -> None:
        """Show that an administrator cannot revert it in passing."""
        self._say("An administrator tries to revert it")
        command: tuple[str, ...] = ("scale", "deployment/credit-scorer", "--replicas=3")
        if self._action == "Rollback":
            command = ("set", "env", "deployment/credit-scorer", f"MODEL_VERSION={REVISIONS[0]}")
        if await self._other_clients.attempt(*command):
            self._detail("  taken: the lock is not in force on this API server. The operator re-applies it, on record")
            await self._until("the model to be contained again", self._is_contained_now)

    async def _show_resumed(self, workload: Object) -> None:
        """Show that the lock is removed: the replicas return, or the corrected revision may be rolled out."""
        since, began = time.monotonic(), time.time()
        await self._until("the lock to be removed", self._is_unlocked)
        if self._action == "Rollback":
            self._detail(f"the lock is removed; the corrected revision {REVISIONS[1]} is rolled out")
            await self._deploy(workload, REVISIONS[1])
            self._detail(f"[bold green]back in service[/bold green]: 3 ready endpoints of {REVISIONS[1]}")
            return
        await self._until("3 ready endpoints", lambda: self._scene.endpoints(3))
        took = (time.monotonic() - since) * 1000
        self._detail(
            f"[bold green]back in service[/bold green]: the lock is removed, 3 ready endpoints, {took:.0f} ms later"
        )
        if self._model_client is not None:
            again = await self._model_client.answered_again(began)
            self._detail(f"the client is answered again, {again:.1f} s after the lock was removed")

    async def _is_contained_now(self) -> bool:
        deployment = await self._client.get(resources.DEPLOYMENTS, self._namespace, "credit-scorer")
        if self._action == "ScaleToZero":
            return deployment["spec"].get("replicas") == 0 and await self._scene.is_proved()
        return version(deployment) != REVISIONS[0] and await self._scene.is_proved()

    async def _is_unlocked(self) -> bool:
        escalation = await self._scene.escalation()
        return escalation is not None and bool((escalation["status"].get("resume") or {}).get("appliedAt"))

    async def _everybody_is_notified(self) -> bool:
        escalation = await self._scene.escalation()
        messages = escalation["status"].get("notifications") or () if escalation else ()
        return all(message["state"] != "Pending" for message in messages)

    # --- Other clients write on it ----------------------------------------------------------------------------------

    async def _show_other_clients(self, first: str, baseline: Object, workload: Object) -> None:
        """Show that the lock holds the model against every client, until the people who may restore it do."""
        clients, people, ann, max_ = self._other_clients, self._people, cast.LEGAL, cast.MODEL_RISK
        await clients.revert(workload)
        await clients.see_autoscaler()
        await clients.break_glass(first)
        second = await clients.recreate(workload)
        await self._measure("The cause is removed. The monitor reports", baseline, "baseline")
        self._say(f"{_who(ann)} and {_who(max_)} decide that the model is restored")
        agreed = LedgerEntry(DecisionAction.RESUME, "Retrained and measured", "resume")
        await people.decide(ann, agreed, second)
        await people.decide(max_, agreed, second)
        await clients.serve(workload)
        await self._until("3 ready endpoints", lambda: self._scene.endpoints(3))
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
            for number, act in enumerate(entries_of(record["spec"])):
                who, what = escape(act["actor"]), escape(_summary(act["event"], act["detail"]))
                place = f"{act['sequence']:2}" if not number else "  "
                sealed = f"[dim]sha256 {record['spec']['hash'][:16]}…[/dim]" if not number else ""
                line = f"{place}  {act['at'][11:23]}  {act['event']:18}  {who:10}  {what:22}  {sealed}"
                self._detail(line.rstrip())
        await self._verify(name)

    async def _records(self, name: str) -> list[Object]:
        found = await self._client.list(resources.RECORDS, self._namespace)
        return sorted((r for r in found if r["spec"]["escalation"] == name), key=lambda r: int(r["spec"]["sequence"]))

    async def _verify(self, name: str, of: str = "") -> None:
        """Verify the record chain of an escalation."""
        escalation = await self._client.get(resources.ESCALATIONS, self._namespace, name)
        records = await self._records(name)
        [result] = verify_chains(records, noted_heads([escalation]))
        if not result.intact:
            raise InstallError(f"the record chain is broken: {result.error}")
        entries = sum(len(entries_of(record["spec"])) for record in records)
        what = f"{entries} entries in {result.length} records{of}, unbroken up to the head in the escalation's status"
        self._say(f"Verified: {what}", "bold green")


def _who(person: cast.Person) -> str:
    return f"{person.name.capitalize()} ({person.role})"


def _summary(event: str, detail: dict[str, str]) -> str:
    """Return as much of a text as fits one line."""
    if event == Reason.NOTIFIED:
        return f"{detail['role']}: {detail['about']}"
    if "decision" in detail:
        return f"{detail['action']} as {detail['role']}"
    return ""
