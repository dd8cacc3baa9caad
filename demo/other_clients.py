"""The part of the demo in which other clients write on a contained model, and how the lock refuses them.

Every command is run by the kubectl that people have, with the rights of a cluster administrator, and what it is
answered is shown as it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import yaml
from rich.markup import escape

from demo.install import FIELD_MANAGER, InstallError, kubectl
from demo.stage import Milestone, Stage
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.record import entries_of
from riskladder.cli.output import plain
from riskladder.cluster import resources
from riskladder.cluster.authority import BINDINGS, LOCK, LOCK_NAMES
from riskladder.cluster.client import Client, NotFound, Object

MANIFEST = "manifests/policies/lock.yaml"
LABEL = "riskladder.dev/containment"
HPAS = resources.Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
MODEL = "credit-scorer"
WORKLOAD = f"deployment/{MODEL}"
SCALE = ("scale", WORKLOAD, "--replicas=3")
FILE = f"{MODEL}.yaml"
"""What the manifest of the model is called on the screen; it is given to kubectl on its standard input."""

ADMIN, GITOPS = "admin", "gitops"


def reason_of(refusal: str) -> str:
    """Return why the lock has refused it; empty where it was something else."""
    found = re.search(rf"'({LOCK}|{LOCK_NAMES})' denied request: ", refusal)
    return f"refused: {refusal[found.end() :].strip()}" if found else ""


def briefly(refusal: str) -> str:
    """Return the same without the advice, for those who have just read it."""
    return reason_of(refusal).partition(". ")[0]


class OtherClients:
    """Clients that want the model to run, each with every permission that a cluster can give."""

    def __init__(self, stage: Stage, client: Client, kubeconfig: Path, checkout: Path, namespace: str) -> None:
        """Prepare.

        Args:
            stage: Where it is shown.
            client: The administrator's.
            kubeconfig: The administrator's.
            checkout: Where the manifest of the lock is.
            namespace: Where the model is.
        """
        self._stage = stage
        self._client = client
        self._kubeconfig = kubeconfig
        self._checkout = checkout
        self._namespace = namespace

    # --- One command ----------------------------------------------------------------------------------------------

    async def attempt(
        self,
        *command: str,
        who: str = ADMIN,
        given: Object | None = None,
        shown: str = "",
        summarise: Callable[[str], str] = reason_of,
    ) -> bool:
        """Show a command, run it, and show what it is answered; whether it was taken.

        Args:
            command: Arguments of kubectl.
            who: Whose prompt it is shown at.
            given: The manifest that it reads.
            shown: What is shown in its place, where that differs.
            summarise: How much of a refusal is shown.

        Raises:
            InstallError: It failed for another reason than the lock.
        """
        self._stage.command(f"[dim]{who} $[/dim] {escape(shown or ' '.join(('kubectl', *command)))}")
        try:
            answer = await self._kubectl(*command, given=given)
        except InstallError as refusal:
            said = str(refusal).removeprefix(f"kubectl {' '.join(self._arguments(command))}: ")
            if not reason_of(said):
                raise
            self._stage.detail(f"  [red]{escape(plain(summarise(said)))}[/red]")
            return False
        for line in answer.splitlines():
            self._stage.detail(f"  [dim]{escape(plain(line))}[/dim]")
        return True

    def _arguments(self, command: tuple[str, ...]) -> tuple[str, ...]:
        return ("-n", self._namespace, *command)

    async def _kubectl(self, *command: str, given: Object | None = None) -> str:
        manifest = yaml.safe_dump(given) if given is not None else None
        return await asyncio.to_thread(kubectl, self._kubeconfig, *self._arguments(command), given=manifest)

    async def _refused(self, *command: str, summarise: Callable[[str], str] = briefly, **more: Any) -> None:
        """Attempt a write that the lock has to refuse."""
        if await self.attempt(*command, summarise=summarise, **more):
            raise InstallError(f"the lock did not refuse kubectl {' '.join(command)}")

    async def _holds(self, wanted: bool = True) -> None:
        """Wait until the lock is in force on the API server, which learns that by a watch; or is not any more."""

        async def check() -> bool:
            try:
                await self._kubectl(*SCALE, "--dry-run=server")
            except InstallError as refusal:
                if not reason_of(str(refusal)):
                    raise
                return wanted
            return not wanted

        await self._stage.until("the lock to be in force" if wanted else "the lock to be off", check)

    # --- The scenes -----------------------------------------------------------------------------------------------

    async def autoscale(self) -> None:
        """Put an autoscaler on the model while it still runs."""
        self._stage.say("An autoscaler is put on it")
        await self.attempt("autoscale", WORKLOAD, "--min=3", "--max=6", "--cpu=80%")

    async def revert(self, workload: Object) -> None:
        """Have each client try to revert the containment in its own way."""
        self._stage.say("A cluster administrator scales it up. This is what kubectl prints:")
        await self._refused(*SCALE, summarise=str)
        self._stage.say("A GitOps tool applies its manifest again, with force")
        await self._apply(workload, taken=False)
        self._stage.say("Somebody rolls another revision out, and back: that is free, since nothing runs of it")
        await self.attempt("set", "env", WORKLOAD, "MODEL_VERSION=2026.11.4")
        await self._stage.until("the new revision", self._has_two_revisions)
        await self.attempt("rollout", "undo", WORKLOAD)
        replicas = (await self._deployment())["spec"]["replicas"]
        self._stage.detail(f"without effect: [bold]replicas {replicas}[/bold]")

    async def break_glass(self, escalation: str) -> None:
        """Remove the lock as an administrator, which is noticed and recorded, and reinstate it."""
        self._stage.say("Break glass: an administrator deletes the bindings of the lock")
        others = [e for e in await self._client.list(resources.ESCALATIONS, labels=LABEL) if not self._is_mine(e)]
        if others:
            self._stage.detail(f"left out: it holds {len(others)} other model(s) on this cluster")
            return
        async with self._bindings_reinstated():
            await self.attempt("delete", BINDINGS.kind.lower(), LOCK, LOCK_NAMES)
            await self._says(escalation, ConditionType.LOCKED, "False", Reason.LOCK_MISSING)
            await self._holds(False)
            self._stage.say("Without the lock the model can be scaled up, and is contained again")
            await self._scale_up(escalation)
            self._stage.say("The lock is reinstated")
            command = ("apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "-f")
            shown = " ".join(("kubectl", *command, MANIFEST))
            await self.attempt(*command, str(self._checkout / MANIFEST), shown=shown)
        await self._says(escalation, ConditionType.LOCKED, "True", Reason.LOCKED)
        await self._holds()
        await self._recorded(escalation, Reason.LOCK_MISSING, Reason.CONTAINMENT_REAPPLIED, Reason.LOCK_RESTORED)

    async def recreate(self, workload: Object) -> str:
        """Delete and recreate the model; return the name of the escalation that contains the new one."""
        self._stage.say("Somebody deletes it and creates it again")
        await self.attempt("delete", WORKLOAD)
        create = f"kubectl create -f {FILE}"
        await self._refused("create", "-f", "-", given=workload, shown=create)
        stopped = copy.deepcopy(workload)
        stopped["spec"]["replicas"] = 0
        await self.attempt(
            "create", "-f", "-", given=stopped, shown=f"sed 's/replicas: 3/replicas: 0/' {FILE} | kubectl create -f -"
        )
        uid = (await self._deployment())["metadata"]["uid"]
        found: list[str] = []

        async def contained() -> bool:
            everything = await self._client.list(resources.ESCALATIONS, self._namespace)
            found[:] = [
                e["metadata"]["name"]
                for e in everything
                if e["spec"]["target"]["uid"] == uid and _condition(e, ConditionType.CONTAINED)[0] == "True"
            ]
            return bool(found)

        await self._stage.until("the new Deployment to be contained", contained)
        self._stage.detail(
            f"created without replicas, and contained like the one before: Escalation [bold]{found[0]}[/bold]"
        )
        await self._holds()
        return found[0]

    async def see_autoscaler(self) -> None:
        """Show how the autoscaler reacts: it looks every 15 seconds."""
        self._stage.say("And the autoscaler? It wants 3 replicas at least, and looks every 15 seconds")
        said: list[tuple[str, str]] = []

        async def looked() -> bool:
            status = (await self._client.get(HPAS, self._namespace, MODEL)).get("status") or {}
            said[:] = [
                (c["reason"], c["message"]) for c in status.get("conditions") or () if c["type"] == "ScalingActive"
            ]
            return any(reason == "ScalingDisabled" for reason, _ in said)

        await self._stage.until("the autoscaler to look", looked)
        reason, message = said[0]
        self._stage.detail(f"[bold]{escape(reason)}[/bold]  [dim]{escape(message)}[/dim]")

    async def serve(self, workload: Object) -> None:
        """Show that people remove the lock: what was refused is taken."""
        self._stage.say("The lock is removed, and what was refused to the GitOps tool is taken")
        await self._holds(False)
        await self._apply(workload, taken=True)

    async def _apply(self, workload: Object, *, taken: bool) -> None:
        command = ("apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-")
        shown = " ".join(("kubectl", *command[:-1], FILE))
        if await self.attempt(*command, who=GITOPS, given=workload, shown=shown, summarise=briefly) is not taken:
            raise InstallError(f"{shown}: {'refused' if taken else 'taken'}, against what was to be expected")

    async def _scale_up(self, escalation: str) -> None:
        """Scale it up for real, and time how long that lasts."""
        up = Milestone(lambda first, now: bool(now["spec"]["replicas"]))
        down = Milestone(lambda first, now: bool(up.at) and not now["spec"]["replicas"])
        async with asyncio.TaskGroup() as tasks:
            for milestone in (up, down):
                tasks.create_task(milestone.watch(self._client, resources.DEPLOYMENTS, self._namespace))
                await milestone.open.wait()
            if not await self.attempt(*SCALE):
                raise InstallError("the lock is off, and refuses all the same")
        took = (down.at - up.at) * 1000
        self._stage.detail(f"[bold]re-applied {took:.0f} ms later[/bold]: replicas 0 again")

        async def named() -> bool:
            return bool((await self._escalation(escalation))["status"]["containments"][0].get("drift"))

        await self._stage.until("the drift to be recorded", named)

    # --- What is there --------------------------------------------------------------------------------------------

    async def _deployment(self) -> Object:
        return await self._client.get(resources.DEPLOYMENTS, self._namespace, MODEL)

    async def _escalation(self, name: str) -> Object:
        return await self._client.get(resources.ESCALATIONS, self._namespace, name)

    def _is_mine(self, escalation: Object) -> bool:
        return bool(escalation["metadata"]["namespace"] == self._namespace)

    async def _has_two_revisions(self) -> bool:
        return len(await self._client.list(resources.REPLICASETS, self._namespace)) > 1

    async def _says(self, escalation: str, kind: ConditionType, status: str, reason: Reason) -> None:
        """Wait for a condition of the escalation, and show it."""
        message: list[str] = []

        async def check() -> bool:
            found = _condition(await self._escalation(escalation), kind)
            message[:] = [found[2]]
            return found[:2] == (status, reason)

        await self._stage.until(f"the condition {kind} to be {status}", check)
        style = "green" if status == "True" else "red"
        what = f"[bold {style}]{kind} {status} {reason}[/bold {style}]"
        self._stage.detail(f"the operator sees it: {what}  [dim]{escape(message[0])}[/dim]")

    async def _recorded(self, escalation: str, *events: Reason) -> None:
        """Show the records of those events, once they are all there."""
        found: list[Object] = []

        async def check() -> bool:
            records = await self._client.list(resources.RECORDS, self._namespace)
            mine = [
                act
                for r in records
                if r["spec"]["escalation"] == escalation
                for act in entries_of(r["spec"])
                if act["event"] in events
            ]
            found[:] = sorted(mine, key=lambda spec: int(spec["sequence"]))
            return {spec["event"] for spec in found} == set(events)

        await self._stage.until("the records", check)
        self._stage.detail("all of it is on record:")
        for spec in found:
            what = f"[bold]{spec['event']:14}[/bold]  [dim]{escape(spec['detail']['message'])}[/dim]"
            self._stage.detail(f"  {spec['at'][11:23]}  {what}")

    @contextlib.asynccontextmanager
    async def _bindings_reinstated(self) -> AsyncIterator[None]:
        """Reinstate the bindings afterwards, whatever happens."""
        before = [await self._client.get(BINDINGS, None, name) for name in (LOCK, LOCK_NAMES)]
        try:
            yield
        finally:
            for binding in before:
                await asyncio.shield(self._put_back(binding))

    async def _put_back(self, binding: Object) -> None:
        try:
            await self._client.get(BINDINGS, None, binding["metadata"]["name"])
        except NotFound:
            metadata = {key: value for key, value in binding["metadata"].items() if key in ("name", "labels")}
            await self._client.create(BINDINGS, None, {**binding, "metadata": metadata})


def _condition(escalation: Object, kind: ConditionType) -> tuple[str, str, str]:
    """Return status, reason and message, or three empty strings."""
    conditions = (escalation.get("status") or {}).get("conditions") or ()
    found = [(c["status"], c["reason"], c["message"]) for c in conditions if c["type"] == kind]
    return found[0] if found else ("", "", "")
