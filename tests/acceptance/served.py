"""A Homing node as an operator runs it: `homing serve` in a process of its own on loopback, what it prints kept."""

import asyncio
import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import httpx

ADMIN = "served-admin-token-of-more-than-32-characters"
QUICK_RETRIES_S = [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1, 2, 2, 2, 2, 5, 5]
"""Delays between tries that let a test see many of them in a second."""
START_S = 20.0
STOP_S = 25.0


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(changes: dict[str, str]) -> dict[str, str]:
    """What the process sees: this one's environment without any setting of Homing, and what tests need."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOMING_")}
    return (
        kept
        | {
            "HOMING_ADMIN_TOKEN": ADMIN,
            "HOMING_CALLBACKS__ALLOW": '["127.0.0.1/32"]',
            "HOMING_CALLBACKS__RETRY_DELAYS_SECONDS": json.dumps(QUICK_RETRIES_S),
        }
        | changes
    )


def shared(dsn: str, folder: Path) -> dict[str, str]:
    """The settings of a node on this database, with a master key in this folder."""
    key = folder / "master.key"
    if not key.exists():
        key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
        key.chmod(0o600)
    return {"HOMING_STORE__URL": dsn, "HOMING_SECURITY__MASTER_KEY_FILE": str(key)}


class Served:
    """One data directory and the process that serves it; it may be killed and started again on the same port."""

    def __init__(
        self,
        data: Path,
        *,
        port: int | None = None,
        changes: dict[str, str] | None = None,
        program: Sequence[str] = ("-m", "homing.cli"),
    ) -> None:
        """``changes`` are environment variables; ``program`` is what Python runs in place of Homing's own verbs."""
        self._program = program
        self.data = data
        self.port = free_port() if port is None else port
        self.log_path = data.with_name(data.name + ".log")
        self.started_s = 0.0
        """When the process was last started, by the monotonic clock."""
        self._environment = environment(changes or {})
        self._log: IO[bytes] | None = None
        self._is_listening = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that the processes said on stderr so far."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def faults(self) -> list[str]:
        """The lines of the log that tell of a fault: a traceback, or an error that nobody's request explains."""
        return [
            line
            for line in self.log.splitlines()
            if "Traceback" in line or '"level":"error"' in line.replace(": ", ":")
        ]

    def start(self) -> None:
        """Start the process; it is not ready yet when this returns."""
        self._log = self.log_path.open("ab")
        place = [] if "HOMING_STORE__URL" in self._environment else ["--data", str(self.data)]
        command = [sys.executable, *self._program, "serve", *place]
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            [*command, "--listen", f"127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment,
            cwd=self.data.parent,
        )

    async def ready(self, path: str = "/readyz") -> float:
        """Wait until it listens, and ``path`` is 200; return how many seconds after the start of the process that was."""
        if not self._is_listening:
            await self._listens()
        async with httpx.AsyncClient(base_url=self.url, timeout=START_S, trust_env=False) as http:
            answer = await http.get(path)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}\n{self.log}"
        return time.monotonic() - self.started_s

    async def _listens(self) -> None:
        """Read the line that a node prints when it listens; it prints no other."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        in_time = threading.Timer(START_S, process.kill)
        in_time.start()
        try:
            line = await asyncio.to_thread(process.stdout.readline)
        finally:
            in_time.cancel()
        assert line.strip() == self.url.encode(), f"said {line!r}, ended with {process.poll()}:\n{self.log}"
        self._is_listening = True

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S)
        self._ended()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop and return its exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return self.end()

    def end(self) -> int:
        """Wait until the process ends by itself and return its exit code."""
        assert self._process is not None
        code = self._process.wait(STOP_S)
        self._ended()
        return code

    def close(self) -> None:
        """Leave nothing running; harmless when repeated."""
        if self._process is not None:
            self.kill()

    def _ended(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        self._is_listening = False
        if self._log is not None:
            self._log.close()

    def client(self, token: str | None = ADMIN) -> httpx.AsyncClient:
        """A client of this node's API, to be used as a context."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
        return httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=15.0, limits=limits, trust_env=False
        )


async def made(http: httpx.AsyncClient, path: str, value: object) -> dict[str, Any]:
    """POST something that must be made, and return what the answer says of it."""
    answer = await http.post(path, json=value)
    assert answer.status_code == 201, f"POST {path}: {answer.status_code} {answer.text}"
    shown: dict[str, Any] = answer.json()
    return shown
