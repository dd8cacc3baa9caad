"""Attempts at one request, until a deadline."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from riskladder.client.errors import Refused, Unavailable
from riskladder.client.retry import is_final, pause

if TYPE_CHECKING:
    from riskladder.cluster.client import ApiError

KIND_MISSING = "could not find the requested resource"
"""How the API server says that it has no such kind."""

REQUEST_SECONDS = 10.0
"""Of one attempt, at most."""


class Until:
    """Tries again until a deadline that all calls share."""

    def __init__(self, seconds: float) -> None:
        """Begin now.

        Args:
            seconds: Until the deadline.
        """
        self._seconds = seconds
        self._ends = asyncio.get_running_loop().time() + seconds

    async def __call__(self, attempt: Callable[[float], Awaitable[Any]]) -> tuple[Any, int]:
        """Return what an attempt returns that is handed its seconds, and how many it took.

        Raises:
            Refused: It is of no use to try again.
            Unavailable: None has succeeded in time.
        """
        from riskladder.cluster.client import ApiError

        loop, tried = asyncio.get_running_loop(), 0
        while True:
            tried += 1
            try:
                return await attempt(max(min(REQUEST_SECONDS, self._ends - loop.time()), 0.1)), tried
            except ApiError as error:
                if is_final(error):
                    raise _refused(error) from error
                wait = pause(tried - 1, error.retry_after)
                if loop.time() + wait >= self._ends:
                    raise _unavailable(error, tried, self._seconds) from error
            await asyncio.sleep(wait)


def _refused(error: ApiError) -> Refused:
    message = error.message
    if error.status == 404 and KIND_MISSING in message:
        message = f"this cluster has no {error.resource}: install Riskladder's CRDs first"
    elif error.status == 403 and " cannot " in message:
        message = f"{message}: grant {error.verb} on {error.resource}, as docs/examples/monitor-rbac.yaml does"
    elif error.status == 401:
        message = f"the cluster does not accept these credentials: {message}"
    elif error.status == 500:
        message = f"the CRDs of this cluster are older than this client, apply those of its version: {message}"
    return Refused(message, reason=error.reason, status=error.status)


def _unavailable(error: ApiError, tried: int, seconds: float) -> Unavailable:
    times = f"{tried} {'attempt' if tried == 1 else 'attempts'} within the deadline of {seconds:g} s"
    said = re.sub(r" ssl:(<[^>]*>|\S+)", "", error.message)
    found = f"the cluster does not answer ({said})" if error.status == 0 else f"the API server says {said}"
    return Unavailable(
        f"{found} after {times}: try again later",
        reason=error.reason,
        status=error.status,
        retry_after=error.retry_after,
        attempts=tried,
    )
