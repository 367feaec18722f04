"""Rows out of SQLite: by one statement, or by a dialogue whose questions are answered one by one."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import apsw

from homing.store.dialogue import Asked, Dialogue, Table
from homing.store.nouns import as_json
from homing.store.sql import load
from homing.store.sqlite.database import Database

T = TypeVar("T")

Row = tuple[Any, ...]
"""The columns' types are the schema's promise (its tables are STRICT), not the type checker's."""


def fetch(connection: apsw.Connection, sql: str, values: Sequence[Any] | Mapping[str, Any]) -> list[Row]:
    """Run a statement to its end and return all its rows."""
    return connection.execute(sql, values).fetchall()


def hold(connection: apsw.Connection, dialogue: Dialogue[T]) -> T:
    """Answer a dialogue to its end and return what it comes to; an error ends it."""
    try:
        ask = next(dialogue)
        while True:
            file, name, values, only_locks = ask
            # One writer: nobody is there to be locked out.
            ask = dialogue.send([] if only_locks else _answer(connection, file, name, values))
    except StopIteration as end:
        value: T = end.value
        return value


def _answer(connection: apsw.Connection, file: str, name: str, values: Sequence[object]) -> list[Row]:
    bound = [_listed(value) if isinstance(value, list) else value for value in values]
    return connection.execute(load("sqlite", file)[name], bound).fetchall()


def _listed(values: list[Any]) -> str:
    """Return a list as the JSON text that a statement takes; bytes in it are hexadecimal, rows are lists."""
    if isinstance(values, Table):
        return as_json([[one.hex() if isinstance(one, bytes) else one for one in row] for row in values])
    if values and isinstance(values[0], bytes):
        return '["' + '","'.join(map(bytes.hex, values)) + '"]'
    return as_json(values)


class SqliteAsked(Asked):
    """Questions, each about one commit."""

    _db: Database

    async def _fetch(self, file: str, name: str, *values: object) -> list[Row]:
        return await self._db.read(lambda c: _answer(c, file, name, values))

    async def _look(self, dialogue: Dialogue[T]) -> T:
        return await self._db.read(lambda c: hold(c, dialogue))
