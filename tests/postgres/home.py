"""The folder of one test server, the account that runs it, and what becomes of both when pytest ends.

PostgreSQL refuses to run as root. Where the tests are root, its processes run as ``postgres`` or ``nobody``, in a
folder that this account owns, and from a copy of the programs when it cannot reach them (a checkout below /root).
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.postgres import watch
from tests.postgres.binaries import Binaries

MEMORY = Path("/dev/shm")
ROOM_BYTES = 1 << 30
"""Servers that need not last live in memory where so much of it is free: a database is made there in 10 ms."""


@cache
def account() -> pwd.struct_passwd | None:
    """Return who runs the servers when we are root; None: we run them ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError(
        "the tests are root, and there is neither a user postgres nor nobody to run a server as"
    )


class Home:
    """A new folder for one server, removed at its end or pytest's, whichever comes first."""

    def __init__(self, binaries: Binaries, *, in_memory: bool) -> None:
        self.is_in_memory = in_memory
        is_within_reach = _can_run(binaries)
        base = MEMORY if in_memory and is_within_reach and _has_room(MEMORY) else _base()
        self.path = Path(tempfile.mkdtemp(prefix="homing-pg-", dir=base))
        self._watch = subprocess.Popen(
            [sys.executable, "-I", watch.__file__, str(self.path)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the keyboard is pytest's business
            text=True,
        )
        self.binaries = binaries if is_within_reach else binaries.copied(self.path)
        self.data = self.path / "data"
        self.log = self.path / "log"
        self.log.touch()
        if user := account():
            os.chown(self.path, user.pw_uid, user.pw_gid)

    def run(self, tool: str, *arguments: str, timeout_s: float = 60.0, **environment: str) -> str:
        """Run one of PostgreSQL's programs to its end and return what it said; a failure raises all that it said."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self.binaries.tool(tool), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,  # what it said belongs to the error
            **self._as_its_account(**environment),
        )
        if done.returncode:
            raise RuntimeError(f"{tool} failed with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def spawn(self, tool: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a program whose output goes to the log; should pytest end before it, it is stopped."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [self.binaries.tool(tool), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._as_its_account(),
            )
        self._tell(process.pid)
        return process

    def has_ended(self) -> None:
        """Say that the spawned program is gone and was waited for: its process id may be another's from now on."""
        self._tell(0)

    def write(self, name: str, text: str) -> Path:
        """Put a file into the folder that the server may read, and nobody else."""
        path = self.path / name
        path.write_text(text, "utf-8")
        path.chmod(0o600)
        if user := account():
            os.chown(path, user.pw_uid, user.pw_gid)
        return path

    def close(self) -> None:
        """Remove the folder; the watcher does it, as it would if pytest were dead."""
        self._watch.communicate(timeout=watch.GRACE_S + 10)

    def _tell(self, process: int) -> None:
        assert self._watch.stdin is not None
        self._watch.stdin.write(f"{process}\n")
        self._watch.stdin.flush()

    def _as_its_account(self, **environment: str) -> dict[str, Any]:
        """What `subprocess` must be told: who, where, and an environment in which no PG… variable is left."""
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        return {"cwd": self.path, "env": {"LC_ALL": "C", "TZ": "UTC"} | kept | environment} | _identity()


def _identity() -> dict[str, Any]:
    user = account()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _can_run(binaries: Binaries) -> bool:
    """True when the server's account reaches the programs and what they load."""
    try:
        for tool in ("postgres", "initdb"):
            subprocess.run(
                [binaries.tool(tool), "--version"],
                cwd="/",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
                timeout=20,
                **_identity(),
            )
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


@cache
def _base() -> Path:
    """Return a folder for temporary files into which the server's account can go."""
    for base in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        try:
            subprocess.run(["test", "-x", "."], cwd=base, check=True, timeout=20, **_identity())
        except (OSError, subprocess.CalledProcessError):
            continue
        return Path(base)
    raise RuntimeError(
        "no folder for temporary files lets the server's account in; set TMPDIR to one that does"
    )


def _has_room(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= ROOM_BYTES
