"""Deletes what has had its time, a few rows a transaction (`homing.store.port.Ledger.prune`), and whole partitions.

Where a walk stands is kept in ``meta``; one node at a time walks. A message's rows go with their partition, and only
when nothing that is pending points into it.
"""

from typing import Any, Final

from homing.store.port import Retention
from homing.store.sql import load

_SQL: Final = load("postgres", "prune")
_META: Final = load("postgres", "meta")
_HOUR_MS: Final = 3_600_000


async def prune(connection: Any, retention: Retention, limit: int, now_ms: int) -> int:
    """See `port.Ledger.prune`."""
    count = 0
    for name, kept_ms, is_all in (
        ("pruned_attempts", retention.attempts_ms, False),
        ("pruned_failures", retention.failures_ms, True),
    ):
        if kept_ms is not None and count < limit:
            count += await _attempts(connection, name, now_ms - kept_ms, limit - count, is_all=is_all)
    if retention.dead_ms is not None and count < limit:
        count += await _dead(connection, now_ms - retention.dead_ms, limit - count)
    count += _count(await connection.execute(_SQL["drop_operations"], now_ms - _HOUR_MS, limit))
    return count + await _below(connection, limit)


async def _below(connection: Any, limit: int) -> int:
    """Delete what weeks that were dropped have left beside them."""
    floor = await connection.fetchval(_SQL["floor"])
    if floor is None:
        return 0
    count = _count(await connection.execute(_SQL["drop_dead_below"], floor, limit))
    count += _count(await connection.execute(_SQL["drop_sms_below"], floor, limit))
    ids = [row[0] for row in await connection.fetch(_SQL["lock_incoming_below"], floor, limit)]
    return count + (_count(await connection.execute(_SQL["drop_incoming"], ids)) if ids else 0)


async def _place(connection: Any, name: str) -> Any:
    """Return (number, place) of a walk, or None while another node is at it."""
    await connection.execute(_SQL["make_place"], name)
    return await connection.fetchrow(_SQL["lock_place"], name)


async def _attempts(connection: Any, name: str, before_ms: int, limit: int, *, is_all: bool) -> int:
    """Walk on over numbers until one is young; what failed is passed over unless ``is_all``."""
    place = await _place(connection, name)
    if place is None:
        return 0
    last = first = place[0]
    for id_, at_ms in await connection.fetch(_SQL["old_attempts"], first, limit):
        if at_ms >= before_ms:
            break
        last = id_
    if last == first:
        return 0
    gone = _count(await connection.execute(_SQL["drop_attempts"], first, last, is_all))
    await connection.execute(_META["put_number"], name, last)
    return max(gone, 1)  # the walk has moved: there may be more


async def _dead(connection: Any, before_ms: int, limit: int) -> int:
    found = await _place(connection, "pruned_dead")
    if found is None:
        return 0
    raw = found[1] or b""
    after = (int.from_bytes(raw[:8], "big"), raw[9:], raw[8] if raw else 0)
    rows = await connection.fetch(_SQL["old_dead"], *after, limit)
    old = [row[:3] for row in rows if row[3] < before_ms]
    if old:
        await connection.execute(_SQL["drop_dead"], *map(list, zip(*old, strict=True)))
    at_end = len(rows) < limit
    place = b"" if at_end else rows[-1][0].to_bytes(8, "big") + bytes((rows[-1][2],)) + rows[-1][1]
    await connection.execute(_META["put_place"], "pruned_dead", place)
    return len(old) if at_end else max(len(old), 1)


def _count(tag: str) -> int:
    """Return how many rows a command says it touched."""
    return int(tag.rpartition(" ")[2])
