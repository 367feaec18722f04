"""What is left over, taken up again: lanes and commands that fell due, were born free, or lost their process.

Runs on the writer's thread where it takes something, on the reader's where it only looks.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import apsw

from homing.model import CommandKind, DispatchKey, MessageId, is_incoming, message_of
from homing.store.batch import CommandWork, Facts, IncomingFacts, LaneWork, Outlook
from homing.store.port import Claimed
from homing.store.sql import load
from homing.store.sqlite.nouns import fetch

_SQL: Final = load("sqlite", "claims")
_Row = tuple[bytes, int, int, int]
_KEY_AND_TRIES: Final = itemgetter(0, 2)


def lane_work(
    connection: apsw.Connection, key: bytes, endpoint: int, bits: int, tries: int
) -> LaneWork | None:
    """Gather what a courier needs for a lane's pending events; None when what it was about is gone."""
    facts: Facts | IncomingFacts
    if is_incoming(key):
        row = connection.execute(_SQL["incoming_facts"], (message_of(key),)).fetchone()
        if row is None:
            return None
        app, identifier, text, channel, in_reply_to, at_ms = row
        reply = None if in_reply_to is None else MessageId(in_reply_to)
        facts = IncomingFacts(app, identifier, text, channel, reply)
        events = ((1, 0, at_ms),)
    else:
        row = connection.execute(_SQL["lane_facts"], (key,)).fetchone()
        if row is None:
            return None
        facts = Facts(*row)
        events = tuple(e for e in connection.execute(_SQL["events_of"], (key,)) if bits >> (e[0] - 1) & 1)
    return LaneWork(DispatchKey(key), endpoint, facts, events, tries)


def _works(connection: apsw.Connection, rows: Iterable[_Row]) -> list[LaneWork]:
    works = (lane_work(connection, *row) for row in rows)
    return [work for work in works if work is not None]


def claim_lanes(connection: apsw.Connection, endpoint: int, now_ms: int, limit: int, epoch: int) -> Claimed:
    """See `port.Ledger.claim_lanes`; one joined look for the dispatches' lanes, since a backlog is all of this."""
    joined = fetch(connection, _SQL["due_works"], (endpoint, now_ms, limit))
    rows: list[_Row] = fetch(connection, _SQL["due_lanes"], (endpoint, now_ms, limit))
    connection.executemany(_SQL["hold_lane"], [(key, endpoint, epoch) for key, _e, _p, _t in rows])
    lanes: list[LaneWork] = []
    for (key, tries), events in groupby(joined, _KEY_AND_TRIES):
        told = list(events)
        said = tuple((n, status, at_ms) for *_, n, status, at_ms in told)
        lanes.append(LaneWork(DispatchKey(key), endpoint, Facts(*told[0][3:8]), said, tries))
    if len(lanes) < len(rows):
        found = {lane.key for lane in lanes}
        lanes += _works(connection, [row for row in rows if row[0] not in found])
    following = fetch(connection, _SQL["next_lane"], (endpoint,))
    return Claimed(lanes, following[0][0] if following else None)


def adopt_lanes(
    connection: apsw.Connection, after: tuple[bytes, int], limit: int, epoch: int
) -> list[LaneWork]:
    """See `port.Ledger.adopt_lanes`."""
    rows: list[_Row] = fetch(connection, _SQL["orphan_lanes"], (*after, epoch, limit))
    connection.executemany(_SQL["hold_lane"], [(key, endpoint, epoch) for key, endpoint, _p, _t in rows])
    return _works(connection, rows)


def held_lanes(
    connection: apsw.Connection, after: tuple[bytes, int], limit: int, epoch: int
) -> list[LaneWork]:
    """See `port.Ledger.held_lanes`."""
    return _works(connection, fetch(connection, _SQL["held_lanes"], (*after, epoch, limit)))


def claim_commands(connection: apsw.Connection, now_ms: int, limit: int, epoch: int) -> list[CommandWork]:
    """See `port.Ledger.claim_commands`; those that lost their process count as due."""
    rows = fetch(connection, _SQL["due_commands"], (now_ms, limit))
    if len(rows) < limit:
        rows += fetch(connection, _SQL["orphan_commands"], (epoch, limit - len(rows)))
    connection.executemany(_SQL["hold_command"], [(key, kind, epoch) for key, kind, _t, _d in rows])
    return [
        CommandWork(DispatchKey(key), CommandKind(kind), tries, detail) for key, kind, tries, detail in rows
    ]


def release(connection: apsw.Connection, lanes: Sequence[tuple[bytes, int]], now_ms: int, epoch: int) -> None:
    """See `port.Ledger.release`."""
    connection.executemany(_SQL["free_lane"], [(key, endpoint, now_ms, epoch) for key, endpoint in lanes])


def due_dispatches(connection: apsw.Connection, now_ms: int, limit: int) -> list[bytes]:
    """See `port.Ledger.due_dispatches`."""
    return [row[0] for row in connection.execute(_SQL["due_timers"], (now_ms, limit))]


def outlook(connection: apsw.Connection) -> Outlook:
    """See `port.Ledger.outlook`; one look into an index per endpoint, however many lanes wait."""
    lanes_due: dict[int, int] = {}
    for (endpoint,) in fetch(connection, _SQL["endpoint_ids"], ()):
        for (due_ms,) in fetch(connection, _SQL["next_lane"], (endpoint,)):
            lanes_due[endpoint] = due_ms
    [(next_timer_ms,)] = fetch(connection, _SQL["next_timer"], ())
    [(next_command_ms,)] = fetch(connection, _SQL["next_command"], ())
    return Outlook(next_timer_ms, next_command_ms, lanes_due)
