"""The answer to COMMIT is lost while the node lives on: all that is stored is told within a minute, and so are people (TC).

The node cannot know whether the batch is on disk; here it is in one case of two. Virtual time, a real PostgreSQL. That a
connection which is cut around COMMIT brings a node here at all is shown on the wire by tests/store/test_postgres_faults.py.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from tests.channels.fakes import ScriptedCarrier, ScriptedPush
from tests.simulation.scene import Receiver
from tests.simulation.shared import Node, nodes, simulate_shared
from tests.simulation.virtual import LoopClock
from tests.store.fakes import add_app, add_user, login

from homing.callbacks import leftovers
from homing.callbacks.courier import Courier
from homing.channels.courier import ChannelCourier
from homing.channels.held import Held
from homing.channels.ports import Channels
from homing.errors import CommitUnknown, HomingError
from homing.lifecycle.dispatch import Read, Received
from homing.model import FallbackSettings, dispatch_key, message_of
from homing.store.batch import Occurrence
from homing.store.changes import SetPushToken
from homing.store.postgres import database

SECONDS = 300 if os.environ.get("HOMING_CHAOS") == "full" else 20
WITHIN_S = 60
FALLBACK_S = 5
UNREACHED_S = 60
"""What else an SMS may wait: until its message is due for one, and once more when it is unknown whether one has left."""
CUT = 0.2
"""Of all transactions, as long as it lasts."""
Once = Callable[[Any, Callable[[Any], Awaitable[Any]]], Awaitable[Any]]


class Cutter:
    """Stands where a transaction is made: of some the outcome is never told."""

    def __init__(self, once: Once) -> None:
        self._once = once
        self._rng = random.Random(3)
        self.is_cutting = False
        self.cuts = 0

    async def __call__(self, connection: Any, work: Callable[[Any], Awaitable[Any]]) -> Any:
        if not self.is_cutting or self._rng.random() >= CUT:
            return await self._once(connection, work)
        self.cuts += 1
        if self._rng.random() < 0.5:
            await self._once(connection, work)
        raise CommitUnknown("the connection was cut at COMMIT")


class Owed(NamedTuple):
    """What is on disk and came to nothing."""

    events: set[tuple[bytes, int]]
    """Nobody was told."""
    pushes: set[bytes]
    texts: set[bytes]


class People:
    """Ann of two nodes' application has her phone switched off: she is pushed to, and then gets an SMS."""

    def __init__(self) -> None:
        self.service, self.carrier = ScriptedPush(), ScriptedCarrier()

    async def found(self, place: Node) -> int:
        """Found an application with one person who is reached by device and Ann, and return its id."""
        fallback = FallbackSettings(mode="sms", on_undelivered_seconds=FALLBACK_S)
        app = (await add_app(place.store, fallback=fallback)).id
        await add_user(place.store, app, "u0")
        ann = await add_user(place.store, app, "u1", mobile_number="+393331234567")
        await place.store.apply(login(ann, "phone"))
        await place.store.apply(SetPushToken("phone", "ios", "token"))
        return app

    @contextlib.asynccontextmanager
    async def courier(self, place: Node) -> AsyncIterator[None]:
        """Give a node its courier to people, plugged as `homing.node` does it."""
        channels = Channels({"ios": self.service}, self.carrier)
        store = place.node
        courier = ChannelCourier(
            place.engine,
            store,
            store,
            store,
            place.clock,
            lambda _mode: channels,
            may_start=store.may_start_try,
        )
        place.engine.on_committed.append(courier.committed)
        place.engine.on_unknown.append(courier.on_unknown)
        await courier.start()
        try:
            yield
        finally:
            await courier.close()


async def live(place: Node, app: int) -> None:
    """Send a message, which may or may not be stored, and let it be delivered and read by the one who is there."""
    with contextlib.suppress(HomingError):
        key, _ = await place.send(app, people=2)
        for what in (Received, Read):
            await asyncio.sleep(1)
            await place.engine.record([Occurrence(key, what(place.now_ms))])


def owed_after_cuts(address: str) -> Owed:
    """Live through some time of lost answers, and a minute after it; return what is stored and was not acted on."""
    cutter = Cutter(database._once)

    async def story(clock: LoopClock) -> Owed:
        people = People()
        async with nodes(address, clock) as places, contextlib.AsyncExitStack() as stack:
            app = await people.found(places[0])
            for place in places:
                await stack.enter_async_context(people.courier(place))
            await places[0].open(app, Receiver())
            cutter.is_cutting = True
            for _ in range(SECONDS * 2):
                for place in places:
                    place.spawn(live(place, app))
                await asyncio.sleep(0.5)
            cutter.is_cutting = False
            await asyncio.sleep(WITHIN_S)
            told = {(one.key, one.n) for place in places for one in place.journal if one.is_told}
            rows = await places[0].node._db.fetch("SELECT key, n FROM event")
            assert len(rows) > SECONDS
            assert cutter.cuts > SECONDS / 2
            untold = {(row[0], row[1]) for row in rows if row[1] == 1 or not is_to_ann(row[0])} - told
            await asyncio.sleep(FALLBACK_S + UNREACHED_S)
            stored = {row[0] for row in rows if is_to_ann(row[0])}
            assert len(stored) > SECONDS
            return Owed(
                untold,
                stored - {asked.key for asked in people.service.asked},
                stored - {asked.reference for asked in people.carrier.asked},
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_once", cutter)
        return simulate_shared(story)


def is_to_ann(key: bytes) -> bool:
    """Say whether a dispatch is the second of its message."""
    return key == dispatch_key(message_of(key), 1)


@pytest.mark.timeout(240)
def test_what_is_stored_is_told_though_nobody_heard_that_it_was(dsn: str) -> None:
    """Of every event that is on disk its receiver knows a minute later; whoever cannot be reached was pushed to and got an SMS."""
    assert owed_after_cuts(dsn) == Owed(set(), set(), set())


@pytest.mark.timeout(240)
def test_a_node_that_does_not_look_for_what_it_may_have_stored_is_caught(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: an unknown outcome is taken for a failure, and no sweep comes after."""
    for courier in (Courier, ChannelCourier):
        monkeypatch.setattr(courier, "on_unknown", lambda *_told: None)
    monkeypatch.setattr(leftovers, "SWEEP_S", 1e9)
    monkeypatch.setattr(Held, "sweep", no_sweep)
    owed = owed_after_cuts(dsn)
    assert owed.events
    assert owed.pushes
    assert owed.texts


async def no_sweep(_held: Held) -> None:
    """Find nothing."""
