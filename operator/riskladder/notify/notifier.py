"""Delivery of notices over their channels, a few at a time, so that no channel holds up another."""

from __future__ import annotations

import asyncio
import dataclasses
import weakref
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import aiohttp

from riskladder.api.labels import CHANNELS_SECRET
from riskladder.api.ladder import Channel, ChannelType
from riskladder.notify import alertmanager, apprise_channel, pagerduty, slack, webhook
from riskladder.notify.console import page_of
from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable
from riskladder.notify.http import TOTAL_SECONDS, open_session
from riskladder.notify.notice import Notice, Status

NEEDS_CREDENTIAL = frozenset({ChannelType.APPRISE, ChannelType.PAGERDUTY, ChannelType.WEBHOOK, ChannelType.SLACK})

ALERT_LIFETIME = timedelta(days=7)
"""After so long without a new message an alert lapses; sooner, Alertmanager would call resolved what is not."""


class Notifier:
    """Delivers notices. One for the whole operator; close it at the end."""

    def __init__(
        self,
        egress: Egress,
        *,
        timeout: float = TOTAL_SECONDS,
        at_once: int = 16,
        pagerduty_url: str | None = None,
        slack_url: str | None = None,
        console: str = "",
    ) -> None:
        """Take the settings; no connection is opened yet.

        Args:
            egress: What may be reached.
            timeout: Seconds for one exchange.
            at_once: The most messages in delivery at one time; one host gets at most an eighth of them.
            pagerduty_url: Another server that speaks PagerDuty's API. Default: PagerDuty's own.
            slack_url: Another server that speaks Slack's API. Default: Slack's own.
            console: Where people reach the console: messages link to its pages. Default: they have commands only.
        """
        self._console = console
        self._egress = egress
        self._timeout = timeout
        self._pagerduty_url = pagerduty_url
        self._slack_url = slack_url
        self._total = asyncio.Semaphore(at_once)
        self._for_one_host = max(1, at_once // 8)
        self._hosts: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        channel: Channel,
        credential: str | None,
        notice: Notice,
        *,
        attempted_at: datetime,
        ends_at: datetime | None = None,
        receipts: Collection[str] = (),
        threads: Collection[str] = (),
    ) -> str:
        """Deliver a notice over a channel, and return in which thread it stands, where the service keeps them.

        Args:
            channel: Where it goes.
            credential: The value of the channel's key in the Secret, white space around it ignored; None if absent.
            notice: What to say.
            attempted_at: When this attempt is made.
            ends_at: When a firing alert lapses in Alertmanager. Default: ``ALERT_LIFETIME`` after the attempt.
            receipts: Of earlier attempts, who has taken which part of it.
            threads: In which earlier messages stand, of those that belong together.

        Raises:
            Undeliverable: It was not delivered.
        """
        credential = credential.strip() if credential else None
        if not credential and (channel.type in NEEDS_CREDENTIAL or channel.secret_key):
            raise Undeliverable(f"key {channel.secret_key} is not in Secret {CHANNELS_SECRET}", permanent=True)
        page = page_of(self._console, notice.namespace, notice.escalation, notice.ladder)
        notice = dataclasses.replace(notice, page=page)
        async with self._turn(_host(channel, credential)):
            if channel.type is ChannelType.APPRISE:
                await apprise_channel.send(
                    self._egress, credential or "", notice, receipts=receipts, timeout=self._timeout
                )
                return ""
            return await self._post(channel, credential or "", notice, attempted_at, ends_at, threads)

    async def _post(
        self,
        channel: Channel,
        credential: str,
        notice: Notice,
        attempted_at: datetime,
        ends_at: datetime | None,
        threads: Collection[str],
    ) -> str:
        egress, timeout, url = self._egress, self._timeout, channel.url or ""
        session = self._session = self._session or open_session(egress)
        if channel.type is ChannelType.SLACK:
            base = self._slack_url
            return await slack.send(
                session, egress, credential, notice, threads=threads, base_url=base, timeout=timeout
            )
        if channel.type is ChannelType.PAGERDUTY:
            await pagerduty.send(session, egress, credential, notice, base_url=self._pagerduty_url, timeout=timeout)
        elif channel.type is ChannelType.WEBHOOK:
            await webhook.send(session, egress, url, credential, notice, attempted_at=attempted_at, timeout=timeout)
        else:
            ends = attempted_at if notice.status is Status.RESOLVED else ends_at or attempted_at + ALERT_LIFETIME
            await alertmanager.send(session, egress, url, credential or None, notice, ends_at=ends, timeout=timeout)
        return ""

    @asynccontextmanager
    async def _turn(self, host: str) -> AsyncIterator[None]:
        # The host first: those that wait for one that hangs must hold no place of the others.
        turn = self._hosts.setdefault(host, asyncio.Semaphore(self._for_one_host))
        async with turn, self._total:
            yield

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _host(channel: Channel, credential: str | None) -> str:
    """Return what shares a queue: the host and port, or the service with what stands for a host in an Apprise URL."""
    if channel.type in (ChannelType.PAGERDUTY, ChannelType.SLACK):
        return str(channel.type)
    text = credential if channel.type is ChannelType.APPRISE else channel.url
    try:
        parts = urlsplit(text or "")
        where = f"{parts.scheme}://{parts.hostname}"
        return where if channel.type is ChannelType.APPRISE else f"{where}:{parts.port or ''}"
    except ValueError:
        return channel.type.value
