"""Messages with the stories of their dispatches, read from rows: one question per table, however many messages."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from homing.store.batch import Facts
from homing.store.sql import load
from homing.store.sqlite.archive_messages import to_body, to_state
from homing.store.views import DispatchView, EventView, HistoryView, MessageQuery, MessageView

_SQL: Final = load("postgres", "archive")
_SLICE: Final = 2_000
"""How many messages one step of a walk looks at: a few ms, then others have their turn."""
_LAST_MS: Final = 2**48 - 1


async def views(connection: Any, ids: Sequence[bytes], *, is_whole: bool) -> list[MessageView]:
    """Return these messages, newest first, those that exist; histories only where the view is to be whole."""
    if not ids:
        return []
    keys = list(ids)
    events: dict[bytes, list[EventView]] = defaultdict(list)
    for key, n, status, at_ms in await connection.fetch(_SQL["events_of"], keys):
        events[key].append(EventView(n, status, at_ms))
    histories: dict[bytes, list[HistoryView]] = defaultdict(list)
    if is_whole:
        for key, at_ms, code, detail in await connection.fetch(_SQL["histories_of"], keys):
            histories[key].append(HistoryView(at_ms, code, detail))
    dispatches: dict[bytes, list[DispatchView]] = defaultdict(list)
    for row in await connection.fetch(_SQL["dispatches_of"], keys):
        key = row[0]
        dispatches[key[:16]].append(
            DispatchView(
                key=key,
                recipient=row[1],
                facts=Facts(*row[3:8]),
                text=row[2],
                state=to_state(row[8:]),
                events=tuple(events.get(key, ())),
                history=tuple(histories.get(key, ())),
            )
        )
    return [
        MessageView(row[0], row[1], row[2], to_body(row[3]), row[4], row[5], tuple(dispatches[row[0]]))
        for row in await connection.fetch(_SQL["messages_by_id"], keys)
    ]


class Search:
    """One `MessageQuery` on its way: `step` until it is done. Each step is a short look at one commit."""

    def __init__(self, query: MessageQuery) -> None:
        self._query = query
        self._low = _floor(0 if query.since_ms is None else query.since_ms)
        self._high = b"\xff" * 17 if query.until_ms is None else _floor(query.until_ms)
        if query.before is not None:
            self._high = min(self._high, query.before)
        self._apps = None if query.apps is None else list(query.apps)
        self._unknown: str | None = None
        self._is_new = True
        self.found: list[MessageView] = []
        self.is_done = self._low >= self._high or query.apps == ()

    async def step(self, connection: Any) -> None:
        """Look once; afterwards the search is done, or has come one slice further into the past."""
        if self._is_new:
            self._is_new = False
            await self._look_up(connection)
        else:
            await self._walk(connection)

    async def _look_up(self, connection: Any) -> None:
        """Answer from an index if one fits: a known recipient's, or that of senders' own ids."""
        query = self._query
        if query.recipient_folded is not None:
            known = await connection.fetch(_SQL["recipients_named"], query.recipient_folded, self._apps)
            if known:
                await self._take(connection, "find_by_recipient", [row[0] for row in known])
                self.is_done = True
                return
            self._unknown = query.recipient_folded
        if query.ref is not None:
            await self._take(connection, "find_by_ref", self._apps, self._unknown)
            self.is_done = True

    async def _walk(self, connection: Any) -> None:
        apps = self._query.apps
        if apps is not None and len(apps) == 1:
            end = await connection.fetchval(_SQL["slice_end_of_app"], self._low, self._high, _SLICE, apps[0])
        else:
            end = await connection.fetchval(_SQL["slice_end"], self._low, self._high, _SLICE)
        if end is None:
            self.is_done = True
            return
        low, self._low = self._low, end
        await self._take(connection, "find_in_slice", self._apps, self._unknown)
        self._low, self._high = low, end
        self.is_done = len(self.found) >= self._query.limit

    async def _take(self, connection: Any, name: str, *more: object) -> None:
        query = self._query
        rows = await connection.fetch(
            _SQL[name], self._low, self._high, query.ref, query.status, *more, query.limit - len(self.found)
        )
        self.found += await views(connection, [row[0] for row in rows], is_whole=False)


def _floor(at_ms: int) -> bytes:
    """Return the least UUIDv7 of an instant: its first 48 bits are the ms (RFC 9562 §5.7)."""
    return min(max(at_ms, 0), _LAST_MS).to_bytes(6, "big") + bytes(10)
