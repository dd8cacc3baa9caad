"""An API server that answers what a test says, over HTTP, and a kubeconfig that leads to it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml
from aiohttp import web

Object = dict[str, Any]

NAMESPACE = "models"
SIGNALS = f"/apis/riskladder.dev/v1alpha1/namespaces/{NAMESPACE}/modelrisksignals/"
LADDERS = f"/apis/riskladder.dev/v1alpha1/namespaces/{NAMESPACE}/escalationladders"
SCORER = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/credit-scorer"


@dataclass
class Request:
    """One request that came in."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    body: Any


def failure(status: int, message: str, reason: str = "Failure", **headers: str) -> web.Response:
    """What the API server says where it does not do what it was asked for."""
    body = {"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": status}
    return web.json_response(body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


@dataclass
class ApiServer:
    """Answers what it was told to, in order, and to a write what was written."""

    directory: Path
    answers: dict[str, list[web.Response]] = field(default_factory=dict)
    """By the beginning of ``METHOD path``; what is used up is answered by default."""
    objects: dict[str, Object] = field(default_factory=dict)
    """By path: what there is to read."""
    got: list[Request] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def kubeconfig(self) -> str:
        """Path of a kubeconfig whose context has the namespace."""
        return kubeconfig(self.directory, self.url)

    @property
    def writes(self) -> list[Request]:
        """What was to be written."""
        return [one for one in self.got if one.method != "GET"]

    async def _answer(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.got.append(Request(request.method, request.path, dict(request.query), request.content_type, body))
        asked = f"{request.method} {request.path}"
        for start, answers in self.answers.items():
            if asked.startswith(start) and answers:
                return answers.pop(0)
        if request.method == "GET":
            found = self.objects.get(request.path)
            return web.json_response(found) if found else failure(404, f"{request.path} not found", "NotFound")
        metadata = {**(body.get("metadata") or {}), "generation": 1, "uid": "uid", "resourceVersion": "7"}
        return web.json_response({**body, "metadata": metadata})


def kubeconfig(directory: Path, server: str) -> str:
    """Write a kubeconfig; its path."""
    file = directory / "kubeconfig"
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": "secret"}}],
            }
        )
    )
    return str(file)
