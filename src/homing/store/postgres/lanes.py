"""What outcomes do to lanes: arithmetic on rows that the transaction has locked, written back in three statements.

Whether a lane holds more is read from its row as it is under its lock, and from nothing else: a look at the events would
see the statement's snapshot, and forget one that was appended meanwhile. It must not read a clock or a database.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from homing.model import dispatch_of, is_operation, is_replay, message_of
from homing.store.batch import LaneWork, Settle, Verdict

Place = tuple[bytes, int]
"""(lane's key, endpoint)"""
LaneRow = tuple[bytes, int, int, int, int | None, int, int]
"""key, endpoint, pending, tries, due, owner, job"""


class Lane(msgspec.Struct):
    """One row of ``lane`` on its way; ``is_stored`` says whether the table has it already."""

    pending: int
    tries: int
    due: int | None
    owner: int
    job: int
    is_stored: bool = True
    is_changed: bool = False

    def is_held(self, epoch: int) -> bool:
        """Say whether this epoch has it in memory."""
        return self.due is None and self.owner == epoch

    def clear(self, bits: int, tries: int) -> None:
        """Take events out; the next one has tries of its own."""
        self.pending &= ~bits
        self.tries = tries
        self.is_changed = True

    def let_go(self, due_ms: int, tries: int) -> None:
        """Give it to the store until then."""
        self.due, self.tries, self.owner, self.is_changed = due_ms, tries, 0, True


class Lanes:
    """The lanes a batch touches, as they are under their locks, and what becomes of them."""

    def __init__(self, rows: Iterable[LaneRow] = ()) -> None:
        self.rows: dict[Place, Lane] = {(row[0], row[1]): Lane(*row[2:]) for row in rows}
        self._endpoints: dict[bytes, list[int]] = defaultdict(list)
        for key, endpoint in self.rows:
            self._endpoints[key].append(endpoint)

    def get(self, key: bytes, endpoint: int) -> Lane | None:
        """Return a lane that has something pending."""
        lane = self.rows.get((key, endpoint))
        return lane if lane is not None and lane.pending else None

    def held(self, key: bytes, epoch: int) -> dict[int, bool]:
        """Return the endpoints a dispatch has lanes to, and whether this epoch holds each."""
        found = ((endpoint, self.get(key, endpoint)) for endpoint in self._endpoints.get(key, ()))
        return {endpoint: lane.is_held(epoch) for endpoint, lane in found if lane is not None}

    def add(self, key: bytes, endpoint: int, bits: int, due_ms: int | None, owner: int) -> None:
        """A lane is born; in the row of one that was drained in this very batch, if there was one."""
        before = self.rows.get((key, endpoint))
        is_stored = before is not None and before.is_stored
        self.rows[key, endpoint] = Lane(bits, 0, due_ms, owner, 0, is_stored, True)
        self._endpoints[key].append(endpoint)

    def widen(self, key: bytes, endpoint: int, bits: int) -> None:
        """More is to be told."""
        lane = self.rows[key, endpoint]
        lane.pending |= bits
        lane.is_changed = True

    def seen(self, work: LaneWork) -> LaneWork:
        """Return further events of a lane with all that its row holds: whoever holds it may not know of all of that."""
        return msgspec.structs.replace(work, pending=self.rows[work.key, work.endpoint].pending)

    def written(self) -> tuple[list[LaneRow], list[LaneRow], list[Place]]:
        """Return the rows to insert, to update and to delete, each sorted by key."""
        added: list[LaneRow] = []
        changed: list[LaneRow] = []
        dropped: list[Place] = []
        for (key, endpoint), lane in sorted(self.rows.items()):
            if not lane.is_changed:
                continue
            if lane.pending:
                row = (key, endpoint, lane.pending, lane.tries, lane.due, lane.owner, lane.job)
                (changed if lane.is_stored else added).append(row)
            elif lane.is_stored:
                dropped.append((key, endpoint))
        return added, changed, dropped


class Outcomes:
    """What the settles of one batch come to beside the lanes: rows of other tables, and who must be told."""

    def __init__(self) -> None:
        self.attempts: list[tuple[object, ...]] = []
        self.done: dict[Place, int] = defaultdict(int)
        self.given_up: dict[Place, int] = defaultdict(int)
        self.redeemed: dict[Place, int] = defaultdict(int)
        self.redeemed_events: set[tuple[bytes, int, int]] = set()
        self.dead: list[tuple[bytes, int, int, str]] = []
        self.buried: list[Settle] = []
        """Those by which an event was given up."""
        self.jobs_done: dict[int, int] = defaultdict(int)
        self.jobs_failed: dict[int, int] = defaultdict(int)
        self.operations: set[bytes] = set()
        """Facts about endpoints of which a lane was drained."""
        self.known: dict[Place, int] = {}
        """What the couriers know of each lane they settled."""

    def forgotten(self, lanes: Lanes, epoch: int) -> list[tuple[bytes, int, int, int]]:
        """Return (key, endpoint, bits, job) of what lanes of ours hold and their courier does not know of."""
        found = []
        for (key, endpoint), known in self.known.items():
            lane = lanes.get(key, endpoint)
            if lane is not None and lane.is_held(epoch) and lane.pending & ~known:
                found.append((key, endpoint, lane.pending & ~known, lane.job))
        return found


def settle(lanes: Lanes, settles: Sequence[Settle], epoch: int) -> Outcomes:
    """Apply outcomes to the locked lanes in their order: several may be of one lane, each counts from where it stands.

    One that names an owner or tries the lane does not have any more is an attempt and nothing else, but that a 2xx
    clears its event wherever the lane is by now.
    """
    outcomes = Outcomes()
    for s in settles:
        lane = lanes.get(s.key, s.endpoint)
        bit = 1 << (s.n - 1)
        dispatch = dispatch_of(s.key)
        if s.attempt is not None:
            a = s.attempt
            outcomes.attempts.append(
                (s.endpoint, dispatch, s.n, s.tries + 1, a.at_ms, a.took_ms, a.code, a.error, a.address,
                 a.answer, a.detail)
            )  # fmt: skip
        is_owed = lane is not None and bool(lane.pending & bit)
        if s.verdict is Verdict.DONE:
            outcomes.known[s.key, s.endpoint] = s.known
            if is_replay(s.key):
                outcomes.redeemed[dispatch, s.endpoint] |= bit
                outcomes.redeemed_events.add((dispatch, s.endpoint, s.n))
                if is_owed and lane is not None and lane.job:
                    outcomes.jobs_done[lane.job] += 1
            elif not is_operation(s.key):
                outcomes.done[dispatch, s.endpoint] |= bit
            if is_owed and lane is not None:
                lane.clear(bit, lane.tries if lane.pending & (bit - 1) else 0)
        elif s.verdict is Verdict.DEAD:
            outcomes.known[s.key, s.endpoint] = s.known
            if lane is not None and is_owed and lane.is_held(epoch) and lane.tries == s.tries:
                lane.clear(bit, 0)
                _give_up(outcomes, s, dispatch, bit, lane.job)
        elif lane is not None and is_owed and lane.is_held(epoch) and lane.tries == s.tries:
            lane.let_go(s.retry_at_ms, s.tries + 1 if s.verdict is Verdict.RETRY else s.tries)
        if is_operation(s.key) and lane is not None and not lane.pending:
            outcomes.operations.add(message_of(s.key))
    return outcomes


def _give_up(outcomes: Outcomes, s: Settle, dispatch: bytes, bit: int, job: int) -> None:
    if is_operation(s.key):
        return
    outcomes.dead.append((dispatch, s.endpoint, s.n, s.reason or "gave_up"))
    outcomes.given_up[dispatch, s.endpoint] |= bit
    outcomes.buried.append(s)
    if job and is_replay(s.key):
        outcomes.jobs_failed[job] += 1


def settled_rows(outcomes: Outcomes) -> list[tuple[bytes, int, int, int]]:
    """Return (key, endpoint, done, dead): what the table of settled events learns of the first tellings."""
    places = sorted({*outcomes.done, *outcomes.given_up})
    return [
        (
            *place,
            outcomes.done.get(place, 0) & ~outcomes.given_up.get(place, 0),
            outcomes.given_up.get(place, 0),
        )
        for place in places
    ]
