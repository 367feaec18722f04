"""What may happen to a backup where it lies: each harm is done to one of its files, or to what it says of itself."""

import os
from collections.abc import Callable
from pathlib import Path

from homing.store.backups import MANIFEST

Harm = Callable[[Path, str], None]
"""Is given the backup and the name of a file in it."""


def cut(backup: Path, name: str) -> None:
    os.truncate(backup / name, (backup / name).stat().st_size // 2)


def flip(backup: Path, name: str) -> None:
    data = bytearray((backup / name).read_bytes())
    data[len(data) // 2] ^= 1
    (backup / name).write_bytes(data)


def lose(backup: Path, name: str) -> None:
    (backup / name).unlink()


def scribble(backup: Path, _name: str) -> None:
    (backup / MANIFEST).write_bytes(b'{"format": 99}')


HARMS: tuple[Harm, ...] = (cut, flip, lose, scribble)
