"""The virtual loop itself: time passes only when nothing is left to do, and threads are waited for."""

import asyncio

import pytest
from tests.simulation import virtual
from tests.simulation.virtual import STORE_S, LoopClock, NothingLeft, simulate
from tests.store.fakes import DAY_MS, NOON_MS, add_app

from homing.store.sqlite import SqliteStore


def test_time_jumps_to_the_next_timer() -> None:
    """Three days are over at once, whoever sleeps wakes in order, and the clock says what the loop says."""

    async def story(clock: LoopClock) -> list[tuple[str, int]]:
        woken: list[tuple[str, int]] = []

        async def sleep(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append((name, clock.now_ms() - NOON_MS))

        await asyncio.gather(sleep("late", 3 * 86_400), sleep("soon", 0.001), sleep("later", 60))
        return woken

    assert simulate(story) == [("soon", 1), ("later", 60_000), ("late", 3 * DAY_MS)]


def test_the_store_is_waited_for() -> None:
    """No time passes but that of the store, whatever its thread does; one answer after the other."""

    async def story(clock: LoopClock) -> tuple[list[int], float]:
        store = await SqliteStore.open(":memory:", clock=clock)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        apps = await asyncio.gather(add_app(store), add_app(store), add_app(store))
        took_s = loop.time() - began_s
        await store.close()
        return [app.id for app in apps], took_s

    ids, took_s = simulate(story)
    assert ids == [1, 2, 3]
    assert took_s == pytest.approx(3 * STORE_S)


def test_waiting_for_nothing_is_told() -> None:
    """A story that can never end fails at once."""

    async def story(_clock: LoopClock) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(NothingLeft):
        simulate(story)


def test_what_goes_wrong_where_nobody_looks_is_raised() -> None:
    """An alarm that fails must not be overlooked."""

    async def story(clock: LoopClock) -> None:
        def fail() -> None:
            raise ValueError("no number")

        clock.at(NOON_MS + 5, fail)
        await asyncio.sleep(1)

    with pytest.raises(ValueError, match="no number"):
        simulate(story)


@pytest.mark.parametrize(("early", "rings_at_ms"), [(0.0, 50), (1.0, 49)])
def test_alarms_ring_a_moment_early_as_those_of_the_real_clock_do(
    monkeypatch: pytest.MonkeyPatch, early: float, rings_at_ms: int
) -> None:
    """One that is asked for again rings when it should, and one that is over at once."""
    monkeypatch.setattr(virtual, "EARLY", early)

    async def story(clock: LoopClock) -> list[int]:
        rung: list[int] = []

        def ring() -> None:
            rung.append(clock.now_ms() - NOON_MS)
            if rung[-1] < 50:
                clock.at(NOON_MS + 50, ring)

        clock.at(NOON_MS + 50, ring)
        clock.at(NOON_MS - 1, lambda: rung.append(-1))
        await asyncio.sleep(1)
        return rung

    assert simulate(story) == sorted({-1, rings_at_ms, 50})
