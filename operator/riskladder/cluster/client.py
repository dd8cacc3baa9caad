"""A thin client: JSON in, JSON out, one exception type that says what was asked and what was answered."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import aiohttp
from multidict import CIMultiDict

from riskladder.api.labels import FIELD_MANAGER
from riskladder.cluster.connection import Connection
from riskladder.cluster.resources import Resource
from riskladder.cluster.server_clock import ServerClock

Object = dict[str, Any]

"""How managedFields name the operator's writes: it distinguishes a containment from somebody else's scaling."""

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

STRICT = {"fieldValidation": "Strict"}
"""Has the API server refuse a write of which it would drop a field that it does not know."""

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""What is accepted of an object whose spec is large and not needed."""

REQUEST_TIMEOUT = 10.0
"""Seconds for one request, answer included."""

LIST_TIMEOUT = 60.0
"""Seconds for one page of a list."""

PAGE = 200
"""Objects in one page of a list. What is kept lies between what is not, and so keeps its memory from being given
back: with pages of 500, 1,500 Deployments took 17 MiB more."""

WATCH_SECONDS = 15
"""For how long the API server keeps one watch open. A bookmark need not come before that: some come once a minute."""

STALL_SECONDS = 5.0
"""How much longer nothing may be heard before a connection counts as stalled: a breach behind it would go unseen."""

TRANSIENT = (0, 429, 503, 504)
"""HTTP statuses that say nothing about what was asked for: no answer, or come again later."""

NAMESPACES = "namespaces"
"""What an answer is about where the namespace of an object is not there."""

_DENIAL = re.compile(r"admission webhook \"[^\"]*\" denied the request|ValidatingAdmissionPolicy .* denied request")
"""How the API server says that admission refuses a request, whatever the code of the answer."""


