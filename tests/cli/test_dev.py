"""`dev` as a process, as a developer runs it: its panel, its feed, its clocks, and forwarding to one's own application."""

import json
import signal
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import run, running

from homing.cli.dev import opened
from homing.cli.exits import CliError
from homing.cli.panel import command


def test_dev_runs_the_whole_story(tmp_path: Path) -> None:
    """Panel, dev.json (0600), its curl line gives 201, the feed shows four callbacks, and Ctrl-C ends it with 130."""
    with running(tmp_path, "dev", "--listen", "127.0.0.1:0") as dev:
        url = dev.until(r"^  API +(http://\S+)/1 ")[1]
        request = dev.until(r"curl -s (\S+) -H '(Authorization: \S+ \S+)'")
        body = dev.until(r"-d '(.*)'$")[1]
        told = dict([request[2].split(": ", 1)]) | {"Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(request[1], body.encode(), told), timeout=10
        ) as answer:
            assert answer.status == 201
        for status in ("enqueued", "PushSent", "delivered", "read"):
            dev.until(rf"^\d\d:\d\d:\d\d\.\d{{3}}  ….{{4}}  ann +{status} +→ 204 +\d+ ms$")
        kept = tmp_path / ".homing" / "dev.json"
        held = json.loads(kept.read_text())
        assert kept.stat().st_mode & 0o777 == 0o600
        assert {"url", "token", "appId", "appKey", "secret"} <= set(held)
        assert held["url"] == url
        assert (tmp_path / ".homing" / ".gitignore").read_text() == "*\n"
        deeper = tmp_path / "a" / "b"
        deeper.mkdir(parents=True)
        assert run(deeper, "send", "hi", "--to", "ann", "--wait", "delivered").returncode == 0
        code, err = dev.end(signal.SIGINT)
    assert (code, err) == (130, "")


class Customer(BaseHTTPRequestHandler):
    """A customer's own receiver: fails twice, then takes everything."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        got: list[tuple[str, str, bytes]] = self.server.got  # type: ignore[attr-defined]
        got.append((self.headers["user-agent"], self.headers["webhook-id"], body))
        self.send_response(500 if len(got) <= 1 else 204)
        self.end_headers()
        if len(got) <= 1:
            self.wfile.write(b"KeyError: 'recipientRef'\nmore")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def customer() -> Iterator[HTTPServer]:
    """An HTTP server of somebody else's making on loopback."""
    with HTTPServer(("127.0.0.1", 0), Customer) as server:
        server.got = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_dev_forwards_to_ones_own_application(tmp_path: Path, customer: Any) -> None:
    """--forward-to: the same bytes, User-Agent and id at each try; the feed shows why a try failed; then in order."""
    port = customer.server_port
    words = ("dev", "--listen", "127.0.0.1:0", "--form", "form")
    with running(tmp_path, *words, "--forward-to", f"http://localhost:{port}/h") as dev:
        dev.until(rf"callbacks → http://localhost:{port}/h +form +form")
        dev.until("guard +opened")
        dev.until("clock")
        assert run(tmp_path, "send", "hi", "--to", "carol").returncode == 0
        failed = dev.until(r"carol +enqueued +→ 500")
        assert "try 1 of 12, next in 1 s  KeyError: 'recipientRef'" in failed.string
        dev.until(r"carol +enqueued +→ 204 +\d+ ms  try 2")
        dev.until(r"carol +iOSErrorInvalidToken +→ 204")
        first, second, third = customer.got
        assert first == second
        assert first[0] == "Catapush"
        assert b"status=enqueued" in first[2]
        assert b"status=iOSErrorInvalidToken" in third[2]
        assert dev.end(signal.SIGTERM)[0] == 0


def test_dev_has_an_inbox_beside_its_endpoint(tmp_path: Path, customer: Any) -> None:
    """What a phone sends comes to the same receiver, signed with the inbox's secret; both are there again after a restart."""
    words = ("dev", "--listen", "127.0.0.1:0", "--forward-to", f"http://127.0.0.1:{customer.server_port}/h")
    kept: list[tuple[str, str]] = []
    for count in (1, 2):
        with running(tmp_path, *words) as dev:
            secret = dev.until(r"incoming +→ the same.* (whsec_\S+)$")[1]
            held = json.loads((tmp_path / ".homing" / "dev.json").read_text())
            assert held["inboxSecret"] == secret
            kept.append((run(tmp_path, "inboxes", "list").stdout.split("\t")[0], secret))
            order = json.dumps({"do": "send", "text": "two minutes!"}).encode()
            asked = urllib.request.Request(f"{held['url']}/sim/1/phones/ann", order)
            with urllib.request.urlopen(asked, timeout=10) as answer:
                assert answer.status == 200
            dev.until(r"ann +incoming message +→ 204")
            assert len(customer.got) == count + 1  # the first of all was answered 500, and came again
            assert json.loads(customer.got[-1][2])["text"] == "two minutes!"
            assert dev.end(signal.SIGTERM)[0] == 0
    assert kept[0] == kept[1]


