"""Keeps the ContainmentIndex of each namespace: by it the lock knows what a name stands for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from riskladder.api.base import API_VERSION
from riskladder.api.index import INDEX_NAME, MAX_INDEXED, ContainmentIndexSpec
from riskladder.cluster.client import ApiError, Client, Conflict, NotFound, Object, Terminating
from riskladder.cluster.resources import INDEXES
from riskladder.controller.caches.store import Store


class IndexWriter:
    """Writes what is contained in a namespace, where that differs from what was written last."""

    def __init__(self, client: Client, store: Store) -> None:
        """Start without knowing any index."""
        self._client = client
        self._store = store
        self._written: dict[str, tuple[dict[str, Any], str]] = {}
        """By namespace: what stands there, and its resourceVersion."""
        self._upto: dict[str, int] = {}
        """By namespace: the version of its entries that stands there."""
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By namespace: one write at a time."""
        self.problems: dict[str, str] = {}
        """By namespace: why its index could not be written the last time."""

    async def look(self, namespaces: tuple[str, ...]) -> set[str]:
        """Read what an earlier operator has written; return the namespaces that have an index.

        Args:
            namespaces: Where to look; none: everywhere.

        Raises:
            ApiError: The API server could not be asked.
        """
        return self.learn([obj for ns in namespaces or (None,) for obj in await self._client.list(INDEXES, ns)])

    def learn(self, indexes: Iterable[Object]) -> set[str]:
        """Take in what stands in the indexes of all namespaces; return the namespaces that have one."""
        self._written = {
            obj["metadata"]["namespace"]: (obj.get("spec") or {}, obj["metadata"]["resourceVersion"])
            for obj in indexes
            if obj["metadata"]["name"] == INDEX_NAME
        }
        self._upto.clear()
        return set(self._written)

    def wanted(self, namespace: str) -> ContainmentIndexSpec:
        """Return everything that is contained and locked in a namespace."""
        entries = self._store.indexed.of(namespace)
        return ContainmentIndexSpec(targets=dict(list(entries.items())[:MAX_INDEXED]))

    async def write(self, namespace: str) -> None:
        """Bring the index of a namespace up to date.

        Raises:
            ApiError: It was refused or not answered.
        """
        async with self._turns[namespace]:
            try:
                await self._write_again(namespace)
            except ApiError as error:
                if not error.is_transient and not error.is_final:
                    self.problems[namespace] = error.message[:500]
                raise
            self.problems.pop(namespace, None)

    async def _write_again(self, namespace: str) -> None:
        try:
            await self._write(namespace)
        except Conflict:  # somebody else has written it, or we have and never heard
            found = await self._client.get(INDEXES, namespace, INDEX_NAME)
            self._written[namespace] = (found.get("spec") or {}, found["metadata"]["resourceVersion"])
            self._upto.pop(namespace, None)
            await self._write(namespace)

    async def _write(self, namespace: str) -> None:
        version = self._store.indexed.version(namespace)
        if self._upto.get(namespace) == version:
            return
        spec, known = self.wanted(namespace).to_api(), self._written.get(namespace)
        if (known[0] if known else {"targets": {}}) == spec:
            self._upto[namespace] = version
            return
        metadata = {"namespace": namespace, "name": INDEX_NAME}
        body = {"apiVersion": API_VERSION, "kind": INDEXES.kind, "metadata": metadata, "spec": spec}
        try:
            if known is None:
                stored = await self._client.create(INDEXES, namespace, body)
            else:
                body["metadata"] = metadata | {"resourceVersion": known[1]}
                stored = await self._client.replace(INDEXES, namespace, INDEX_NAME, body)
        except (NotFound, Terminating):
            self._written.pop(namespace, None)
            self._upto.pop(namespace, None)
            if known is not None:  # it was deleted: the next attempt makes it again
                raise
            return  # the namespace is gone, or going, and everything in it
        self._written[namespace] = (spec, stored["metadata"]["resourceVersion"])
        self._upto[namespace] = version