class ApiError(Exception):
    """The API server refused a request or could not be reached.

    Attributes:
        status: HTTP status; 0 where there was no answer.
        reason: ``metav1.Status.reason``, for example ``NotFound``; ``Unreachable`` where there was no answer.
        verb: What was asked for, as RBAC says it.
        resource: Of what, as ``plural.group``.
        retry_after: Seconds the server asked to wait, or 0.
        is_final: Whether it is of no use to try again: its namespace is being deleted, or gone.
    """

    is_final = False

    def __init__(
        self, status: int, reason: str, message: str, *, verb: str, resource: str, where: str, retry_after: float = 0.0
    ) -> None:
        super().__init__(f"{verb} {resource} {where}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.verb = verb
        self.resource = resource
        self.retry_after = retry_after

    @property
    def is_transient(self) -> bool:
        """Whether the answer says nothing about what was asked for: it may be given at any other time."""
        return self.status in TRANSIENT

    @property
    def is_denial(self) -> bool:
        """Whether admission refuses the request: then nothing was stale, missing, or there already."""
        return bool(_DENIAL.search(self.message))


class NotFound(ApiError):  # noqa: N818 - named as the API server names it
    """404: no such object, or no such resource."""


class NamespaceMissing(NotFound):
    """404: there is no such namespace, or no longer. To try again is of no use."""

    is_final = True


class Conflict(ApiError):  # noqa: N818
    """409: it exists already, or was changed meanwhile."""


class Refused(ApiError):  # noqa: N818
    """422: the object or the patch does not hold; for a JSON Patch, a test failed."""


class Forbidden(ApiError):  # noqa: N818
    """403: not allowed by RBAC or by an admission policy."""


class Denied(Forbidden):
    """404 or 409 by an admission webhook, which may answer with any code: the object is there, and as it was seen."""


class Terminating(Forbidden):
    """403: the namespace is being deleted, and takes nothing new. To try again is of no use."""

    is_final = True


def drained(items: list[Object]) -> Iterator[Object]:
    """Yield the objects of a page, and let go of each: what is kept of the next ones takes its place in memory.

    A page that is alive while the next one is on its way took 10 MiB more, with 1,500 Deployments.
    """
    items.reverse()
    while items:
        yield items.pop()


_ERRORS: Mapping[int, type[ApiError]] = {404: NotFound, 409: Conflict, 422: Refused, 403: Forbidden}

Observer = Callable[[str, str, str], None]
"""Called with every request: verb, resource, result."""


class Client:
    """Requests to one API server."""

    def __init__(
        self,
        connection: Connection,
        *,
        observe: Observer | None = None,
        dry_run: bool = False,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Use a connection.

        Args:
            connection: The open session.
            observe: Called with every request, for metrics.
            dry_run: Send every write as a server-side dry run: admitted, validated, not stored.
            headers: Sent with every request: whose it is, over a connection without credentials. One may come several
                times.
        """
        self._headers = CIMultiDict(headers)
        self._connection = connection
        self._observe = observe
        self._dry_run = dry_run
        self.clock = ServerClock()
        """The API server's time, as its responses say it."""

    @property
    def namespace(self) -> str:
        """The operator's own namespace."""
        return self._connection.namespace

    async def request(
        self,
        method: str,
        path: str,
        *,
        verb: str,
        resource: str,
        body: Any = None,
        content_type: str = JSON,
        params: Mapping[str, str] | None = None,
        acting_as: str = "",
        accept: str = "",
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109 - of the whole exchange, enforced by aiohttp
    ) -> Object:
        """Send one request and return the decoded answer.

        Args:
            method: HTTP method.
            path: Path of the URL, escaped.
            verb: RBAC verb, for errors and metrics.
            resource: ``plural.group``, for errors and metrics.
            body: JSON value to send.
            content_type: Of the body.
            params: Query.
            acting_as: User name to impersonate in this request; by default it is the client's own user.
            accept: In which form the answer is wanted; by default as JSON, and whole.
            timeout: Seconds.

        Raises:
            ApiError: Any answer but 2xx, or none in time.
        """
        query = dict(params or {})
        if method != "GET" and self._dry_run:
            query["dryRun"] = "All"
        headers = self._headers.copy()
        if body is not None:
            headers["Content-Type"] = content_type
        if acting_as:
            headers["Impersonate-User"] = acting_as
        if accept:
            headers["Accept"] = accept
        data = None if body is None else json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        sent = self.clock.now()
        try:
            async with self._connection.session.request(
                method,
                self._connection.server + path,
                params=query or None,
                data=data,
                headers=headers or None,
                timeout=aiohttp.ClientTimeout(total=timeout),
            ) as response:
                self.clock.note(response.headers.get("Date"), sent)
                raw = await response.read()
                if response.status < 300:
                    answer = _decoded(raw)
                    self._note(verb, resource, "ok")
                    return answer
                error = _error(response, raw, verb, resource, path)
        except (TimeoutError, aiohttp.ClientError, OSError) as cause:
            self._note(verb, resource, "unreachable")
            why = f"no answer within {timeout:g} s" if isinstance(cause, TimeoutError) else str(cause) or repr(cause)
            raise ApiError(0, "Unreachable", why, verb=verb, resource=resource, where=path) from cause
        self._note(verb, resource, error.reason)
        raise error

    def _note(self, verb: str, resource: str, result: str) -> None:
        if self._observe is not None:
            self._observe(verb, resource, result)

    async def get(self, resource: Resource, namespace: str | None, name: str, *, accept: str = "") -> Object:
        """Get one object as it is stored now; of it only what ``accept`` asks for."""
        path = resource.path(namespace, name)
        return await self.request("GET", path, verb="get", resource=resource.title, accept=accept)

    async def pages(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", limit: int = PAGE
    ) -> AsyncIterator[tuple[list[Object], str]]:
        """Yield the objects page by page, each with the resourceVersion of the whole list: where a watch goes on from.

        What is reduced to facts as it comes never has all objects in memory at once, nor, with ``drained``, two pages.
        """
        params: dict[str, str] = {"limit": str(limit)}
        if labels:
            params["labelSelector"] = labels
        while True:
            page = await self.request(
                "GET",
                resource.path(namespace),
                verb="list",
                resource=resource.title,
                params=params,
                timeout=LIST_TIMEOUT,
            )
            metadata = page.get("metadata") or {}
            head = {"apiVersion": resource.api_version, "kind": resource.kind}
            yield [{**head, **i} for i in page.pop("items", None) or ()], str(metadata.get("resourceVersion", ""))
            token = metadata.get("continue")
            if not token:
                return
            params["continue"] = token

    async def list_at(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", limit: int = 0
    ) -> tuple[list[Object], str]:
        """Return all objects (or the first ``limit``), and the resourceVersion of the list: where a watch goes on."""
        found: list[Object] = []
        version = ""
        async for items, at in self.pages(resource, namespace, labels=labels, limit=limit or PAGE):
            found += items
            version = at
            if limit:
                break
        return found, version

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        limit: int = 0,
    ) -> list[Object]:
        """Return all objects (or the first ``limit``), with kind and apiVersion filled in."""
        return (await self.list_at(resource, namespace, labels=labels, limit=limit))[0]

    async def watch(
        self, resource: Resource, namespace: str | None = None, *, since: str = "", name: str = ""
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield changes until the server ends the stream, which it does every ``WATCH_SECONDS``.

        Args:
            resource: What to watch.
            namespace: Where, or everywhere.
            since: resourceVersion to go on from, bookmarks included; by default existing objects come first, as
                ``ADDED``.
            name: Only the object of this name.

        Raises:
            ApiError: The API server refused, was not there, fell silent, or sent an error in the stream.
        """
        params = {"watch": "true"}
        if since:
            params |= {
                "resourceVersion": since,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(WATCH_SECONDS),
            }
        params |= {"fieldSelector": f"metadata.name={name}"} if name else {}
        where, title = resource.path(namespace), resource.title
        silence = WATCH_SECONDS + STALL_SECONDS if since else None
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT, sock_read=silence)
        try:
            async with self._connection.session.get(
                self._connection.server + where, params=params, timeout=timeout, headers=self._headers or None
            ) as response:
                if response.status >= 300:
                    raise _error(response, await response.read(), "watch", title, where)
                buffer = b""
                async for chunk in response.content.iter_any():
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in filter(None, lines):
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            status = event["object"]
                            raise ApiError(
                                status.get("code", 0),
                                status.get("reason", "Error"),
                                status.get("message", ""),
                                verb="watch",
                                resource=title,
                                where=where,
                            )
                        yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError) as cause:
            raise ApiError(
                0, "Unreachable", str(cause) or repr(cause), verb="watch", resource=title, where=where
            ) from cause

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        body: Object,
        *,
        manager: str,
        acting_as: str = "",
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109
    ) -> Object:
        """Apply an object server-side, taking over what others own; as another user where one is named."""
        return await self.request(
            "PATCH",
            resource.path(namespace, body["metadata"]["name"]),
            verb="patch",
            resource=resource.title,
            body=body,
            content_type=APPLY_PATCH,
            params={"fieldManager": manager, "force": "true"},
            acting_as=acting_as,
            timeout=timeout,
        )

    async def create(self, resource: Resource, namespace: str | None, body: Object, *, strict: bool = False) -> Object:
        """Create an object, ``strict`` only with all of its fields; ``Conflict`` where one of that name exists."""
        return await self.request(
            "POST",
            resource.path(namespace),
            verb="create",
            resource=resource.title,
            body=body,
            params={"fieldManager": FIELD_MANAGER} | (STRICT if strict else {}),
        )

    async def replace(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Object,
        *,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109
    ) -> Object:
        """Replace an object; ``Conflict`` where its resourceVersion has moved."""
        return await self.request(
            "PUT",
            resource.path(namespace, name),
            verb="update",
            resource=resource.title,
            body=body,
            params={"fieldManager": FIELD_MANAGER},
            timeout=timeout,
        )

    async def json_patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Sequence[Object],
        *,
        subresource: str | None = None,
    ) -> Object:
        """Send an RFC 6902 patch; ``Refused`` where one of its tests fails."""
        return await self._patch(resource, namespace, name, patch, JSON_PATCH, subresource)

    async def merge_patch(
        self, resource: Resource, namespace: str, name: str, patch: Object, *, subresource: str | None = None
    ) -> Object:
        """Send an RFC 7386 merge patch."""
        return await self._patch(resource, namespace, name, patch, MERGE_PATCH, subresource)

    async def _patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Any,
        content_type: str,
        subresource: str | None = None,
    ) -> Object:
        return await self.request(
            "PATCH",
            resource.path(namespace, name, subresource),
            verb="patch",
            resource=resource.title + (f"/{subresource}" if subresource else ""),
            body=patch,
            content_type=content_type,
            params={"fieldManager": FIELD_MANAGER},
        )

    async def delete(self, resource: Resource, namespace: str | None, name: str) -> None:
        """Delete an object."""
        await self.request("DELETE", resource.path(namespace, name), verb="delete", resource=resource.title)


def _decoded(raw: bytes) -> Object:
    """Return the object of an answer.

    Raises:
        OSError: It is none: something that stands between has answered.
    """
    try:
        answer: Object = json.loads(raw) if raw else {}
    except ValueError:
        raise OSError("what answered is no API server: found no JSON") from None
    return answer


def _error(response: aiohttp.ClientResponse, raw: bytes, verb: str, resource: str, path: str) -> ApiError:
    reason, message = response.reason or "Error", raw[:1000].decode(errors="replace")
    about, causes = "", list[str]()
    try:
        status = json.loads(raw)
        if status.get("kind") == "Status":
            reason, message = status.get("reason") or reason, status.get("message") or message
            details = status.get("details") or {}
            about, causes = details.get("kind") or "", [c.get("reason") or "" for c in details.get("causes") or ()]
    except (ValueError, AttributeError, TypeError):
        pass
    kind, is_denial = _ERRORS.get(response.status, ApiError), bool(_DENIAL.search(message))
    if "NamespaceTerminating" in causes and not is_denial:  # a webhook may give whatever cause it likes
        kind = Terminating
    elif kind in (NotFound, Conflict) and is_denial:
        kind = Denied
    elif kind is NotFound and about == NAMESPACES:
        kind = NamespaceMissing
    header = response.headers.get("Retry-After", "")
    return kind(
        response.status,
        reason,
        message,
        verb=verb,
        resource=resource,
        where=path,
        retry_after=float(header) if header.isdigit() else 0.0,
    )
