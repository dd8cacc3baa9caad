"""A model server: GET or POST / answers with a score and the name of its pod. What SIGTERM does is up to $ON_TERM.

honor   ends at once, as a server without a drain period does.
drain   answers for $DRAIN_SECONDS more, and ends then.
ignore  goes on until it is killed. So does any PID 1 without a handler, which many Python containers are.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

POD = socket.gethostname()
MODEL = {"score": 0.42, "pod": POD, "version": os.environ.get("MODEL_VERSION", "")}
BODY = json.dumps(MODEL).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Keep-alive, as clients and meshes have it.

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    do_POST = do_GET  # noqa: N815 - the name is the library's

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> int:
    mode = os.environ.get("ON_TERM", "honor")

    def end(number: int, frame: FrameType | None) -> None:
        print(f"SIGTERM, and this server is to {mode} it", flush=True)
        if mode == "honor":
            os._exit(0)
        if mode == "drain":
            threading.Timer(float(os.environ.get("DRAIN_SECONDS", "5")), os._exit, (0,)).start()

    signal.signal(signal.SIGTERM, end)
    Server(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()  # noqa: S104 - of its pod
    return 0


if __name__ == "__main__":
    sys.exit(main())
