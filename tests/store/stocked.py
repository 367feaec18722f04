"""A store with rows in every table there is, whatever the tables: values by their columns' types, odd ones among them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
from tests.store.fakes import DAY_MS

from homing.store import sql

NOW_MS = time.time_ns() // 1_000_000
KEY_ID = "0123456789abcdef"
META: dict[str, object] = {
    "store_id": "3f6b2d1e-0000-4000-8000-000000000001", "key_id": KEY_ID, "epoch": 7, "position": 40_000,
    "highest_app": 60, "pruned_attempts": 3, "pruned_failures": 1_000_003, "pruned_dead": b"\x01\x02",
}  # fmt: skip
_SEALED = {"secret", "callback_secret", "previous_secret", "credentials"}
_TEXTS = ("", "plain", "Žluťoučký kůň 🐎", "tab\tline\nquote'\"\\", "\\N", "a" * 3000)


def empty(file: Path) -> apsw.Connection:
    """Make a store of today's schema with nothing in it but what it knows of itself."""
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(file))
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(sql.load("sqlite", "schema_1")["schema"])
    connection.execute(sql.load("sqlite", "schema_2")["migrate"])
    connection.executemany("INSERT INTO meta VALUES (?, ?)", [("schema", 2), *META.items()])
    return connection


def stocked(file: Path, rows: int = 30) -> None:
    """Make a store with so many rows in each table."""
    connection = empty(file)
    connection.execute("BEGIN")
    for table in tables(connection):
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        marks = ", ".join("?" for _ in columns)
        values = [tuple(_value(table, column, n) for column in columns) for n in range(1, rows + 1)]
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
    # More was given than there is.
    connection.execute("UPDATE sqlite_sequence SET seq = 500 WHERE name = 'recipient'")
    connection.execute("COMMIT")
    connection.close()


def tables(connection: apsw.Connection) -> list[str]:
    """Every table of a store beside what it knows of itself."""
    return [row[0] for row in connection.execute(sql.load("sqlite", "backup")["tables"]) if row[0] != "meta"]


def key(n: int, length: int = 18) -> bytes:
    """The key of the n-th message: every day one, from two months ago on."""
    at_ms = NOW_MS + (n - 60) * DAY_MS
    return (at_ms.to_bytes(6, "big") + b"\x70\x00\x80" + n.to_bytes(7, "big") + b"\x00\x00\x01\x00")[:length]


def _value(table: str, column: tuple[Any, ...], n: int) -> object:
    _, name, kind, is_needed, _, is_key = column
    if table == "message" and name == "id":
        return key(n, 16)
    if name == "key" and kind == "BLOB":
        return key(n, 20 if table == "lane" and n % 3 == 0 else 18)
    if not is_needed and not is_key and n % 2:
        return None
    if name in _SEALED and kind == "BLOB":
        return bytes.fromhex(KEY_ID) + bytes([n, 0, 255])
    if (table, name) == ("endpoint", "options"):
        return '{"ordered":false}' if n % 3 == 0 else "{}"
    if name in {"paused", "is_walked", "wakeable"}:
        return n % 2
    if name in {"id", "n", "position", "seq"} and kind == "INTEGER":
        return n
    return next(_values(kind, n, is_needed or is_key))


def _values(kind: str, n: int, is_distinct: object) -> Iterator[object]:
    match kind:
        case "INTEGER":
            yield (n, -n, 2**31 + n, 2**62 + n)[n % 4] if n % 2 else n
        case "REAL":
            yield n / 3
        case "BLOB":
            yield bytes([0, n, 255]) * n
        case _:
            yield _TEXTS[n % len(_TEXTS)] + (f"{n}" if is_distinct else "")
