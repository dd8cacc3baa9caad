"""The few HTTP calls that starting a plane needs, with the standard library only.

The planes must not depend on a Kubernetes client: the clients are among the things that tests examine.
"""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 5.0
NO_ANSWER = (OSError, http.client.HTTPException)


class Rest:
    """JSON over HTTP(S) to one server, never through a proxy."""

    def __init__(self, server: str, *, ca: Path | None = None, certificate: Path | None = None) -> None:
        """`certificate` is a PEM file with a client certificate and its key."""
        self.server = server
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if ca is not None:
            context = ssl.create_default_context(cafile=str(ca))
            if certificate is not None:
                context.load_cert_chain(certificate)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """The status code and the body of the answer. Raises one of NO_ANSWER where there is no answer."""
        request = urllib.request.Request(self.server + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def ok(self, path: str) -> bool:
        """True if a GET is answered with 200; False also while nobody answers."""
        try:
            return self.call("GET", path)[0] == 200
        except NO_ANSWER:
            return False

    def get(self, path: str) -> Any:
        """The JSON at a path, or None if there is none, or no answer."""
        try:
            status, body = self.call("GET", path)
        except NO_ANSWER:
            return None
        return json.loads(body) if status == 200 else None
