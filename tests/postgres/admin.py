"""A superuser's one session at a test server, for any thread: it goes past every proxy and waits for no standby."""

from collections.abc import Sequence
from typing import Any

import asyncpg
from tests.postgres.address import SUPERUSER
from tests.postgres.background import Background


class Admin:
    """Connects when it is first asked, and again after the server has been away."""

    def __init__(self, socket_folder: str) -> None:
        self._socket_folder = socket_folder
        self._background = Background("postgres-admin")
        self._connection: Any = None

    def ask(self, port: int, password: str, sql: str, arguments: Sequence[object]) -> Any:
        """Run one statement and return the first row's first value."""
        return self._background.run(self._ask(port, password, sql, arguments))

    def leave(self) -> None:
        """Have no session any more; the next question opens another."""
        self._background.run(self._leave())

    def close(self) -> None:
        """Leave, and end the thread."""
        self.leave()
        self._background.close()

    async def _ask(self, port: int, password: str, sql: str, arguments: Sequence[object]) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                host=self._socket_folder,
                port=port,
                user=SUPERUSER,
                password=password,
                database="postgres",
                timeout=20,
                command_timeout=50,
                server_settings={"application_name": "harness", "synchronous_commit": "local"},
            )
        return await self._connection.fetchval(sql, *arguments)

    async def _leave(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
