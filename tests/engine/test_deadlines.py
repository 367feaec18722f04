"""The engine's deadlines: stepped in their time, in portions, and none forgotten or tried without end."""

import asyncio
from typing import Any

from tests.engine.fakes import new_key, until
from tests.engine.world import Run, Tell, World

from homing.engine import loop
from homing.engine.intake import CLOCK_DISPATCHES
from homing.errors import Unavailable
from homing.lifecycle.dispatch import Clock, Read
from homing.store.batch import Batch, Committed, Occurrence


def test_the_first_deadline_of_the_store_is_armed_at_the_start(run: Run) -> None:
    """It is stepped when its time comes, not before."""

    async def told() -> None:
        world = World()
        key = new_key()
        world.ledger.due[key] = world.clock.ms + 1_000
        await world.engine.start()
        world.clock.push(999)
        await asyncio.sleep(0)
        assert world.engine.is_quiet()
        world.clock.push(1)
        assert not world.engine.is_quiet()
        await until(world.engine.is_quiet)
        assert [(o.key, type(o.input)) for o in world.ledger.batches[0].occurrences] == [(key, Clock)]
        await world.engine.close()

    run(told())


def test_an_earlier_deadline_replaces_the_armed_one(story: Tell) -> None:
    """A commit says when the next one is; a later one changes nothing."""

    async def told(world: World) -> None:
        async def hook(batch: Batch) -> Committed:
            at_ms = int(batch.occurrences[0].detail or "0")
            world.ledger.due[batch.occurrences[0].key] = at_ms
            committed = Committed(world.clock.ms, next_timer_ms=at_ms)
            committed.occurrences = []
            return committed

        world.ledger.hook = hook
        for after_ms in (500, 100, 900):
            world.engine.submit([Occurrence(new_key(), Read(), str(world.clock.ms + after_ms))])
            await until(world.engine.is_quiet)
        assert world.clock.next_ms == world.clock.ms + 100
        world.ledger.hook = None
        for _ in range(3):
            world.clock.push(world.clock.next_ms - world.clock.ms)
            await until(world.engine.is_quiet)
        assert world.ledger.due == {}

    story(told)


def test_a_flood_of_deadlines_comes_in_portions(story: Tell) -> None:
    """At most 200 a batch, however many passed together, and all of them in the end."""

    async def told(world: World) -> None:
        world.ledger.due = {new_key(): world.clock.ms + 1 + i for i in range(500)}
        world.engine._arm(world.clock.ms + 1)
        world.clock.push(1_000)
        await until(lambda: not world.ledger.due)
        await until(world.engine.is_quiet)
        assert [len(batch.occurrences) for batch in world.ledger.batches] == [
            CLOCK_DISPATCHES, CLOCK_DISPATCHES, 100,
        ]  # fmt: skip

    story(told)


def test_receipts_are_not_held_up_by_a_flood_of_deadlines(story: Tell) -> None:
    """One handed in during the flood is in the next batch."""

    async def told(world: World) -> None:
        world.ledger.due = {new_key(): world.clock.ms for _ in range(2_000)}
        world.engine._arm(world.clock.ms)
        await until(lambda: world.ledger.tried)
        before = len(world.ledger.tried)
        await world.engine.record([Occurrence(new_key(), Read())])
        assert len(world.ledger.tried) <= before + 2

    story(told)


def test_a_deadline_that_cannot_be_stepped_does_not_spin(story: Tell) -> None:
    """It is tried, left alone for a minute, and the others get on."""

    async def told(world: World) -> None:
        stuck, fine = new_key(), new_key()
        world.ledger.stuck = {stuck}
        world.ledger.due = {stuck: world.clock.ms, fine: world.clock.ms}
        world.engine._arm(world.clock.ms)
        await until(lambda: fine not in world.ledger.due)
        await until(world.engine.is_quiet)
        looks = world.ledger.looks
        assert looks <= 4
        world.clock.push(loop.STUCK_MS - 1)
        await until(world.engine.is_quiet)
        assert world.ledger.looks == looks
        world.clock.push(1)
        await until(lambda: world.ledger.looks > looks)
        await until(world.engine.is_quiet)

    story(told)


def test_a_deadline_that_is_poison_frees_the_others(story: Tell) -> None:
    """Its transaction fails alone; it stays due, and is not tried without end."""

    async def told(world: World) -> None:
        bad, fine = new_key(), new_key()
        world.poison(lambda batch: any(o.key == bad for o in batch.occurrences))
        world.ledger.due = {bad: world.clock.ms, fine: world.clock.ms + 1}
        world.engine._arm(world.clock.ms)
        world.clock.push(1)
        await until(lambda: fine not in world.ledger.due)
        await until(world.engine.is_quiet)
        assert list(world.ledger.due) == [bad]

    story(told)


def test_a_deadline_armed_while_the_store_is_asked_is_not_forgotten(story: Tell) -> None:
    """A commit between the store's answer and its use arms its own alarm, which rings in its own time."""

    async def told(world: World) -> None:
        first, second = new_key(), new_key()
        world.ledger.due = {first: world.clock.ms}
        outlook = world.ledger.outlook

        async def slow_outlook() -> Any:
            answer = await outlook()
            if second not in world.ledger.due and not world.ledger.due:
                world.ledger.due[second] = world.clock.ms + 10  # committed just after that answer was made
                world.engine._arm(world.clock.ms + 10)
            return answer

        world.ledger.outlook = slow_outlook  # type: ignore[method-assign]
        world.engine._arm(world.clock.ms)
        await until(lambda: second in world.ledger.due)
        await until(world.engine.is_quiet)
        world.clock.push(10)
        await until(lambda: not world.ledger.due)

    story(told)


def test_a_store_that_does_not_answer_is_asked_for_deadlines_again(story: Tell) -> None:
    """The next look is soon, and then everything that is due is stepped."""

    async def told(world: World) -> None:
        key = new_key()
        world.ledger.due = {key: world.clock.ms}
        due_dispatches = world.ledger.due_dispatches

        async def failing(limit: int) -> list[bytes]:
            world.ledger.due_dispatches = due_dispatches  # type: ignore[method-assign]
            raise Unavailable("busy")

        world.ledger.due_dispatches = failing  # type: ignore[method-assign]
        world.engine._arm(world.clock.ms)
        await until(lambda: world.clock.next_ms is not None and world.clock.next_ms > world.clock.ms)
        world.clock.push(1_000)
        await until(lambda: not world.ledger.due)

    story(told)


def test_deadlines_are_stepped_though_the_store_was_full_meanwhile(story: Tell) -> None:
    """A deadline is owed like a receipt."""

    async def told(world: World) -> None:
        world.script(Unavailable("full"), None)
        world.ledger.due = {new_key(): world.clock.ms}
        world.engine._arm(world.clock.ms)
        await until(lambda: not world.ledger.due)
        await until(world.engine.is_quiet)

    story(told)
