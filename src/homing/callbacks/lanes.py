"""The lanes this node holds, and whose turn it is: memory of the courier, without sockets or store.

A lane is in `Lanes.held` from the hand-over until its last settle is on disk, so that an event that is recorded
meanwhile finds it.
"""

from collections import deque
from typing import Final

from homing.callbacks.pace import Pace
from homing.model import DispatchKey
from homing.store.batch import Facts, IncomingFacts, LaneWork

ROOM_PER_ENDPOINT: Final = 2_000
"""Lanes of one endpoint held in memory; what does not fit stays in the store."""
ROOM: Final = 20_000
"""Lanes held in memory in all."""
_CLAIM: Final = 500
"""Lanes claimed at once."""
_TURN: Final = 4
"""How many lanes an endpoint may start before it is the next one's turn."""

_NONE: Final[frozenset[int]] = frozenset()


class Lane:
    """What one endpoint must still be told about one dispatch, as far as this node knows."""

    __slots__ = (
        "began_ms", "berth", "events", "facts", "is_queued", "is_trying", "key", "last_n", "settling", "tries"
    )  # fmt: skip

    def __init__(self, work: LaneWork, berth: "Berth") -> None:
        self.key: DispatchKey = work.key
        self.berth = berth
        self.facts: Facts | IncomingFacts = work.facts
        self.events: deque[tuple[int, int, int]] = deque(work.events)
        self.tries = work.tries
        self.last_n = work.events[-1][0] if work.events else 0
        self.is_trying = False
        self.is_queued = False
        self.settling = 0
        self.began_ms = 0

    def known_after_first(self) -> int:
        """The bitset of the events that wait behind the first one."""
        bits = 0
        for n, _status, _at_ms in self.events:
            bits |= 1 << (n - 1)
        return bits & (bits - 1)


class Berth:
    """One endpoint's lanes, its pace, and what waits for it in the store."""

    __slots__ = (
        "claiming", "due_ms", "endpoint", "heard_ms", "held", "in_flight", "pace", "paused_until_ms", "ready"
    )  # fmt: skip

    def __init__(self, endpoint: int, most: int) -> None:
        self.endpoint = endpoint
        self.pace = Pace(most)
        self.ready: deque[Lane] = deque()
        self.held = 0
        self.in_flight = 0
        self.due_ms: int | None = None
        self.heard_ms: int | None = None
        self.claiming = 0
        self.paused_until_ms = 0


