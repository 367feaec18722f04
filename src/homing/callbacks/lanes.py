"""The lanes this node holds, and whose turn it is: memory of the courier, without sockets or store.

A lane is in `Lanes.held` from the hand-over until its last settle is on disk, so that an event that is recorded
meanwhile finds it.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from homing.callbacks.berth import Berth, Lane
from homing.callbacks.meanwhile import Meanwhile
from homing.callbacks.overdue import Overdue
from homing.model import DispatchKey
from homing.store.batch import LaneWork, Verdict

ROOM_PER_ENDPOINT: Final = 2_000
"""Lanes of one endpoint held in memory; what does not fit stays in the store."""
ROOM: Final = 20_000
"""Lanes held in memory in all."""
_CLAIM: Final = 500
"""Lanes claimed at once."""
_TURN: Final = 4
"""How many lanes an endpoint may start before it is the next one's turn."""


PUT_OFF: Final = frozenset({Verdict.RETRY, Verdict.WAIT})
"""Outcomes by which a lane is given back to the store."""


class Lanes:
    """All berths, and the turn between those that have something to do."""

    def __init__(
        self,
        most_per_endpoint: int,
        most_in_all: int = 2_000,
        furnish: Callable[[Berth], None] = lambda _berth: None,
    ) -> None:
        self._most = most_per_endpoint
        self._most_in_all = most_in_all
        self._furnish = furnish
        self.held: dict[tuple[DispatchKey, int], Lane] = {}
        self.meanwhile = Meanwhile(self.held)
        self.berths: dict[int, Berth] = {}
        self.in_flight = 0
        self.stranded: set[Berth] = set()
        """Berths that may not be told just now and hold lanes all the same."""
        self.slowed: list[tuple[Berth, int]] = []
        """Berths whose rate is spent, and when it allows the next: whoever starts lanes sets an alarm and clears this, and
        calls `go_on` when it rings.
        """
        self._turn: deque[Berth] = deque()
        self._in_turn: set[int] = set()
        self._busy = 0
        self._claiming = 0
        self._overdue = Overdue(self.berths)
        self._full: set[int] = set()
        self._crowd: frozenset[int] | None = frozenset()

    def hear_due(self, berth: Berth, due_ms: int) -> None:
        """Hear that a lane of the berth waits in the store until then."""
        if berth.claiming and (berth.heard_ms is None or due_ms < berth.heard_ms):
            berth.heard_ms = due_ms
        if berth.due_ms is None or due_ms < berth.due_ms:
            self._set_due(berth, due_ms)

    def claimable(self, now_ms: int) -> list[Berth]:
        """The berths that have due lanes in the store and may be told of them now."""
        self._advance(now_ms)
        return [berth for berth in self._overdue.berths() if berth.paused_until_ms <= now_ms]

    def next_due_ms(self, now_ms: int) -> int | None:
        """The next instant at which a lane in the store falls due; those already due wait for room, not for time."""
        self._advance(now_ms)
        return self._overdue.next_ms()

    def oldest_due_ms(self) -> int | None:
        """When the lane that waits longest in the store fell, or falls, due, at endpoints that may be told of it."""
        dues = (b.due_ms for b in self.berths.values() if not b.is_blocked and b.due_ms is not None)
        return min(dues, default=None)

    def claim_size(self, berth: Berth) -> int:
        """How many lanes to claim at once: enough for several rounds, no more than fits, 0 while there are enough."""
        allowed = berth.pace.allowed
        if berth.waiting >= 2 * allowed or berth.held >= ROOM_PER_ENDPOINT // 2:
            return 0
        # However full memory is of others' lanes, an endpoint gets as many as it may be told at a time.
        room = max(ROOM - len(self.held) - self._claiming, allowed - berth.held, 0)
        return min(_CLAIM, 64 + 8 * allowed, room)

    def has_room(self, endpoint: int) -> bool:
        """Say whether one more lane of an endpoint fits in memory."""
        return len(self.held) < ROOM and self.berth(endpoint).held < ROOM_PER_ENDPOINT

    def begin_claim(self, berth: Berth, size: int) -> None:
        """Keep room for a claim that is under way."""
        berth.claiming, berth.heard_ms = size, None
        self._claiming += size

    def end_claim(self, berth: Berth, next_due_ms: int | None) -> None:
        """Note when the berth's next lane in the store falls due (None: none waits), and what was heard meanwhile."""
        self._claiming -= berth.claiming
        berth.claiming = 0
        dues = [due_ms for due_ms in (next_due_ms, berth.heard_ms) if due_ms is not None]
        self._set_due(berth, min(dues, default=None))

    def block(self, berth: Berth, *, is_blocked: bool) -> None:
        """Say that nothing may be told to an endpoint until further notice, or that it may again."""
        if berth.is_blocked is not is_blocked:
            berth.is_blocked = is_blocked
            self._overdue.blocked(berth)
            self._crowd = None
            if is_blocked:
                if berth.waiting:
                    self.stranded.add(berth)
            else:
                self.stranded.discard(berth)
                self.enter(berth)

    def berth(self, endpoint: int) -> Berth:
        """The endpoint's berth, made and furnished at the first question."""
        berth = self.berths.get(endpoint)
        if berth is None:
            berth = self.berths[endpoint] = Berth(endpoint, self._most)
            self._furnish(berth)
        return berth

    def add(self, work: LaneWork) -> None:
        """Take a lane, or further events of one that is held."""
        lane = self.held.get((work.key, work.endpoint))
        if lane is None:
            if not work.fresh or not work.events:
                return  # let go meanwhile: the store has its events, and will tell when they are due
            lane = self.hold(work)
        elif _misses_some(work, lane.last_n):
            return  # the settle of what is being told brings these and those before them, in order
        else:
            for event in work.events:
                if event[0] > lane.last_n:
                    lane.events.append(event)
                    lane.last_n = event[0]
        self.queue(lane)

    def find(self, work: LaneWork) -> None:
        """Take a lane that a look found to be ours, and that nobody handed over."""
        self.meanwhile.found((work.key, work.endpoint))
        self.add(work)

    def hold(self, work: LaneWork) -> Lane:
        """Take a lane without giving it a place in any queue."""
        berth = self.berth(work.endpoint)
        lane = self.held[work.key, work.endpoint] = Lane(work, berth)
        berth.held += 1
        if berth.held >= ROOM_PER_ENDPOINT or len(self.held) >= ROOM:
            self._full.add(berth.endpoint)
            self._crowd = None
        return lane

    def queue(self, lane: Lane) -> None:
        """Have a lane's next event tried when it is its turn; harmless if it waits already or is being tried.

        Not before the settle of the event before is on disk (ADR 0002): the courier queues it again then.
        """
        if lane.is_queued or lane.is_trying or lane.settling or not lane.events:
            return
        lane.is_queued = True
        berth = lane.berth
        if lane.tries or lane.job is not None:
            berth.others.append(lane)
        else:
            berth.ready.append(lane)
        if berth.is_blocked:
            self.stranded.add(berth)
        else:
            self.enter(berth)

    def enter(self, berth: Berth) -> None:
        """Give a berth with waiting lanes and room in flight its place in the turn."""
        if (
            (berth.ready or berth.others)
            and berth.endpoint not in self._in_turn
            and berth.in_flight < berth.pace.allowed
            and not berth.is_blocked
        ):
            self._in_turn.add(berth.endpoint)
            self._turn.append(berth)

    def go_on(self, berth: Berth) -> None:
        """The alarm of a berth whose rate was spent rang."""
        berth.is_slowed = False
        self.enter(berth)

    def start(self, most: int, now_ms: int) -> list[Lane]:
        """Take up to ``most`` lanes whose turn it is, a few of each berth, fairly; they count as in flight.

        While more than half of all places are taken, nobody gets more than an equal share of three quarters of them: a
        hundred endpoints that hang must not hold every place until their time is over.
        """
        started: list[Lane] = []
        turn = self._turn
        while turn and len(started) < most:
            berth = turn.popleft()
            limit = self._limit(berth)
            if berth.paused_until_ms > now_ms or berth.is_blocked:
                limit = 0
            for _ in range(_TURN):
                if berth.in_flight >= limit or len(started) >= most or not (berth.ready or berth.others):
                    break
                if berth.interval_ms and (at_ms := berth.allowed_at(now_ms)) > now_ms:
                    if not berth.is_slowed:
                        berth.is_slowed = True
                        self.slowed.append((berth, at_ms))
                    limit = 0
                    break
                lane = berth.take()
                lane.is_queued = False
                self.begin(lane, now_ms)
                started.append(lane)
            if berth.in_flight < limit and (berth.ready or berth.others):
                turn.append(berth)
            else:
                self._in_turn.discard(berth.endpoint)
        return started

    def begin(self, lane: Lane, now_ms: int) -> None:
        """Count a try of the lane as in flight."""
        lane.is_trying = True
        lane.began_ms = now_ms
        self._busy += lane.berth.in_flight == 0
        lane.berth.in_flight += 1
        self.in_flight += 1

    def ended(self, lane: Lane) -> None:
        """A try of the lane is over."""
        lane.is_trying = False
        lane.is_probe = False
        lane.berth.in_flight -= 1
        self.in_flight -= 1
        self._busy -= lane.berth.in_flight == 0
        self.enter(lane.berth)

    def drop(self, lane: Lane) -> None:
        """Hold the lane no longer."""
        berth = lane.berth
        if self.held.get((lane.key, berth.endpoint)) is lane:
            del self.held[lane.key, berth.endpoint]
            self.meanwhile.went((lane.key, berth.endpoint))
            berth.held -= 1
            if berth.endpoint in self._full and berth.held < ROOM_PER_ENDPOINT:
                self._full.discard(berth.endpoint)
                self._crowd = None

    def let_go(self, berth: Berth) -> list[tuple[bytes, int]]:
        """Forget every lane of the berth that only waits, and say which they were: the store has them as ours."""
        self.stranded.discard(berth)
        gone: list[tuple[bytes, int]] = []
        for queue in (berth.ready, berth.others):
            for lane in queue:
                lane.is_queued = False
                self.drop(lane)
                lane.events.clear()
                gone.append((lane.key, berth.endpoint))
            queue.clear()
        return gone

    def lose(self) -> None:
        """Forget all lanes: others may have them by now. What is being tried comes to its end, and nothing follows."""
        self.meanwhile.losses += 1
        for berth in self.berths.values():
            self.let_go(berth)
        for lane in list(self.held.values()):
            self.drop(lane)

    def crowded(self, now_ms: int) -> frozenset[int]:
        """The endpoints whose new lanes should be born free: no room here, or older ones wait, or they may not be told."""
        if len(self.held) >= ROOM:
            return frozenset(self.berths)
        self._advance(now_ms)
        if self._crowd is None:
            blocked = (berth.endpoint for berth in self.berths.values() if berth.is_blocked)
            self._crowd = frozenset(self._full).union(self._overdue.endpoints(), blocked)
        return self._crowd

    def _limit(self, berth: Berth) -> int:
        if 2 * self.in_flight <= self._most_in_all:
            return berth.pace.allowed
        share = 3 * self._most_in_all // (4 * (self._busy + (berth.in_flight == 0)))
        return min(berth.pace.allowed, max(1, share))

    def _set_due(self, berth: Berth, due_ms: int | None) -> None:
        if self._overdue.set(berth, due_ms):
            self._crowd = None

    def _advance(self, now_ms: int) -> None:
        if self._overdue.advance(now_ms):
            self._crowd = None


def _misses_some(work: LaneWork, last_n: int) -> bool:
    """Say whether another node recorded an event that comes before these, and that the lane here does not have."""
    if not work.pending or not work.events:
        return False
    before = (1 << (work.events[0][0] - 1)) - 1
    return bool(work.pending & before & ~((1 << last_n) - 1))
