"""The systemd unit: every line means what systemd understands, and its command line serves, drains and refuses as it says."""

import os
import re
import shlex
import signal
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from tests.acceptance.served import free_port
from tests.cli.processes import run
from tests.deploy.directives import INSTALLED, JUDGES, PROGRAM
from tests.deploy.proxies import DEPLOY

from homing.errors import ConfigError, SchemaTooNew, StoreLocked

UNIT = DEPLOY / "homing.service"
STATE = "/var/lib/homing"
DRAIN_S = 15


def parsed() -> dict[str, dict[str, list[str]]]:
    """The unit's sections, each key with its values in order; anything but comments, sections and pairs is an error."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in UNIT.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if section := re.fullmatch(r"\[(\w+)\]", line):
            found[section[1]] = defaultdict(list)
            continue
        key, value = re.fullmatch(r"([A-Za-z]+)=(.*)", line).groups()  # type: ignore[union-attr]
        found[list(found)[-1]][key].append(value)
    return found


def command(folder: Path) -> list[str]:
    """ExecStart with this environment's program, and its state in the test's directory."""
    (line,) = parsed()["Service"]["ExecStart"]
    words = shlex.split(line)
    assert words[0] == PROGRAM
    return [str(INSTALLED), *(word.replace(STATE, str(folder)) for word in words[1:])]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HOMING_")}


def test_the_unit_restarts_what_a_restart_mends() -> None:
    """Not after the exit codes that need a person; without giving up otherwise; and it waits for the drain."""
    unit = parsed()
    service = unit["Service"]
    assert service["Type"] == ["exec"]
    assert service["Restart"] == ["on-failure"]
    needs_a_person = {kind.exit_code for kind in (ConfigError, StoreLocked, SchemaTooNew)}
    assert {int(code) for code in service["RestartPreventExitStatus"][0].split()} == needs_a_person
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert int(service["TimeoutStopSec"][0]) > 2 * DRAIN_S
    assert service["KillSignal"] == [], "SIGTERM, the default, drains"


def test_the_unit_gives_nothing_away() -> None:
    """It runs as a user of its own, may write its state alone, gains no rights, and has the sockets that Homing opens."""
    service = parsed()["Service"]
    assert service["User"] == ["homing"]
    assert service["NoNewPrivileges"] == ["yes"]
    assert service["ProtectSystem"] == ["strict"]
    assert (service["StateDirectory"], service["StateDirectoryMode"]) == (["homing"], ["0700"])
    assert service["ReadWritePaths"] == []
    assert service["CapabilityBoundingSet"] == [""]
    assert int(service["LimitNOFILE"][0]) > 20_256
    assert set(service["RestrictAddressFamilies"][0].split()) == {
        "AF_INET",
        "AF_INET6",
        "AF_UNIX",
        "AF_NETLINK",
    }


def test_its_command_line_serves_and_drains(tmp_path: Path) -> None:
    """With what `homing init` writes, as the page says; SIGTERM ends it with 0."""
    state, port = tmp_path / "state", free_port()
    assert run(tmp_path, "init", str(state), "--listen", f"127.0.0.1:{port}").returncode == 0
    with subprocess.Popen(
        command(state),
        cwd=state,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{port}\n"
        assert run(state, "check", "--config", str(state / "homing.toml"), "--live").returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert (state / "homing-data" / "homing.db").exists()


def test_its_command_line_refuses_with_the_codes_that_stop_it(tmp_path: Path) -> None:
    """Without settings it ends with 2, which is not tried again."""
    ended = subprocess.run(
        command(tmp_path), cwd=tmp_path, env=environment(), capture_output=True, timeout=30, check=False
    )
    assert str(ended.returncode) in parsed()["Service"]["RestartPreventExitStatus"][0].split()


def judged(folder: Path, judge: str, text: str) -> list[str]:
    """What is wrong with a unit of this text, with a program in it that is there."""
    unit = folder / "homing.service"
    unit.write_text(text.replace(PROGRAM, str(INSTALLED)), "utf-8")
    return JUDGES[judge](unit)


@pytest.mark.parametrize("judge", JUDGES)
def test_every_line_is_understood_and_it_is_hardly_exposed(tmp_path: Path, judge: str) -> None:
    """Neither the tables made from systemd's pages nor, where it is installed, systemd itself has a word to say."""
    assert judged(tmp_path, judge, UNIT.read_text("utf-8")) == []


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize(
    ("line", "other", "told"),
    [
        ("ProtectHome=yes", "ProtectHouse=yes", "ProtectHouse"),
        ("Restart=on-failure", "Restart=often", "often"),
        ("RestartSec=1", "RestartSec=soon", "soon"),
        ("PrivateDevices=yes", "PrivateDevices=maybe", "maybe"),
    ],
)
def test_a_wrong_line_would_be_noticed(tmp_path: Path, judge: str, line: str, other: str, told: str) -> None:
    """A word that systemd does not know is told: otherwise the test above could not fail."""
    text = UNIT.read_text("utf-8")
    assert line in text
    found = judged(tmp_path, judge, text.replace(line, other))
    assert any(told in one for one in found), found


@pytest.mark.parametrize("judge", JUDGES)
def test_a_unit_that_is_open_would_be_noticed(tmp_path: Path, judge: str) -> None:
    """Without what shuts it in it is exposed, and that is told."""
    text = "\n".join(
        line for line in UNIT.read_text("utf-8").splitlines() if not line.startswith(("Protect", "Restrict"))
    )
    assert judged(tmp_path, judge, text) != []
