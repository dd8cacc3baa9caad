"""Where records and escalations come from: an exported file, or the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from riskladder.api.base import API_VERSION, GROUP
from riskladder.cli import files
from riskladder.cluster.client import ApiError, Client, Object
from riskladder.cluster.connection import Access, ConnectionFailed, connect, own_namespace
from riskladder.cluster.resources import DECISIONS, ESCALATIONS, LADDERS, RECORDS, Resource
from riskladder.people.answers import explain
from riskladder.people.export import SAME_FILE, Export

EXPORTED = (LADDERS, DECISIONS, ESCALATIONS, RECORDS)
"""What an archive holds, in the order in which it is read."""


class Unavailable(Exception):  # noqa: N818 - reads as a sentence at the call site
    """The cluster could not be asked; the message says why and what to do."""


def from_file(source: str, namespace: str | None = None) -> Export:
    """Return the records and escalations of a file; other kinds are left out.

    Raises:
        files.Unreadable: The file cannot be read, or holds neither.
    """
    documents = files.read(source)
    for document in documents:
        if not isinstance(document.value, dict):
            raise files.Unreadable(f"{document.source}, line {document.line}: not a Kubernetes object")
    objects = [document.value for document in documents]
    records, escalations = _of(RECORDS, objects), _of(ESCALATIONS, objects)
    if not records and not escalations:
        name = "standard input" if source == files.STDIN else source
        raise files.Unreadable(f"{name}: holds no record; export with: kubectl get escr,esc -A -o json")
    is_yaml = any(document.is_yaml for document in documents)
    return Export(_in(namespace, records), _in(namespace, escalations), namespace, SAME_FILE, is_yaml)


def from_files(sources: Sequence[str], namespace: str | None = None) -> Export:
    """Return the records and escalations of several files, as if they were one.

    Raises:
        files.Unreadable: One of them cannot be read, or holds neither.
    """
    exports = [from_file(one, namespace) for one in sources]
    records = [record for export in exports for record in export.records]
    escalations = [found for export in exports for found in export.escalations]
    return Export(records, escalations, namespace, SAME_FILE, any(export.is_yaml for export in exports))


def from_cluster(access: Access, namespace: str | None, *, everywhere: bool = False) -> Export:
    """Return the records and escalations of a namespace (default: the kubeconfig's own), or of all.

    Raises:
        Unavailable: No credentials, no answer, no permission, or the CRDs are missing.
    """
    try:
        return asyncio.run(_fetch(access, namespace, everywhere))
    except (ConnectionFailed, OSError, yaml.YAMLError) as error:
        raise Unavailable(str(error)) from error
    except ApiError as error:
        raise Unavailable(explain(error)) from error


def everything_in(source: str, namespace: str | None = None) -> list[Object]:
    """Return all records, escalations, decisions and ladders of a file.

    Raises:
        files.Unreadable: The file cannot be read, or holds no record.
    """
    objects = [document.value for document in files.read(source) if isinstance(document.value, dict)]
    found = [obj for resource in EXPORTED for obj in _in(namespace, _of(resource, objects))]
    if not any(obj["kind"] == RECORDS.kind for obj in found):
        raise files.Unreadable(f"{source}: holds no record; export with: kubectl get escr,esc,escd,ladder -A -o json")
    return found


def everything_on(access: Access, namespace: str | None, *, everywhere: bool = False) -> list[Object]:
    """Return all records, escalations, decisions and ladders of a namespace, or of all.

    Raises:
        Unavailable: No credentials, no answer, no permission, or the CRDs are missing.
    """
    try:
        return asyncio.run(_fetch_all(access, namespace, everywhere))
    except (ConnectionFailed, OSError, yaml.YAMLError) as error:
        raise Unavailable(str(error)) from error
    except ApiError as error:
        raise Unavailable(explain(error)) from error


async def _fetch_all(access: Access, namespace: str | None, everywhere: bool) -> list[Object]:
    connection = await connect(access, agent="cli")
    try:
        client = Client(connection)
        where = None if everywhere else namespace or own_namespace(access, connection)
        found: list[Object] = []
        for resource in EXPORTED:  # records last: a head that is older than they are is no contradiction
            listed = await client.list(resource, where)
            found += [{"apiVersion": API_VERSION, "kind": resource.kind, **obj} for obj in listed]
        return found
    finally:
        await connection.close()


async def _fetch(access: Access, namespace: str | None, everywhere: bool) -> Export:
    connection = await connect(access, agent="cli")
    try:
        client = Client(connection)
        where = None if everywhere else namespace or own_namespace(access, connection)
        # Escalations first: a head that is older than the records is no contradiction, a newer one would be.
        escalations = await client.list(ESCALATIONS, where)
        return Export(await client.list(RECORDS, where), escalations, where)
    finally:
        await connection.close()


def _of(resource: Resource, objects: Iterable[Any]) -> list[Object]:
    return [
        found
        for found in objects
        if found.get("kind") == resource.kind and str(found.get("apiVersion", "")).split("/")[0] == GROUP
    ]


def _in(namespace: str | None, objects: list[Object]) -> list[Object]:
    if namespace is None:
        return objects
    return [o for o in objects if isinstance(m := o.get("metadata"), dict) and m.get("namespace") == namespace]
