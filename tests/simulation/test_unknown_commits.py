"""The answer to COMMIT is lost while the node lives on: all that is stored is told within a minute (TC).

The node cannot know whether the batch is on disk; here it is in one case of two. Virtual time, a real PostgreSQL. That a
connection which is cut around COMMIT brings a node here at all is shown on the wire by tests/store/test_postgres_faults.py.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.postgres.server import Server
from tests.simulation.scene import Receiver
from tests.simulation.shared import Node, nodes, simulate_shared
from tests.simulation.virtual import LoopClock

from homing.callbacks import leftovers
from homing.callbacks.courier import Courier
from homing.errors import CommitUnknown, HomingError
from homing.lifecycle.dispatch import Read, Received
from homing.store.batch import Occurrence
from homing.store.postgres import database

SECONDS = 300 if os.environ.get("HOMING_CHAOS") == "full" else 20
WITHIN_S = 60
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


async def live(place: Node, app: int) -> None:
    """Send a message, which may or may not be stored, and let it be delivered and read."""
    with contextlib.suppress(HomingError):
        [key] = await place.send(app)
        for what in (Received, Read):
            await asyncio.sleep(1)
            await place.engine.record([Occurrence(key, what(place.now_ms))])


def owed_after_cuts(address: str) -> set[tuple[bytes, int]]:
    """Live through some time of lost answers, and a minute after it; return the stored events that nobody was told of."""
    cutter = Cutter(database._once)

    async def story(clock: LoopClock) -> set[tuple[bytes, int]]:
        async with nodes(address, clock) as places:
            app = await places[0].found()
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
            return {(row[0], row[1]) for row in rows} - told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_once", cutter)
        return simulate_shared(story)


@pytest.mark.timeout(240)
def test_what_is_stored_is_told_though_nobody_heard_that_it_was(
    postgres: Server, fresh_database: str
) -> None:
    """Of every event that is on disk its receiver knows a minute later."""
    assert owed_after_cuts(postgres.dsn(fresh_database)) == set()


@pytest.mark.timeout(240)
def test_a_node_that_does_not_look_for_what_it_may_have_stored_is_caught(
    postgres: Server, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: an unknown outcome is taken for a failure, and no sweep comes after."""
    monkeypatch.setattr(Courier, "on_unknown", lambda *_told: None)
    monkeypatch.setattr(leftovers, "SWEEP_S", 1e9)
    assert owed_after_cuts(postgres.dsn(fresh_database))
