"""What a database of ours holds beside what belongs to running nodes: its tables and sequences, read and counted whole.

For what copies a store as it stands: moving one here, backups, restores. Names come from the catalogue alone.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from homing.errors import PlaceTaken
from homing.store.digest import Digest
from homing.store.sql import load

CONTENT: Final = (
    "app", "recipient", "device", "token", "endpoint", "job", "message", "dispatch", "event", "history", "settled",
    "attempt", "incoming", "lane", "dead", "command", "timer", "sms", "idempotency", "operation", "listener", "doomed",
)  # fmt: skip
"""Every table that says what the store was told, beside ``meta``; applications first."""
RUNNING: Final = ("node", "link", "change")
"""Tables that speak of nodes that run: no copy has them."""
_SQL: Final = load("postgres", "schema")
_AT_ONCE: Final = 5_000


async def refuse_content(connection: Any) -> None:
    """Raise `PlaceTaken` where there is any relation by a name of ours: a store is made only where none is."""
    found = await connection.fetch(_SQL["content"], ["meta", *CONTENT, *RUNNING])
    if found:
        name = await connection.fetchval("SELECT current_database()")
        raise PlaceTaken(
            f"the database {name} is not empty: it has a table {found[0][0]}; give one that was just created"
        )


async def columns(connection: Any, table: str) -> list[str]:
    """Return the names of a table's columns, in their order."""
    return [row[0] for row in await connection.fetch(_SQL["columns"], table)]


async def read(
    connection: Any, table: str, names: Sequence[str], order: Sequence[str] = ()
) -> AsyncIterator[list[Any]]:
    """Yield all rows of a table in parts, inside the caller's transaction, with these columns; ``order`` sorts them."""
    sql = f"SELECT {quoted(names)} FROM {quoted([table])}"  # noqa: S608 - quoted, and the catalogue's own
    if order:
        sql += f" ORDER BY {quoted(order)}"
    cursor = await connection.cursor(sql)
    while rows := await cursor.fetch(_AT_ONCE):
        yield rows


async def digest(connection: Any, table: str, names: Sequence[str]) -> Digest:
    """Count and sum a table inside the caller's transaction."""
    found = Digest()
    async for rows in read(connection, table, names):
        found.add(map(tuple, rows))
    return found


def quoted(names: Sequence[str]) -> str:
    """Return names as SQL has them in a list."""
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)
