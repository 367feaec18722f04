"""What tests of the proxy start from: a database with one table, behind a proxy."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import asyncpg
import pytest
from tests.postgres.proxy import Proxy
from tests.postgres.server import Server
from tests.postgres.through import Through

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def through(postgres: Server, fresh_database: str, run: Run) -> Iterator[Through]:
    """Return a database behind a proxy."""

    async def make() -> None:
        connection = await asyncpg.connect(postgres.dsn(fresh_database))
        await connection.execute("CREATE TABLE kept (it int PRIMARY KEY, text text)")
        await connection.close()

    run(make())
    with Proxy(postgres.port) as proxy:
        yield Through(postgres, fresh_database, proxy)
