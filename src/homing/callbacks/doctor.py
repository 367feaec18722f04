"""What an endpoint's health, and its owner's word, mean for its lanes: it rests, is asked now and then, wakes, is disabled.

It sends nothing itself: a probe is a lane that it hands to ``probe``. Lanes that may not be told go back to the store.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Final

from homing.callbacks import shares
from homing.callbacks.berth import Berth, Lane
from homing.callbacks.chores import Chores
from homing.callbacks.directory import Directory
from homing.callbacks.health import FIRST_PROBE_MS, LAST_PROBE_MS, Turn
from homing.callbacks.lanes import Lanes
from homing.callbacks.leftovers import Leftovers, complain
from homing.callbacks.opinion import Heard, Opinion
from homing.callbacks.ports import Changes
from homing.callbacks.verdict import Outcome, counts_against_endpoint
from homing.clock import Clock
from homing.errors import HomingError
from homing.model import Endpoint
from homing.store.changes import Change, DisableEndpoint, EnableEndpoint, SetEndpointHealth
from homing.store.port import Ledger, Share
from homing.telemetry import LogEvent, logger

_LET_GO_MS: Final = 10_000
"""A pause so long is worth giving lanes back to the store for."""
_AFTER_REST: Final = 4
"""How many at a time one gets that has just woken; more as it proves that it can."""
_AGAIN_S: Final = 1.0
_FOR_NOW_MS: Final = 2**62
"""Until further notice."""
_FAILING_FOR_DAYS: Final = "five days of failures and not one answer"


class Doctor:
    """Keeps `Berth.is_blocked` true to health, pauses and the owner's word."""

    def __init__(
        self,
        lanes: Lanes,
        leftovers: Leftovers,
        ledger: Ledger,
        changes: Changes,
        directory: Directory,
        clock: Clock,
        *,
        kick: Callable[[], None],
        probe: Callable[[Lane], None],
        chance: Callable[[], float],
    ) -> None:
        self._lanes = lanes
        self._leftovers = leftovers
        self._ledger = ledger
        self._changes = changes
        self._directory = directory
        self._clock = clock
        self._kick = kick
        self._probe = probe
        self._chance = chance
        self._chores = Chores()
        self._share = Share()
        self._busy = 0
        self._is_stopping = False
        self._opinion = Opinion(changes, directory, clock, self._spawn, self._said)

    def is_quiet(self) -> bool:
        """Say whether nothing is on its way to or from the store."""
        return not self._busy

    def health(self) -> Mapping[str, int]:
        """How many endpoints are in each state, for the metrics."""
        berths = self._lanes.berths
        states = Counter({"active": 0, "resting": 0, "paused": 0, "disabled": self._directory.disabled})
        for endpoint, view in self._directory.views().items():
            berth = berths.get(endpoint)
            is_resting = view.is_resting if berth is None else berth.health.is_resting
            states["paused" if view.is_paused else "resting" if is_resting else "active"] += 1
        return states

    def stop(self) -> None:
        """Begin no more probes."""
        self._is_stopping = True

    async def close(self) -> None:
        """End what is under way."""
        self._is_stopping = True
        await self._chores.end()

    def furnish(self, berth: Berth) -> None:
        """Set a berth up as its endpoint is."""
        view = self._directory.view(berth.endpoint)
        if view is None:
            berth.is_paused = False
            return
        berth.is_paused = view.is_paused
        berth.limit_rate(shares.rate(self._share, view.rate_per_second), self._clock.now_ms())
        berth.pace.limit(shares.places(self._share, view.max_in_flight))
        self._hear(berth)
        self._settle_down(berth)

    def changed(self, change: Change, value: object) -> None:
        """Hear of a change of the registry, after the directory did."""
        if not isinstance(value, Endpoint):
            return
        berth = self._lanes.berths.get(value.id)
        if berth is None:
            view = self._directory.view(value.id)
            if view is None or not (view.is_paused or view.is_resting):
                return
            berth = self._lanes.berth(value.id)  # its new lanes are born free from now on
        if isinstance(change, SetEndpointHealth):
            self._hear(berth)
            self._settle_down(berth)
            self._kick()
            return
        if isinstance(change, EnableEndpoint) or self._directory.view(value.id) is None:
            berth.health.answered()
        self.furnish(berth)
        self._settle_down(berth)
        self._lanes.enter(berth)
        self._refresh()

    def reloaded(self) -> None:
        """Set every berth up as its endpoint is by now: nobody told of what changed meanwhile."""
        for berth in tuple(self._lanes.berths.values()):
            self.furnish(berth)
            self._lanes.enter(berth)
        self._refresh()

    def share(self, share: Share) -> None:
        """Keep to another part of each endpoint's limits: nodes came or went."""
        self._share = share
        now_ms = self._clock.now_ms()
        for berth in tuple(self._lanes.berths.values()):
            if berth.health.is_resting and shares.has_turn(share, berth.endpoint):
                berth.health.probe_at_ms = min(berth.health.probe_at_ms, now_ms + FIRST_PROBE_MS)
                self._lanes.hear_due(berth, now_ms)
            self.furnish(berth)
            self._lanes.enter(berth)
        self._kick()

    def answered(self, berth: Berth, now_ms: int) -> None:
        """Count an answer that proves the endpoint alive."""
        berth.alive_ms = now_ms
        health = berth.health
        if health.failing_since_ms is not None and health.answered() is Turn.WOKE:
            self._wake(berth)

    def failed(self, berth: Berth, ended: Outcome, why: str) -> bool:
        """Count a failed try; say whether it is spent: not while the endpoint rests, nor by our fault."""
        health, now_ms = berth.health, self._clock.now_ms()
        if ended is Outcome.OURS:
            return False
        if not counts_against_endpoint(ended):
            self.answered(berth, now_ms)
            return True
        was_resting = health.is_resting
        berth.is_hearsay = False
        match health.failed(now_ms):
            case Turn.RESTS:
                self._rest(berth, why)
            case Turn.GIVEN_UP if self._opinion.is_given_up(berth):
                self.disable(berth, _FAILING_FOR_DAYS)
            case _:
                pass
        return not was_resting

    def probed(self, berth: Berth) -> None:
        """A probe is over."""
        berth.is_probing = False
        if berth.health.is_resting:
            berth.health.probed(self._clock.now_ms())
            self._leave_to_others(berth)
            self.due(berth)

    def pause(self, berth: Berth, until_ms: int) -> None:
        """It asked to be left alone until then."""
        if until_ms > berth.paused_until_ms:
            berth.paused_until_ms = until_ms
            self._settle_down(berth)
            self._clock.at(until_ms, lambda: self._unpause(berth, until_ms))

    def disable(self, berth: Berth, reason: str) -> None:
        """Have it disabled; nothing is sent meanwhile, and afterwards its events are given up."""
        if not berth.is_disabling:
            berth.is_disabling = True
            berth.paused_until_ms = _FOR_NOW_MS
            self._spawn(self._disable(berth, reason))

    def due(self, berth: Berth) -> None:
        """Lanes of a berth wait in the store, or its probe was put off: see to it that one is asked in time."""
        health = berth.health
        if not health.is_resting or berth.is_probing or berth.is_paused or berth.due_ms is None:
            return
        at_ms = max(health.probe_at_ms, berth.paused_until_ms, berth.due_ms)
        if not self._is_stopping and not 0 < berth.ask_ms <= at_ms:
            berth.ask_ms = at_ms
            self._clock.at(at_ms, lambda: self._ask(berth, at_ms))

    def clear_stranded(self) -> None:
        """Give back to the store what must wait there."""
        for berth in tuple(self._lanes.stranded):
            gone = self._lanes.let_go(berth)
            if gone:
                self._lanes.meanwhile.part(gone)
                self._spawn(self._release(berth, gone))

    def _settle_down(self, berth: Berth) -> None:
        """Block or unblock a berth, as health and its owner have it."""
        is_long = berth.paused_until_ms - self._clock.now_ms() > _LET_GO_MS and not berth.is_disabling
        self._lanes.block(berth, is_blocked=berth.is_paused or berth.health.is_resting or is_long)
        if berth.health.is_resting:
            self.due(berth)

    def _rest(self, berth: Berth, why: str) -> None:
        reason = f"10 failures in a row, the last one: {why}"
        logger().warning(LogEvent.ENDPOINT_RESTING, endpoint=berth.endpoint, reason=reason)
        self._leave_to_others(berth)
        self._settle_down(berth)
        self._opinion.say(berth, reason)

    def _wake(self, berth: Berth) -> None:
        logger().info(LogEvent.ENDPOINT_WOKE, endpoint=berth.endpoint)
        berth.pace.restart(_AFTER_REST)
        self._settle_down(berth)
        self._opinion.say(berth)

    def _hear(self, berth: Berth) -> None:
        """Take in what other nodes say of an endpoint; whether lanes wait for it in the store they alone know."""
        heard = self._opinion.hear(berth)
        if heard is Heard.NOTHING:
            return
        if heard is Heard.RESTS:
            self._leave_to_others(berth)
        if heard is Heard.WOKE:
            berth.pace.restart(_AFTER_REST)
        self._lanes.hear_due(berth, self._clock.now_ms())

    def _leave_to_others(self, berth: Berth) -> None:
        """Ask seldom after an endpoint that rests while it is another node's turn, which may not reach it."""
        if not shares.has_turn(self._share, berth.endpoint):
            at_ms = self._clock.now_ms() + LAST_PROBE_MS
            berth.health.probe_at_ms = max(berth.health.probe_at_ms, at_ms)

    def _unpause(self, berth: Berth, until_ms: int) -> None:
        if berth.paused_until_ms != until_ms:
            return  # it asked for longer since, which has its own alarm, or is being disabled
        if until_ms > self._clock.now_ms():
            # Alarms may ring early, and nobody else would let it go on.
            self._clock.at(until_ms, lambda: self._unpause(berth, until_ms))
            return
        self._settle_down(berth)
        self._lanes.enter(berth)
        self._kick()

    def _ask(self, berth: Berth, at_ms: int) -> None:
        """Take one lane, whichever chance says, and have it tried."""
        if berth.ask_ms == at_ms:
            berth.ask_ms = 0
        now_ms, health = self._clock.now_ms(), berth.health
        if self._is_stopping or not health.is_resting or berth.is_probing or berth.is_paused:
            return
        if max(health.probe_at_ms, berth.paused_until_ms) > now_ms or berth.claiming:
            self.due(berth)
            return
        berth.is_probing = True
        self._lanes.begin_claim(berth, 1)
        self._spawn(self._take(berth))

    async def _take(self, berth: Berth) -> None:
        with self._lanes.meanwhile.claiming() as is_news:
            try:
                claimed = await self._ledger.claim_lanes(berth.endpoint, 1, self._chance())
            except Exception as error:  # noqa: BLE001 - while a claim has no end, its endpoint is not asked again
                complain(error)
                await asyncio.sleep(_AGAIN_S)
                self._lanes.end_claim(berth, self._clock.now_ms())
                berth.is_probing = False
                self.due(berth)
                return
            self._lanes.end_claim(berth, claimed.next_due_ms)
            news = [work for work in claimed.lanes if work.events and is_news(work)]
        works = [work for work in news if (work.key, work.endpoint) not in self._lanes.held]
        if not works:
            berth.is_probing = False
            self.due(berth)
            return
        lane = self._lanes.hold(works[0])
        lane.is_probe = True
        self._probe(lane)

    async def _release(self, berth: Berth, gone: list[tuple[bytes, int]]) -> None:
        # A failure leaves them ours in the store, where the sweep finds them.
        try:
            with contextlib.suppress(HomingError):
                await self._ledger.release(gone)
                self._leftovers.found({berth.endpoint: self._clock.now_ms()})
        finally:
            self._lanes.meanwhile.parted(gone)

    def _said(self, due: Sequence[int]) -> None:
        """Look after those that have lanes in the store by what was said.

        Not by a look at all of them: a thousand may fall ill at once.
        """
        self._leftovers.found(dict.fromkeys(due, self._clock.now_ms()))
        self._kick()

    async def _disable(self, berth: Berth, reason: str) -> None:
        try:
            await self._changes.apply(DisableEndpoint(berth.endpoint, reason))
            logger().warning(LogEvent.ENDPOINT_DISABLED, endpoint=berth.endpoint, reason=reason)
        except HomingError as error:
            logger().error(LogEvent.STORE_FULL, error=str(error))
        finally:
            berth.is_disabling = False
            berth.paused_until_ms = 0
        berth.health.answered()
        self._settle_down(berth)
        self._lanes.enter(berth)
        await self._look()

    def _refresh(self) -> None:
        self._spawn(self._look())

    async def _look(self) -> None:
        """Those who are told of endpoints have lanes in the store now, and whoever woke has some too."""
        with contextlib.suppress(HomingError):
            self._leftovers.found((await self._ledger.outlook()).lanes_due)
        self._kick()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        self._busy += 1

        async def counted() -> None:
            try:
                await work
            finally:
                self._busy -= 1

        self._chores.spawn(counted())
