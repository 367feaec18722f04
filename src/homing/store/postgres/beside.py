"""A connection beside a node's: for verbs that copy, restore or look, and may take their time.

It goes by another name than nodes do, so that a long transaction on it does not hold back the feed (ADR 0008).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from homing.errors import Unavailable
from homing.store.postgres.dial import FAILURES, LOST, places_of, readable

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
    """Yield a connection of its own to the server that takes writes; ``settings`` are the session's, beside ours.

    Raises `Unavailable` when the database cannot be reached, or is lost meanwhile. Its password is never told.
    """
    try:
        connection = await _connect(dsn, {**_SETTINGS, **settings})
        try:
            yield connection
        finally:
            # A session that is gone cannot say good-bye; one that hangs must not hold us.
            try:
                await connection.close(timeout=_CONNECT_S)
            except LOST:
                connection.terminate()
    except asyncio.CancelledError:
        raise
    except LOST as error:
        raise Unavailable(f"the database cannot be used: {error or type(error).__name__}") from error


async def _connect(dsn: str, settings: dict[str, str]) -> Any:
    """Try one server of the address after the other; none of their answers has a limit."""
    told: list[str] = []
    for place in places_of(dsn):
        where: dict[str, Any] = {"host": place.host, "port": place.port} if place.host else {}
        try:
            with readable():
                return await asyncpg.connect(
                    dsn, **where, timeout=_CONNECT_S, server_settings=settings, target_session_attrs="primary"
                )
        except FAILURES as error:
            told.append(f"{place}: {error or type(error).__name__}")
    raise Unavailable(f"the database cannot be reached: {'; '.join(told)}")