def test_dev_keeps_its_store_and_its_secret(tmp_path: Path) -> None:
    """Started again in the same place it has the same messages, and the endpoint signs with the same secret."""
    kept = tmp_path / ".homing" / "dev.json"
    secrets: list[str] = []
    for count in (1, 2):
        with running(tmp_path, "dev", "--listen", "127.0.0.1:0", "--quiet") as dev:
            dev.until(r"^http://")
            assert run(tmp_path, "send", "hi", "--to", "carol").returncode == 0
            listed = run(tmp_path, "messages", "list")
            assert len(listed.stdout.splitlines()) == count
            assert len(run(tmp_path, "endpoints", "list").stdout.splitlines()) == 1
            secrets.append(json.loads(kept.read_text())["secret"])
            assert dev.end(signal.SIGTERM)[0] == 0
            assert len(dev.lines) == 1
    assert secrets[0] == secrets[1]


def test_a_second_dev_in_one_place_is_told(tmp_path: Path) -> None:
    """The data directory has one owner: exit 6, one line with the way out, and the first goes on undisturbed."""
    with running(tmp_path, "dev", "--listen", "127.0.0.1:0", "--quiet") as dev:
        url = dev.until(r"^(http://\S+)")[1]
        second = run(tmp_path, "dev", "--listen", "127.0.0.1:0")
        assert (second.returncode, len(second.stderr.splitlines())) == (6, 1)
        assert "--data" in second.stderr
        third = run(tmp_path, "dev", "--listen", url.removeprefix("http://"), "--data", "other")
        assert (third.returncode, len(third.stderr.splitlines())) == (2, 1)
        assert "--listen" in third.stderr
        assert json.loads((tmp_path / ".homing" / "dev.json").read_text())["url"] == url
        assert dev.end(signal.SIGTERM)[0] == 0


def test_a_virtual_clock_stands_until_it_is_pushed(tmp_path: Path) -> None:
    """With --clock virtual nothing is delivered by itself; pushed until quiet, everything is."""
    with running(tmp_path, "dev", "--listen", "127.0.0.1:0", "--clock", "virtual", "--quiet") as dev:
        dev.until(r"^http://")
        sent = run(tmp_path, "send", "hi", "--to", "ann").stdout.strip()
        assert "read" not in run(tmp_path, "messages", "show", sent).stdout
        assert run(tmp_path, "clock", "until", "quiet").returncode == 0
        assert "\tread\t" in run(tmp_path, "messages", "show", sent).stdout
        assert dev.end(signal.SIGTERM)[0] == 0


def test_a_real_clock_cannot_be_pushed(tmp_path: Path) -> None:
    """With --clock real `homing clock` is a conflict, and says how to start instead."""
    with running(tmp_path, "dev", "--listen", "127.0.0.1:0", "--clock", "real", "--quiet") as dev:
        dev.until(r"^http://")
        ended = run(tmp_path, "clock", "+1m")
        assert ended.returncode == 6
        assert "--clock skip" in ended.stderr
        assert dev.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    ("on_path", "called", "wanted"),
    [
        ("/usr/bin/homing", ".venv/bin/homing", "homing"),
        (None, ".venv/bin/homing", ".venv/bin/homing"),
        (None, "HERE/.venv/bin/homing", ".venv/bin/homing"),
        (None, "/elsewhere/homing", "/elsewhere/homing"),
    ],
)
def test_the_panel_says_how_this_homing_is_called(
    on_path: str | None, called: str, wanted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By its name where the path has it, else as `make serve` called it: the lines can be copied."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda _name: on_path)
    monkeypatch.setattr("sys.argv", [called.replace("HERE", str(tmp_path))])
    assert command() == wanted


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://localhost:8000/h", "localhost"),
        ("http://Docker.Internal/h", "docker.internal"),
        ("http://192.168.1.5:80/h", "192.168.1.5/32"),
        ("http://[::1]/h", "::1/128"),
    ],
)
def test_forwarding_opens_one_host_alone(url: str, wanted: str) -> None:
    """The guard is opened by exact name, or for one address."""
    assert opened(url) == wanted


@pytest.mark.parametrize("url", ["localhost:8000", "/h", "http://", "http://[::1", ""])
def test_forwarding_to_no_url_is_wrong_usage(url: str) -> None:
    """What has no host is told."""
    with pytest.raises(CliError):
        opened(url)
