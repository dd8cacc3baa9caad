"""Reports over one connection, with asyncio."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from riskladder.client.attempts import KIND_MISSING, Until
from riskladder.client.errors import Refused, Unavailable
from riskladder.client.ladders import ladder_of
from riskladder.client.readings import Number, Readings, items, utc
from riskladder.client.results import Reported, Verdict
from riskladder.client.signals import checked, foreign_readings, signal_name

if TYPE_CHECKING:
    from riskladder.cluster.client import Client
    from riskladder.cluster.connection import Connection

FIELD_MANAGER = "riskladder-signal"
"""The same for Python and for the command line: whichever reports next takes the place of what was reported before."""

LOOK_SECONDS = 0.25
"""Between two looks at what the operator says."""


class AsyncReporter:
    """Reports readings as one source, over one connection, with asyncio.

    async with AsyncReporter("drift-monitor", namespace="models") as reporter:
        await reporter.report("credit-scorer", {"psi": 0.21}, samples=4000)
    """

    def __init__(
        self,
        source: str,
        *,
        namespace: str | None = None,
        ladder: str | None = None,
        deadline: float = 60.0,
        kubeconfig: str | None = None,
        dry_run: bool = False,
    ) -> None:
        """Say who reports; the connection is opened by the first report.

        Args:
            source: Who reports: the account needs the verb ``report`` on ``sources.riskladder.dev`` of that name.
            namespace: Of the model. Default: that of the kubeconfig's context, or of the pod.
            ladder: Default for every report.
            deadline: Seconds that one report may take with all its attempts; default for every report.
            kubeconfig: Path. Default: in a pod its service account, else ``$KUBECONFIG`` or ``~/.kube/config``.
            dry_run: Have the API server check everything and store nothing.
        """
        self._source, self._namespace, self._ladder = source, namespace, ladder
        self._deadline, self._kubeconfig, self._dry_run = deadline, kubeconfig, dry_run
        self._connection: Connection | None = None
        self._client: Client | None = None
        self._opening = asyncio.Lock()
        self._reported: dict[str, None] = {}
        """Names of the signals that it has written, each once."""

    async def __aenter__(self) -> Self:
        """Return itself; nothing is asked before the first report."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; a further report opens another one."""
        connection, self._connection, self._client = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def report(
        self,
        target: str,
        readings: Readings,
        *,
        kind: str = "Deployment",
        ladder: str | None = None,
        samples: Number | None = None,
        window: timedelta | str | None = None,
        evidence: str | None = None,
        observed_at: datetime | None = None,
        model: str | None = None,
        version: str | None = None,
        name: str | None = None,
        deadline: float | None = None,
    ) -> Reported:
        """Report one reading, or several of one time.

        Args:
            target: Name of the workload that serves the model.
            readings: Values by indicator, each in the unit of its indicator; or ``Reading`` objects.
            kind: Kind of the workload.
            ladder: Name of the ladder. Default: the label ``riskladder.dev/ladder`` of the target, or the only ladder
                of the namespace, where the account may read them.
            samples: How many samples each value rests on.
            window: The span of time that they cover, up to ``observed_at``: a timedelta, or text such as ``24h``.
            evidence: Link to the full report.
            observed_at: When it was measured, with a zone. Default: now.
            model: Name of the model in its registry.
            version: Its version there.
            name: Of the ModelRiskSignal. Default: of source, ladder and target, so that the next report updates it.
            deadline: Seconds with all attempts, in place of the reporter's.

        Raises:
            Refused: It is no reading, or the API server does not take it: to repeat it is of no use.
            Unavailable: The API server has not stored it by the deadline: repeat it later, with this ``observed_at``.
        """
        at = datetime.now(UTC) if observed_at is None else utc(observed_at)
        spec: dict[str, Any] = {
            "ladder": ladder or self._ladder or "",
            "target": {"kind": kind, "name": target},
            "source": self._source,
            "observedAt": "",
            "heardAt": "",
            "readings": items(readings, samples=samples, window=window, evidence=evidence),
        }
        if model is not None:
            spec["model"] = {"name": model} | ({} if version is None else {"version": version})
        elif version is not None:
            raise Refused("version: found one without a model, expected the name of the model", reason="Invalid")
        from riskladder.api.base import API_VERSION, format_time
        from riskladder.cluster.client import APPLY_PATCH
        from riskladder.cluster.resources import SIGNALS

        # heardAt goes with it, since that of an earlier heartbeat must not lie before observedAt.
        spec["observedAt"] = spec["heardAt"] = format_time(at)
        body: dict[str, Any] = {"apiVersion": API_VERSION, "kind": SIGNALS.kind, "metadata": {}, "spec": spec}
        body["metadata"] = {"name": name or "to-be-named"}
        checked({**body, "spec": {**spec, "ladder": spec["ladder"] or "to-be-found"}})
        client, where = await self._open()
        until = self._until(deadline)
        if not spec["ladder"]:
            try:
                spec["ladder"], _ = await until(lambda _: ladder_of(client, where, kind, target))
            except Refused as error:  # the reading itself was not sent
                raise Refused(error.message, reason=error.reason) from error
        body["metadata"] = {
            "name": name or signal_name(self._source, spec["ladder"], kind, target),
            "namespace": where,
        }
        path = SIGNALS.path(where, body["metadata"]["name"])
        stored, attempts = await until(
            lambda seconds: client.request(
                "PATCH",
                path,
                verb="patch",
                resource=SIGNALS.title,
                body=body,
                content_type=APPLY_PATCH,
                params={"fieldManager": FIELD_MANAGER, "force": "true"},
                timeout=seconds,
            )
        )
        if others := foreign_readings(stored, body):
            message = (
                f"ModelRiskSignal {body['metadata']['name']} also holds {', '.join(others)} from another field manager,"
                " which counts as observed now: use another name, or remove it there"
            )
            raise Refused(message, reason="Conflict", status=409)
        generation = int(stored["metadata"].get("generation", 0))
        self._reported[body["metadata"]["name"]] = None
        return Reported(where, body["metadata"]["name"], spec["ladder"], at, generation, attempts)

    async def heartbeat(
        self,
        target: str | None = None,
        *,
        kind: str = "Deployment",
        ladder: str | None = None,
        name: str | None = None,
        deadline: float | None = None,
    ) -> datetime:
        """Say that the monitor is alive and that nothing has changed since the last report; it is no reading.

        Silence (``staleAfter``) is counted from here. Report again, in place of this, wherever something was measured.

        Args:
            target: Name of the workload, as it was reported. Default: everything that this reporter has reported.
            kind: Its kind, as it was reported.
            ladder: As it was reported.
            name: Of the ModelRiskSignal, as it was reported.
            deadline: Seconds with all attempts, in place of the reporter's.

        Returns:
            The time, UTC.

        Raises:
            Refused: Nothing was reported yet, or the API server does not take it of one report; of the others it does.
            Unavailable: The API server has not stored it by the deadline.
        """
        from riskladder.api.base import format_time
        from riskladder.cluster.client import MERGE_PATCH, NotFound
        from riskladder.cluster.resources import SIGNALS

        names = [name] if name is not None else list(self._reported)
        if target is None and not names:
            message = "nothing was reported yet by this reporter: report first, or name the target"
            raise Refused(message, reason="NotFound")
        client, where = await self._open()
        until, now = self._until(deadline), datetime.now(UTC)
        if target is not None and name is None:
            under = ladder or self._ladder
            if under is None:
                under, _ = await until(lambda _: ladder_of(client, where, kind, target))
            names = [signal_name(self._source, under, kind, target)]

        async def write(called: str, seconds: float) -> Any:
            try:
                return await client.request(
                    "PATCH",
                    SIGNALS.path(where, called),
                    verb="patch",
                    resource=SIGNALS.title,
                    body={"spec": {"heardAt": format_time(now)}},
                    content_type=MERGE_PATCH,
                    params={"fieldManager": FIELD_MANAGER},
                    timeout=seconds,
                )
            except NotFound as error:
                if KIND_MISSING in error.message:
                    raise
                message = f"nothing was reported yet: found no ModelRiskSignal {called} in namespace {where}"
                raise Refused(message, reason="NotFound", status=404) from error

        refused: list[Refused] = []
        for one in names:
            try:
                await until(partial(write, one))
            except Refused as error:  # of one that was deleted: the others are asked all the same
                refused.append(error)
                if error.status == 404:
                    self._reported.pop(one, None)
        if refused:
            raise refused[0]
        return now

    async def verdict(self, reported: Reported, *, timeout: float = 30.0) -> Verdict:  # noqa: ASYNC109
        """Wait until the operator says what it makes of a report; the account needs ``get`` on signals.

        Args:
            reported: What ``report`` has returned.
            timeout: Seconds.

        Raises:
            Refused: The account may not look.
            Unavailable: The operator has said nothing in time: it may be down, or not watch this namespace.
        """
        from riskladder.cluster.resources import SIGNALS

        client, where = await self._open()
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout
        while loop.time() < ends:
            left = max(ends - loop.time(), 0.1)
            try:
                found, _ = await self._until(left)(lambda _: client.get(SIGNALS, where, reported.name))
            except Refused as error:
                message = f"ModelRiskSignal {reported.name} is stored, and this account may not get it: {error.message}"
                raise Refused(message, reason=error.reason, status=error.status) from error
            if (said := _verdict(found, reported.generation)) is not None:
                return said
            await asyncio.sleep(min(LOOK_SECONDS, left))
        message = (
            f"the operator has not said within {timeout:g} s what it makes of ModelRiskSignal {reported.name}: see "
            "whether it runs, and watches this namespace"
        )
        raise Unavailable(message, reason="NoVerdict")

    # --- The connection ---

    async def _open(self) -> tuple[Client, str]:
        from riskladder.cluster.client import Client
        from riskladder.cluster.connection import Access, ConnectionFailed, connect, own_namespace

        async with self._opening:
            if self._client is None:
                access = Access(self._kubeconfig)
                try:
                    self._connection = await connect(access, agent="client")
                    if self._namespace is None:
                        self._namespace = own_namespace(access, self._connection)
                except ConnectionFailed as error:
                    await self.close()
                    raise Refused(str(error), reason="NoCredentials") from error
                self._client = Client(self._connection, dry_run=self._dry_run)
            assert self._namespace is not None  # noqa: S101
            return self._client, self._namespace

    def _until(self, deadline: float | None) -> Until:
        return Until(self._deadline if deadline is None else deadline)


def _verdict(found: dict[str, Any], generation: int) -> Verdict | None:
    status = found.get("status") or {}
    conditions = status.get("conditions") or ()
    ready = next((c for c in conditions if c["type"] == "Ready"), None)
    if ready is None or ready["status"] == "Unknown" or status.get("observedGeneration", 0) < generation:
        return None
    return Verdict(
        ready=ready["status"] == "True",
        reason=str(ready.get("reason", "")),
        message=str(ready.get("message", "")),
        tier=status.get("tier"),
        escalation=status.get("escalation"),
        warning=next((str(c.get("message", "")) for c in conditions if c.get("reason") == "EscalationRefused"), None),
    )
