"""Deletes messages whose time is over, a few a transaction, with all that is known of them (`Ledger.drop_messages`).

A message at which something pending points is passed over; the walk comes to it again the next time. Where it stands is
kept in ``meta``: first along the messages sent, then along those from devices.
"""

from typing import Final

import apsw

from homing.store.port import Dropped
from homing.store.sql import load
from homing.store.sqlite.rows import fetch

_SQL: Final = load("sqlite", "old_messages")
_META: Final = load("sqlite", "meta")
_PLACE: Final = "dropped_messages"
_SMS_PLACE: Final = "dropped_sms"
_DAY_MS: Final = 24 * 3_600_000
_SENT, _FROM_DEVICES = b"s", b"d"
_KINDS: Final = {_SENT: "sent", _FROM_DEVICES: "from_devices"}
_PENDING: Final = ("lane", "command", "timer")
_ALL_OF_ONE: Final = ("drop_dispatches", "drop_events", "drop_history", "drop_settled")
_LAST: Final = b"\xff" * 6
"""After a message's id, this is behind everything of it: dispatches, lanes beside lanes (ADR 0006)."""


def drop_messages(connection: apsw.Connection, before_ms: int, limit: int, now_ms: int) -> Dropped:
    """See `port.Ledger.drop_messages`."""
    bound = max(before_ms, 0).to_bytes(6, "big")
    for word in ("job", "idempotency"):
        if connection.execute(
            _SQL[word], {"bound": bound, "before": before_ms, "since": now_ms - _DAY_MS}
        ).get:
            return Dropped(0, 1, word)
    place = connection.execute(_META["get"], (_PLACE,)).get or _SENT
    kind, after = place[:1], place[1:]
    ids = [row[0] for row in fetch(connection, _SQL[_KINDS[kind]], (after, bound, limit))]
    kept = _pending(connection, ids)
    gone = [id_ for id_ in ids if id_ not in kept]
    _drop(connection, gone)
    is_end = len(ids) < limit
    if not is_end:
        place = kind + ids[-1]
    else:
        place = _FROM_DEVICES if kind == _SENT else _SENT
    connection.execute(_META["put"], (_PLACE, place))
    _drop_sms(connection, bound, limit)
    return Dropped(
        len(gone), len(kept), kept[min(kept)] if kept else None, is_end=is_end and kind == _FROM_DEVICES
    )


def _pending(connection: apsw.Connection, ids: list[bytes]) -> dict[bytes, str]:
    """Return which of these messages something pending points at, and what."""
    found: dict[bytes, str] = {}
    if ids:
        wanted = set(ids)
        for word in reversed(_PENDING):
            rows = fetch(connection, _SQL[word], (ids[0], ids[-1] + _LAST))
            found.update({row[0]: word for row in rows if row[0] in wanted})
    return found


def _drop(connection: apsw.Connection, ids: list[bytes]) -> None:
    if not ids:
        return
    gone = set(ids)
    reach = (ids[0], ids[-1] + _LAST)
    letters = [row for row in fetch(connection, _SQL["dead"], reach) if row[1][:16] in gone]
    connection.executemany(_SQL["drop_dead"], letters)
    spans = [(id_, id_ + _LAST) for id_ in ids]
    for name in _ALL_OF_ONE:
        connection.executemany(_SQL[name], spans)
    for name in ("drop_sent", "drop_from_devices"):
        connection.executemany(_SQL[name], [(id_,) for id_ in ids])


def _drop_sms(connection: apsw.Connection, bound: bytes, limit: int) -> None:
    """Walk on along the SMS, which lie in no order of time, and delete those whose message is gone."""
    place = connection.execute(_META["get"], (_SMS_PLACE,)).get or "\0"
    carrier, _, carrier_id = place.partition("\0")
    rows = fetch(connection, _SQL["sms"], (carrier, carrier_id, limit))
    old = [
        row
        for row in rows
        if row[2] < bound and connection.execute(_SQL["is_there"], (row[2][:16],)).get is None
    ]
    connection.executemany(_SQL["drop_sms"], [row[:2] for row in old])
    place = "\0".join(rows[-1][:2]) if len(rows) == limit else "\0"
    connection.execute(_META["put"], (_SMS_PLACE, place))
