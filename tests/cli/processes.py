"""Verbs of `homing` as processes of their own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONG_S = 30


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOMING_")}
    return kept | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "error"} | more


class Process:
    """A verb that runs, with what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.said: list[str] = []

    def until(self, pattern: str) -> re.Match[str]:
        """Read stdout until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if (found := re.search(pattern, line)) is not None:
                return found
        raise AssertionError(f"{pattern!r} never came: {self.lines}\n{self.end(signal.SIGTERM)}")

    def heard(self, pattern: str) -> re.Match[str]:
        """Read stderr until a line matches."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if (found := re.search(pattern, line)) is not None:
                return found
        raise AssertionError(f"{pattern!r} was never said: {self.said}")

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
