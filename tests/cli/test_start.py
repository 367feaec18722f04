"""`init`, `config show`, `serve`, `dev` and `demo` as processes, as an operator and a developer run them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from homing.cli.dev import opened
from homing.cli.exits import CliError
from homing.cli.panel import command
from homing.cli.settings import settings_file
from homing.config import KEYS, load

LONG_S = 30


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOMING_")}
    return kept | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "error"} | more


class Process:
    """A verb that runs, with what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, pattern: str) -> re.Match[str]:
        """Read stdout until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if (found := re.search(pattern, line)) is not None:
                return found
        raise AssertionError(f"{pattern!r} never came: {self.lines}\n{self.end(signal.SIGTERM)}")

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal and return (exit code, stderr)."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=LONG_S)
        self.lines += out.splitlines(keepends=True)
        return self.process.returncode, err


@contextmanager
def running(folder: Path, *words: str, **more: str) -> Iterator[Process]:
    with subprocess.Popen(
        [sys.executable, "-m", "homing.cli", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment(**more),
    ) as process:  # fmt: skip
        try:
            yield Process(process)
        finally:
            process.kill()


def run(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "homing.cli", *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(**more),
        timeout=LONG_S,
        check=False,
    )


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """`homing --help` answers without Typer, rich or the server's libraries."""
    code = (
        "import sys; from homing.cli.main import run; run(['--help']);"
        "print([n for n in ('typer', 'rich', 'uvicorn', 'msgspec', 'structlog', 'asyncio') if n in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    assert ended.stdout.splitlines()[-1] == "[]"


def test_wrong_settings_are_told_before_the_server_is_loaded(tmp_path: Path) -> None:
    """`homing serve` gets to its settings without rich and without the server's libraries."""
    code = (
        "import sys; from homing.cli.main import run; run(['serve', '--listen', 'nonsense']);"
        "print([n for n in ('rich', 'uvicorn', 'apsw', 'structlog') if n in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment(), check=True, cwd=tmp_path
    )
    assert ended.stdout.splitlines()[-1] == "[]"


def test_init_writes_every_setting_with_its_reason_and_overwrites_nothing(
    homing: Any, tmp_path: Path
) -> None:
    """The file loads to the defaults, the data directory is private, a second run is refused with 6."""
    ended = homing("init", "here", "--listen", "127.0.0.1:9999")
    assert ended.code == 0
    file = tmp_path / "here" / "homing.toml"
    assert ended.out.strip() == str(Path("here") / "homing.toml")
    settings = load(file, {}).settings
    assert settings.server.listen == "127.0.0.1:9999"
    data = settings.data_path()
    assert data == tmp_path / "here" / "homing-data"
    assert data.stat().st_mode & 0o777 == 0o700
    text = file.read_text()
    for name, key in KEYS.items():
        assert f"# {key.reason}" in text, name
    file.write_text("mine")
    assert homing("init", "here").code == 6
    assert file.read_text() == "mine"


def test_every_default_in_the_settings_file_may_be_switched_on(tmp_path: Path) -> None:
    """Taking away the comment signs gives a file that loads to the very defaults."""
    file = tmp_path / "homing.toml"
    on = re.sub(r"^# (\w+ = )", r"\1", settings_file({}), flags=re.M)
    file.write_text(on)
    loaded = load(file, {})
    assert all(
        option.value == option.default
        for option in loaded.options()
        if option.key != "security.master_key_file"
    )
    assert len(loaded.origins) == len(KEYS)


def test_config_show_tells_where_each_value_comes_from(homing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, environment, flag and default, each named."""
    Path("homing.toml").write_text('[callbacks]\nuser_agent = "Mine"\n')
    monkeypatch.setenv("HOMING_TELEMETRY__LOG_LEVEL", "debug")
    ended = homing("config", "show", "--listen", "127.0.0.1:1", "--json")
    found = {one["key"]: (one["value"], one["origin"]) for one in json.loads(ended.out)["items"]}
    assert found["callbacks.user_agent"] == ("Mine", "file")
    assert found["telemetry.log_level"] == ("debug", "environment")
    assert found["server.listen"] == ("127.0.0.1:1", "flag")
    assert found["store.url"][1] == "default"
    assert set(found) == set(KEYS)


def test_an_unknown_setting_stops_the_start_and_names_the_nearest(homing: Any) -> None:
    """A typo in the file is exit 2 with the key that was meant."""
    Path("homing.toml").write_text('[server]\nlisen = "127.0.0.1:1"\n')
    ended = homing("serve")
    assert ended.code == 2
    assert "server.listen" in ended.err


def test_a_node_starts_serves_and_drains(tmp_path: Path) -> None:
    """The first start makes store and admin token (0600); a second node is locked out; SIGTERM ends with 0."""
    common = ("--data", "data", "--listen", "127.0.0.1:0")
    with running(tmp_path, "serve", *common) as node:
        url = node.until(r"^(http://\S+)$")[1]
        token_file = tmp_path / "data" / "admin-token"
        assert token_file.stat().st_mode & 0o777 == 0o600
        more = {"HOMING_URL": url, "HOMING_TOKEN": token_file.read_text().strip()}
        assert run(tmp_path, "apps", "create", "bank", **more).returncode == 0
        assert run(tmp_path, "clock", "+1m", **more).returncode == 3
        locked = run(tmp_path, "serve", *common)
        assert (locked.returncode, len(locked.stderr.splitlines())) == (6, 1)
        taken = run(tmp_path, "serve", "--data", "other", "--listen", url.removeprefix("http://"))
        assert (taken.returncode, len(taken.stderr.splitlines())) == (2, 1)
        assert not (tmp_path / "other").exists()
        code, err = node.end(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in err
    assert all(json.loads(line)["event"] for line in err.splitlines())


def test_a_given_admin_token_leaves_no_file(tmp_path: Path) -> None:
    """HOMING_ADMIN_TOKEN is the admin token; then none is written. A short one is refused."""
    token = "t" * 32
    with running(
        tmp_path, "serve", "--data", "d", "--listen", "127.0.0.1:0", HOMING_ADMIN_TOKEN=token
    ) as node:
        url = node.until(r"^(http://\S+)$")[1]
        assert run(tmp_path, "apps", "list", "--url", url, "--token", token).returncode == 0
        assert node.end(signal.SIGINT)[0] == 130
    assert not (tmp_path / "d" / "admin-token").exists()
    assert run(tmp_path, "serve", "--data", "d", HOMING_ADMIN_TOKEN="short").returncode == 2


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


def test_the_demo_is_a_self_test(tmp_path: Path) -> None:
    """18 statuses in 3 forms, exit 0; with a law broken on purpose the same demo ends with 1 and says which."""
    whole = run(tmp_path, "demo")
    assert whole.returncode == 0, whole.stdout
    assert "18/18 statuses × 3/3 forms" in whole.stdout
    assert whole.stderr == ""
    broken = run(tmp_path, "demo", "--break-law", "swap")
    assert broken.returncode == 1
    assert "2 laws broken" in broken.stdout
    assert len(broken.stderr.splitlines()) == 1


def test_a_fault_of_ours_leaves_a_report_and_no_traceback(
    homing: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Exit 70, one line that names the report; the report has the traceback, and nothing of what was typed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("homing.cli.main._invoke", lambda *_: 1 // 0)
    ended = homing("send", "secret text", "--token=hom_t_x", "--to", "ann")
    assert ended.code == 70
    assert len(ended.err.splitlines()) == 1
    (report,) = tmp_path.glob("homing-report-*.txt")
    assert str(report) in ended.err
    assert report.stat().st_mode & 0o777 == 0o600
    text = report.read_text()
    assert "ZeroDivisionError" in text
    assert "homing send … --token --to …" in text
    assert "hom_t_x" not in text
    assert "secret text" not in text


def test_a_server_that_is_none_is_told(homing: Any) -> None:
    """Something else at the address: exit 5, no traceback, whatever it answers with."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"220 smtp ready\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        port = listener.getsockname()[1]
        ended = homing("apps", "list", "--url", f"http://127.0.0.1:{port}", "--token", "x")
        thread.join()
    assert ended.code == 5
    assert len(ended.err.splitlines()) == 1
