"""Makes a backup of a store's file, from beside the process that serves it: one state, whole, on disk, or nothing.

The copy is of the state at its beginning. Until it is done, the server's log cannot be copied back beyond that state, so
the log grows by what is written meanwhile; commits, questions and checkpoints of the rest go on.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from homing.errors import NoSuchStore, Unavailable
from homing.store.backups import Note, drafted, refuse_taken, room_for
from homing.store.sqlite.directory import DATABASE
from homing.store.sqlite.manifest import Manifest

STEP_PAGES: Final = 1_024
"""Copied in one go, 4 MiB; then it is synced, so that a server's syncs never wait for much of ours."""
Rest = Callable[[float], None]


def make(store: Path, to: Path, rest: Rest = time.sleep) -> Manifest:
    """Make the directory ``to`` with a copy of the store and its manifest; when this returns, it is on disk.

    After each step it rests as long as that took. Raises `NoSuchStore`, `PlaceTaken` where there is something already,
    `Unavailable` when it cannot be read or there is no room, OSError. The master key is never part of it.
    """
    if not store.is_file() or not store.stat().st_size:
        raise NoSuchStore(f"there is no store at {store}")
    refuse_taken(to)
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = Path(f"{store}-wal")
    room_for(store.stat().st_size + (log.stat().st_size if log.exists() else 0), to.parent)
    with drafted(to) as draft:
        made_at_ms = _copy(store, draft / DATABASE, rest)
        manifest = Manifest.of(draft / DATABASE, made_at_ms)
        manifest.write(draft)
    return manifest


def remember(data: Path, to: Path, manifest: Manifest) -> bool:
    """Note in the data directory that there is a backup, for `homing check` and the metrics; False where it refuses."""
    return Note(manifest.made_at, str(to.absolute()), manifest.sha256).write(data)


def _copy(store: Path, target: Path, rest: Rest) -> int:
    """Copy one state of the store into a file and sync it; return when that state was, in milliseconds."""
    try:
        uri = f"file:{quote(str(store.absolute()))}"
        source = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            source.set_busy_timeout(5_000)
            # One state for all steps; without it every commit of the server would have the copy begin anew.
            source.execute("BEGIN")
            source.execute("PRAGMA schema_version").fetchall()
            at_ms = time.time_ns() // 1_000_000
            _copy_pages(source, target, rest)
        finally:
            source.close()
    except apsw.FullError as error:
        raise Unavailable(f"no room for the backup in {target.parent.parent}") from error
    except apsw.Error as error:
        raise Unavailable(f"the store could not be copied: {error}") from error
    return at_ms


def _copy_pages(source: apsw.Connection, target: Path, rest: Rest) -> None:
    copy = apsw.Connection(str(target))
    target.chmod(0o600)
    descriptor = os.open(target, os.O_RDONLY)
    try:
        copy.execute("PRAGMA journal_mode=OFF")
        copy.execute("PRAGMA synchronous=OFF")  # synced here, step by step
        with copy.backup("main", source, "main") as backup:
            while not backup.done:
                began_s = time.monotonic()
                backup.step(STEP_PAGES)
                os.fdatasync(descriptor)
                rest(time.monotonic() - began_s)
        copy.close()
        os.fsync(descriptor)
    finally:
        copy.close()
        os.close(descriptor)
        for left in ("-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                target.with_name(target.name + left).unlink()
