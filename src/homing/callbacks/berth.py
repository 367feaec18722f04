"""One endpoint as the courier sees it: its waiting lanes, its pace, its health, and what waits for it in the store."""

from collections import deque
from typing import Final

from homing.callbacks.health import Health
from homing.callbacks.pace import Pace
from homing.model import DispatchKey
from homing.store.batch import Facts, IncomingFacts, LaneWork, OperationFacts

_SHARE: Final = 4
"""Every so many starts one goes to what is tried again, while both wait."""
_BURST_MS: Final = 100.0
"""How far ahead of its rate an endpoint may be told: enough that a late alarm does not lower the rate."""


class Lane:
    """What one endpoint must still be told about one dispatch, as far as this node knows."""

    __slots__ = (
        "began_ms", "berth", "events", "facts", "faults", "is_probe", "is_queued", "is_trying", "job", "key", "last_n",
        "settling", "tries",
    )  # fmt: skip

    def __init__(self, work: LaneWork, berth: "Berth") -> None:
        self.key: DispatchKey = work.key
        self.berth = berth
        self.facts: Facts | IncomingFacts | OperationFacts = work.facts
        self.events: deque[tuple[int, int, int]] = deque(work.events)
        self.tries = work.tries
        self.job = work.job
        self.last_n = work.events[-1][0] if work.events else 0
        self.is_trying = False
        self.is_queued = False
        self.is_probe = False
        self.settling = 0
        self.faults = 0
        """How often in a row it could not be sent, by a fault of ours."""
        self.began_ms = 0

    def known_after_first(self) -> int:
        """The bitset of the events that wait behind the first one."""
        bits = 0
        for n, _status, _at_ms in self.events:
            bits |= 1 << (n - 1)
        return bits & (bits - 1)


class Berth:
    """One endpoint's lanes: those told for the first time in ``ready``, all others (retries, replays) in ``others``."""

    __slots__ = (
        "_again", "_spent_ms", "alive_ms", "ask_ms", "claiming", "due_ms", "endpoint", "health", "heard_ms", "held", "in_flight",
        "interval_ms", "is_blocked", "is_disabling", "is_hearsay", "is_paused", "is_probing", "is_slowed",
        "others", "pace", "paused_until_ms", "ready",
    )  # fmt: skip

    def __init__(self, endpoint: int, most: int) -> None:
        self.endpoint = endpoint
        self.pace = Pace(most)
        self.health = Health()
        self.alive_ms: int | None = None
        """When it last proved to this node that it is alive."""
        self.is_hearsay = False
        """It rests because other nodes say so; this one has no failure of its own to show."""
        self.ready: deque[Lane] = deque()
        self.others: deque[Lane] = deque()
        self.held = 0
        self.in_flight = 0
        self.due_ms: int | None = None
        """When the first of its lanes in the store falls due, as far as is known."""
        self.heard_ms: int | None = None
        self.claiming = 0
        self.paused_until_ms = 0
        """It asked for this with a Retry-After."""
        self.is_paused = False
        """Its owner asked for this."""
        self.is_blocked = False
        """It rests or is paused: lanes go back to the store."""
        self.is_probing = False
        self.ask_ms = 0
        """When the alarm for its next probe rings; 0: none is set."""
        self.is_disabling = False
        self.interval_ms = 0.0
        """So long between two tries, less what it may be ahead; 0: no rate was set."""
        self.is_slowed = False
        """Its rate is spent, and the alarm for the next is set: one, however many wait."""
        self._spent_ms = 0.0
        self._again = 0

    @property
    def waiting(self) -> int:
        """How many lanes could be started."""
        return len(self.ready) + len(self.others)

    def take(self) -> Lane:
        """Return the lane whose turn it is: mostly one that was never told, but never only those."""
        self._again += 1
        if self.interval_ms:
            self._spent_ms += self.interval_ms
        if self.others and (not self.ready or self._again >= _SHARE):
            self._again = 0
            return self.others.popleft()
        return self.ready.popleft()

    def limit_rate(self, per_second: float | None, now_ms: int) -> None:
        """Have another rate from now on; None: none. Of what was spent at the old one no more than one interval counts."""
        interval_ms = 1000 / per_second if per_second else 0.0
        if interval_ms != self.interval_ms:
            self.interval_ms = interval_ms
            self._spent_ms = min(self._spent_ms, now_ms + interval_ms)
            self.is_slowed = False  # its alarm may be too late; should it ring all the same, that is harmless

    def allowed_at(self, now_ms: int) -> int:
        """When its rate allows the next try: now, or a later instant."""
        self._spent_ms = max(self._spent_ms, float(now_ms))
        ahead_ms = self._spent_ms - now_ms
        return now_ms if ahead_ms < _BURST_MS else now_ms + 1 + int(ahead_ms - _BURST_MS)
