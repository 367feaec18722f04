"""Who holds the data directory's lock, found out without touching it: even a moment's try could end a server's start."""

import os
from pathlib import Path
from typing import NamedTuple

_LOCKS = Path("/proc/locks")


class Holder(NamedTuple):
    """Whether a process holds the lock (None: this system does not tell) and which one, if that is known."""

    is_held: bool | None
    pid: int | None = None


def holder(lock: Path, table: Path = _LOCKS) -> Holder:
    """Return who holds the lock on a file, by the kernel's own table of locks."""
    try:
        wanted = lock.stat()
    except FileNotFoundError:
        return Holder(is_held=False)
    try:
        lines = table.read_text("ascii").splitlines()
    except OSError:
        return Holder(is_held=None)
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 1234 fe:00:9977901 0 EOF; a second word "->" is one that waits for it
        words = line.split()
        if len(words) < 6 or words[1] != "FLOCK":
            continue
        device, _, inode = words[5].rpartition(":")
        if int(inode) != wanted.st_ino:
            continue
        pid = int(words[4])
        if device == f"{os.major(wanted.st_dev):02x}:{os.minor(wanted.st_dev):02x}" or _has_open(pid, wanted):
            return Holder(is_held=True, pid=pid if pid > 0 else None)
    return Holder(is_held=False)


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    """Say whether a process has the file open: some file systems tell the kernel and programs different devices."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return True  # nobody can say; a server that may be there is better taken for one
    for descriptor in descriptors:
        try:
            found = descriptor.stat()
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False
