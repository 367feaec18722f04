"""Short words for what the tests of moving do: move, and look at either side without the product."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import apsw
import asyncpg
from tests.store.stocked import KEY_ID

from homing.store.moving.move import Moved, Step, Tell, move


def silent(_step: Step) -> None:
    """Nobody listens."""


async def moved(source: Path, dsn: str, tell: Tell = silent, batch_rows: int = 7) -> Moved:
    return await move(source, KEY_ID, dsn, "there", tell, batch_rows)


async def there(dsn: str, statement: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


def here(source: Path, statement: str) -> Any:
    connection = apsw.Connection(str(source))
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def elsewhere(dsn: str, *statements: str) -> None:
    """Run statements on a connection of a thread's own, and return when that is done: nothing goes on meanwhile."""
    thread = threading.Thread(target=lambda: [asyncio.run(there(dsn, one)) for one in statements])
    thread.start()
    thread.join()
