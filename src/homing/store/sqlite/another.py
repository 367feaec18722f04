"""Makes a store another one: what is copied, or comes back after its copy lived, must not pass for what it was."""

import time
from pathlib import Path
from typing import Final

import apsw
import uuid_utils

from homing.store.sql import load
from homing.store.sqlite import schema
from homing.store.sqlite.onlooker import MOVED
from homing.store.sqlite.rest import at_rest

_SQL: Final = load("sqlite", "backup")
_MS_BITS: Final = 20
"""By so many bits PostgreSQL's positions are milliseconds (`homing.store.postgres.positions`)."""


def make_another(connection: apsw.Connection, now_ms: int) -> None:
    """Give a store an id of its own, so that devices begin anew, and let go what a process held; in the caller's transaction."""
    schema.put(connection, "store_id", str(uuid_utils.uuid4()))
    connection.execute(_SQL["free_lanes"], (now_ms,))
    connection.execute(_SQL["free_commands"], (now_ms,))


def reopen(path: Path) -> str | None:
    """Take the mark off a store that was moved: it can be served again. Return where it had been moved to; None: nowhere.

    What its copy took since is not in it, so it is another store to devices, and who follows the feed goes on behind any
    position that the copy gave. Raises `NoSuchStore`, `StoreLocked`.
    """
    now_ms = time.time_ns() // 1_000_000
    with at_rest(path) as connection:
        moved = schema.get(connection, MOVED) if schema.is_there(connection) else None
        if moved is None:
            return None
        with connection:
            make_another(connection, now_ms)
            connection.execute(_SQL["raise_position"], (now_ms << _MS_BITS,))
            connection.execute(_SQL["forget_move"], (MOVED,))
    return str(moved)
