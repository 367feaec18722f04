"""A store's file at rest: held by this process for as long as it works on it, so that no server can begin meanwhile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from homing.errors import NoSuchStore, Unavailable
from homing.store.sqlite.directory import hold

_BUSY_MS: Final = 5_000
"""For a backup beside us that is at a page."""


@contextmanager
def at_rest(path: Path) -> Iterator[apsw.Connection]:
    """Yield the one connection on a store's file, every commit of which is synced.

    Raises `NoSuchStore`, `StoreLocked` while a server has it, `Unavailable` where the file cannot be used.
    """
    if not path.is_file() or not path.stat().st_size:
        raise NoSuchStore(f"there is no store at {path}")
    descriptor = hold(path.parent)
    try:
        try:
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                connection.set_busy_timeout(_BUSY_MS)
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA cache_size=-65536")
                yield connection
            finally:
                connection.close()
        except apsw.Error as error:
            raise Unavailable(f"the store cannot be used: {error}") from error
    finally:
        os.close(descriptor)
