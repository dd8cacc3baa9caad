"""Find out which namespace object an escalation lives in: one of the same name may be another object by now.

A namespace that was deleted and created again has the old name and a new uid. What an operator still has in its caches
of the old one must not be appended to a chain of the new one.
"""

from __future__ import annotations

from collections import OrderedDict

from riskladder.api.chain import record_name
from riskladder.api.escalation import LedgerHead
from riskladder.cluster.client import Client, NotFound
from riskladder.cluster.resources import ESCALATIONS, NAMESPACES, RECORDS

MAX_KNOWN = 4096
"""Escalations whose namespace is remembered; of others it is found out again, by one more read."""


class Incarnations:
    """Remembers the uid of the namespace that each escalation lives in."""

    def __init__(self, client: Client) -> None:
        """Ask through this client."""
        self._client = client
        self._known: OrderedDict[str, str] = OrderedDict()

    async def uid_of(self, namespace: str, name: str, uid: str, head: LedgerHead | None) -> str | None:
        """Return the uid of the namespace that an escalation lives in, or ``None`` where that namespace is gone.

        The namespace is read each time, since only its uid of now says whether it is still the same object.

        Args:
            namespace: By name.
            name: Of the escalation.
            uid: Of the escalation.
            head: The last record of its chain, as far as is known.

        Raises:
            ApiError: The API server could not be asked, or does not let the operator read the namespace.
        """
        try:
            now = str((await self._client.get(NAMESPACES, None, namespace))["metadata"]["uid"])
        except NotFound:
            return None
        if uid not in self._known:
            if not await self._lives_here(namespace, name, uid, head):
                return None
            self._known[uid] = now
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        self._known.move_to_end(uid)
        return now if self._known[uid] == now else None

    async def _lives_here(self, namespace: str, name: str, uid: str, head: LedgerHead | None) -> bool:
        """Return whether the escalation, or else the last record of its chain, is in the namespace: neither moves."""
        try:
            if (await self._client.get(ESCALATIONS, namespace, name))["metadata"]["uid"] == uid:
                return True
        except NotFound:
            pass
        if head is None or head.sequence == 0:
            return False
        try:
            record = await self._client.get(RECORDS, namespace, record_name(name, head.sequence))
        except NotFound:
            return False
        return bool(record["spec"]["hash"] == head.hash)
