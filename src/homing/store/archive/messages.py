"""Messages with the stories of their dispatches, read from rows: one question per table, however many messages."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from homing.lifecycle.dispatch import State
from homing.model import Body, first_id
from homing.store.batch import Facts
from homing.store.dialogue import Ask, Dialogue
from homing.store.views import DispatchView, EventView, HistoryView, MessageQuery, MessageView

_SLICE: Final = 2_000
"""How many messages one step of a walk looks at: a few ms, then others have their turn."""

to_body: Final = msgspec.json.Decoder(Body).decode
to_state: Final = State._make


def views(ids: Sequence[bytes], *, is_whole: bool) -> Dialogue[list[MessageView]]:
    """Return these messages, newest first, those that exist; histories only where the view is to be whole."""
    if not ids:
        return []
    keys = (list(ids),)
    events: dict[bytes, list[EventView]] = defaultdict(list)
    for key, n, status, at_ms in (yield Ask("archive", "events_of", keys)):
        events[key].append(EventView(n, status, at_ms))
    histories: dict[bytes, list[HistoryView]] = defaultdict(list)
    if is_whole:
        for key, at_ms, code, detail in (yield Ask("archive", "histories_of", keys)):
            histories[key].append(HistoryView(at_ms, code, detail))
    dispatches: dict[bytes, list[DispatchView]] = defaultdict(list)
    for row in (yield Ask("archive", "dispatches_of", keys)):
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
        for row in (yield Ask("archive", "messages_by_id", keys))
    ]


class Search:
    """One `MessageQuery` on its way: `step` until it is done. Each step is a short look at one commit."""

    def __init__(self, query: MessageQuery) -> None:
        self._query = query
        self._low = first_id(0 if query.since_ms is None else query.since_ms)
        self._high = b"\xff" * 17 if query.until_ms is None else first_id(query.until_ms)
        if query.before is not None:
            self._high = min(self._high, query.before)
        self._apps = None if query.apps is None else list(query.apps)
        self._unknown: str | None = None
        self._is_new = True
        self.found: list[MessageView] = []
        self.is_done = self._low >= self._high or query.apps == ()

    def step(self) -> Dialogue[None]:
        """Look once; afterwards the search is done, or has come one slice further into the past."""
        if self._is_new:
            self._is_new = False
            return self._look_up()
        return self._walk()

    def _look_up(self) -> Dialogue[None]:
        """Answer from an index if one fits: a known recipient's, or that of senders' own ids."""
        query = self._query
        if query.recipient_folded is not None:
            known = yield Ask("archive", "recipients_named", (query.recipient_folded, self._apps))
            if known:
                yield from self._take("find_by_recipient", self._low, [row[0] for row in known])
                self.is_done = True
                return
            self._unknown = query.recipient_folded
        if query.ref is not None:
            yield from self._take("find_by_ref", self._low, self._apps, self._unknown)
            self.is_done = True

    def _walk(self) -> Dialogue[None]:
        bounds = (self._low, self._high, _SLICE)
        apps = self._query.apps
        which: object = self._apps
        if apps is not None and len(apps) == 1:
            which = apps[0]
            ends = yield Ask("archive", "slice_end_of_app", (*bounds, which))
            name = "find_in_slice_of_app"
        else:
            ends = yield Ask("archive", "slice_end", bounds)
            name = "find_in_slice"
        end = ends[0][0] if ends else None
        if end is None:
            self.is_done = True
            return
        yield from self._take(name, end, which, self._unknown)
        self._high = end
        self.is_done = len(self.found) >= self._query.limit

    def _take(self, name: str, low: bytes, *more: object) -> Dialogue[None]:
        query = self._query
        values = (low, self._high, query.ref, query.status, *more, query.limit - len(self.found))
        rows = yield Ask("archive", name, values)
        self.found += yield from views([row[0] for row in rows], is_whole=False)
