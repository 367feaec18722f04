"""Looks a backup through, and makes a data directory of one: another store with the same content.

It is another store to devices (a new ``store_id``, their epoch) and to who follows the feed (positions go on far behind
any that were given), and nothing in it is held by the process that was copied.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from homing.errors import BackupDamaged, PlaceTaken, SchemaTooNew
from homing.store.backups import digest, room_for, sync
from homing.store.sql import load
from homing.store.sqlite import SCHEMA
from homing.store.sqlite.another import make_another
from homing.store.sqlite.directory import DATABASE, LOCK, hold
from homing.store.sqlite.manifest import Facts, Manifest, closed_file, database_of

_SQL: Final = load("sqlite", "backup")
_DRAFT: Final = "homing.db.restoring"
_OURS: Final = {LOCK, _DRAFT, f"{_DRAFT}-wal", f"{_DRAFT}-shm"}
"""What a restore that was killed may have left: no content of anybody's."""
POSITIONS_SKIPPED: Final = 2**32
_BLOCK_BYTES: Final = 2**20


class Restored(NamedTuple):
    """A backup's manifest, and what the new store holds."""

    manifest: Manifest
    facts: Facts


def verify(backup: Path) -> Manifest:
    """Look a whole backup through: digest, structure, counts. Changes nothing; raises `BackupDamaged`, `NoSuchStore`."""
    manifest = Manifest.read(backup)
    file = database_of(backup)
    _expect(manifest, file.stat().st_size, digest(file))
    _look_through(manifest, file)
    return manifest


def restore(backup: Path, into: Path, *, is_thorough: bool) -> Restored:
    """Make the data directory ``into`` of a backup; it is on disk when this returns, and nothing was written otherwise.

    What is written is what the manifest says, by its SHA-256; ``is_thorough`` also looks through its structure and
    counts it. Raises `NoSuchStore`, `BackupDamaged`, `SchemaTooNew`, `StoreLocked`, `Unavailable` without room,
    `PlaceTaken` unless the directory is empty or absent, OSError.
    """
    manifest = Manifest.read(backup)
    if manifest.schema > SCHEMA:
        told = f"the backup has schema {manifest.schema}; this Homing knows schemas up to {SCHEMA}"
        raise SchemaTooNew(told)
    source = database_of(backup)
    with _claimed(into):
        room_for(source.stat().st_size, into)
        draft = into / _DRAFT
        _expect(manifest, source.stat().st_size, _copied(source, draft))
        if is_thorough:
            _look_through(manifest, draft)
        _make_another(draft)
        facts = Facts.of(draft)
        sync(draft)
        draft.rename(into / DATABASE)
        sync(into)
    return Restored(manifest, facts)


def _expect(manifest: Manifest, size_bytes: int, found: str) -> None:
    if size_bytes != manifest.size_bytes:
        raise BackupDamaged(f"{DATABASE} has {size_bytes:,} bytes, not {manifest.size_bytes:,}")
    if found != manifest.sha256:
        raise BackupDamaged(f"{DATABASE} has the SHA-256 {found}, not {manifest.sha256}")


def _look_through(manifest: Manifest, file: Path) -> None:
    try:
        connection = closed_file(file)
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
        finally:
            connection.close()
    except apsw.Error as error:
        raise BackupDamaged(f"{file} cannot be read: {error}") from error
    if found != ["ok"]:
        raise BackupDamaged(f"{file} is damaged: {' '.join(found)}")
    facts = Facts.of(file)
    said = Facts(manifest.schema, manifest.store_id, manifest.key_id, manifest.counts)
    for name, is_, should in zip(Facts._fields, facts, said, strict=True):
        if is_ != should:
            raise BackupDamaged(f"{name} of {file} is {is_}; its manifest says {should}")


@contextmanager
def _claimed(into: Path) -> Iterator[None]:
    """Have the directory to ourselves while it is filled; what is left of a failure is an empty one, or none."""
    is_new = not into.exists()
    if not is_new and (not into.is_dir() or {one.name for one in into.iterdir()} - _OURS):
        raise PlaceTaken(f"{into} is not empty; nothing is ever overwritten")
    descriptor = hold(into)
    try:
        yield
    except BaseException:
        for name in _OURS:
            with suppress(OSError):
                (into / name).unlink()
        if is_new:
            with suppress(OSError):
                into.rmdir()
        raise
    finally:
        os.close(descriptor)


def _copied(source: Path, target: Path) -> str:
    """Copy a file and return the SHA-256 of what was written."""
    target.unlink(missing_ok=True)
    seen = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
        while block := reading.read(_BLOCK_BYTES):
            seen.update(block)
            writing.write(block)
    return seen.hexdigest()


def _make_another(file: Path) -> None:
    """Give the store a name of its own and let go what another process held; the file is closed and whole afterwards."""
    now_ms = time.time_ns() // 1_000_000
    try:
        connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            with connection:
                make_another(connection, now_ms)
                connection.execute(_SQL["skip_positions"], (POSITIONS_SKIPPED,))
        finally:
            connection.close()
    except apsw.Error as error:
        raise BackupDamaged(f"{file} cannot be opened as a store: {error}") from error
