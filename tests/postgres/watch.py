"""A small process beside each test server: when pytest is gone, however it went, it ends the server and removes its folder.

Its input is a pipe that only pytest holds. Each line is the process id of the server that now runs, or 0 for none; the
end of the input is the end of pytest, or of the server's use. Nothing but the standard library: it starts in a blink.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from pathlib import Path

GRACE_S = 15.0
"""How long an immediate stop may take; PostgreSQL itself kills what does not end within 5 s."""


def main(home: Path) -> None:
    """Read until the end of the input, then leave nothing behind."""
    running = 0
    for line in sys.stdin:
        running = int(line)
    if running:
        _end(running)
    forget_shared_memory(home / "data")
    shutil.rmtree(home, ignore_errors=True)


def forget_shared_memory(data: Path) -> None:
    """Remove the shared memory of a server that was killed: only a restart or this frees it."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        lock_file = (data / "postmaster.pid").read_text("utf-8").splitlines()
        segment = int(lock_file[6].split()[1])
        ctypes.CDLL(None).shmctl(segment, 0, None)  # 0 is IPC_RMID


def _end(process: int) -> None:
    """Stop a server at once, and kill it when it does not; it is no child of this process, so its end is polled."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGQUIT)
        os.kill(process, signal.SIGCONT)
        ends_at = time.monotonic() + GRACE_S
        while time.monotonic() < ends_at:
            os.kill(process, 0)
            time.sleep(0.01)
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
