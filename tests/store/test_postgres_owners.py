"""A node that is late: what it does with what it owned counts only where nobody else has come to own it since."""

from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock, login
from tests.store.ledger import build_town, post
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
