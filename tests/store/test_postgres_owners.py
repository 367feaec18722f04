"""A node that is late: what it does with what it owned counts only where nobody else has come to own it since."""

import asyncio
from typing import Any

import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock, login
from tests.store.ledger import build_town, numbers, post
from tests.store.steps import closing, expire, node

from homing.model import CommandKind
from homing.store.batch import Batch, CommandDone, CommandWork
from homing.store.changes import SetPushToken

pytestmark = needs_postgres


def test_a_command_is_its_new_owners_to_put_off_and_to_give_up(
    database: str, clock: StillClock, run: Run
) -> None:
    """A node whose term ran out while it was at one is late: only that it carried it out still counts."""

    async def story() -> None:
        former, owner = await node(database, clock=clock), await node(database, clock=clock)
        town = await build_town(former)
        ann = await former.user(town.app, "ann")
        assert ann is not None
        await former.apply(login(ann, "phone"))
        await former.apply(SetPushToken("phone", "ios", "token"))
        key = await post(former, town.app, "Ann")
        await expire(former)
        await owner.beat()
        work = CommandWork(key, CommandKind.PUSH)
        assert await owner.claim_commands(10) == [work]
        await former.beat()
        for late in (
            CommandDone(key, CommandKind.PUSH, clock.ms + 5, "late"),
            CommandDone(key, CommandKind.PUSH, is_given_up=True),
        ):
            await former.commit(Batch(commands_done=[late]))
            assert await owner.held_commands((b"", 0), 10) == [work]
        assert (await owner.outlook()).next_command_ms is None
        await former.commit(Batch(commands_done=[CommandDone(key, CommandKind.PUSH)]))
        assert await owner.held_commands((b"", 0), 10) == []

    run(closing(story()))


def test_what_was_given_back_before_a_lost_term_stays_with_who_adopted_it_since(
    database: str, clock: StillClock, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Giving lanes back waits for a connection, and meanwhile this very node takes them up under its new epoch."""

    async def story() -> None:
        store = await node(database, clock=clock)
        town = await build_town(store)
        key = await post(store, town.app, "Ann")
        write, at_gate, gate = store._db.write, asyncio.Event(), asyncio.Event()

        async def late(work: Any) -> Any:
            monkeypatch.undo()
            at_gate.set()
            await gate.wait()
            return await write(work)

        monkeypatch.setattr(store._db, "write", late)
        giving = asyncio.create_task(store.release([(key, town.endpoint.id)]))
        await at_gate.wait()
        await expire(store)
        await store.beat()
        assert len(await store.adopt_lanes((b"", 0), 9)) == 1
        gate.set()
        await giving
        assert numbers(await store.held_lanes((b"", 0), 9)) == [(town.endpoint.id, [1], 0, True)]

    run(closing(story()))
