"""Telling again: walks over what a job is about, opens lanes beside the dispatches' own, and counts what became of them.

A replay lane is a lane like any other but for its key (ADR 0006), so that claiming, trying and settling it is nothing
special. Runs inside the caller's transaction; `candidates` only looks.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import apsw
import msgspec

from homing.errors import NotFound
from homing.model import INCOMING_POSITION, ReplaySpec, dispatch_key, dispatch_of, is_replay, replay_lane
from homing.store.batch import LaneWork
from homing.store.port import ReplayStep
from homing.store.sql import load
from homing.store.sqlite.archive_messages import hex_list
from homing.store.sqlite.claims import lane_work
from homing.store.sqlite.nouns import fetch

_SQL: Final = load("sqlite", "replays")
_OLDEST_LIFE_MS: Final = 4 * 24 * 3_600_000
"""An event comes at most so long after its message was accepted: two days to expire, one for the SMS, one to spare."""
_LONGEST_WAIT_MS: Final = 5 * 24 * 3_600_000
"""So long may an event have waited at a failing endpoint before that was disabled."""
_spec: Final = msgspec.json.Decoder(ReplaySpec).decode

Candidate = tuple[int, bytes, int]
"""(endpoint, dispatch's key, bitset of events)"""


class _Hearer(NamedTuple):
    id: int
    kind: str
    statuses: int | None


def step(connection: apsw.Connection, uid: str, limit: int, now_ms: int, epoch: int) -> ReplayStep:
    """See `port.Ledger.replay_step`."""
    row = connection.execute(_SQL["job"], (uid,)).fetchone()
    if row is None:
        raise NotFound("there is no such job")
    job, app, state, raw, is_walked, cursor = row
    if state != "running" or is_walked:
        return ReplayStep([], is_walked=bool(is_walked))
    found, after = candidates(connection, app, _spec(raw), cursor or b"", limit)
    opened = 0
    lanes: list[LaneWork] = []
    for endpoint, key, bits in found:
        wanted = bits & ~_still_owed(connection, key, endpoint)
        if not wanted:
            continue
        lane = replay_lane(key)
        before = connection.execute(_SQL["replay_lane"], (lane, endpoint)).fetchone()
        if before is None:
            connection.execute(_SQL["add_lane"], (lane, endpoint, wanted, epoch, job))
            work = lane_work(connection, lane, endpoint, wanted, 0, job)
            opened += wanted.bit_count()
            if work is not None:
                lanes.append(work)
            continue
        pending, other = before
        connection.execute(_SQL["widen_lane"], (lane, endpoint, wanted, job))
        opened += (wanted | pending).bit_count()
        connection.execute(_SQL["hand_over"], (other, pending.bit_count()))
        connection.execute(_SQL["end_job"], (other, now_ms))
    connection.execute(_SQL["move_job"], (job, after, opened, after is None))
    connection.execute(_SQL["end_job"], (job, now_ms))
    return ReplayStep(lanes, is_walked=after is None)


def candidates(
    connection: apsw.Connection,
    app: int,
    spec: ReplaySpec,
    after: bytes,
    limit: int,
    *,
    is_counting: bool = False,
) -> tuple[list[Candidate], bytes | None]:
    """Return what a replay is about among the next ``limit`` dispatches, and where to go on (None: nowhere).

    What is still owed for the first time is in it; `step` passes it over. A disabled endpoint is told nothing, but what
    it would be told can be counted.
    """
    if spec.message is None and spec.endpoint is None:
        return [], None
    if spec.endpoint is None:
        hearers = [_Hearer._make(row) for row in fetch(connection, _SQL["hearers"], (app,))]
    else:
        which = _SQL["any_endpoint" if is_counting else "endpoint"]
        hearers = [_Hearer._make(row) for row in fetch(connection, which, (spec.endpoint, app))]
    if spec.which == "dead" and spec.endpoint is not None:
        return _dead(connection, spec, after, limit) if hearers else ([], None)
    if spec.message is None and hearers and hearers[0].kind == "inbox":
        return _incoming(connection, app, spec, hearers, after, limit)
    if spec.message is not None and not after:
        found = _incoming_one(connection, app, spec, hearers)
        if found:
            return found, None
    return _dispatches(connection, app, spec, hearers, after, limit)


def _dead(
    connection: apsw.Connection, spec: ReplaySpec, after: bytes, limit: int
) -> tuple[list[Candidate], bytes | None]:
    endpoint = spec.endpoint or 0
    low = after if spec.message is None or after else spec.message
    keys = [row[0] for row in fetch(connection, _SQL["dead_keys"], (endpoint, low, limit))]
    if spec.message is not None:
        keys = [key for key in keys if key[:16] == spec.message]
    if not keys:
        return [], None
    bits: dict[bytes, int] = defaultdict(int)
    for key, n, status, at_ms in fetch(connection, _SQL["dead_events"], (endpoint, keys[0], keys[-1])):
        if _wanted(spec, None, n, status, at_ms) and _is_place(spec, key):
            bits[key] |= 1 << (n - 1)
    return [(endpoint, key, set_) for key, set_ in bits.items()], keys[-1] if len(keys) == limit else None


def _dispatches(
    connection: apsw.Connection,
    app: int,
    spec: ReplaySpec,
    hearers: Sequence[_Hearer],
    after: bytes,
    limit: int,
) -> tuple[list[Candidate], bytes | None]:
    if spec.message is not None:
        ids = [spec.message]
        is_last = True
    else:
        before_ms = _OLDEST_LIFE_MS + (_LONGEST_WAIT_MS if spec.which == "missed" else 0)
        low = max(after[:16], _first_id((spec.since_ms or 0) - before_ms))
        rows = fetch(connection, _SQL["messages"], (app, low, _first_id(spec.until_ms), limit))
        ids = [row[0] for row in rows]
        is_last = len(ids) < limit
    if not ids:
        return [], None
    rows = fetch(connection, _SQL["dispatches"], (hex_list(ids), after, limit))
    found: list[Candidate] = []
    for key, notify in rows:
        if not _is_place(spec, key):
            continue
        targets = _targets(connection, app, spec, hearers, notify)
        events = fetch(connection, _SQL["events"], (key,)) if targets else []
        for target in targets:
            done, dead = _settled(connection, key, target.id) if spec.which == "missed" else (0, 0)
            bits = 0
            for n, status, at_ms in events:
                if _wanted(spec, target.statuses, n, status, at_ms, dead):
                    bits |= 1 << (n - 1)
            if bits & ~done:
                found.append((target.id, key, bits & ~done))
    if len(rows) == limit:
        return found, rows[-1][0]
    return found, None if is_last else (int.from_bytes(ids[-1], "big") + 1).to_bytes(16, "big")


def _targets(
    connection: apsw.Connection, app: int, spec: ReplaySpec, hearers: Iterable[_Hearer], notify: int | None
) -> list[_Hearer]:
    """Whoever hears of one dispatch: the message's own endpoint, where it has one, and nobody else."""
    if notify is None:
        return [hearer for hearer in hearers if hearer.kind == "status"]
    if not notify or spec.endpoint not in {None, notify}:
        return []
    return [_Hearer._make(row) for row in fetch(connection, _SQL["endpoint"], (notify, app))]


def _incoming(
    connection: apsw.Connection,
    app: int,
    spec: ReplaySpec,
    hearers: Sequence[_Hearer],
    after: bytes,
    limit: int,
) -> tuple[list[Candidate], bytes | None]:
    low = max(after[:16], _first_id(spec.since_ms or 0))
    rows = fetch(connection, _SQL["incomings"], (low, _first_id(spec.until_ms), limit))
    found = [
        (hearer.id, key, 1)
        for key, owner, at_ms in ((bytes(dispatch_key(id_, INCOMING_POSITION)), *rest) for id_, *rest in rows)
        for hearer in hearers
        if owner == app
        and _wanted(spec, None, 1, None, at_ms)
        and not (spec.which == "missed" and _settled(connection, key, hearer.id)[0])
    ]
    return found, dispatch_key(rows[-1][0], INCOMING_POSITION) if len(rows) == limit else None


def _incoming_one(
    connection: apsw.Connection, app: int, spec: ReplaySpec, hearers: Sequence[_Hearer]
) -> list[Candidate]:
    message = spec.message or b""
    before = (int.from_bytes(message, "big") - 1).to_bytes(16, "big") if message.strip(b"\0") else message
    rows = fetch(connection, _SQL["incomings"], (before, message + b"\0", 1))
    key = bytes(dispatch_key(message, INCOMING_POSITION))
    return [
        (hearer.id, key, 1)
        for _id, owner, at_ms in rows
        for hearer in hearers
        if owner == app and hearer.kind == "inbox" and _wanted(spec, None, 1, None, at_ms)
    ]


def _settled(connection: apsw.Connection, key: bytes, endpoint: int) -> tuple[int, int]:
    """What an endpoint was told of a dispatch, and what was given up there."""
    row = connection.execute(_SQL["settled"], (key, endpoint)).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def _wanted(
    spec: ReplaySpec, statuses: int | None, n: int, status: int | None, at_ms: int, dead: int = 0
) -> bool:
    """Say whether an event is meant; what is in ``dead`` is so even if it happened before the time that is meant."""
    if spec.n is not None and n != spec.n:
        return False
    if at_ms >= spec.until_ms or (at_ms < (spec.since_ms or 0) and not dead >> (n - 1) & 1):
        return False
    return status is None or all(mask is None or mask >> status & 1 for mask in (statuses, spec.statuses))


def _is_place(spec: ReplaySpec, key: bytes) -> bool:
    return spec.position is None or int.from_bytes(key[16:18], "big") == spec.position


def _first_id(at_ms: int) -> bytes:
    """The lowest UUIDv7 of an instant."""
    return min(max(at_ms, 0), 2**48 - 1).to_bytes(6, "big") + bytes(10)


def _still_owed(connection: apsw.Connection, key: bytes, endpoint: int) -> int:
    bits = 0
    for _lane, pending in fetch(connection, _SQL["own_lanes"], (key, endpoint)):
        bits |= pending
    return bits


class JobCounts:
    """What the settles of one batch mean for jobs: gathered, then written once for each job."""

    def __init__(self, connection: apsw.Connection, now_ms: int) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._told: dict[int, int] = defaultdict(int)
        self._failed: dict[int, int] = defaultdict(int)

    def of(self, lane: bytes, endpoint: int, n: int) -> int:
        """Return the job for which a replay lane still owes event ``n``; 0 when it is none, or owes it no more."""
        if not is_replay(lane):
            return 0
        row = self._connection.execute(_SQL["replay_lane"], (lane, endpoint)).fetchone()
        return int(row[1]) if row is not None and row[0] >> (n - 1) & 1 else 0

    def told(self, lane: bytes, endpoint: int, n: int) -> None:
        """An event was told again: it is done, whatever it was before. Call it before the lane's bit is cleared."""
        key, bit = dispatch_of(lane), 1 << (n - 1)
        self._connection.execute(_SQL["redeem"], (key, endpoint, bit))
        self._connection.execute(_SQL["drop_dead"], (key, endpoint, n))
        job = self.of(lane, endpoint, n)
        if job:
            self._told[job] += 1

    def failed(self, job: int) -> None:
        """An event of this job (0: of none) was given up."""
        if job:
            self._failed[job] += 1

    def write(self) -> None:
        """Write the counts, and end the jobs that are through."""
        for job in sorted({*self._told, *self._failed}):
            self._connection.execute(_SQL["count_job"], (job, self._told[job], self._failed[job]))
            self._connection.execute(_SQL["end_job"], (job, self._now_ms))
