"""A data directory: the one process that may have it, and its entries on disk for good."""

import fcntl
import os
from pathlib import Path
from typing import Final

from homing.errors import StoreLocked

DATABASE: Final = "homing.db"
LOCK: Final = "homing.lock"


def hold(directory: Path) -> int:
    """Make the directory if need be and take its lock, until the descriptor returned is closed; raises `StoreLocked`."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreLocked(f"another process is using the data directory {directory}") from error
    return descriptor
