"""The engine: what comes becomes batches, failures cost only whose fault they are, deadlines are stepped in their time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.engine.fakes import FakeLedger, PushedClock, new_key, to_accept, to_settle, to_take_in, until

from homing.engine import Engine, loop
from homing.engine.intake import CLOCK_DISPATCHES, WORTH_A_BATCH
from homing.errors import CommitUnknown, HomingError, Unavailable
from homing.lifecycle.dispatch import Clock, Read
from homing.model import CommandKind
from homing.store.batch import Accepted, Batch, CommandDone, Committed, Note, Occurrence

Run = Callable[[Coroutine[Any, Any, None]], None]


class World:
    """An engine on a ledger that a test scripts."""

    def __init__(self) -> None:
        self.clock = PushedClock()
        self.ledger = FakeLedger(self.clock)
        self.engine = Engine(self.ledger, self.clock)
        self.heard: list[tuple[Batch, Committed]] = []
        self.engine.on_committed.append(lambda batch, committed: self.heard.append((batch, committed)))

    def script(self, *answers: BaseException | None) -> None:
        """Have the next commits raise these (None: succeed); all later ones succeed."""
        left = list(answers)

        async def hook(_batch: Batch) -> None:
            if left and (error := left.pop(0)) is not None:
                raise error

        self.ledger.hook = hook

    def poison(self, poisoned: Callable[[Batch], bool]) -> None:
        """Have every commit fail that holds the poison."""

        async def hook(batch: Batch) -> None:
            if poisoned(batch):
                raise RuntimeError("poison")

        self.ledger.hook = hook

    @asynccontextmanager
    async def gate(self) -> AsyncIterator[None]:
        """Hold the first commit while the block runs, so that what comes meanwhile is one batch."""
        opened = asyncio.Event()

        async def hook(_batch: Batch) -> None:
            await opened.wait()

        self.ledger.hook = hook
        self.engine.submit([Occurrence(new_key(), Read())])
        await until(lambda: self.ledger.tried)
        yield
        self.ledger.hook = None
        opened.set()


@pytest.fixture
def story(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]:
    """Return what runs a test's story in a started world, and closes it."""
    monkeypatch.setattr(loop, "AGAIN_S", 0.001)

    def tell(told: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            world = World()
            await world.engine.start()
            try:
                await told(world)
            finally:
                await world.engine.close(1.0)

        run(whole())

    return tell


Tell = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]


def test_what_comes_while_a_commit_runs_is_the_next_batch(story: Tell) -> None:
    """There is no window: the commit itself is the collector, and everyone hears what came of theirs."""

    async def told(world: World) -> None:
        engine, accept, incoming = world.engine, to_accept(), to_take_in()
        async with world.gate():
            answers = asyncio.gather(
                engine.accept(accept),
                engine.take_in(incoming),
                engine.record([Occurrence(new_key(), Read(), "a"), Occurrence(new_key(), Read(), "b")]),
            )
            engine.settle([to_settle()])
            engine.finish([CommandDone(new_key(), CommandKind.PUSH)])
            engine.note([Note(new_key(), "x")])
            await asyncio.sleep(0)
            assert not engine.is_quiet()
        accepted, taken_in, results = await answers
        assert accepted.message_id == accept.message_id
        assert taken_in == incoming.message_id
        assert [result.note for result in results] == ["a", "b"]
        second = world.ledger.batches[1]
        assert [len(items) for items in (second.settles, second.accepts, second.incomings)] == [1, 1, 1]
        assert [len(items) for items in (second.occurrences, second.commands_done, second.notes)] == [2, 1, 1]
        assert [batch for batch, _ in world.heard] == world.ledger.batches
        assert engine.is_quiet()

    story(told)


def test_outcomes_wait_a_little_for_company(story: Tell) -> None:
    """Nobody waits for them: they ride with the next batch, soon; many of them are worth a batch of their own."""

    async def told(world: World) -> None:
        world.engine.settle([to_settle()])
        world.engine.settle([to_settle()])
        assert not world.ledger.tried
        await until(lambda: world.ledger.batches)
        assert len(world.ledger.batches[0].settles) == 2
        world.engine.settle([to_settle() for _ in range(WORTH_A_BATCH)])
        await asyncio.sleep(0)
        await until(lambda: len(world.ledger.batches) == 2)

    story(told)


