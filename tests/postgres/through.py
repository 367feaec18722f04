"""A database with one table, and a client that goes to it through the proxy."""

import asyncio
from typing import Final

import asyncpg
from tests.postgres.proxy import Proxy
from tests.postgres.server import Server
from tests.postgres.waiting import until

LOST: Final = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)
"""What a client is told whose connection was cut."""


class Through:
    """A database with one table, and a way to it through the proxy and one past it."""

    def __init__(self, server: Server, database: str, proxy: Proxy) -> None:
        self.server = server
        self.proxy = proxy
        self.direct = server.dsn(database)
        self.dsn = server.dsn(database, port=proxy.port, application_name=f"through {database}")
        self.name = f"through {database}"

    async def rows(self) -> list[int]:
        """Return what is in the table once no session of the proxy's clients is there any more."""
        await asyncio.to_thread(
            until, lambda: not self.server.sessions(self.name), 20, lambda: "sessions stay"
        )
        connection = await asyncpg.connect(self.direct)
        try:
            return [row["it"] for row in await connection.fetch("SELECT it FROM kept ORDER BY it")]
        finally:
            await connection.close()


async def insert(through: Through, it: int) -> None:
    """Insert one row in a transaction of its own; raises when it does not learn that it is committed."""
    connection = await asyncpg.connect(through.dsn, timeout=20)
    try:
        async with connection.transaction():
            await connection.execute("INSERT INTO kept VALUES ($1)", it)
    finally:
        connection.terminate()
