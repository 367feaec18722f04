"""`init`, `config show`, `serve` and `demo`, as an operator runs them, and how a verb ends that cannot go on."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import environment, run, running

from homing.cli.settings import settings_file
from homing.config import KEYS, load


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
