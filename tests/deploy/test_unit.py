"""The systemd unit: every line means what systemd understands, and its command line serves, drains and refuses as it says."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sysconfig
from collections import defaultdict
from pathlib import Path

import pytest
from tests.acceptance.served import free_port
from tests.cli.processes import run
from tests.deploy.proxies import DEPLOY

from homing.errors import ConfigError, SchemaTooNew, StoreLocked

UNIT = DEPLOY / "homing.service"
PROGRAM = "/opt/homing/bin/homing"
STATE = "/var/lib/homing"
ANALYZE = shutil.which("systemd-analyze")
EXPOSED_AT_MOST = 2.0
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
    program = Path(sysconfig.get_path("scripts")) / "homing"
    return [str(program), *(word.replace(STATE, str(folder)) for word in words[1:])]


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


@pytest.mark.skipif(ANALYZE is None, reason="this machine has no systemd-analyze")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """`systemd-analyze verify` has no word to say, and finds it hardly exposed."""
    assert ANALYZE is not None
    program = Path(sysconfig.get_path("scripts")) / "homing"
    unit = tmp_path / "homing.service"
    unit.write_text(UNIT.read_text("utf-8").replace(PROGRAM, str(program)), "utf-8")
    verified = subprocess.run([ANALYZE, "verify", str(unit)], capture_output=True, text=True, check=False)
    about = [line for line in verified.stderr.splitlines() if "homing.service" in line]
    assert (verified.returncode, about) == (0, [])
    judged = subprocess.run(
        [ANALYZE, "security", "--offline=yes", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"Overall exposure level for homing\.service: ([0-9.]+)", judged.stdout)
    assert level, judged.stdout + judged.stderr
    assert float(level[1]) <= EXPOSED_AT_MOST


@pytest.mark.skipif(ANALYZE is None, reason="this machine has no systemd-analyze")
def test_verify_would_notice(tmp_path: Path) -> None:
    """A word that systemd does not know is told: otherwise the test above could not fail."""
    assert ANALYZE is not None
    unit = tmp_path / "homing.service"
    text = UNIT.read_text("utf-8").replace(PROGRAM, "/bin/true")
    unit.write_text(text.replace("ProtectHome=yes", "ProtectHouse=yes"), "utf-8")
    verified = subprocess.run([ANALYZE, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "ProtectHouse" in verified.stderr
