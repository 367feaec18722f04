"""Random histories over the ledger against a model of it: nothing is lost, doubled or out of order, restarts included.

The model steps the pure machine beside the store and keeps a courier's memory of lanes; after each rule both are
compared, so a state that the store keeps wrongly, or a hand-over it forgets, is found where it happens.
"""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.store.fakes import StillClock, add_app, add_user, message_id
from tests.store.ledger import ATTEMPT, add_endpoint

from homing.contract.status import NUMBER, Status, mask
from homing.lifecycle.dispatch import Clock, Input, PushAccepted, PushRefused, Read, Recalled, Received, State
from homing.lifecycle.machine import begin, step
from homing.lifecycle.policy import resolve
from homing.model import Body, DispatchKey, dispatch_key
from homing.store.batch import Accept, Addressee, Batch, Committed, LaneWork, Occurrence, Settle, Verdict
from homing.store.port import Store
from homing.store.sqlite import SqliteStore

FILTERS = (None, mask((Status.DELIVERED, Status.READ)), mask((Status.PUSH_SENT, Status.EXPIRED)))
TTL_S = 3_600
INPUTS: tuple[Input, ...] = (
    Received(), Read(), PushAccepted(), PushRefused("ios", token_invalid=True), Recalled(), Clock(),
)  # fmt: skip
T = TypeVar("T")
Lane = tuple[bytes, int]


class Dispatch:
    """What the pure machine says about one dispatch."""

    def __init__(self, *, known: bool, now_ms: int) -> None:
        started = begin(known, resolve(now_ms, TTL_S), now_ms)
        self.state: State = started.state
        self.events = [NUMBER[status] for status, _at in started.events]

    def step(self, what: Input, now_ms: int) -> None:
        transition = step(self.state, what, now_ms)
        self.state = transition.state
        self.events += [NUMBER[status] for status, _at in transition.events]


