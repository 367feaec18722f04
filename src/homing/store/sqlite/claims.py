"""What is left over, taken up again: lanes and commands that fell due, were born free, or lost their process.

Runs on the writer's thread where it takes something, on the reader's where it only looks.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import apsw

from homing.model import (
    CommandKind,
    DispatchKey,
    MessageId,
    dispatch_of,
    is_incoming,
    is_operation,
    message_of,
)
from homing.store.batch import CommandWork, Facts, IncomingFacts, LaneWork, OperationFacts, Outlook
from homing.store.port import Claimed
from homing.store.sql import load
from homing.store.sqlite.nouns import fetch

_SQL: Final = load("sqlite", "claims")
_Row = tuple[bytes, int, int, int, int]
_LANE: Final = itemgetter(0, 1, 2)
_NEARBY: Final = 64
"""How many places a probe may go on from where chance sent it: lanes let go together share one instant."""


def lane_work(
    connection: apsw.Connection, key: bytes, endpoint: int, bits: int, tries: int, job: int = 0
) -> LaneWork | None:
    """Gather what a courier needs for a lane's pending events; None when what it was about is gone."""
    facts: Facts | IncomingFacts | OperationFacts
    if is_incoming(key):
        row = connection.execute(_SQL["incoming_facts"], (message_of(key),)).fetchone()
        if row is None:
            return None
        app, identifier, text, channel, in_reply_to, at_ms = row
        reply = None if in_reply_to is None else MessageId(in_reply_to)
        facts = IncomingFacts(app, identifier, text, channel, reply)
        events = ((1, 0, at_ms),)
    elif is_operation(key):
        row = connection.execute(_SQL["operation_facts"], (message_of(key),)).fetchone()
        if row is None:
            return None
        facts = OperationFacts(*row)
        events = ((1, 0, facts.at_ms),)
    else:
        dispatch = dispatch_of(key)
        row = connection.execute(_SQL["lane_facts"], (dispatch,)).fetchone()
        if row is None:
            return None
        facts = Facts(*row)
        events = tuple(
            e for e in connection.execute(_SQL["events_of"], (dispatch,)) if bits >> (e[0] - 1) & 1
        )
    uid = job_uid(connection, job) if job else None
    return LaneWork(DispatchKey(key), endpoint, facts, events, tries, job=uid)


def job_uid(connection: apsw.Connection, job: int) -> str | None:
    """Return the name by which a job is known outside."""
    row = connection.execute(_SQL["job_uid"], (job,)).fetchone()
    return None if row is None else str(row[0])


def _works(connection: apsw.Connection, rows: Iterable[_Row]) -> list[LaneWork]:
    works = (lane_work(connection, *row) for row in rows)
    return [work for work in works if work is not None]


def claim_lanes(connection: apsw.Connection, endpoint: int, now_ms: int, limit: int, epoch: int) -> Claimed:
    """See `port.Ledger.claim_lanes`; one joined look for the dispatches' lanes, since a backlog is all of this."""
    joined = fetch(connection, _SQL["due_works"], (endpoint, now_ms, limit))
    rows: list[_Row] = fetch(connection, _SQL["due_lanes"], (endpoint, now_ms, limit))
    connection.executemany(_SQL["hold_lane"], [(row[0], endpoint, epoch) for row in rows])
    lanes: list[LaneWork] = []
    for (key, tries, job), events in groupby(joined, _LANE):
        told = list(events)
        said = tuple((n, status, at_ms) for *_, n, status, at_ms in told)
        uid = job_uid(connection, job) if job else None
        lanes.append(LaneWork(DispatchKey(key), endpoint, Facts(*told[0][3:9]), said, tries, job=uid))
    if len(lanes) < len(rows):
        found = {lane.key for lane in lanes}
        lanes += _works(connection, [row for row in rows if row[0] not in found])
    return Claimed(lanes, _next_due(connection, endpoint))


def claim_by_chance(
    connection: apsw.Connection, endpoint: int, now_ms: int, chance: float, epoch: int
) -> Claimed:
    """See `port.Ledger.claim_lanes` with ``chance``: an instant between the first due one and now, and a few places on."""
    first = fetch(connection, _SQL["first_due"], (endpoint, now_ms))
    if not first:
        return Claimed([], _next_due(connection, endpoint))
    first_ms = first[0][0]
    at_ms = first_ms + int(chance * (now_ms - first_ms))
    places = int(chance * 7_919) % _NEARBY
    rows: list[_Row] = []
    for from_ms, offset in ((at_ms, places), (at_ms, 0), (first_ms, places), (first_ms, 0)):
        rows = fetch(connection, _SQL["some_lane"], (endpoint, from_ms, now_ms, offset))
        if rows:
            break
    connection.executemany(_SQL["hold_lane"], [(row[0], endpoint, epoch) for row in rows])
    return Claimed(_works(connection, rows), _next_due(connection, endpoint))


def _next_due(connection: apsw.Connection, endpoint: int) -> int | None:
    following = fetch(connection, _SQL["next_lane"], (endpoint,))
    return following[0][0] if following else None


def adopt_lanes(
    connection: apsw.Connection, after: tuple[bytes, int], limit: int, epoch: int
) -> list[LaneWork]:
    """See `port.Ledger.adopt_lanes`."""
    rows: list[_Row] = fetch(connection, _SQL["orphan_lanes"], (*after, epoch, limit))
    connection.executemany(_SQL["hold_lane"], [(row[0], row[1], epoch) for row in rows])
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
