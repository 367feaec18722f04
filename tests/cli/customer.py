"""A customer's own HTTP server on loopback, in a thread: keeps what came byte for byte, and answers as it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import NamedTuple

from homing.contract.decode import decode
from homing.contract.notification import Notification, StatusNotification
from homing.contract.signature import verify

LONG_S = 30.0


class Came(NamedTuple):
    """One request; header names in lower case, ``query`` raw."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> bytes:
        """What is signed."""
        return self.query.encode() if self.method == "GET" else self.body

    @property
    def said(self) -> Notification:
        return decode(self.method, self.query, self.headers.get("content-type"), self.body)

    @property
    def status(self) -> str:
        said = self.said
        return said.status.value if isinstance(said, StatusNotification) else "incoming"

    def proves(self, secret: str) -> str:
        """Return the webhook-id, having verified the signature over the bytes as they came."""
        return verify(self.headers, self.payload, [secret], int(self.headers["webhook-timestamp"])).webhook_id


class Customer:
    """What came, oldest first. ``answers`` are the next ones; without any left it is 204."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[Came] = []
        self.answers: list[tuple[int, bytes]] = []
        self._more = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/h"

    def take(self, came: Came) -> tuple[int, bytes]:
        with self._more:
            self.requests.append(came)
            self._more.notify_all()
            return self.answers.pop(0) if self.answers else (204, b"")

    def wait(self, count: int) -> list[Came]:
        """Return what came once it is so many."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.requests) >= count, LONG_S), self.requests
            return [*self.requests]


class _Server(HTTPServer):
    allow_reuse_address = True
    customer: Customer


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _take(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        status, text = self.server.customer.take(Came(self.command, path, query, headers, body))
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self._take()

    def do_POST(self) -> None:
        self._take()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def customer(known: Customer | None = None) -> Iterator[Customer]:
    """Serve for as long as the block lasts; ``known`` goes on gathering in one that was there before."""
    with _Server(("127.0.0.1", 0 if known is None else known.port), _Handler) as server:
        it = server.customer = known or Customer(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield it
        finally:
            server.shutdown()
            thread.join()
