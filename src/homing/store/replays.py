"""Telling again: walks over what a job is about and opens lanes beside the dispatches' own, in every store.

A replay lane is a lane like any other but for its key (ADR 0006), so that claiming, trying and settling it is nothing
special. Runs inside the caller's transaction; `candidates` only looks.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from homing.errors import NotFound
from homing.model import (
    INCOMING_POSITION,
    ReplaySpec,
    dispatch_key,
    first_id,
    is_incoming,
    is_replay,
    replay_lane,
)
from homing.store.dialogue import Ask, Dialogue, Row, Table

_OLDEST_LIFE_MS: Final = 4 * 24 * 3_600_000
"""An event comes at most so long after its message was accepted: two days to expire, one for the SMS, one to spare."""
_LONGEST_WAIT_MS: Final = 5 * 24 * 3_600_000
"""So long may an event have waited at a failing endpoint before that was disabled."""
_spec: Final = msgspec.json.Decoder(ReplaySpec).decode

Candidate = tuple[int, bytes, int]
"""(endpoint, dispatch's key, bitset of events)"""
Found = tuple[list[Candidate], bytes | None]
"""Candidates, and where to go on; None: nowhere."""
Lane = tuple[bytes, int, int, int, int]
"""key, endpoint, pending, tries, job"""


class _Hearer(NamedTuple):
    id: int
    kind: str
    statuses: int | None


class Step(NamedTuple):
    """What one step opened, and whether the job's walk is at its end."""

    lanes: list[Lane]
    is_walked: bool


def step(uid: str, limit: int, now_ms: int, epoch: int) -> Dialogue[Step]:
    """See `port.Ledger.replay_step`; the job's row is locked first, so one node at a time moves it on."""
    rows = yield from _ask("job", uid)
    if not rows:
        raise NotFound("there is no such job")
    job, app, state, raw, is_walked, cursor = rows[0]
    if state != "running" or is_walked:
        return Step([], bool(is_walked))
    spec = _spec(raw)
    found, after = yield from candidates(app, spec, cursor or b"", limit)
    opening = yield from _begin(spec, found)
    lanes, opened = yield from opening.write(job, epoch, now_ms)
    yield from _ask("move_job", job, after, opened, after is None)
    yield from _ask("end_jobs", [job], now_ms)
    return Step(lanes, after is None)


def _begin(spec: ReplaySpec, found: Sequence[Candidate]) -> Dialogue["_Opening"]:
    """Lock what the candidates are about, and leave out what is owed for the first time, or was told meanwhile."""
    opening = _Opening()
    if not found:
        return opening
    keys = sorted({key for _endpoint, key, _bits in found})
    endpoints = sorted({endpoint for endpoint, _key, _bits in found})
    yield Ask("replays", "keep_dispatches", ([key for key in keys if not is_incoming(key)],), only_locks=True)
    kept = {row[0] for row in (yield from _ask("keep_endpoints", endpoints))}
    written = [key[:16] for key in keys if is_incoming(key)]
    if written:
        ids = {row[0] for row in (yield from _ask("keep_incomings", written))}
        found = [one for one in found if not is_incoming(one[1]) or one[1][:16] in ids]
    owed: dict[tuple[bytes, int], int] = defaultdict(int)
    for lane, endpoint, pending, job in (yield from _ask("own_lanes", keys, endpoints)):
        if is_replay(lane):
            opening.before[lane, endpoint] = (pending, job)
        else:
            owed[lane[:18], endpoint] |= pending
    done: dict[tuple[bytes, int], int] = {}
    if spec.which == "missed":
        for key, endpoint, told, _dead_bits in (yield from _ask("settled", keys)):
            done[key, endpoint] = told
    for endpoint, key, bits in found:
        wanted = bits & ~owed[key, endpoint] & ~done.get((key, endpoint), 0)
        if wanted and endpoint in kept:
            opening.wanted.append((endpoint, key, wanted))
    return opening


class _Opening:
    """What one step opens: decided from lanes that are locked, so that nothing is told again that is still owed."""

    def __init__(self) -> None:
        self.wanted: list[Candidate] = []
        self.before: dict[tuple[bytes, int], tuple[int, int]] = {}

    def write(self, job: int, epoch: int, now_ms: int) -> Dialogue[tuple[list[Lane], int]]:
        """Write the lanes; return those that are new, and how many callbacks the job has opened."""
        opened = 0
        new: list[Lane] = []
        wider: list[tuple[bytes, int, int]] = []
        left: dict[int, int] = defaultdict(int)
        for endpoint, key, bits in self.wanted:
            lane = replay_lane(key)
            before = self.before.get((lane, endpoint))
            if before is None:
                new.append((lane, endpoint, bits, 0, job))
                opened += bits.bit_count()
                continue
            pending, other = before
            wider.append((lane, endpoint, bits))
            opened += (bits | pending).bit_count()
            left[other] += pending.bit_count()
        if new:
            yield from _ask("add_lanes", Table(row[:3] for row in new), epoch, job)
        if wider:
            yield from _ask("widen_lanes", Table(wider), job)
            others = sorted(left)
            yield from _ask("count_jobs", Table((other, 0, 0, left[other]) for other in others))
            yield from _ask("end_jobs", others, now_ms)
        return new, opened


def candidates(
    app: int, spec: ReplaySpec, after: bytes, limit: int, *, is_counting: bool = False
) -> Dialogue[Found]:
    """Return what a replay is about among the next ``limit`` dispatches, and where to go on (None: nowhere).

    What is still owed for the first time is in it; `step` passes it over. A disabled endpoint is told nothing, but what
    it would be told can be counted.
    """
    if spec.message is None and spec.endpoint is None:
        return [], None
    if spec.endpoint is None:
        rows = yield from _ask("hearers", app)
    else:
        which = "any_endpoint" if is_counting else "endpoint"
        rows = yield from _ask(which, spec.endpoint, app)
    hearers = [_Hearer._make(row) for row in rows]
    if spec.which == "dead" and spec.endpoint is not None:
        return (yield from _dead(spec, after, limit)) if hearers else ([], None)
    if spec.message is None and hearers and hearers[0].kind == "inbox":
        return (yield from _incoming(app, spec, hearers, after, limit))
    if spec.message is not None and not after:
        found = yield from _incoming_one(app, spec, hearers)
        if found:
            return found, None
    return (yield from _dispatches(app, spec, hearers, after, limit))


def _dead(spec: ReplaySpec, after: bytes, limit: int) -> Dialogue[Found]:
    endpoint = spec.endpoint or 0
    low = after if spec.message is None or after else spec.message
    keys = [row[0] for row in (yield from _ask("dead_keys", endpoint, low, limit))]
    if spec.message is not None:
        keys = [key for key in keys if key[:16] == spec.message]
    if not keys:
        return [], None
    bits: dict[bytes, int] = defaultdict(int)
    for key, n, status, at_ms in (yield from _ask("dead_events", endpoint, keys[0], keys[-1])):
        if status is None and not is_incoming(key):
            continue  # its message had its time: the dead letter goes next
        if _wanted(spec, None, n, status, at_ms) and _is_place(spec, key):
            bits[key] |= 1 << (n - 1)
    return [(endpoint, key, set_) for key, set_ in bits.items()], keys[-1] if len(keys) == limit else None


def _dispatches(
    app: int, spec: ReplaySpec, hearers: Sequence[_Hearer], after: bytes, limit: int
) -> Dialogue[Found]:
    if spec.message is not None:
        ids = [spec.message]
        is_last = True
    else:
        before_ms = _OLDEST_LIFE_MS + (_LONGEST_WAIT_MS if spec.which == "missed" else 0)
        low = max(after[:16], first_id((spec.since_ms or 0) - before_ms))
        rows = yield from _ask("messages", app, low, first_id(spec.until_ms), limit)
        ids = [row[0] for row in rows]
        is_last = len(ids) < limit
    if not ids:
        return [], None
    rows = yield from _ask("dispatches", ids, after, limit)
    places = [row for row in rows if _is_place(spec, row[0])]
    own = yield from _own(app, {row[1] for row in places if row[1]})
    targets = {key: _targets(spec, hearers, notify, own) for key, notify in places}
    keys = [key for key, found in targets.items() if found]
    events: dict[bytes, list[tuple[int, int, int]]] = defaultdict(list)
    settled: dict[tuple[bytes, int], tuple[int, int]] = {}
    if keys:
        for key, *event in (yield from _ask("events", keys)):
            events[key].append((event[0], event[1], event[2]))
        if spec.which == "missed":
            for key, endpoint, *bits in (yield from _ask("settled", keys)):
                settled[key, endpoint] = (bits[0], bits[1])
    found: list[Candidate] = []
    for key in keys:
        for target in targets[key]:
            done, dead = settled.get((key, target.id), (0, 0))
            wanted = 0
            for n, status, at_ms in events[key]:
                if _wanted(spec, target.statuses, n, status, at_ms, dead):
                    wanted |= 1 << (n - 1)
            if wanted & ~done:
                found.append((target.id, key, wanted & ~done))
    if len(rows) == limit:
        return found, rows[-1][0]
    return found, None if is_last else (int.from_bytes(ids[-1], "big") + 1).to_bytes(16, "big")


def _own(app: int, endpoints: set[int]) -> Dialogue[dict[int, _Hearer]]:
    """Return the endpoints of messages' own callbacks."""
    if not endpoints:
        return {}
    rows = yield from _ask("endpoints", sorted(endpoints), app)
    return {row[0]: _Hearer._make(row) for row in rows}


def _targets(
    spec: ReplaySpec, hearers: Iterable[_Hearer], notify: int | None, own: dict[int, _Hearer]
) -> list[_Hearer]:
    """Whoever hears of one dispatch: the message's own endpoint, where it has one, and nobody else."""
    if notify is None:
        return [hearer for hearer in hearers if hearer.kind == "status"]
    if not notify or spec.endpoint not in {None, notify} or notify not in own:
        return []
    return [own[notify]]


def _incoming(
    app: int, spec: ReplaySpec, hearers: Sequence[_Hearer], after: bytes, limit: int
) -> Dialogue[Found]:
    low = max(after[:16], first_id(spec.since_ms or 0))
    rows = yield from _ask("incomings", low, first_id(spec.until_ms), limit)
    keyed = [(bytes(dispatch_key(row[0], INCOMING_POSITION)), row[1], row[2]) for row in rows]
    done: dict[tuple[bytes, int], int] = {}
    if spec.which == "missed" and keyed:
        for key, endpoint, told, _dead_bits in (yield from _ask("settled", [k[0] for k in keyed])):
            done[key, endpoint] = told
    found = [
        (hearer.id, key, 1)
        for key, owner, at_ms in keyed
        for hearer in hearers
        if owner == app and _wanted(spec, None, 1, None, at_ms) and not done.get((key, hearer.id), 0)
    ]
    return found, keyed[-1][0] if len(rows) == limit else None


def _incoming_one(app: int, spec: ReplaySpec, hearers: Sequence[_Hearer]) -> Dialogue[list[Candidate]]:
    message = spec.message or b""
    before = (int.from_bytes(message, "big") - 1).to_bytes(16, "big") if message.strip(b"\0") else message
    rows = yield from _ask("incomings", before, message + b"\0", 1)
    key = bytes(dispatch_key(message, INCOMING_POSITION))
    return [
        (hearer.id, key, 1)
        for _id, owner, at_ms in rows
        for hearer in hearers
        if owner == app and hearer.kind == "inbox" and _wanted(spec, None, 1, None, at_ms)
    ]


def _wanted(
    spec: ReplaySpec, statuses: int | None, n: int, status: int | None, at_ms: int, dead: int = 0
) -> bool:
    """Say whether an event is meant; what is in ``dead`` is so even if it happened before the time that is meant."""
    if spec.n is not None and n != spec.n:
        return False
    if at_ms >= spec.until_ms or (at_ms < (spec.since_ms or 0) and not dead >> (n - 1) & 1):
        return False
    return status is None or all(mask is None or mask >> status & 1 for mask in (statuses, spec.statuses))


def _ask(name: str, *values: object) -> Dialogue[list[Row]]:
    return (yield Ask("replays", name, values))


def _is_place(spec: ReplaySpec, key: bytes) -> bool:
    return spec.position is None or int.from_bytes(key[16:18], "big") == spec.position
