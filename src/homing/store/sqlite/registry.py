"""The registry on SQLite (`homing.store.port.Registry`): who is told of a change, and answers that are kept."""

import asyncio
from collections.abc import Callable
from typing import Final

import apsw

from homing.store.archive import feed
from homing.store.batch import Idempotency
from homing.store.changes import Change
from homing.store.port import Applied
from homing.store.registry.listeners import Ends
from homing.store.registry.make import make_change
from homing.store.registry.questions import RegistryQuestions
from homing.store.sqlite.database import Database
from homing.store.sqlite.ledger import drop_old_answers, first_answer, keep_answer
from homing.store.sqlite.rows import SqliteAsked, hold

_ENDS: Final = Ends(feed.head, feed.head)
"""One writer commits at a time, so whatever there is can be read."""


class SqliteRegistry(SqliteAsked, RegistryQuestions):
    """Configuration, one transaction per change and per question."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._db = database

    async def apply(
        self,
        change: Change,
        idempotency: Idempotency | None = None,
        render: Callable[[object], bytes] | None = None,
    ) -> Applied:
        """See `port.Registry.apply`."""

        def work(connection: apsw.Connection) -> Applied:
            now_ms = self._db.clock.now_ms()
            if idempotency is None:
                return Applied(hold(connection, make_change(change, now_ms, _ENDS)))
            answer = first_answer(connection, idempotency, now_ms)
            if answer is not None:
                return Applied(None, answer, replayed=True)
            value = hold(connection, make_change(change, now_ms, _ENDS))
            answer = b"" if render is None else render(value)
            keep_answer(connection, idempotency, answer, now_ms)
            drop_old_answers(connection, now_ms, 20)
            return Applied(value, answer)

        def tell(done: "asyncio.Future[Applied]") -> None:
            if done.cancelled() or done.exception() is not None or done.result().replayed:
                return
            self._tell(change, done.result().value)

        written = asyncio.ensure_future(self._db.write(work))
        # The change is real even if its caller is cancelled meanwhile: whoever watches must hear of it.
        written.add_done_callback(tell)
        return await asyncio.shield(written)

    async def catch_up(self) -> None:
        """See `port.Registry.catch_up`: whoever watches is told before `apply` returns."""

    async def recall_answer(self, idempotency: Idempotency) -> bytes | None:
        """See `port.Registry.recall_answer`."""
        return await self._db.read(lambda c: first_answer(c, idempotency, self._db.clock.now_ms()))

    async def keep_answer(self, idempotency: Idempotency, answer: bytes) -> None:
        """See `port.Registry.keep_answer`; the answer of the first one stays if two raced."""

        def work(connection: apsw.Connection) -> None:
            now_ms = self._db.clock.now_ms()
            if first_answer(connection, idempotency, now_ms) is None:
                keep_answer(connection, idempotency, answer, now_ms)
                drop_old_answers(connection, now_ms, 20)

        await self._db.write(work)
