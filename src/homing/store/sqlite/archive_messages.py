"""Messages with the stories of their dispatches, read from rows: one question per table, however many messages."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import apsw
import msgspec

from homing.lifecycle.dispatch import State
from homing.model import Body
from homing.store.batch import Facts
from homing.store.sql import load
from homing.store.sqlite.nouns import as_json, fetch
from homing.store.views import DispatchView, EventView, HistoryView, MessageQuery, MessageView

_SQL: Final = load("sqlite", "archive")
_SLICE: Final = 2_000
"""How many messages one step of a walk looks at: a few ms, then others have their turn."""
_LAST_MS: Final = 2**48 - 1

to_body: Final = msgspec.json.Decoder(Body).decode
to_state: Final = State._make


def hex_list(keys: Iterable[bytes]) -> str:
    """Return ids or keys as the JSON list of hexadecimal texts that the statements take."""
    return as_json([key.hex() for key in keys])


def views(connection: apsw.Connection, ids: Sequence[bytes], *, is_whole: bool) -> list[MessageView]:
    """Return these messages, newest first, those that exist; histories only where the view is to be whole."""
    if not ids:
        return []
    keys = hex_list(ids)
    events: dict[bytes, list[EventView]] = defaultdict(list)
    for key, n, status, at_ms in fetch(connection, _SQL["events_of"], (keys,)):
        events[key].append(EventView(n, status, at_ms))
    histories: dict[bytes, list[HistoryView]] = defaultdict(list)
    if is_whole:
        for key, at_ms, code, detail in fetch(connection, _SQL["histories_of"], (keys,)):
            histories[key].append(HistoryView(at_ms, code, detail))
    dispatches: dict[bytes, list[DispatchView]] = defaultdict(list)
    for row in fetch(connection, _SQL["dispatches_of"], (keys,)):
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
        for row in fetch(connection, _SQL["messages_by_id"], (keys,))
    ]


class Search:
    """One `MessageQuery` on its way: `step` until it is done. Each step is a short look at one commit."""

    def __init__(self, query: MessageQuery) -> None:
        self._query = query
        self._low = _floor(0 if query.since_ms is None else query.since_ms)
        self._high = b"\xff" * 17 if query.until_ms is None else _floor(query.until_ms)
        if query.before is not None:
            self._high = min(self._high, query.before)
        self._apps = None if query.apps is None else as_json(query.apps)
        self._unknown: str | None = None
        self._is_new = True
        self.found: list[MessageView] = []
        self.is_done = self._low >= self._high or query.apps == ()

    def step(self, connection: apsw.Connection) -> None:
        """Look once; afterwards the search is done, or has come one slice further into the past."""
        if self._is_new:
            self._is_new = False
            self._look_up(connection)
        else:
            self._walk(connection)

    def _look_up(self, connection: apsw.Connection) -> None:
        """Answer from an index if one fits: a known recipient's, or that of senders' own ids."""
        query = self._query
        if query.recipient_folded is not None:
            known = fetch(connection, _SQL["recipients_named"], (query.recipient_folded, self._apps))
            if known:
                self._take(connection, "find_by_recipient", recipients=as_json([row[0] for row in known]))
                self.is_done = True
                return
            self._unknown = query.recipient_folded
        if query.ref is not None:
            self._take(connection, "find_by_ref", apps=self._apps, unknown=self._unknown)
            self.is_done = True

    def _walk(self, connection: apsw.Connection) -> None:
        bounds = (self._low, self._high, _SLICE)
        apps = self._query.apps
        scope: dict[str, object]
        if apps is not None and len(apps) == 1:
            ((end,),) = fetch(connection, _SQL["slice_end_of_app"], (apps[0], *bounds))
            name, scope = "find_in_slice_of_app", {"app": apps[0]}
        else:
            ((end,),) = fetch(connection, _SQL["slice_end"], bounds)
            name, scope = "find_in_slice", {"apps": self._apps}
        if end is None:
            self.is_done = True
            return
        self._take(connection, name, low=end, unknown=self._unknown, **scope)
        self._high = end
        self.is_done = len(self.found) >= self._query.limit

    def _take(self, connection: apsw.Connection, name: str, **values: object) -> None:
        query = self._query
        given = {
            "low": self._low,
            "high": self._high,
            "ref": query.ref,
            "status": query.status,
            "limit": query.limit - len(self.found),
            **values,
        }
        ids = [row[0] for row in fetch(connection, _SQL[name], given)]
        self.found += views(connection, ids, is_whole=False)


def _floor(at_ms: int) -> bytes:
    """Return the least UUIDv7 of an instant: its first 48 bits are the ms (RFC 9562 §5.7)."""
    return min(max(at_ms, 0), _LAST_MS).to_bytes(6, "big") + bytes(10)
