"""What became of callbacks, written: bits cleared, tries put off, events given up, lanes that are drained deleted.

Whether a lane holds more is read from its row and from nothing else. Runs on the writer's thread, in its transaction.
"""

from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from homing.store.batch import LaneWork, Settle, Verdict
from homing.store.sql import load
from homing.store.sqlite.claims import lane_work

_SQL: Final = load("sqlite", "ledger")


def settle(connection: apsw.Connection, settles: Sequence[Settle], epoch: int, now_ms: int) -> list[LaneWork]:
    """Write outcomes and return the events that lanes of ours hold and their courier does not know of."""
    attempts, done, put_off, left = [], [], [], []
    drain = _SQL["drain_lane"]
    for s in settles:
        bit = 1 << (s.n - 1)
        if s.attempt is not None:
            attempts.append(_attempt(s))
        if s.verdict is Verdict.RETRY:
            put_off.append((s.key, s.endpoint, s.retry_at_ms, s.tries, epoch, bit))
        elif s.verdict is Verdict.DEAD:
            left.append(s)
        else:
            done.append((s.key, s.endpoint, bit))
            connection.execute(drain, (s.key, s.endpoint, bit))
            if not connection.changes():
                left.append(s)
    more: list[LaneWork] = []
    if left:
        _clear(connection, left, epoch, now_ms)
        more = _forgotten(connection, left, epoch)
    _many(connection, "add_attempt", attempts)
    _many(connection, "put_off", put_off)
    _many(connection, "add_done", done)
    return more


def _clear(connection: apsw.Connection, settles: Sequence[Settle], epoch: int, now_ms: int) -> None:
    """Go through them one by one and in order: several may be of one lane, and each counts from where it stands."""
    touched: set[tuple[bytes, int]] = set()
    for s in settles:
        bit = 1 << (s.n - 1)
        if s.verdict is Verdict.DONE:
            connection.execute(_SQL["clear_bit"], (s.key, s.endpoint, bit))
        elif s.verdict is Verdict.DEAD:
            connection.execute(_SQL["give_up_bit"], (s.key, s.endpoint, bit, epoch, s.tries))
            if connection.changes():
                reason = s.reason or "gave_up"
                connection.execute(_SQL["add_dead"], (s.key, s.endpoint, s.n, now_ms, reason))
                connection.execute(_SQL["add_given_up"], (s.key, s.endpoint, bit))
        touched.add((s.key, s.endpoint))
    _many(connection, "drop_drained", sorted(touched))


def _forgotten(connection: apsw.Connection, settles: Sequence[Settle], epoch: int) -> list[LaneWork]:
    known = {
        (s.key, s.endpoint): s.known for s in settles if s.verdict is not Verdict.RETRY
    }  # the last one's word counts
    more: list[LaneWork] = []
    for (key, endpoint), bits in known.items():
        row = connection.execute(_SQL["lane_pending"], (key, endpoint, epoch)).fetchone()
        if row is None or not row[0] & ~bits:
            continue
        work = lane_work(connection, key, endpoint, row[0] & ~bits, 0)
        if work is not None:
            more.append(msgspec.structs.replace(work, fresh=False))
    return more


def _attempt(s: Settle) -> tuple[Any, ...]:
    a = s.attempt
    assert a is not None
    return (s.endpoint, s.key, s.n, s.tries + 1, a.at_ms, a.took_ms, a.code, a.error, a.address, a.answer)


def _many(connection: apsw.Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        connection.executemany(_SQL[name], rows)
