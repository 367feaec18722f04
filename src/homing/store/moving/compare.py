"""Where two tables differ that should be the same: a walk over both by key, told by the first few keys."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, NamedTuple

from homing.store.moving.source import Source
from homing.store.moving.tables import Row, Shape
from homing.store.postgres import content

TOLD: Final = 5


class Difference(NamedTuple):
    """One row that differs: its table, its key, and how."""

    table: str
    key: str
    what: str


async def differences(source: Source, connection: Any, shape: Shape, limit: int = TOLD) -> list[Difference]:
    """Return the first rows by key that only one side has, or that say something else there."""
    found: list[Difference] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        here: Iterator[Row] = iter(source.rows(shape.name, is_sorted=True))
        there = _flat(content.read(connection, shape.name, shape.there, shape.key))
        left, right = next(here, None), await anext(there, None)
        while (left is not None or right is not None) and len(found) < limit:
            a = None if left is None else shape.key_of(left)
            b = None if right is None else shape.key_of(right)
            if b is None or (a is not None and a < b):
                found.append(Difference(shape.name, _shown(a), "missing there"))
                left = next(here, None)
            elif a is None or b < a:
                found.append(Difference(shape.name, _shown(b), "only there"))
                right = await anext(there, None)
            else:
                assert left is not None
                assert right is not None
                if left != right:
                    other = ", ".join(
                        name for name, x, y in zip(shape.there, left, right, strict=True) if x != y
                    )
                    found.append(Difference(shape.name, _shown(a), f"other {other}"))
                left, right = next(here, None), await anext(there, None)
    return found


async def _flat(parts: AsyncIterator[list[Any]]) -> AsyncIterator[Row]:
    async for part in parts:
        for record in part:
            yield tuple(record)


def _shown(key: Row | None) -> str:
    return "/".join(part.hex() if isinstance(part, bytes) else str(part) for part in key or ())
