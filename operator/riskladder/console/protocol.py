"""One connection of a browser: what is no request is answered without a word of it, or ends the connection."""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web

from riskladder.console import security

log = structlog.get_logger(__name__)

SERVER = "riskladder"
"""What the header Server says, in place of versions."""

HEADER_SECONDS = 10.0
"""In how many seconds the first request has to have arrived, up to the end of its headers."""


class Protocol(web.RequestHandler):
    """Ends a connection on which no request arrives, logs nothing of what is none: a credential may be in it."""

    __slots__ = ("_impatience",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._impatience = asyncio.get_running_loop().call_later(HEADER_SECONDS, transport.close)

    def heard(self) -> None:
        """Wait no more: a request has arrived. Those that follow it on the same connection have aiohttp's own limit."""
        self._impatience.cancel()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait no more: the browser has gone."""
        self._impatience.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return what is answered where no page can be."""
        del message
        if status < 500:
            log.warning("request not understood", remote=request.remote, error=type(exc).__name__)
        else:
            log.error("request failed", remote=request.remote, exc_info=exc)
        if request.writer is not None and request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        headers = {**security.HEADERS, "Server": SERVER}
        response = web.Response(status=status, text="This cannot be answered.\n", headers=headers)
        response.force_close()
        return response
