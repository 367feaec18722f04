"""What systemd's pages say of the directives that a unit of ours may hold: the section of each, and what its value looks like.

systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5). `complaints` reads a unit by them and needs no systemd; where there is
one, `complaints_of_systemd` asks it.
"""

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Final

YES_NO: Final = r"yes|no"
SPAN: Final = r"\d+(ms|s|min|h)?"
UNITS: Final = r"[\w@-]+\.(target|service|socket)( [\w@-]+\.(target|service|socket))*"
CODES: Final = r"(\d+|SIG[A-Z]+)( (\d+|SIG[A-Z]+))*"
DIRECTORY: Final = r"/[\w/.-]*"
CALLS: Final = r"~?@?[a-z][a-z0-9_-]*( @?[a-z][a-z0-9_-]*)*"

UNDERSTOOD: Final[dict[str, dict[str, str]]] = {
    "Unit": {
        "Description": r".+",
        "After": UNITS,
        "Wants": UNITS,
        "StartLimitIntervalSec": SPAN,
    },
    "Service": {
        "Type": r"simple|exec|forking|oneshot|dbus|notify|notify-reload|idle",
        "User": r"[a-z_][a-z0-9_-]*",
        "Group": r"[a-z_][a-z0-9_-]*",
        "StateDirectory": r"[\w-]+(/[\w-]+)*",
        "StateDirectoryMode": r"0?[0-7]{3}",
        "WorkingDirectory": DIRECTORY,
        "ExecStart": r"/[^ ]+( .+)?",
        "Restart": r"no|always|on-success|on-failure|on-abnormal|on-abort|on-watchdog",
        "RestartSec": SPAN,
        "RestartPreventExitStatus": CODES,
        "TimeoutStopSec": SPAN,
        "LimitNOFILE": r"\d+(:\d+)?|infinity",
        "UMask": r"0?[0-7]{3}",
        "NoNewPrivileges": YES_NO,
        "CapabilityBoundingSet": r"~?(CAP_[A-Z_]+( CAP_[A-Z_]+)*)?",
        "AmbientCapabilities": r"~?(CAP_[A-Z_]+( CAP_[A-Z_]+)*)?",
        "ProtectSystem": r"yes|no|full|strict",
        "ProtectHome": r"yes|no|read-only|tmpfs",
        "PrivateTmp": YES_NO,
        "PrivateDevices": YES_NO,
        "ProtectProc": r"noaccess|invisible|ptraceable|default",
        "ProtectClock": YES_NO,
        "ProtectHostname": YES_NO,
        "ProtectControlGroups": YES_NO,
        "ProtectKernelLogs": YES_NO,
        "ProtectKernelModules": YES_NO,
        "ProtectKernelTunables": YES_NO,
        "RestrictAddressFamilies": r"none|~?AF_[A-Z0-9]+( AF_[A-Z0-9]+)*",
        "RestrictNamespaces": r"yes|no|~?[a-z]+( [a-z]+)*",
        "RestrictRealtime": YES_NO,
        "RestrictSUIDSGID": YES_NO,
        "RemoveIPC": YES_NO,
        "LockPersonality": YES_NO,
        "MemoryDenyWriteExecute": YES_NO,
        "SystemCallArchitectures": r"[a-z0-9-]+( [a-z0-9-]+)*",
        "SystemCallFilter": CALLS,
        "SystemCallErrorNumber": r"E[A-Z]+|\d+|kill",
    },
    "Install": {"WantedBy": UNITS},
}
SHUT: Final = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectProc": "invisible",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectControlGroups": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RemoveIPC": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
}
"""What leaves a service hardly exposed: each must be said, and said so."""
EXPOSED_AT_MOST: Final = 2.0


def complaints(unit: Path) -> list[str]:
    """Return what is wrong with a unit by the tables above, a line each."""
    found, said, section = [], set(), ""
    for line in unit.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
            if section not in UNDERSTOOD:
                found.append(f"there is no section {section}")
            continue
        key, is_pair, value = line.partition("=")
        said.add((key, value))
        form = UNDERSTOOD.get(section, {}).get(key)
        if not is_pair or form is None:
            found.append(f"nobody understands {key} in [{section}]")
        elif re.fullmatch(form, value) is None:
            found.append(f"{key} cannot be {value!r}")
    return [*found, *(f"{key} is not {value!r}" for key, value in SHUT.items() if (key, value) not in said)]


def complaints_of_systemd(unit: Path) -> list[str]:
    """Return what `systemd-analyze` says against a unit, and how exposed it finds it if that is too much."""
    verified = _analyze("verify", str(unit))
    found = [line for line in verified.stderr.splitlines() if unit.name in line]
    if verified.returncode and not found:
        found = verified.stderr.splitlines()
    judged = _analyze("security", "--offline=yes", "--no-pager", str(unit))
    level = re.search(rf"Overall exposure level for {re.escape(unit.name)}: ([0-9.]+)", judged.stdout)
    assert level, judged.stdout + judged.stderr
    return [*found, level[0]] if float(level[1]) > EXPOSED_AT_MOST else found


def _analyze(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


JUDGES: Final[dict[str, Callable[[Path], list[str]]]] = {"table": complaints}
if shutil.which("systemd-analyze") is not None:
    JUDGES["systemd"] = complaints_of_systemd
"""Who can say on this machine what is wrong with a unit."""
PROGRAM: Final = "/opt/homing/bin/homing"
INSTALLED: Final = Path(sysconfig.get_path("scripts")) / "homing"
"""What stands here for that program."""
