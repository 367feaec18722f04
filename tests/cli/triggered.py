"""A customer's receiver on loopback to which `trigger` sends; what it got, read by the contract's decoder."""

import json
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from homing.contract.decode import decode
from homing.contract.notification import Notification, StatusNotification
from homing.contract.signature import secret_from_bytes, verify
from homing.contract.status import STATUSES

SECRET = secret_from_bytes(bytes(range(32)))
KINDS = [*STATUSES, "incoming"]


class Got(NamedTuple):
    """One request as a customer's receiver saw it; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> bytes:
        """What is signed."""
        return self.path.partition("?")[2].encode() if self.method == "GET" else self.body

    @property
    def said(self) -> Notification:
        """What it tells."""
        query = self.path.partition("?")[2]
        return decode(self.method, query, self.headers.get("content-type"), self.body)

    def verifies(self, *secrets: str) -> bool:
        """Say whether one of the secrets signed it, just now."""
        verify(self.headers, self.payload, secrets, time.time())
        return True


class Customer:
    """A receiver of somebody else's making on loopback; answers as it is told, the last for ever."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = [(204, {}, b"")]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._take()

            def do_POST(self) -> None:
                self._take()

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, more, answer = outer.answers[min(len(outer.got), len(outer.answers) - 1)]
                outer.got.append(Got(self.command, self.path, headers, body))
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/h"

    def of(self, message_id: str) -> list[Got]:
        """What came about one message."""
        return [one for one in self.got if one.said.message_id == message_id]


def callbacks(live: Any) -> list[Any]:
    """What the live server's own receiver got."""
    with urllib.request.urlopen(f"{live.url}/sim/1/callbacks", timeout=10) as answer:
        items: list[Any] = json.load(answer)["items"]
    return items


def statuses(got: list[Got]) -> list[str]:
    return [one.said.status for one in got if isinstance(one.said, StatusNotification)]
