"""Messages to send, and peers on this machine to send them to."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import yaml
from aiohttp import web

from riskladder.api.escalation import EscalationSpec, EscalationStatus
from riskladder.api.notification import Notification, NotificationState
from riskladder.controller.notification_queue import notice_of
from riskladder.notify.egress import Egress
from riskladder.notify.notice import Notice
from riskladder.policy.snapshot import Escalation

NOW = datetime(2026, 11, 24, 12, 0, 20, tzinfo=UTC)
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
HERE = Egress(["127.0.0.1", "localhost"], [LOOPBACK])
"""Allows egress to this machine."""

SPEC = yaml.safe_load("""
ladder: {name: credit, uid: ladder-uid, generation: 3, digest: "%s"}
policy:
  charter: {owner: model-risk}
  stakeholders:
  - {role: model-risk}
  - {role: legal, alternates: [deputy], timeZone: Europe/Berlin}
  - {role: executive}
  - {role: deputy}
  indicators:
  - {name: demographic_parity_difference, description: Difference of approval rates between groups}
  - {name: auc}
  tiers:
  - name: moderate
    triggers:
    - {indicator: demographic_parity_difference, above: 0.1}
    - {indicator: auc, below: 0.8}
    acceptRisk: {atMost: 14d}
    decide: {within: 24h, quorum: [{role: model-risk}]}
  - name: high
    triggers: [{indicator: demographic_parity_difference, above: 0.2}]
    remedies: [Roll back to the last reviewed version, Check the latest change of the training data]
    acknowledge: {within: 1h}
    decide: {within: 4h, quorum: [{role: legal}, {role: executive}]}
    acceptRisk: {atMost: 7d}
    containment: {action: ScaleToZero}
    resume: {quorum: [{role: legal}, {role: executive}, {role: model-risk, count: 2}]}
  - name: critical
    containment: {action: ScaleToZero}
    decide: {within: 1h, quorum: [{role: executive}]}
target: {apiVersion: apps/v1, kind: Deployment, name: credit-scorer, uid: target-uid}
model:
  name: credit-scorer
  version: "3"
  card: https://models.example.com/credit-scorer/3?view=card&lang=en
  lineage: models:/credit-scorer/3
signal:
  name: fairness
  uid: signal-uid
  observedAt: 2026-11-24T12:00:00Z
  readings:
  - {indicator: demographic_parity_difference, value: 0.31, sampleSize: 5000, window: 24h,
     evidence: "https://reports.example.com/2026-11-24"}
  - {indicator: auc, value: 0.83}
""" % ("0" * 64))  # fmt: skip


ASKS = [
    {
        "what": "acknowledge",
        "by": NOW + timedelta(minutes=59, seconds=50),
        "who": "anyone who was notified",
        "otherwise": "tier critical is entered",
    },
    {
        "what": "decide",
        "by": NOW + timedelta(hours=4),
        "who": "one person each from legal and executive",
        "otherwise": "tier critical is entered",
    },
    {"what": "meet art-73", "by": NOW + timedelta(days=15), "who": "legal"},
]


def spec(**changes: Any) -> EscalationSpec:
    """An escalation's spec; ``changes`` replace top-level fields, and None removes one."""
    document = {name: value for name, value in (SPEC | changes).items() if value is not None}
    return EscalationSpec.model_validate(document)


def notification(**changes: Any) -> Notification:
    """A message to the role legal on entering tier high."""
    given: dict[str, Any] = {
        "key": "rung-1.high.legal.legal-pager",
        "rung": 1,
        "tier": "high",
        "role": "legal",
        "channel": "legal-pager",
        "about": "Notified",
        "message": "credit-scorer (Deployment credit-scorer) is in tier high: demographic_parity_difference is 0.31, "
        "auc is 0.83. Contained: yes, scaled to zero: none of its pods is left, and no Service lists one of them as "
        "serving",
        "serves": "no pod of Deployment credit-scorer",
        "at": NOW,
        "due_at": NOW + timedelta(minutes=59, seconds=50),
        "asks": ASKS,
        "state": NotificationState.PENDING,
    }
    return Notification(**(given | changes))


def notice(spec_changes: dict[str, Any] | None = None, **changes: Any) -> Notice:
    """The message composed of both."""
    escalation = Escalation(
        namespace="models",
        name="credit-scorer-3f9a1c2b",
        uid="0c5d3e4f-uid",
        generation=1,
        labels={},
        spec=spec(**(spec_changes or {})),
        status=EscalationStatus(),
    )
    return notice_of(escalation, notification(**changes))


@dataclass
class Got:
    """One request that a peer got; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Peer:
    """An HTTP server on a free port of 127.0.0.1 that remembers what it got."""

    answer: Answer | None = None
    """How it answers. Default: 202."""
    got: list[Got] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.got.append(
            Got(request.method, request.path, {k.lower(): v for k, v in request.headers.items()}, await request.read())
        )
        return await self.answer(request) if self.answer is not None else web.Response(status=202)


def answering(status: int, text: str = "", **headers: str) -> Answer:
    """Always the same answer; underscores in names of headers are dashes."""

    async def answer(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=text, headers=named)

    return answer


async def hanging(_: web.Request) -> web.StreamResponse:
    """No answer for a minute."""
    await asyncio.sleep(60)
    return web.Response()