class LedgerModel(RuleBasedStateMachine):
    """Accepts, inputs, settles, claims, releases and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self.folder.name) / "homing.db")
        self.clock = StillClock()
        self.runner = asyncio.Runner()
        self.dispatches: dict[DispatchKey, Dispatch] = {}
        self.held: dict[Lane, list[int]] = {}
        self.tries: dict[Lane, int] = {}
        self.done: dict[Lane, int] = {}
        self.dead: dict[Lane, int] = {}

    async def open_store(self) -> Store:
        """Open this history's store, the first time or again."""
        return await SqliteStore.open(self.path, clock=self.clock)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def open(self) -> None:
        self.store: Store = self.wait(self.open_store())

        async def build() -> None:
            app = await add_app(self.store, ttl_s=TTL_S)
            self.app = app.id
            for name in ("ann", "bob"):
                await add_user(self.store, app.id, name)
            self.endpoints = [(await add_endpoint(self.store, app.id, statuses=f)) for f in FILTERS]

        self.wait(build())

    def commit(self, batch: Batch) -> Committed:
        committed = self.wait(self.store.commit(batch))
        for work in committed.lanes:
            self.take(work)
        for lane in [lane for lane, events in self.held.items() if not events]:
            del self.held[lane]
        return committed

    def take(self, work: LaneWork) -> None:
        lane, told = (work.key, work.endpoint), [n for n, _s, _at in work.events]
        if work.fresh:
            assert not self.held.get(lane), "a lane that is held was handed over once more"
            self.held[lane], self.tries[lane] = told, work.tries
        elif lane in self.held:
            assert not self.held[lane] or told[0] > self.held[lane][-1]
            self.held[lane] += told

    @rule(
        names=st.lists(st.sampled_from(["ann", "bob", "nobody"]), min_size=1, max_size=3, unique=True),
        free=st.booleans(),
    )
    def accept(self, names: list[str], free: bool) -> None:
        message = message_id(self.clock.ms)
        to = tuple(Addressee(name, name) for name in names)
        born_free = frozenset(endpoint.id for endpoint in self.endpoints) if free else frozenset()
        for position, name in enumerate(names):
            key = dispatch_key(message, position)
            self.dispatches[key] = Dispatch(known=name != "nobody", now_ms=self.clock.ms)
        self.commit(Batch(accepts=[Accept(message, self.app, None, Body("hello"), to)], born_free=born_free))

    @precondition(lambda self: self.dispatches)
    @rule(
        data=st.data(), whats=st.lists(st.sampled_from(INPUTS), min_size=1, max_size=3), settles=st.booleans()
    )
    def happen(self, data: st.DataObject, whats: list[Input], settles: bool) -> None:
        keys = data.draw(st.lists(st.sampled_from(sorted(self.dispatches)), min_size=1, max_size=3))
        occurrences = [Occurrence(key, what) for key in keys for what in whats]
        for occurrence in occurrences:
            self.dispatches[occurrence.key].step(occurrence.input, self.clock.ms)
        outcomes = self.outcomes(data) if settles and self.held else []
        self.commit(Batch(settles=outcomes, occurrences=occurrences))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        self.commit(Batch(settles=self.outcomes(data)))

    def outcomes(self, data: st.DataObject) -> list[Settle]:
        """Try the first events of some lanes, as far as each is let, and say what a courier says."""
        settles: list[Settle] = []
        for lane in data.draw(
            st.lists(st.sampled_from(sorted(self.held)), min_size=1, max_size=3, unique=True)
        ):
            while self.held.get(lane):
                events = self.held[lane]
                verdict = data.draw(st.sampled_from(Verdict))
                n, known = events[0], sum(1 << (m - 1) for m in events[1:])
                at_ms = self.clock.ms + data.draw(st.sampled_from([0, 5_000]))
                settles.append(
                    Settle(DispatchKey(lane[0]), lane[1], n, self.tries[lane], verdict, ATTEMPT, at_ms, known)
                )
                if verdict in {Verdict.RETRY, Verdict.WAIT}:
                    del self.held[lane]
                    break
                events.pop(0)
                self.tries[lane] = 0
                book = self.done if verdict is Verdict.DONE else self.dead
                book[lane] = book.get(lane, 0) | 1 << (n - 1)
                if data.draw(st.booleans()):
                    break
        return settles

    @rule(data=st.data(), limit=st.integers(1, 3))
    def claim(self, data: st.DataObject, limit: int) -> None:
        endpoint = data.draw(st.sampled_from(self.endpoints)).id
        for work in self.wait(self.store.claim_lanes(endpoint, limit)).lanes:
            assert (work.key, work.endpoint) not in self.held
            self.take(work)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(sorted(self.held)))
        self.wait(self.store.release([lane]))
        del self.held[lane]

    @rule(seconds=st.sampled_from([1, 10, TTL_S]))
    def pass_time(self, seconds: int) -> None:
        self.clock.ms += seconds * 1000

    @rule()
    def ring(self) -> None:
        """Step what is due, as the engine does, until nothing is."""
        while keys := self.wait(self.store.due_dispatches(2)):
            for key in keys:
                self.dispatches[DispatchKey(key)].step(Clock(), self.clock.ms)
            self.commit(Batch(occurrences=[Occurrence(DispatchKey(key), Clock()) for key in keys]))

    @rule(graceful=st.booleans())
    def restart(self, graceful: bool) -> None:
        epoch = self.store.epoch
        if graceful:
            self.wait(self.store.release(sorted(self.held)))
        self.wait(self.store.close())
        self.held.clear()
        self.store = self.wait(self.open_store())
        assert self.store.epoch > epoch
        after: tuple[bytes, int] = (b"", 0)
        while works := self.wait(self.store.adopt_lanes(after, 2)):
            after = (works[-1].key, works[-1].endpoint)
            for work in works:
                self.take(work)

    @invariant()
    def nothing_is_lost(self) -> None:
        if not self.dispatches:
            return
        uids = {endpoint.uid: endpoint.id for endpoint in self.endpoints}
        for message in {key[:16] for key in self.dispatches}:
            views = {(v.key, uids[v.endpoint_uid]): v for v in self.wait(self.store.callbacks(message))}
            view = self.wait(self.store.message(message))
            assert view is not None
            for found in view.dispatches:
                expected = self.dispatches[DispatchKey(found.key)]
                assert found.state == expected.state, "the stored state is not the pure machine's"
                assert [event.status for event in found.events] == expected.events
                assert [event.n for event in found.events] == list(range(1, len(expected.events) + 1))
                times = [event.at_ms for event in found.events]
                assert times == sorted(times)
                for endpoint, wanted in zip(self.endpoints, FILTERS, strict=True):
                    lane = (found.key, endpoint.id)
                    bits = sum(
                        1 << i for i, status in enumerate(expected.events)
                        if wanted is None or wanted >> status & 1
                    )  # fmt: skip
                    callback = views.get(lane)
                    if callback is None:
                        assert bits == 0
                        continue
                    done, dead, pending = callback.settled, callback.dead, callback.pending
                    assert (done, dead) == (self.done.get(lane, 0), self.dead.get(lane, 0))
                    assert done | dead | pending == bits, "an event is lost"
                    assert done + dead + pending == bits, "an event is two things"
                    if pending and callback.due_ms is None:
                        assert sum(1 << (n - 1) for n in self.held[lane]) == pending, (
                            "owned, but nobody knows"
                        )
                    elif pending:
                        assert lane not in self.held, "held, though it waits in the store"

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.wait(self.store.close())
        self.runner.close()
        self.folder.cleanup()


TestLedgerModel = LedgerModel.TestCase
TestLedgerModel.__doc__ = (
    "Each event is pending, told or given up at each endpoint that wants it, whatever happens."
)
TestLedgerModel.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
