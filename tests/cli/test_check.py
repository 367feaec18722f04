"""`homing check` as an operator runs it: beside a served node and without one, its exit codes and its output."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import environment, run, running

from homing.checkup.examination import CHECKS, SHARED

NODE = ("--data", "data", "--listen")


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[str]:
    """A node that serves ``data`` in the test's directory; gives host and port."""
    with running(tmp_path, "serve", *NODE, "127.0.0.1:0") as node:
        yield node.until(r"^http://(\S+)$")[1]
        assert node.end(signal.SIGTERM)[0] == 0


def contents(folder: Path) -> dict[str, bytes]:
    """The store and its log, byte for byte."""
    return {name: (folder / name).read_bytes() for name in ("homing.db", "homing.db-wal")}


def test_a_served_node_is_well_and_is_not_disturbed(tmp_path: Path, listen: str) -> None:
    """Every item is told and none FAILs; store and log are as before; the server goes on writing, and drains."""
    data = tmp_path / "data"
    before, files = contents(data), sorted(data.iterdir())
    ended = run(tmp_path, "check", *NODE, listen, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    items = {item["name"]: item for item in json.loads(ended.stdout)["items"]}
    assert list(items) == list(CHECKS)
    assert {item["state"] for item in items.values()} <= {"ok", "warn"}
    assert re.search(r"WAL, synchronous FULL, sound, .*running \(process \d+\)$", items["store"]["found"])
    assert items["server"]["found"].endswith(f"http://{listen} lives and is ready")
    assert "as the server's" in items["clock"]["found"]
    assert contents(data) == before
    assert sorted(data.iterdir()) == files
    token = (data / "admin-token").read_text().strip()
    made = run(tmp_path, "apps", "create", "bank", "--url", f"http://{listen}", "--token", token)
    assert made.returncode == 0
    assert contents(data) != before


def test_live_asks_the_server_alone(tmp_path: Path, listen: str) -> None:
    """Exit 0 while it takes work; 1 where nobody answers; neither needs the data directory."""
    (tmp_path / "elsewhere").mkdir()
    well = run(tmp_path / "elsewhere", "check", "--live", "--listen", listen)
    assert (well.returncode, well.stdout) == (0, f"ok\tserver\thttp://{listen} lives and is ready\t\n")
    dead = run(tmp_path, "check", "--live", HOMING_SERVER__LISTEN="127.0.0.1:1")
    assert dead.returncode == 1
    assert dead.stdout.startswith("FAIL\tserver\thttp://127.0.0.1:1: ")


def test_live_is_light(tmp_path: Path) -> None:
    """A health check that runs every few seconds loads neither the store nor the server's libraries."""
    code = (
        "import sys; from homing.cli.main import run; run(['check', '--live', '--listen', '127.0.0.1:1']);"
        "print([n for n in ('rich', 'uvicorn', 'apsw', 'structlog', 'cryptography') if n in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment(), check=True, cwd=tmp_path
    )
    assert ended.stdout.splitlines()[-1] == "[]"


def test_a_fault_is_exit_1_and_a_warning_only_if_it_is_asked_for(homing: Any, tmp_path: Path) -> None:
    """No store yet is a warning: 0, with --strict 1. A key that anyone may read is a FAIL."""
    only = ("check", "--data", "data", "--only")
    assert homing(*only, "store,keys").code == 0
    assert homing(*only, "store,keys", "--strict").code == 1
    assert homing(*only, "keys", "--strict").code == 0
    key = tmp_path / "data" / "master.key"
    key.parent.mkdir(mode=0o700)
    key.touch(mode=0o600)
    key.chmod(0o666)
    ended = homing(*only, "keys")
    assert ended.code == 1
    assert ended.out.startswith("FAIL\tkeys\tmaster.key 0666: open to others, ")


def test_plain_lines_have_four_fields_and_nothing_beside(homing: Any) -> None:
    """State, name, what was found, what to do; one item a line as JSON too."""
    ended = homing("check", "--only", "keys, server ,config")
    assert ended.err == ""
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert [line[1] for line in lines] == ["config", "keys", "server"], "in the order of the checks"
    assert {len(line) for line in lines} == {4}
    lines = homing("check", "--only", "keys,server", "--jsonl").out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["keys", "server"]


@pytest.mark.parametrize(
    ("where", "told"),
    [("127.0.0.1:1/x", "connect call failed"), ("127.0.0.1:topsecret/x", "store.url cannot be read")],
)
def test_a_database_that_cannot_be_looked_at_is_exit_1(
    where: str, told: str, homing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says why, and no part of the password anywhere."""
    monkeypatch.setenv("HOMING_STORE__URL", f"postgresql://homing:topsecret@{where}")
    monkeypatch.setenv("HOMING_SECURITY__MASTER_KEY_FILE", "master.key")
    ended = homing("check", "--only", "database")
    assert (ended.code, ended.err, len(ended.out.splitlines())) == (1, "", 1)
    assert told in ended.out.lower()
    assert "topsecret" not in ended.out
    ended = homing("check")
    assert ended.code == 1
    assert [line.split("\t")[1] for line in ended.out.splitlines()] == list(SHARED)
    assert "topsecret" not in ended.out + ended.err
    assert "only config, database, clock, keys, server, endpoints" in homing("check", "--only", "disk").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--only", "disc"),
            "no item 'disc', only config, store, disk, clock, keys, backup, server, endpoints",
        ),
        (("--only", ""), "no item ''"),
        (("--live", "--only", "disk"), "leave out --only"),
        (("--config", "none.toml"), "none.toml cannot be read"),
        (("--listen", "nonsense"), "server.listen"),
    ],
)
def test_wrong_usage_is_exit_2(words: tuple[str, ...], told: str, homing: Any) -> None:
    """One line that says what would be right, and no data."""
    ended = homing("check", *words)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert told in ended.err


def test_a_setting_that_does_not_exist_is_exit_2_and_the_nearest_is_named(homing: Any) -> None:
    """As for `serve`: nothing else can be judged then."""
    Path("homing.toml").write_text('[callbacks]\nalow = ["10.0.0.0/8"]\n')
    ended = homing("check")
    assert ended.code == 2
    assert "the nearest is callbacks.allow" in ended.err


def test_the_file_in_the_working_directory_is_named(homing: Any) -> None:
    """When none is given, as `serve` takes it."""
    Path("homing.toml").write_text('[callbacks]\nallow = ["10.0.0.0/8"]\n')
    ended = homing("check", "--only", "config")
    assert ended.out.startswith(
        "warn\tconfig\thoming.toml, 1 setting, 0 unknown, callbacks.allow opens the wide "
    )


def seen(folder: Path, *words: str, **more: str) -> str:
    """What a person sees on a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "homing.cli", "check", *words],
        stdout=theirs, stderr=subprocess.DEVNULL, cwd=folder,
        env=environment(TERM="xterm-256color", COLUMNS="200", **more),
    ) as process:  # fmt: skip
        os.close(theirs)
        screen = b""
        try:
            while read := os.read(ours, 65_536):
                screen += read
        except OSError:  # the terminal's other end was closed
            pass
        process.wait()
    os.close(ours)
    return screen.decode()


def test_people_get_colours_and_arrows(tmp_path: Path) -> None:
    """A state in colour, what to do behind an arrow; no colour where somebody objects."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    words = ("--data", "data", "--only", "keys,server")
    screen = seen(tmp_path, *words)
    assert re.search(r"\x1b\[33mwarn\x1b\[0m +keys +no master key yet.*→ chmod 700 data\b", screen)
    assert "\x1b[32mok" in screen
    for quiet in (seen(tmp_path, *words, "--no-color"), seen(tmp_path, *words, NO_COLOR="1")):
        assert "\x1b[" not in quiet
        assert re.search(r"warn +keys +no master key yet.*→ chmod 700 data\b", quiet)
