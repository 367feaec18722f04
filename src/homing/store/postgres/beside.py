"""A connection beside a node's: for verbs that copy, restore or look, and may take their time.

It goes by another name than nodes do, so that a long transaction on it does not hold back the feed (ADR 0008).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from homing.errors import Unavailable

_CONNECT_S: Final = 10.0
_SETTINGS: Final = {
    "application_name": "homing-beside",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "30s",
    "jit": "off",
    "timezone": "UTC",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


@asynccontextmanager
async def beside(dsn: str, **settings: str) -> AsyncIterator[Any]:
    """Yield a connection of its own; ``settings`` are the session's, beside ours.

    Raises `Unavailable` when the database cannot be reached, or is lost meanwhile. Its password is never told.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=_CONNECT_S, server_settings={**_SETTINGS, **settings})
        try:
            yield connection
        finally:
            # A session that is gone cannot say good-bye; one that hangs must not hold us.
            try:
                await connection.close(timeout=_CONNECT_S)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                connection.terminate()
    except asyncio.CancelledError:
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise Unavailable(f"the database cannot be used: {error or type(error).__name__}") from error
