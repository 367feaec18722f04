"""What is left over, taken up again: lanes and commands that fell due, were born free, or lost their process.

Runs on the writer's thread where it takes something, on the reader's where it only looks.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, LiteralString

import apsw

from homing.model import DispatchKey, dispatch_of, is_incoming, is_operation, message_of
from homing.store.batch import CommandWork, Facts, LaneWork, Outlook
from homing.store.claims import (
    LaneRow,
    Place,
    Stride,
    of_dispatch,
    of_incoming,
    of_operation,
    probes,
    to_command,
    to_work,
)
from homing.store.port import Claimed
from homing.store.sql import load
from homing.store.sqlite.rows import fetch

_SQL: Final = load("sqlite", "claims")
STRETCH: Final = 10_000
"""So many lanes are looked at in one go, 2 to 3 ms: what a walk seeks may be few among a million that wait."""
_BEYOND_ALL: Final = (b"\xff" * 21, 0)
_LANE: Final = itemgetter(0, 1, 2)


def lane_work(
    connection: apsw.Connection, key: bytes, endpoint: int, bits: int, tries: int, job: int = 0
) -> LaneWork | None:
    """Gather what a courier needs for a lane's pending events; None when what it was about is gone."""
    if is_incoming(key):
        row = connection.execute(_SQL["incoming_facts"], (message_of(key),)).fetchone()
        about = None if row is None else of_incoming(row)
    elif is_operation(key):
        row = connection.execute(_SQL["operation_facts"], (message_of(key),)).fetchone()
        about = None if row is None else of_operation(row)
    else:
        dispatch = dispatch_of(key)
        row = connection.execute(_SQL["lane_facts"], (dispatch,)).fetchone()
        about = None if row is None else of_dispatch(row, connection.execute(_SQL["events_of"], (dispatch,)))
    if about is None:
        return None
    uid = job_uid(connection, job) if job else None
    return to_work((key, endpoint, bits, tries, job), about, uid)


def job_uid(connection: apsw.Connection, job: int) -> str | None:
    """Return the name by which a job is known outside."""
    row = connection.execute(_SQL["job_uid"], (job,)).fetchone()
    return None if row is None else str(row[0])


def works(connection: apsw.Connection, rows: Iterable[LaneRow]) -> list[LaneWork]:
    """Gather what couriers need for lanes' pending events, in the rows' order; what a lane was about may be gone."""
    found = (lane_work(connection, *row) for row in rows)
    return [work for work in found if work is not None]


def claim_lanes(connection: apsw.Connection, endpoint: int, now_ms: int, limit: int, epoch: int) -> Claimed:
    """See `port.Ledger.claim_lanes`; one joined look for the dispatches' lanes, since a backlog is all of this."""
    joined = fetch(connection, _SQL["due_works"], (endpoint, now_ms, limit))
    rows: list[LaneRow] = fetch(connection, _SQL["due_lanes"], (endpoint, now_ms, limit))
    connection.executemany(_SQL["hold_lane"], [(row[0], endpoint, epoch) for row in rows])
    lanes: list[LaneWork] = []
    for (key, tries, job), events in groupby(joined, _LANE):
        told = list(events)
        said = tuple((n, status, at_ms) for *_, n, status, at_ms in told)
        uid = job_uid(connection, job) if job else None
        lanes.append(LaneWork(DispatchKey(key), endpoint, Facts(*told[0][3:9]), said, tries, job=uid))
    if len(lanes) < len(rows):
        found = {lane.key for lane in lanes}
        lanes += works(connection, [row for row in rows if row[0] not in found])
    return Claimed(lanes, _next_due(connection, endpoint))


def claim_by_chance(
    connection: apsw.Connection, endpoint: int, now_ms: int, chance: float, epoch: int
) -> Claimed:
    """See `port.Ledger.claim_lanes` with ``chance``."""
    first = fetch(connection, _SQL["first_due"], (endpoint, now_ms))
    if not first:
        return Claimed([], _next_due(connection, endpoint))
    rows: list[LaneRow] = []
    for from_ms, offset in probes(chance, first[0][0], now_ms):
        rows = fetch(connection, _SQL["some_lane"], (endpoint, from_ms, now_ms, offset))
        if rows:
            break
    connection.executemany(_SQL["hold_lane"], [(row[0], endpoint, epoch) for row in rows])
    return Claimed(works(connection, rows), _next_due(connection, endpoint))


def _next_due(connection: apsw.Connection, endpoint: int) -> int | None:
    following = fetch(connection, _SQL["next_lane"], (endpoint,))
    return following[0][0] if following else None


def adopt_lanes(connection: apsw.Connection, after: Place, limit: int, epoch: int) -> Stride[LaneWork]:
    """See `port.Ledger.adopt_lanes`, of one stretch."""
    rows, ends_at = _along(connection, "orphan_lanes", after, limit, epoch)
    connection.executemany(_SQL["hold_lane"], [(row[0], row[1], epoch) for row in rows])
    return works(connection, rows), ends_at


def held_lanes(connection: apsw.Connection, after: Place, limit: int, epoch: int) -> Stride[LaneWork]:
    """See `port.Ledger.held_lanes`, of one stretch."""
    rows, ends_at = _along(connection, "held_lanes", after, limit, epoch)
    return works(connection, rows), ends_at


def held_commands(connection: apsw.Connection, after: Place, limit: int, epoch: int) -> Stride[CommandWork]:
    """See `port.Ledger.held_commands`, of one stretch."""
    rows, ends_at = _along(connection, "held_commands", after, limit, epoch, "command_stretch_end")
    return [to_command(row) for row in rows], ends_at


def _along(
    connection: apsw.Connection,
    name: LiteralString,
    after: Place,
    limit: int,
    epoch: int,
    stretch_end: LiteralString = "stretch_end",
) -> tuple[list[Any], Place | None]:
    """Look at no more than a stretch of all there are, however few of them are wanted."""
    end = connection.execute(_SQL[stretch_end], (*after, STRETCH - 1)).fetchone()
    rows = fetch(connection, _SQL[name], (*after, *(end or _BEYOND_ALL), epoch, limit))
    if len(rows) == limit:
        return rows, rows[-1][:2]
    return rows, end


def claim_commands(
    connection: apsw.Connection, now_ms: int, limit: int, epoch: int, *, has_orphans: bool
) -> tuple[list[CommandWork], bool]:
    """See `port.Ledger.claim_commands`; those that lost their process count as due, while there may be any.

    Returns with them whether there may be more that lost their process: none is lost while this one lives.
    """
    rows = fetch(connection, _SQL["due_commands"], (now_ms, limit))
    if has_orphans and len(rows) < limit:
        wanted = limit - len(rows)
        orphans = fetch(connection, _SQL["orphan_commands"], (epoch, wanted))
        has_orphans = len(orphans) == wanted
        rows += orphans
    connection.executemany(_SQL["hold_command"], [(key, kind, epoch) for key, kind, _t, _d in rows])
    return [to_command(row) for row in rows], has_orphans


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
