"""Writes readings as ModelRiskSignals, as the service account of the binding: whoever translates has no right to."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from riskladder.api.base import format_time
from riskladder.api.labels import BINDING_ANNOTATION
from riskladder.api.reasons import Reason
from riskladder.cluster.client import MERGE_PATCH, ApiError, Client, NotFound, Object
from riskladder.cluster.resources import SIGNALS
from riskladder.monitors.observations import (
    ModelVersion,
    Observation,
    reading_of,
    signal_name,
    streams,
)
from riskladder.reporting.bindings import Binding

ATTEMPTS = 3
"""Of one write, where the API server was busy or somebody else wrote at the same time."""

WRITE_TIMEOUT = 5.0
"""Seconds that one write may take: a sender waits for it."""

FINAL = (400, 403, 413, 422)
"""Answers after which the same write is of no use. After any other one it may be: 404 while a kind is being upgraded,
401 while the process's own token is renewed."""

AT_A_TIME = 64
"""Readings being written at the same time."""

UPDATES_AT_A_TIME = 16
"""The same of heartbeats and versions, of which one payload may ask for thousands: readings do not wait for them."""

FORGET_MISSING = 60.0
"""Seconds for which a heartbeat passes over a signal that was not there; a reading says itself when it was heard."""

KEEP_MISSING = 65_536
"""Signals that are remembered as missing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write."""

    signal: str
    """Name of the ModelRiskSignal."""
    reason: Reason | None = None
    """Why the API server refuses it for good; ``None`` where it has stored it, or may do so later."""
    message: str = ""
    is_forbidden: bool = False
    """Whether it refuses since the service account lacks a permission."""
    is_later: bool = False
    """Whether the same may be stored later."""

    @property
    def is_stored(self) -> bool:
        """Whether the API server has stored it."""
        return self.reason is None and not self.is_later


class SignalWriter:
    """Writes for all bindings, over one connection."""

    def __init__(self, client: Client, manager: str) -> None:
        """Use a client.

        Args:
            client: Its user may act as the service accounts of the bindings, and for nothing but to write signals.
            manager: Field manager, which says what translated the reading.
        """
        self._client, self._manager = client, manager
        self._gate, self._updates = asyncio.Semaphore(AT_A_TIME), asyncio.Semaphore(UPDATES_AT_A_TIME)
        self._missing: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def report(self, binding: Binding, observation: Observation) -> Outcome:
        """Store one reading."""
        body = signal_object(binding, observation)
        name = body["metadata"]["name"]
        outcome = await self._attempt(
            name,
            self._gate,
            lambda: self._client.apply(
                SIGNALS,
                binding.namespace,
                body,
                manager=self._manager,
                acting_as=binding.account,
                timeout=WRITE_TIMEOUT,
            ),
        )
        self._missing.pop((binding.namespace, name), None)
        return outcome

    async def keep_version(self, binding: Binding, version: ModelVersion, names: Iterable[str]) -> list[Outcome]:
        """Say in signals of a target which version of the model serves now; missing signals are left alone."""
        assert binding.spec is not None  # noqa: S101
        model = binding.spec.model
        name = model.name if model is not None else version.name
        patch = {"spec": {"model": {"name": name, "version": version.version}}}
        return list(await asyncio.gather(*(self._update(binding, one, patch) for one in names)))

    async def keep_fresh(self, binding: Binding, heard_at: datetime) -> list[Outcome]:
        """Say of every reading of a binding that its monitor is alive; what was never reported is left alone."""
        assert binding.spec is not None  # noqa: S101
        patch = {"spec": {"heardAt": format_time(heard_at)}}
        names, now = streams(binding.name, binding.spec), time.monotonic()
        missing = {name for name in names if self._missing.get((binding.namespace, name), 0.0) > now}
        asked = [self._update(binding, name, patch) for name in names if name not in missing]
        return [*await asyncio.gather(*asked), *map(Outcome, missing)]

    async def _update(self, binding: Binding, name: str, patch: Object) -> Outcome:
        key = (binding.namespace, name)

        async def write() -> Any:
            try:
                return await self._client.request(
                    "PATCH",
                    SIGNALS.path(binding.namespace, name),
                    verb="patch",
                    resource=SIGNALS.title,
                    body=patch,
                    content_type=MERGE_PATCH,
                    params={"fieldManager": self._manager},
                    acting_as=binding.account,
                    timeout=WRITE_TIMEOUT,
                )
            except NotFound:  # nothing was ever reported: there is nothing to say it of
                self._missing[key] = time.monotonic() + FORGET_MISSING
                self._missing.move_to_end(key)
                if len(self._missing) > KEEP_MISSING:
                    self._missing.popitem(last=False)
                return None

        return await self._attempt(name, self._updates, write)

    async def _attempt(self, name: str, gate: asyncio.Semaphore, write: Any) -> Outcome:
        error: ApiError | None = None
        for attempt in range(ATTEMPTS):
            try:
                async with gate:
                    await write()
            except ApiError as caught:
                error = caught
                if caught.is_denial or caught.status in FINAL:
                    return Outcome(name, Reason.REPORT_REFUSED, caught.message, is_forbidden=caught.status == 403)
                if caught.status not in (409, 429):
                    break
                await asyncio.sleep(min(caught.retry_after or 0.05 * 2**attempt, 1.0))
            else:
                return Outcome(name)
        return Outcome(name, message=error.message if error else "", is_later=True)


def signal_object(binding: Binding, observation: Observation) -> Object:
    """Return the ModelRiskSignal of a reading, for server-side apply."""
    spec = binding.spec
    assert spec is not None  # noqa: S101
    if spec.target is not None:
        target = spec.target.to_api()
    else:
        assert spec.target_from is not None  # noqa: S101
        target = {"kind": spec.target_from.kind, "name": observation.target}
    content: dict[str, Any] = {
        "ladder": spec.ladder,
        "target": {name: value for name, value in target.items() if value},
        "source": spec.source,
        "observedAt": format_time(observation.observed_at),
        "readings": [reading_of(observation)],
    }
    if spec.model is not None:
        version = {"version": observation.version} if observation.version else {}
        content["model"] = {**spec.model.to_api(), **version}
    # Always, since that of an earlier heartbeat must not lie before observedAt: the reading would be refused.
    heard = observation.heard_at.replace(microsecond=0) if observation.heard_at is not None else observation.observed_at
    content["heardAt"] = format_time(max(heard, observation.observed_at))
    return {
        "apiVersion": SIGNALS.api_version,
        "kind": SIGNALS.kind,
        "metadata": {
            "name": signal_name(binding.name, observation),
            "namespace": binding.namespace,
            "annotations": {BINDING_ANNOTATION: binding.name},
        },
        "spec": content,
    }
