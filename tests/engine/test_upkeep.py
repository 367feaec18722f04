"""Upkeep: rounds that go on until nothing is left, say what stayed, and leave what is in others' way for later."""

import asyncio
from typing import Any

import pytest
from tests.engine.fakes import until

from homing.engine.upkeep import AGAIN, BUSY, STEP, Upkeep
from homing.errors import Unavailable
from homing.store.port import Dropped, Retention
from homing.telemetry import LogEvent

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000


class Shelf:
    """A store of which only what has had its time matters: what each step of deleting will come to."""

    def __init__(self, *steps: Dropped, rows: int = 0) -> None:
        self.steps = list(steps)
        self.rows = rows
        self.asked: list[int] = []

    def now_ms(self) -> int:
        return NOW_MS

    async def prune(self, retention: Retention, limit: int) -> int:
        gone = min(self.rows, limit)
        self.rows -= gone
        return gone

    async def drop_messages(self, before_ms: int, limit: int) -> Dropped:
        self.asked.append(before_ms)
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


def upkeep(shelf: Shelf, messages_ms: int | None = 15 * DAY_MS) -> Upkeep:
    return Upkeep(shelf, Retention(1, 1, 1, messages_ms), again_s=0)


def test_a_round_deletes_until_nothing_is_left(run: Any) -> None:
    """Rows by steps; messages up to the end, older than they are kept."""
    shelf = Shelf(Dropped(3, is_end=False), Dropped(0, is_end=False), Dropped(1), rows=2 * STEP + 1)
    assert run(upkeep(shelf).round()) == 2 * STEP + 1
    assert shelf.asked == [NOW_MS - 15 * DAY_MS] * 3


def test_messages_are_kept_for_ever_unless_it_is_said_how_long(run: Any) -> None:
    """Nothing is asked of them."""
    shelf = Shelf(Dropped(0))
    run(upkeep(shelf, None).round())
    assert shelf.asked == []


def test_what_stays_is_counted_and_told(run: Any, log: Any) -> None:
    """By what points at the first of it; a later round that keeps nothing takes it back."""
    shelf = Shelf(Dropped(1, 2, "lane", is_end=False), Dropped(0, 1, "timer"), Dropped(0))
    one = upkeep(shelf)
    run(one.round())
    assert one.kept == {("lane",): 3.0}
    assert LogEvent.RETENTION_KEPT in log.getvalue()
    run(one.round())
    assert one.kept == {}


def test_where_others_are_in_the_way_a_round_comes_back_and_then_gives_up(run: Any) -> None:
    """It waits for them a little, and for no longer: the next round tries again."""
    shelf = Shelf(Dropped(0, 1, BUSY), Dropped(0, 1, BUSY), Dropped(1))
    one = upkeep(shelf)
    run(one.round())
    assert (len(shelf.asked), one.kept) == (3, {})
    shelf = Shelf(Dropped(0, 4, BUSY))
    one = upkeep(shelf)
    run(one.round())
    assert (len(shelf.asked), one.kept) == (AGAIN + 1, {(BUSY,): 4.0})


class Broken(Shelf):
    """A shelf that breaks at the first step, and at every cancellation."""

    def __init__(self, error: Exception) -> None:
        super().__init__(Dropped(0))
        self.error: Exception | None = error

    async def prune(self, retention: Retention, limit: int) -> int:
        error, self.error = self.error, None
        if error is not None:
            raise error
        try:
            self.asked.append(limit)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("broken off") from None
        return 0


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("a bug")])
def test_a_round_that_breaks_is_told_and_is_not_the_last(run: Any, log: Any, error: Exception) -> None:
    """The next one comes as if nothing had been; the end of it all is none for whoever ends it."""

    async def story() -> None:
        shelf = Broken(error)
        one = Upkeep(shelf, Retention(1, 1, 1, None), every_s=0)
        one.start()
        await until(lambda: shelf.asked)
        assert str(error) in log.getvalue()
        await one.close()

    run(story())
