"""Two nodes on one PostgreSQL in virtual time: each callback is told once and in its order, whoever tells it (TB).

HOMING_CHAOS=full has 3,000 lanes and five minutes.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.simulation.scene import Receiver, Try, out_of_order
from tests.simulation.shared import Node, nodes, simulate_shared
from tests.simulation.virtual import LoopClock

from homing.callbacks import pace
from homing.config.settings import ROLES
from homing.lifecycle.dispatch import Read, Received
from homing.store.batch import Occurrence
from homing.store.postgres.nodes import Known

IS_FULL = os.environ.get("HOMING_CHAOS") == "full"
LANES = 3_000 if IS_FULL else 400
PEOPLE = 20
MINUTES = 5 if IS_FULL else 2
SLOW_MS = 14_900
"""Each answer takes as long as a try may, but for the blink in which it would be cut off."""


AT_A_TIME = 256 if IS_FULL else 100
"""So many the endpoint gets from each node: it has proven that it can, however slow it is."""


async def grow(place: Node, app: int, every_s: float) -> None:
    """Send messages to twenty people each until this node has sent its half; each is delivered and read in time."""
    sent = []
    for _ in range(LANES // PEOPLE // 2):
        sent.append(await place.send(app, PEOPLE))
        await asyncio.sleep(every_s)
    for what in (Received, Read):
        for keys in sent:
            await place.engine.record([Occurrence(key, what(place.now_ms)) for key in keys])
            await asyncio.sleep(every_s)


async def lease_of_ten_seconds(thief: Node) -> None:
    """The planted bug: what a node has held for ten seconds is anybody's, though it lives and is telling it."""
    store = thief.node
    while True:
        await asyncio.sleep(10)
        known = store._known
        store._known = Known.of(store.epoch, {store.epoch: ROLES}, known.newest)
        works = await store.adopt_lanes((b"", 0), 500)
        store._known = known
        thief.courier.take(works)


def told_by_two(
    address: str, planted: Callable[[Node], Coroutine[Any, Any, None]] | None = None
) -> list[Try]:
    """Have two nodes tell an endpoint that takes 15 s; return all tries as they began."""

    async def story(clock: LoopClock) -> list[Try]:
        async with nodes(address, clock) as places:
            here, there = places
            app = await here.found()
            await here.open(app, Receiver(workers=2_000, work_ms=SLOW_MS, jitter=0.0))
            there.sender.receivers = here.sender.receivers
            for place in places:
                place.spawn(grow(place, app, 0.4))
            if planted is not None:
                there.spawn(planted(there))
            await asyncio.sleep(MINUTES * 60)
            assert all(place.journal for place in places), "one of them told nothing"
            for place in places:
                place.sender.on_done = lambda _dones: None
            return sorted(here.journal + there.journal, key=lambda one: one.began_ms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "START", AT_A_TIME)
        return simulate_shared(story)


def doubled(journal: list[Try]) -> list[str]:
    """Return the events of which there were two tries: each is answered with 204, so one is enough."""
    return [said for said, times in Counter(one.webhook_id for one in journal).items() if times > 1]


@pytest.mark.timeout(240)
def test_a_slow_endpoint_is_told_nothing_twice_and_all_in_order(dsn: str) -> None:
    """Lanes of three events, two nodes, an answer after 15 s: no duplicate, no disorder."""
    journal = told_by_two(dsn)
    assert {one.n for one in journal} == {1, 2, 3}
    assert len(journal) > LANES
    assert doubled(journal) == []
    assert out_of_order(journal) == []


@pytest.mark.timeout(240)
def test_a_lease_of_ten_seconds_is_caught(dsn: str) -> None:
    """Planted: lanes that are being told are taken over all the same. The same minutes show it."""
    assert doubled(told_by_two(dsn, lease_of_ten_seconds))
