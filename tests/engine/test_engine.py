"""The engine: what comes becomes batches, and failures cost only whose fault they are."""

import asyncio

import pytest
from tests.engine.fakes import new_key, to_accept, to_settle, to_take_in, until
from tests.engine.world import Run, Tell, World

from homing.engine import loop
from homing.engine.intake import WORTH_A_BATCH
from homing.errors import CommitUnknown, HomingError, NotAcceptable, Unavailable
from homing.lifecycle.dispatch import Read
from homing.model import CommandKind
from homing.store.batch import Accepted, Batch, CommandDone, Committed, Note, Occurrence


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


def test_what_the_store_says_is_the_senders_fault_is_told_as_that(story: Tell) -> None:
    """A text that one store cannot hold is refused like any other value that is not allowed."""

    async def told(world: World) -> None:
        world.script(NotAcceptable("a text may not contain U+0000"))
        with pytest.raises(NotAcceptable, match=r"U\+0000"):
            await world.engine.accept(to_accept())
        assert isinstance(await world.engine.accept(to_accept()), Accepted)

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


def test_new_lanes_are_born_free_where_the_couriers_have_no_room(story: Tell) -> None:
    """The couriers are asked before each batch."""

    async def told(world: World) -> None:
        world.engine.born_free = lambda: frozenset({9})
        await world.engine.accept(to_accept())
        assert world.ledger.batches[0].born_free == frozenset({9})

    story(told)
