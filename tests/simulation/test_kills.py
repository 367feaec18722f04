"""The weather again, in a house whose process is killed or stopped every ten minutes and started again."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from tests.simulation.scene import OK, Receiver, Scene, Try, out_of_order, scene
from tests.simulation.test_weather import CALM_S, OPTIONS, SEEDS, change
from tests.simulation.virtual import LoopClock, simulate

from homing.lifecycle.dispatch import PushAccepted, Read, Received
from homing.model import Endpoint
from homing.store.batch import Occurrence
from homing.store.sqlite import SqliteStore
from homing.store.sqlite.rows import fetch

PROCESSES = 5
EACH_S = 1_000
"""The longest that one of them lives."""
KILLED = 0.7
"""The share of those that are killed; the others are stopped."""
TRY_MS = 15_000


class House:
    """What outlives a process: people, receivers, and what they saw."""

    def __init__(self, clock: LoopClock, seed: int) -> None:
        self.clock = clock
        self.rng = random.Random(seed)
        self.place: Scene
        """The process that lives."""
        self.endpoints: list[Endpoint] = []
        self.stored: list[bytes] = []
        """The dispatches whose sender was told that they are on disk."""
        self.journal: list[Try] = []
        self.ends_ms: list[int] = []
        self.tasks: set[asyncio.Task[Any]] = set()

    async def found(self) -> None:
        app = await self.place.found()
        for options in OPTIONS:
            receiver = Receiver(workers=8)
            self.endpoints.append(await self.place.open(app, receiver, options=options))
            self.tasks.add(asyncio.create_task(self._weather(receiver)))
        self.tasks.add(asyncio.create_task(self._send(app)))

    async def _weather(self, receiver: Receiver) -> None:
        while True:
            change(receiver, self.rng)
            await asyncio.sleep(self.rng.choice((2, 30, 300, 1_200)) * self.rng.random())

    async def _send(self, app: int) -> None:
        while True:
            self.tasks.add(asyncio.create_task(self._life(app)))
            await asyncio.sleep(self.rng.expovariate(1 / 90))

    async def _life(self, app: int) -> None:
        """As `Scene.live`, each step at the process that lives then; what dies with one is never heard of again."""
        keys = await self.place.send(app, self.rng.choice((1, 1, 1, 12)))
        self.stored += keys
        for what, wait_s in ((PushAccepted, 0.2), (Received, 1.8), (Read, 8.0)):
            await asyncio.sleep(wait_s)
            now = () if what is PushAccepted else (self.clock.now_ms(),)
            await self.place.engine.record([Occurrence(key, what(*now)) for key in keys])

    async def at_work(self) -> None:
        """Wait until a callback has just begun, and a moment longer."""
        begun = asyncio.Event()
        self.place.sender.heard = lambda _: begun.set()
        await begun.wait()
        await asyncio.sleep(self.rng.uniform(0, 0.05))

    def end(self) -> None:
        """Keep what a process told before it ended."""
        self.journal += self.place.journal
        self.ends_ms.append(self.clock.now_ms())

    def calm_down(self) -> None:
        """Let nothing more happen, and every receiver be well."""
        for task in self.tasks:
            task.cancel()
        for receiver in self.place.sender.receivers.values():
            receiver.answer, receiver.work_ms = lambda _: OK, 20


async def judge(house: House) -> int:
    """Check what the last process leaves; return how many callbacks came twice."""
    store = house.place.store
    dispatches: list[tuple[bytes, int]] = await store._db.read(
        lambda c: fetch(c, "SELECT key, events FROM dispatch", ())
    )
    assert await store._db.read(lambda c: fetch(c, "SELECT * FROM lane", ())) == [], "lanes are left"
    for endpoint in house.endpoints:
        assert (await house.place.state(endpoint)).state == "active"
        assert await store.dead_groups(endpoint.id) == []
    assert set(house.stored) <= {key for key, _ in dispatches}
    told: dict[tuple[int, bytes, int], int] = {}
    twice = 0
    for one in house.journal:
        what = one.endpoint, one.key, one.n
        if what in told:
            twice += one.is_told
            was_cut = any(told[what] - TRY_MS <= end_ms <= one.began_ms for end_ms in house.ends_ms)
            assert was_cut, "told again though its answer was settled"
        if one.is_told:
            told[what] = one.ended_ms
    owed = {
        (e.id, key, n) for e in house.endpoints for key, events in dispatches for n in range(1, events + 1)
    }
    assert set(told) == owed
    unordered = {e.id for e in house.endpoints if not e.options.ordered}
    assert not out_of_order(one for one in house.journal if one.endpoint not in unordered)
    return twice


def live_through(seed: int, path: str) -> None:
    """Run one seed on a store at ``path``, and judge it."""

    async def story(clock: LoopClock) -> None:
        house, before = House(clock, seed), None
        for number in range(PROCESSES):
            # What is tested is what the store knows; that the disk has it is the chaos tests' matter.
            async with scene(
                clock, seed * 100 + number, path, before, "OFF", max_in_flight=60
            ) as house.place:
                if before is None:
                    await house.found()
                if number == PROCESSES - 1:
                    house.calm_down()
                    await asyncio.sleep(CALM_S)
                    house.end()
                    print(f"{len(house.journal)} tries, {await judge(house)} told twice")
                    return
                await asyncio.sleep(house.rng.uniform(0.01, EACH_S))
                if house.rng.random() < KILLED:
                    await house.at_work()
                    await house.place.crash(house.tasks)
            house.end()
            before = house.place

    simulate(story, sweep_s=1e6)


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_kills_lose_nothing_and_turn_nothing_round(tmp_path: Path, seed: int) -> None:
    """All that is on disk is told, in order, none dead; only what was under way at an end may come twice."""
    live_through(seed, str(tmp_path / "homing.db"))


def test_a_process_that_forgets_what_the_one_before_held_would_be_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Planted: lanes of a process that is no more stay where they are."""

    async def none(*_: object) -> list[object]:
        return []

    monkeypatch.setattr(SqliteStore, "adopt_lanes", none)
    with pytest.raises(AssertionError, match="lanes are left"):
        live_through(0, str(tmp_path / "homing.db"))
