"""The embedded store that is moved: at rest, held, and only read until it is marked as moved."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from homing.errors import NoSuchStore, StartError, WrongMasterKey
from homing.store.digest import Digest
from homing.store.migrations import refuse_newer
from homing.store.moving.tables import META, NOT_MOVED, SEQUENCES, Row, Shape
from homing.store.sql import load
from homing.store.sqlite import schema
from homing.store.sqlite.onlooker import MOVED
from homing.store.sqlite.rest import at_rest
from homing.store.sqlite.rows import fetch

_SQL: Final = load("sqlite", "moving")
_BACKUP: Final = load("sqlite", "backup")
BATCH_BYTES: Final = 16 * 2**20
"""Of long values: a batch is in memory, here and on its way."""
_SEALED_ID: Final = 8
"""Bytes at the beginning of a sealed secret that name its key (`homing.vault`)."""


class Facts(NamedTuple):
    """What tells this store, as it is now, from any other and from itself at another time."""

    store_id: str
    key_id: str
    epoch: int
    position: int
    moved: str | None

    @property
    def identity(self) -> str:
        """Changes with every process that served it."""
        return f"store {self.store_id}, epoch {self.epoch}, position {self.position}"


class Source:
    """A store's file; made by `hold`."""

    def __init__(self, connection: apsw.Connection, tables: tuple[str, ...]) -> None:
        self._connection = connection
        self.shapes = {name: _shape(connection, name) for name in tables}

    @classmethod
    @contextmanager
    def hold(cls, path: Path, tables: tuple[str, ...]) -> Iterator["Source"]:
        """Hold a store at rest, all of whose tables are among these.

        Raises `NoSuchStore`, `StoreLocked`, `SchemaTooNew`, and `StartError` for one that is to be migrated first or holds
        what this program cannot move.
        """
        with at_rest(path) as connection:
            if not schema.is_there(connection):
                raise NoSuchStore(f"{path} holds no store of Homing's")
            if refuse_newer(schema.get(connection, "schema"), schema.SCHEMA) < schema.SCHEMA:
                raise StartError("the store has an older schema: run `homing migrate` on it first")
            there = {str(row[0]) for row in connection.execute(_BACKUP["tables"])}
            known = {str(row[0]) for row in connection.execute(_SQL["meta_names"])}
            strange = sorted(there - {"meta", *tables} | known - META.keys() - NOT_MOVED)
            if strange or set(tables) - there:
                raise StartError(
                    f"this Homing does not know how to move {', '.join(strange) or 'this store'}"
                )
            yield cls(connection, tables)

    def facts(self) -> Facts:
        """Return what the store says of itself."""
        values = {name: schema.get(self._connection, name) for name in ("epoch", "position", MOVED)}
        epoch, position, moved = values.values()
        return Facts(
            str(schema.get(self._connection, "store_id")),
            str(schema.get(self._connection, "key_id") or ""),
            epoch if isinstance(epoch, int) else 0,
            position if isinstance(position, int) else 0,
            None if moved is None else str(moved),
        )

    def check_key(self, key_id: str) -> None:
        """Raise `WrongMasterKey` unless the store, and each secret in it, is sealed under this key."""
        if self.facts().key_id != key_id:
            raise WrongMasterKey(
                "the store's secrets are sealed under another key: check [security] master_key_file"
            )
        ours = bytes.fromhex(key_id)
        for what, sealed in self._connection.execute(_SQL["sealed"]):
            if bytes(sealed[:_SEALED_ID]) != ours:
                raise WrongMasterKey(
                    f"a secret of {what} is sealed under another key: check [security] master_key_file"
                )

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        found = self._connection.execute(f"SELECT count(*) FROM {_quoted((table,))}").get  # noqa: S608 - quoted
        return int(found)

    def batch(self, table: str, after: Row | None, limit: int) -> tuple[list[Row], Row | None]:
        """Return the next rows behind a key as PostgreSQL has them, and the last one's key; None at the end."""
        shape = self.shapes[table]
        rows: list[Row] = []
        size_bytes, widest = 0, shape.widest
        for row in self._select(shape, after, limit):
            rows.append(row)
            if widest is not None and row[widest] is not None:
                size_bytes += len(row[widest])
                if size_bytes > BATCH_BYTES:
                    break
        if not rows:
            return [], None
        key = shape.key_of(rows[-1])
        translate = shape.translate()
        return rows if translate is None else list(map(translate, rows)), key

    def digest(self, table: str) -> Digest:
        """Count and sum a table in one walk over it, as PostgreSQL should have it."""
        found = Digest()
        found.add(self.rows(table, is_sorted=False))
        return found

    def rows(self, table: str, *, is_sorted: bool) -> Iterable[Row]:
        """Return all rows as PostgreSQL should have them, by key or as they come."""
        shape = self.shapes[table]
        sql = f"SELECT {_quoted(shape.columns)} FROM {_quoted((table,))}"  # noqa: S608 - quoted
        if is_sorted:
            sql += f" ORDER BY {_quoted(shape.key)}"
        translate = shape.translate()
        rows: Iterable[Row] = self._connection.execute(sql)
        return rows if translate is None else map(translate, rows)

    def meta(self) -> list[tuple[str, int | None, str | None, bytes | None]]:
        """Return what PostgreSQL should know of itself in place of this: name, number, words, place; by name."""
        found: list[tuple[str, int | None, str | None, bytes | None]] = []
        for name, known in META.items():
            value: Any = schema.get(self._connection, name)
            value = known.default if value is None else value
            if value is not None:
                parts = {"number": None, "words": None, "place": None, known.kind: value}
                found.append((known.name, parts["number"], parts["words"], parts["place"]))
        return sorted(found)

    def sequences(self) -> dict[str, int]:
        """Return the highest number that each sequence of PostgreSQL is to go on behind."""
        given = {str(row[0]): int(row[1]) for row in fetch(self._connection, _SQL["given"], ())}
        walked = [schema.get(self._connection, name) for name in ("pruned_attempts", "pruned_failures")]
        floor = {"attempt": max((one for one in walked if isinstance(one, int)), default=0)}
        found = {}
        for sequence, table in SEQUENCES.items():
            sql = f"SELECT coalesce(max(id), 0) FROM {_quoted((table,))}"  # noqa: S608 - quoted
            highest = int(self._connection.execute(sql).get)
            found[sequence] = max(highest, given.get(table, 0), floor.get(table, 0))
        return found

    def oldest(self) -> bytes | None:
        """Return the lowest id of a message; None without any."""
        ((found,),) = fetch(self._connection, _SQL["oldest"], ())
        return found  # type: ignore[no-any-return]

    def mark(self, to: str) -> None:
        """Have no server begin on it any more; on disk when this returns."""
        schema.put(self._connection, MOVED, to)

    def _select(self, shape: Shape, after: Row | None, limit: int) -> Iterator[Row]:
        columns, key, table = map(_quoted, (shape.columns, shape.key, (shape.name,)))
        where = "" if after is None else f"WHERE ({key}) > ({', '.join('?' for _ in shape.key)}) "
        sql = f"SELECT {columns} FROM {table} {where}ORDER BY {key} LIMIT ?"  # noqa: S608 - quoted
        rows: Iterator[Row] = self._connection.execute(sql, (*(after or ()), limit))
        return rows


def _shape(connection: apsw.Connection, table: str) -> Shape:
    found = connection.execute(f"PRAGMA table_info({_quoted((table,))})").fetchall()
    key = sorted((int(row[5]), str(row[1])) for row in found if row[5])
    return Shape(table, tuple(str(row[1]) for row in found), tuple(name for _, name in key))


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)