def test_recording_nothing_commits_nothing(story: Tell) -> None:
    """An empty list is answered at once."""

    async def told(world: World) -> None:
        assert await world.engine.record([]) == []
        assert not world.ledger.tried

    story(told)


def test_a_poisoned_item_costs_only_itself(story: Tell) -> None:
    """The batch is halved until it is alone; its owner is told, the others are stored in their order."""

    async def told(world: World) -> None:
        good, bad = [to_accept() for _ in range(6)], to_accept()
        world.poison(lambda batch: bad in batch.accepts)
        waiting = asyncio.gather(
            *(world.engine.accept(accept) for accept in [*good[:4], bad, *good[4:]]), return_exceptions=True
        )
        answers = await waiting
        assert type(answers[4]) is HomingError
        assert answers[4].http_status == 500
        assert all(isinstance(answer, Accepted) for answer in answers[:4] + answers[5:])
        assert [accept for batch in world.ledger.batches for accept in batch.accepts] == good

    story(told)


def test_a_poisoned_receipt_is_told_and_not_tried_for_ever(story: Tell) -> None:
    """The recorder that handed it in hears the error; other recorders' receipts are stored."""

    async def told(world: World) -> None:
        bad = new_key()
        world.poison(lambda batch: any(o.key == bad for o in batch.occurrences))
        ours = asyncio.gather(
            world.engine.record([Occurrence(bad, Read())]),
            world.engine.record([Occurrence(new_key(), Read(), "fine")]),
            return_exceptions=True,
        )
        refused, recorded = await ours
        assert isinstance(refused, HomingError)
        assert isinstance(recorded, list)
        assert [result.note for result in recorded] == ["fine"]
        assert world.engine.is_quiet()

    story(told)


def test_when_the_store_takes_nothing_messages_fail_and_the_owed_is_repeated(story: Tell) -> None:
    """Senders send again; settles and receipts stay in their order until the store takes them."""

    async def told(world: World) -> None:
        world.script(Unavailable("full"), Unavailable("full"))
        first, later = to_settle(1), to_settle(2)
        world.engine.settle([first])
        receipt = asyncio.ensure_future(world.engine.record([Occurrence(new_key(), Read(), "r")]))
        with pytest.raises(Unavailable, match="full"):
            await world.engine.accept(to_accept())
        world.engine.settle([later])
        assert [result.note for result in await receipt] == ["r"]
        assert [s for batch in world.ledger.batches for s in batch.settles] == [first, later]
        assert [b.accepts for b in world.ledger.batches] == [[]] * len(world.ledger.batches)

    story(told)


def test_messages_alone_are_not_repeated(story: Tell) -> None:
    """A batch with nothing owed is over when its senders were told."""

    async def told(world: World) -> None:
        world.script(Unavailable("full"))
        for call in (world.engine.accept(to_accept()), world.engine.take_in(to_take_in())):
            world.script(Unavailable("full"))
            with pytest.raises(Unavailable):
                await call
        assert world.engine.is_quiet()
        assert not world.ledger.batches

    story(told)


def test_an_unknown_commit_is_told_looked_for_and_repeated(story: Tell) -> None:
    """Senders get 503 and resolve it by their key; what the batch made ours is looked for; the owed is recorded again."""

    async def told(world: World) -> None:
        looked_for: list[Batch] = []
        world.engine.on_unknown.append(looked_for.append)
        world.script(CommitUnknown("cut"))
        settle, accept = to_settle(), to_accept()
        world.engine.settle([settle])
        with pytest.raises(CommitUnknown):
            await world.engine.accept(accept)
        assert [batch.accepts for batch in looked_for] == [[accept]]
        await until(lambda: world.ledger.batches)
        assert world.ledger.batches[0].settles == [settle]
        assert world.ledger.batches[0].accepts == []
        assert len(world.heard) == 1

    story(told)


def test_a_half_that_is_not_taken_is_not_overtaken(story: Tell) -> None:
    """Split because of poison, then the store fills up: nothing of the second half is stored before the first."""

    async def told(world: World) -> None:
        settles = [to_settle(n) for n in range(1, 5)]
        world.script(RuntimeError("poison"), Unavailable("full"))
        world.engine.settle(settles)
        await until(lambda: world.ledger.batches)
        assert [s for batch in world.ledger.batches for s in batch.settles] == settles

    story(told)


