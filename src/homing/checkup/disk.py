"""Whether there is room: below one limit no message is accepted, below another it is time to act."""

import os
from pathlib import Path
from typing import Final

from homing.checkup.case import Case
from homing.checkup.item import Finding, Item, State, item
from homing.checkup.wording import size
from homing.engine.loop import MIN_FREE_BYTES

LOW_PERCENT: Final = 10.0


def check(case: Case) -> list[Item]:
    """Return the item ``disk``."""
    room = os.statvfs(_nearest(case.data.absolute()))
    free_bytes = room.f_bavail * room.f_frsize
    usable_bytes = (room.f_blocks - room.f_bfree + room.f_bavail) * room.f_frsize
    store_bytes = case.store_bytes()
    store = [Finding(f"the store has {size(store_bytes)}")] if store_bytes else []
    return [item("disk", [judge(free_bytes, usable_bytes), *store])]


def judge(free_bytes: int, usable_bytes: int) -> Finding:
    """Return what the free room of a file system means."""
    percent = 100 * free_bytes / usable_bytes if usable_bytes else 0.0
    told = f"{size(free_bytes)} free ({percent:.0f} %)"
    if free_bytes < MIN_FREE_BYTES:
        told += f", below {size(MIN_FREE_BYTES)} no message is accepted (503)"
        return Finding(told, State.FAIL, "make room")
    return Finding(told, State.WARN, "make room in time") if percent < LOW_PERCENT else Finding(told)


def _nearest(path: Path) -> Path:
    """Return the path itself, or the directory in which it would be made."""
    return next(one for one in (path, *path.parents) if one.exists())
