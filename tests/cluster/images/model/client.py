"""Clients of a model server, which write down when each of its pods answered them last.

    client.py NAME=HOST:PORT …

Each address gets one client that opens a new connection for each request, and two that keep theirs. A kept connection
that is lost stays lost. Ten times a second one line of JSON goes to standard output, with all that is known by then:

    {"at": 12.3, "clients": [{"model": NAME, "kept": false, "answers": 7, "errors": 0, "pods": {POD: [first, last]}}]}

POD is the pod's name and the version of its model, `scorer-0@2`, since a pod of a StatefulSet keeps its name. Times are
seconds since the epoch.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
from typing import Any

PAUSE = float(os.environ.get("PAUSE_SECONDS", "0.05"))
KEPT = 2
TIMEOUT = 1.0


class Client(threading.Thread):
    """Asks every PAUSE seconds."""

    def __init__(self, model: str, address: str, *, kept: bool) -> None:
        super().__init__(daemon=True)
        host, _, port = address.rpartition(":")
        self.model, self.host, self.port, self.kept = model, host, int(port), kept
        self.answers = self.errors = 0
        self.pods: dict[str, list[float]] = {}

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while True:
            try:
                connection = connection or http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
                connection.request("GET", "/")
                answer = json.loads(connection.getresponse().read())
                pod = f"{answer['pod']}@{answer['version']}"
                now = time.time()
                self.answers += 1
                self.pods.setdefault(pod, [now, now])[1] = now
                lost = False
            except (OSError, http.client.HTTPException, ValueError):
                self.errors += 1
                lost = True
            if connection is not None and (lost or not self.kept):
                connection.close()
                connection = None
            if lost and self.kept and self.answers:
                return
            time.sleep(PAUSE)

    def facts(self) -> dict[str, Any]:
        pods = {pod: list(times) for pod, times in list(self.pods.items())}
        return {
            "model": self.model,
            "kept": self.kept,
            "answers": self.answers,
            "errors": self.errors,
            "lost": not self.is_alive(),
            "pods": pods,
        }


def main(arguments: list[str]) -> None:
    clients = []
    for argument in arguments:
        model, _, address = argument.partition("=")
        clients += [Client(model, address, kept=number > 0) for number in range(1 + KEPT)]
    for client in clients:
        client.start()
    while True:
        print(json.dumps({"at": time.time(), "clients": [client.facts() for client in clients]}), flush=True)
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1:])