class Lanes:
    """All berths, and the turn between those that have something to do."""

    def __init__(self, most_per_endpoint: int) -> None:
        self._most = most_per_endpoint
        self.held: dict[tuple[DispatchKey, int], Lane] = {}
        self.berths: dict[int, Berth] = {}
        self._turn: deque[Berth] = deque()
        self._in_turn: set[int] = set()
        self._full: frozenset[int] = _NONE
        self._stored: dict[int, Berth] = {}
        self._claiming = 0

    def hear_due(self, berth: Berth, due_ms: int) -> None:
        """Hear that a lane of the berth waits in the store until then."""
        if berth.claiming and (berth.heard_ms is None or due_ms < berth.heard_ms):
            berth.heard_ms = due_ms
        if berth.due_ms is None or due_ms < berth.due_ms:
            berth.due_ms = due_ms
            self._stored[berth.endpoint] = berth

    def claimable(self, now_ms: int) -> list[Berth]:
        """The berths that have due lanes in the store and may be told of them now."""
        return [berth for berth in self._due(now_ms) if berth.paused_until_ms <= now_ms]

    def next_due_ms(self, now_ms: int) -> int | None:
        """The next instant at which a lane in the store falls due; those already due wait for room, not for time."""
        dues = (berth.due_ms for berth in self._stored.values())
        return min((due_ms for due_ms in dues if due_ms is not None and due_ms > now_ms), default=None)

    def oldest_due_ms(self) -> int | None:
        """When the lane that waits longest in the store fell, or falls, due; None: none waits there."""
        return min((b.due_ms for b in self._stored.values() if b.due_ms is not None), default=None)

    def claim_size(self, berth: Berth) -> int:
        """How many lanes to claim at once: enough for several rounds, no more than fits, 0 while there are enough."""
        allowed = berth.pace.allowed
        if len(berth.ready) >= 2 * allowed or berth.held >= ROOM_PER_ENDPOINT // 2:
            return 0
        # However full memory is of others' lanes, an endpoint gets as many as it may be told at a time.
        room = max(ROOM - len(self.held) - self._claiming, allowed - berth.held, 0)
        return min(_CLAIM, 64 + 8 * allowed, room)

    def begin_claim(self, berth: Berth, size: int) -> None:
        """Keep room for a claim that is under way."""
        berth.claiming, berth.heard_ms = size, None
        self._claiming += size

    def end_claim(self, berth: Berth, next_due_ms: int | None) -> None:
        """Note when the berth's next lane in the store falls due (None: none waits), and what was heard meanwhile."""
        self._claiming -= berth.claiming
        berth.claiming = 0
        dues = [due_ms for due_ms in (next_due_ms, berth.heard_ms) if due_ms is not None]
        berth.due_ms = min(dues, default=None)
        if berth.due_ms is None:
            self._stored.pop(berth.endpoint, None)
        else:
            self._stored[berth.endpoint] = berth

    def _due(self, now_ms: int) -> list[Berth]:
        return [b for b in self._stored.values() if b.due_ms is not None and b.due_ms <= now_ms]

    def berth(self, endpoint: int) -> Berth:
        """The endpoint's berth, made at the first question."""
        berth = self.berths.get(endpoint)
        if berth is None:
            berth = self.berths[endpoint] = Berth(endpoint, self._most)
        return berth

    def add(self, work: LaneWork) -> None:
        """Take a lane, or further events of one that is held."""
        berth = self.berth(work.endpoint)
        lane = self.held.get((work.key, work.endpoint))
        if lane is None:
            if not work.fresh or not work.events:
                return  # let go meanwhile: the store has its events, and will tell when they are due
            lane = self.held[work.key, work.endpoint] = Lane(work, berth)
            berth.held += 1
            if berth.held >= ROOM_PER_ENDPOINT or len(self.held) >= ROOM:
                self._full |= {berth.endpoint}
        else:
            for event in work.events:
                if event[0] > lane.last_n:
                    lane.events.append(event)
                    lane.last_n = event[0]
        self.queue(lane)

    def queue(self, lane: Lane) -> None:
        """Have a lane's next event tried when it is its turn; harmless if it waits already or is being tried.

        Not before the settle of the event before is on disk (ADR 0002): the courier queues it again then.
        """
        if lane.is_queued or lane.is_trying or lane.settling or not lane.events:
            return
        lane.is_queued = True
        berth = lane.berth
        berth.ready.append(lane)
        self.enter(berth)

    def enter(self, berth: Berth) -> None:
        """Give a berth with waiting lanes and room in flight its place in the turn."""
        if berth.ready and berth.endpoint not in self._in_turn and berth.in_flight < berth.pace.allowed:
            self._in_turn.add(berth.endpoint)
            self._turn.append(berth)

    def start(self, most: int, now_ms: int) -> list[Lane]:
        """Take up to ``most`` lanes whose turn it is, a few of each berth, fairly; they count as in flight."""
        started: list[Lane] = []
        turn = self._turn
        while turn and len(started) < most:
            berth = turn.popleft()
            if berth.paused_until_ms > now_ms:
                self._in_turn.discard(berth.endpoint)
                continue
            for _ in range(_TURN):
                if not berth.ready or berth.in_flight >= berth.pace.allowed or len(started) >= most:
                    break
                lane = berth.ready.popleft()
                lane.is_queued = False
                lane.is_trying = True
                lane.began_ms = now_ms
                berth.in_flight += 1
                started.append(lane)
            if berth.ready and berth.in_flight < berth.pace.allowed:
                turn.append(berth)
            else:
                self._in_turn.discard(berth.endpoint)
        return started

    def ended(self, lane: Lane) -> None:
        """A try of the lane is over."""
        lane.is_trying = False
        lane.berth.in_flight -= 1
        self.enter(lane.berth)

    def drop(self, lane: Lane) -> None:
        """Hold the lane no longer."""
        berth = lane.berth
        if self.held.get((lane.key, berth.endpoint)) is lane:
            del self.held[lane.key, berth.endpoint]
            berth.held -= 1
            if berth.endpoint in self._full and berth.held < ROOM_PER_ENDPOINT:
                self._full -= {berth.endpoint}

    def crowded(self, now_ms: int) -> frozenset[int]:
        """The endpoints whose new lanes should be born free: no room here, or older ones wait in the store."""
        if len(self.held) >= ROOM:
            return frozenset(self.berths)
        waiting = self._due(now_ms)
        if not waiting and not self._full:
            return _NONE
        return self._full.union(berth.endpoint for berth in waiting)
