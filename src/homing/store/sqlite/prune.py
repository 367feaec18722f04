"""Deletes what has had its time, a few rows a transaction (`homing.store.port.Ledger.prune`).

Where a walk stands is kept in ``meta``, so that no step looks again at what an earlier one has seen.
"""

from typing import Final

import apsw

from homing.store.port import Retention
from homing.store.sql import load
from homing.store.sqlite.rows import fetch

_SQL: Final = load("sqlite", "prune")
_META: Final = load("sqlite", "meta")
_HOUR_MS: Final = 3_600_000


def prune(connection: apsw.Connection, retention: Retention, limit: int, now_ms: int) -> int:
    """See `port.Ledger.prune`."""
    count = 0
    for name, kept_ms, is_all in (
        ("pruned_attempts", retention.attempts_ms, False),
        # No try is kept longer than what it was about.
        ("pruned_failures", _least(retention.failures_ms, retention.messages_ms), True),
    ):
        if kept_ms is not None and count < limit:
            count += _attempts(connection, name, now_ms - kept_ms, limit - count, is_all=is_all)
    if retention.dead_ms is not None and count < limit:
        count += _dead(connection, now_ms - retention.dead_ms, limit - count)
    connection.execute(_SQL["drop_operations"], (now_ms - _HOUR_MS, limit))
    return count + connection.changes()


def _least(*kept_ms: int | None) -> int | None:
    return min((one for one in kept_ms if one is not None), default=None)


def _attempts(connection: apsw.Connection, name: str, before_ms: int, limit: int, *, is_all: bool) -> int:
    """Walk on over numbers until one is young; what failed is passed over unless ``is_all``."""
    found = connection.execute(_META["get"], (name,)).fetchone()
    first = 0 if found is None else found[0]
    last = first
    for id_, at_ms, _is_success in fetch(connection, _SQL["old_attempts"], (first, limit)):
        if at_ms >= before_ms:
            break
        last = id_
    if last == first:
        return 0
    connection.execute(_SQL["drop_attempts"], (first, last, is_all))
    gone = connection.changes()
    connection.execute(_META["put"], (name, last))
    return max(gone, 1)  # the walk has moved: there may be more


def _dead(connection: apsw.Connection, before_ms: int, limit: int) -> int:
    found = connection.execute(_META["get"], ("pruned_dead",)).fetchone()
    raw = b"" if found is None else found[0]
    after = (int.from_bytes(raw[:8], "big"), raw[9:], raw[8] if raw else 0)
    rows = fetch(connection, _SQL["old_dead"], (*after, limit))
    old = [row[:3] for row in rows if row[3] < before_ms]
    connection.executemany(_SQL["drop_dead"], old)
    at_end = len(rows) < limit
    place = b"" if at_end else rows[-1][0].to_bytes(8, "big") + bytes((rows[-1][2],)) + rows[-1][1]
    connection.execute(_META["put"], ("pruned_dead", place))
    return len(old) if at_end else max(len(old), 1)
