"""An HTTP server that stands in for the origin: a model that streams, and documents with ETags. It counts requests."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Origin:
    """The server, and what the tests change and look at.

    Attributes:
        documents: Text by path.
        requests: Method, path and status of every request.
        down: Answer everything with 503.
        pause: Seconds between two tokens.
    """

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.down = False
        self.pause = 0.0
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = origin.documents.get(self.path)
                etag = f'"{hash(text)}"'
                if origin.down or text is None:
                    self.answer(503 if origin.down else 404)
                elif self.headers.get("If-None-Match") == etag:
                    self.answer(304)
                else:
                    self.answer(200, etag, text.encode())

            def do_POST(self) -> None:
                prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
                self.answer(503 if origin.down else 200)
                for word in () if origin.down else prompt.upper().split():
                    time.sleep(origin.pause)
                    self.wfile.write(json.dumps({"token": word}).encode() + b"\n")
                    self.wfile.flush()

            def answer(self, status: int, etag: str | None = None, body: bytes = b"") -> None:
                origin.requests.append((self.command, self.path, status))
                self.send_response(status)
                if etag is not None:
                    self.send_header("ETag", etag)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Origin:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
