"""How many rows there are and what they say, in a number that does not depend on their order: the same on either store.

A row is written down canonically (MessagePack of its values in a given order of columns), hashed, and the hashes are
added up: what is missing, doubled or changed shows, whichever way two stores read their tables.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

_BYTES: Final = 16
_MASK: Final = (1 << 8 * _BYTES) - 1
_encode: Final = msgspec.msgpack.Encoder().encode


class Digest:
    """The count and the sum of rows; equal for equal rows in any order."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take rows in; their values are None, bool, int, float, str or bytes."""
        count, total = 0, 0
        for row in rows:
            count += 1
            total += int.from_bytes(blake2b(_encode(row), digest_size=_BYTES).digest(), "big")
        self.rows += count
        self._sum = self._sum + total & _MASK

    @property
    def checksum(self) -> str:
        """The sum, in hexadecimal."""
        return f"{self._sum:0{2 * _BYTES}x}"


def of_row(row: Sequence[Any]) -> bytes:
    """Return what stands for one row, for comparing it with another."""
    return blake2b(_encode(row), digest_size=_BYTES).digest()
