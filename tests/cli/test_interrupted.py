"""A Ctrl-C is never lost: Python says nothing of one that comes while an answer is closed at its end as an object."""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from homing.callbacks.guard import parse_url
from homing.callbacks.job import EndpointView, Job
from homing.cli.client import Client
from homing.cli.posting import post
from homing.cli.target import Target
from homing.contract.forms import Form


class Answers(BaseHTTPRequestHandler):
    """A JSON document to whatever is asked, on a connection that is kept or not."""

    def do_GET(self) -> None:
        self.protocol_version = "HTTP/1.1" if self.path.endswith("kept") else "HTTP/1.0"
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[http.client.HTTPResponse]:
    """Every answer that was read, kept from its end."""
    read: list[http.client.HTTPResponse] = []

    class Kept(http.client.HTTPResponse):
        def begin(self) -> None:
            read.append(self)
            super().begin()

    monkeypatch.setattr(http.client.HTTPConnection, "response_class", Kept)
    return read


@pytest.mark.parametrize("path", ["/kept", "/cut"])
def test_an_answer_of_the_api_is_closed_where_a_signal_is_heard(
    url: str, answers: list[http.client.HTTPResponse], path: str
) -> None:
    """Nothing is left to do when the last one forgets it."""
    client = Client(Target(url, "token"))
    assert client.call("GET", path) == {}
    client.close()
    assert [answer.closed for answer in answers] == [True]


@pytest.mark.parametrize("path", ["/kept", "/cut"])
def test_an_answer_to_a_callback_is_closed_where_a_signal_is_heard(
    url: str, answers: list[http.client.HTTPResponse], path: str
) -> None:
    """The same for what a listener brings to a server here."""
    view = EndpointView(id=0, url=parse_url(url + path), form=Form.GET, signers=())
    assert post(Job(view, [], None, None)).status == 200
    assert [answer.closed for answer in answers] == [True]
