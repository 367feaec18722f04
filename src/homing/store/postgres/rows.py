"""Rows out of PostgreSQL: by a dialogue whose questions are answered one by one."""

from collections.abc import Iterator
from typing import Any, TypeVar

from homing.store.dialogue import Asked, Dialogue, Table
from homing.store.postgres.database import Connection, Database
from homing.store.sql import load

T = TypeVar("T")


async def hold(connection: Connection, dialogue: Dialogue[T]) -> T:
    """Answer a dialogue to its end and return what it comes to; an error ends it."""
    try:
        ask = next(dialogue)
        while True:
            rows = await connection.fetch(load("postgres", ask.file)[ask.name], *_columns(ask.values))
            ask = dialogue.send(rows)
    except StopIteration as end:
        value: T = end.value
        return value


def _columns(values: tuple[object, ...]) -> Iterator[object]:
    for value in values:
        if isinstance(value, Table):
            yield from map(list, zip(*value, strict=True))
        else:
            yield value


class PostgresAsked(Asked):
    """Questions, each about one state of the store."""

    _db: Database

    async def _fetch(self, file: str, name: str, *values: object) -> list[Any]:
        return await self._db.fetch(load("postgres", file)[name], *values)

    async def _look(self, dialogue: Dialogue[T]) -> T:
        return await self._db.look(lambda c: hold(c, dialogue))
