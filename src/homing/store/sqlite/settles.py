"""What became of callbacks, written: bits cleared, tries put off, events given up, lanes that are drained deleted.

Whether a lane holds more is read from its row and from nothing else. Runs on the writer's thread, in its transaction.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from homing.model import dispatch_of, is_operation, is_replay, message_of, uuid_text
from homing.store.batch import LaneWork, Settle, Verdict
from homing.store.operations import TOLD_OTHERWISE, tell_operations
from homing.store.sql import load
from homing.store.sqlite.claims import lane_work
from homing.store.sqlite.replays import JobCounts
from homing.store.sqlite.rows import hold

_SQL: Final = load("sqlite", "ledger")


def settle(
    connection: apsw.Connection, settles: Sequence[Settle], epoch: int, now_ms: int
) -> tuple[list[LaneWork], list[int]]:
    """Write outcomes; return the events that lanes of ours hold and their courier does not know of, and the endpoints
    that have something due now because of what was given up.
    """
    attempts, done, put_off, waiting, left = [], [], [], [], []
    jobs = JobCounts(connection, now_ms)
    drain = _SQL["drain_lane"]
    for s in settles:
        key = s.key
        bit = 1 << (s.n - 1)
        if s.attempt is not None:
            attempts.append(_attempt(s))
        if s.verdict is Verdict.RETRY:
            put_off.append((key, s.endpoint, s.retry_at_ms, s.tries, epoch, bit))
        elif s.verdict is Verdict.WAIT:
            waiting.append((key, s.endpoint, s.retry_at_ms, s.tries, epoch, bit))
        elif s.verdict is Verdict.DEAD:
            left.append(s)
        elif len(key) == 18 and key[16:] < b"\xff\xfe":
            done.append((key, s.endpoint, bit))
            connection.execute(drain, (key, s.endpoint, bit))
            if not connection.changes():
                left.append(s)
        else:
            if is_replay(key):
                jobs.told(key, s.endpoint, s.n)
            elif not is_operation(key):
                done.append((dispatch_of(key), s.endpoint, bit))
            left.append(s)
    more: list[LaneWork] = []
    due: list[int] = []
    if left:
        due = _clear(connection, left, epoch, now_ms, jobs)
        more = _forgotten(connection, left, epoch)
    _many(connection, "add_attempt", attempts)
    _many(connection, "put_off", put_off)
    _many(connection, "let_wait", waiting)
    _many(connection, "add_done", done)
    jobs.write()
    return more, due


def _clear(
    connection: apsw.Connection, settles: Sequence[Settle], epoch: int, now_ms: int, jobs: JobCounts
) -> list[int]:
    """Go through them one by one and in order: several may be of one lane, and each counts from where it stands."""
    touched: set[tuple[bytes, int]] = set()
    given_up: dict[int, list[Settle]] = defaultdict(list)
    for s in settles:
        bit = 1 << (s.n - 1)
        if s.verdict is Verdict.DONE:
            connection.execute(_SQL["clear_bit"], (s.key, s.endpoint, bit))
        elif s.verdict is Verdict.DEAD:
            job = jobs.of(s.key, s.endpoint, s.n)
            connection.execute(_SQL["give_up_bit"], (s.key, s.endpoint, bit, epoch, s.tries))
            if connection.changes() and not is_operation(s.key):
                dispatch, reason = dispatch_of(s.key), s.reason or "gave_up"
                connection.execute(_SQL["add_dead"], (dispatch, s.endpoint, s.n, now_ms, reason, bit))
                connection.execute(_SQL["add_given_up"], (dispatch, s.endpoint, bit))
                jobs.failed(job)
                if reason not in TOLD_OTHERWISE:
                    given_up[s.endpoint].append(s)
        touched.add((s.key, s.endpoint))
    _many(connection, "drop_drained", sorted(touched))
    _many(
        connection,
        "drop_operation",
        [(message_of(key), key) for key, _e in sorted(touched) if is_operation(key)],
    )
    due: list[int] = []
    for endpoint, dead in given_up.items():
        row = connection.execute(_SQL["endpoint_name"], (endpoint,)).fetchone()
        if row is None:
            continue
        for s in dead:
            reason = f"{s.reason}: event {s.n} of message {uuid_text(s.key)}"
            due += hold(connection, tell_operations(row[0], "callback.dead", row[1], reason, now_ms))
    return due


def _forgotten(connection: apsw.Connection, settles: Sequence[Settle], epoch: int) -> list[LaneWork]:
    known = {(s.key, s.endpoint): s.known for s in settles}  # the last one's word counts
    more: list[LaneWork] = []
    for (key, endpoint), bits in known.items():
        row = connection.execute(_SQL["lane_pending"], (key, endpoint, epoch)).fetchone()
        if row is None or not row[0] & ~bits:
            continue
        work = lane_work(connection, key, endpoint, row[0] & ~bits, 0, row[1])
        if work is not None:
            more.append(msgspec.structs.replace(work, fresh=False))
    return more


def _attempt(s: Settle) -> tuple[Any, ...]:
    a = s.attempt
    assert a is not None
    key = dispatch_of(s.key)
    return (
        s.endpoint,
        key,
        s.n,
        s.tries + 1,
        a.at_ms,
        a.took_ms,
        a.code,
        a.error,
        a.address,
        a.answer,
        a.detail,
    )


def _many(connection: apsw.Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        connection.executemany(_SQL[name], rows)
