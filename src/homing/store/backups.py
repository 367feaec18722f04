"""What backups of either store have in common: a directory that is whole or absent, its manifest, the note of the last one."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec

from homing.errors import BackupDamaged, NoSuchStore, PlaceTaken, Unavailable

T = TypeVar("T")
MANIFEST: Final = "manifest.json"
NOTE: Final = "last-backup.json"
KEPT_FREE_BYTES: Final = 512 * 2**20
"""Below this a server on the same disk would accept no message."""


class _Format(msgspec.Struct, frozen=True):
    format: int


class Note(msgspec.Struct, frozen=True, rename="camel"):
    """What a data directory remembers of its last backup."""

    at: datetime
    to: str
    sha256: str

    @classmethod
    def read(cls, data: Path) -> Self | None:
        """Read it; None when no backup was ever made, or nobody can tell."""
        try:
            return msgspec.json.decode((data / NOTE).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def age_s(self, now_ms: int) -> float:
        """Return how old the backup is, never less than nothing."""
        return max(0.0, now_ms / 1000 - self.at.timestamp())

    def write(self, data: Path) -> bool:
        """Note it in the data directory, for `homing check` and the metrics; False where it refuses."""
        try:
            write(data / NOTE, self)
        except OSError:
            return False
        return True


def format_of(backup: Path) -> int:
    """Return of which kind a backup is; `NoSuchStore` where there is none, `BackupDamaged` where nobody can tell."""
    return read_manifest(backup, _Format).format


def read_manifest(backup: Path, kind: type[T]) -> T:
    """Read a backup's manifest; `NoSuchStore` without one, `BackupDamaged` for one that is none of this kind."""
    file = backup / MANIFEST
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchStore(f"{backup} is no backup: it has no {MANIFEST}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupDamaged(f"{file} is no manifest that this Homing knows: {error}") from error


@contextmanager
def drafted(to: Path) -> Iterator[Path]:
    """Yield a hidden directory that becomes ``to`` at the end, on disk; after a failure there is nothing.

    Raises `PlaceTaken` where there is something already.
    """
    refuse_taken(to)
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700)
    try:
        yield draft
        sync(draft)
        _rename(draft, to)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync(to.parent)


def refuse_taken(to: Path) -> None:
    """Raise `PlaceTaken` where there is something already, whatever it is."""
    if os.path.lexists(to):
        raise PlaceTaken(f"{to} exists; nothing is ever overwritten")


def write(file: Path, value: msgspec.Struct) -> None:
    """Write a file of JSON whole or not at all, over an older one; it is on disk when this returns."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
    draft.chmod(0o600)
    sync(draft)
    draft.replace(file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Return when a file's content, or a directory's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def room_for(count: int, folder: Path) -> None:
    """Raise `Unavailable` where a file system has not room for so many bytes and what a server wants kept free."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < count + KEPT_FREE_BYTES:
        raise Unavailable(
            f"{folder} has {free / 2**20:,.0f} MiB free; {(count + KEPT_FREE_BYTES) / 2**20:,.0f} MiB are needed"
        )


def _rename(draft: Path, to: Path) -> None:
    try:
        draft.rename(to)  # a directory replaces nothing but an empty one
    except OSError as error:
        if os.path.lexists(to):
            raise PlaceTaken(f"{to} was made meanwhile; nothing is ever overwritten") from error
        raise