def test_a_faulty_sink_stops_nobody(story: Tell) -> None:
    """The engine goes on, and so do the other sinks."""

    async def told(world: World) -> None:
        def faulty(_batch: Batch, _committed: Committed) -> None:
            raise KeyError("a bug")

        world.engine.on_committed.insert(0, faulty)
        await world.engine.accept(to_accept())
        await world.engine.accept(to_accept())
        assert len(world.heard) == 2

    story(told)


def test_sinks_hear_before_the_one_who_waits(story: Tell) -> None:
    """When `record` returns, the courier has its lanes already."""

    async def told(world: World) -> None:
        await world.engine.record([Occurrence(new_key(), Read())])
        assert len(world.heard) == 1

    story(told)


def test_a_message_that_would_wait_too_long_is_refused_at_once(story: Tell) -> None:
    """Too many recipients wait already, or the oldest message has been waiting for more than a second."""

    async def told(world: World) -> None:
        async with world.gate():
            waiting = [asyncio.ensure_future(world.engine.accept(to_accept(1_000))) for _ in range(21)]
            await asyncio.sleep(0)
            with pytest.raises(Unavailable) as refused:
                await world.engine.accept(to_accept())
            assert refused.value.retry_after_s == 1
        await asyncio.gather(*waiting)
        await world.engine.accept(to_accept())

    story(told)


def test_a_stuck_disk_is_noticed_by_the_age_of_what_waits(
    story: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few messages wait: when one has waited for too long, no other is let in behind it."""
    monkeypatch.setattr(loop, "ACCEPT_WAIT_S", 0.01)

    async def told(world: World) -> None:
        async with world.gate():
            waiting = asyncio.ensure_future(world.engine.accept(to_accept()))
            await asyncio.sleep(0)
            long_ago = asyncio.get_running_loop().time()
            await until(lambda: asyncio.get_running_loop().time() > long_ago + 0.02)
            with pytest.raises(Unavailable):
                await world.engine.accept(to_accept())
        await waiting

    story(told)


def test_without_room_on_the_disk_no_message_is_taken(run: Run) -> None:
    """But receipts are: what is owed must still be recordable."""

    async def told() -> None:
        world = World()
        world.ledger.free = 512 * 2**20 - 1
        await world.engine.start()
        with pytest.raises(Unavailable) as refused:
            await world.engine.accept(to_accept())
        assert refused.value.retry_after_s == 30
        await world.engine.record([Occurrence(new_key(), Read())])
        await world.engine.close()

    run(told())


def test_a_stopping_engine_takes_no_message_but_stores_what_came(run: Run) -> None:
    """Closing commits everything that was handed in, and is harmless when nothing ever was."""

    async def told() -> None:
        world = World()
        await world.engine.start()
        world.engine.stop_accepting()
        with pytest.raises(Unavailable):
            await world.engine.accept(to_accept())
        world.engine.settle([to_settle()])
        world.engine.submit([Occurrence(new_key(), Read())])
        await world.engine.close()
        assert sum(len(batch.settles) for batch in world.ledger.batches) == 1
        assert sum(len(batch.occurrences) for batch in world.ledger.batches) == 1
        await World().engine.close()

    run(told())


def test_a_store_that_takes_nothing_cannot_hold_up_the_end(run: Run) -> None:
    """After its grace the engine stops, though something is still owed: the next start finds it undone."""

    async def told() -> None:
        world = World()
        world.script(*[Unavailable("full")] * 1_000_000)
        await world.engine.start()
        world.engine.settle([to_settle()])
        await world.engine.close(0.02)
        assert not world.ledger.batches

    run(told())


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


def test_new_lanes_are_born_free_where_the_couriers_have_no_room(story: Tell) -> None:
    """The couriers are asked before each batch."""

    async def told(world: World) -> None:
        world.engine.born_free = lambda: frozenset({9})
        await world.engine.accept(to_accept())
        assert world.ledger.batches[0].born_free == frozenset({9})

    story(told)
