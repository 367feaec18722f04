"""A real `homing serve` process on core 0, for the figures that include HTTP."""

import asyncio
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from bench.sizes import Home

TOKEN = "bench-" + "0123456789abcdef" * 2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Served:
    """One server process in a home; use as ``async with``."""

    def __init__(self, home: Home, port: int) -> None:
        self.port = port
        self._home = home
        self._process: asyncio.subprocess.Process
        self.began = 0.0
        """When the process was started (`bench.wire.now`)."""
        self.ready_s = 0.0
        """From the start of the process to the first 200 of /healthz."""

    async def __aenter__(self) -> Self:
        environment = {
            **os.environ,
            "HOMING_ADMIN_TOKEN": TOKEN,
            "HOMING_CALLBACKS__ALLOW": '["127.0.0.0/8"]',
            "HOMING_TELEMETRY__LOG_LEVEL": "error",
            "HOMING_SECURITY__MASTER_KEY_FILE": str(self._home.data / "master.key"),
        }
        where = ["--data", str(self._home.data)]
        if self._home.url:
            environment["HOMING_STORE__URL"] = self._home.url
            where = []
        self.began = time.perf_counter()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "homing", "serve", *where,
            "--listen", f"127.0.0.1:{self.port}",
            env=environment, stdout=asyncio.subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {0}),
        )  # fmt: skip
        while not await asyncio.to_thread(self._is_up):
            if self._process.returncode is not None:
                raise RuntimeError(f"homing serve ended with {self._process.returncode}")
            await asyncio.sleep(0.005)
        self.ready_s = time.perf_counter() - self.began
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def cpu_s(self) -> float:
        """User and system time of the server so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    async def kill(self) -> None:
        """End it as a power switch would."""
        self._process.kill()
        await self._process.wait()

    def metric(self, name: str) -> float:
        """One line of /metrics now, 0 when it is not there; costs the server a few ms."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.rpartition(" ")[2])
        return 0.0

    def resident_bytes(self) -> int:
        """Memory of the server now."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE_BYTES

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def free_port() -> int:
    """A port that is free just now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
