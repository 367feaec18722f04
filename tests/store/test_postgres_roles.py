"""Nodes that divide the work: what one stores and has not the role for is born free, and told to those who have it."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, happen, login, new_endpoint
from tests.store.ledger import build_town, incoming, numbers, post
from tests.store.steps import closing, node

from homing.config import Role
from homing.errors import CommitUnknown, Unavailable
from homing.lifecycle.dispatch import Clock, Read, Received
from homing.model import CommandKind, Endpoint, EndpointKind, FallbackSettings
from homing.store.batch import Batch, CommandWork, Occurrence
from homing.store.changes import SetPushToken
from homing.store.postgres import PostgresStore
from homing.store.postgres import handovers as handovers_module
from homing.store.postgres.handovers import OTHERS_LATER_MS, Handovers, Word

pytestmark = needs_postgres

FRONT = ("api", "gateway")
BACK = ("callbacks", "channels")


async def of(store: PostgresStore, sql: str) -> list[tuple[object, ...]]:
    """Return what the tables say."""
    return [tuple(row) for row in await store._db.fetch(sql)]


def heard(store: PostgresStore) -> "asyncio.Queue[Mapping[int, int]]":
    """Return what a node that tells callbacks hears of lanes."""
    queue: asyncio.Queue[Mapping[int, int]] = asyncio.Queue()
    store.on_lanes(queue.put_nowait)
    return queue


def test_a_node_that_tells_no_callbacks_owns_no_lane(database: str, clock: StillClock, run: Run) -> None:
    """Not of a new message, not of one from a device, not of what happens later; whoever tells them claims them."""

    async def story() -> None:
        front = await node(database, clock=clock, roles=FRONT)
        back = await node(database, clock=clock, roles=BACK)
        town = await build_town(front)
        inbox = (await front.apply(new_endpoint(town.app, kind=EndpointKind.INBOX))).value
        assert isinstance(inbox, Endpoint)
        key = await post(front, town.app, "Ann")
        committed = await front.commit(Batch(incomings=[incoming(front, town, bytes(15) + b"\1")]))
        assert (committed.lanes, committed.lanes_due) == ([], {inbox.id: NOON_MS})
        committed = await front.commit(Batch(occurrences=[Occurrence(key, Received())]))
        assert committed.lanes == []
        assert await of(front, "SELECT DISTINCT owner, due FROM lane") == [(0, NOON_MS)]
        assert await front.held_lanes((b"", 0), 9) == []
        claimed = await back.claim_lanes(town.endpoint.id, 9)
        assert numbers(claimed.lanes) == [(town.endpoint.id, [1, 2], 0, True)]
        await happen(front, key, Read())
        assert await of(front, "SELECT DISTINCT owner FROM lane WHERE due IS NULL") == [(back.epoch,)]

    run(closing(story()))


def test_a_node_without_channels_owns_no_command(database: str, clock: StillClock, run: Run) -> None:
    """A push is due at once, or later for who is online here; an SMS that a deadline orders is due too."""

    async def story() -> None:
        online: set[int] = set()
        front = await node(database, clock=clock, roles=("api", "callbacks"), online=online)
        app = await add_app(front, fallback=FallbackSettings(mode="sms", on_undelivered_seconds=10))
        ann = await add_user(front, app.id, "Ann", mobile_number="+39 1")
        await front.apply(login(ann, "phone"))
        await front.apply(SetPushToken("phone", "ios", "token"))
        key = await post(front, app.id, "Ann")
        commands = "SELECT key, kind, due, owner FROM command ORDER BY kind"
        assert await of(front, commands) == [(key, CommandKind.PUSH, NOON_MS, 0)]
        clock.ms += 10_000
        committed = await front.commit(Batch(occurrences=[Occurrence(key, Clock())]))
        assert (committed.commands, committed.next_command_ms) == ([], clock.ms)
        assert (key, CommandKind.SMS, clock.ms, 0) in await of(front, commands)
        back = await node(database, clock=clock, roles=("channels",))
        claimed = await back.claim_commands(9)
        assert claimed == [CommandWork(key, CommandKind.PUSH), CommandWork(key, CommandKind.SMS)]

    run(closing(story()))


def test_those_who_tell_callbacks_hear_of_lanes_one_after_the_other(
    database: str, clock: StillClock, run: Run
) -> None:
    """Each word is one's turn; the others keep it in mind for later, should that one be no more. No node without the role hears."""

    async def story() -> None:
        front = await node(database, clock=clock, roles=FRONT)
        backs = [await node(database, clock=clock, roles=BACK) for _ in range(2)]
        for store in (front, *backs):
            await store.beat()
        town = await build_town(front)
        ears = [heard(store) for store in backs]
        silent = heard(front)
        said: list[tuple[int, ...]] = []
        for _ in range(4):
            await post(front, town.app, "Ann")
            said.append(tuple([(await ear.get())[town.endpoint.id] for ear in ears]))
        now_ms, later_ms = NOON_MS, NOON_MS + OTHERS_LATER_MS
        assert sorted(said) == [(now_ms, later_ms)] * 2 + [(later_ms, now_ms)] * 2
        assert silent.empty()

    run(closing(story()))


def test_commands_are_told_to_those_with_channels(database: str, clock: StillClock, run: Run) -> None:
    """Those who only tell callbacks hear nothing of them, and the other way round."""

    async def story() -> None:
        front = await node(database, clock=clock, roles=FRONT)
        teller = await node(database, clock=clock, roles=("callbacks",))
        pusher = await node(database, clock=clock, roles=("channels",))
        commands: asyncio.Queue[int] = asyncio.Queue()
        wrong: list[object] = []
        pusher.on_command(commands.put_nowait)
        teller.on_command(wrong.append)
        lanes = heard(teller)
        pusher.on_lanes(wrong.append)
        for store in (front, teller, pusher):
            await store.beat()
        town = await build_town(front)
        await front.apply(login(await add_user(front, town.app, "Bob"), "phone"))
        await front.apply(SetPushToken("phone", "ios", "token"))
        await post(front, town.app, "Bob")
        assert await commands.get() == NOON_MS
        assert await lanes.get() == {town.endpoint.id: NOON_MS}
        assert wrong == []
        assert front.nodes() == {"api": 1, "gateway": 1, "callbacks": 1, "channels": 1}

    run(closing(story()))


def test_what_was_said_while_nobody_listened_is_looked_for(
    database: str, clock: StillClock, run: Run
) -> None:
    """A node that begins to listen looks into the store; so does one when another has stopped and gave its lanes back."""

    async def story() -> None:
        front = await node(database, clock=clock, roles=FRONT)
        town = await build_town(front)
        key = await post(front, town.app, "Ann")
        one, other = [await node(database, clock=clock, roles=BACK) for _ in range(2)]
        ears = [heard(one), heard(other)]
        for store, ear in zip((one, other), ears, strict=True):
            await store.beat()
            assert await ear.get() == {town.endpoint.id: NOON_MS}
        claimed = await one.claim_lanes(town.endpoint.id, 9)
        assert [work.key for work in claimed.lanes] == [key]
        await one.release([(key, town.endpoint.id)])
        await one.close()
        await other.beat()
        assert await ears[1].get() == {town.endpoint.id: NOON_MS}

    run(closing(story()))


def test_only_those_who_tell_callbacks_share_the_deadlines(
    database: str, clock: StillClock, run: Run
) -> None:
    """A node without the role rings none before they are late; where nobody has it, it rings them then."""

    async def story() -> None:
        front = await node(database, clock=clock, roles=FRONT)
        back = await node(database, clock=clock, roles=BACK)
        for store in (front, back):
            await store.beat()
        town = await build_town(front)
        keys = [await post(front, town.app, "Ann", ttl_s=60) for _ in range(9)]
        clock.ms += 60_000
        assert await front.due_dispatches(99) == []
        assert (await front.outlook()).next_timer_ms == clock.ms + 5_000
        assert (await back.outlook()).next_timer_ms == clock.ms
        assert sorted(await back.due_dispatches(99)) == keys
        await back.close()
        await front.beat()
        assert await front.due_dispatches(99) == []
        clock.ms += 5_000
        assert (await front.outlook()).next_timer_ms == clock.ms
        assert sorted(await front.due_dispatches(99)) == keys

    run(closing(story()))


def test_of_a_commit_whose_outcome_is_unknown_others_are_told_to_look(
    database: str, clock: StillClock, run: Run
) -> None:
    """Its work may be in the store, and whoever recorded it cannot name it."""

    async def story() -> None:
        front = await node(database, clock=clock, roles=FRONT)
        back = await node(database, clock=clock, roles=BACK)
        lanes, commands = heard(back), asyncio.Queue[int]()
        await back.beat()
        town = await build_town(front)
        back.on_command(commands.put_nowait)
        write = front._db.write

        async def lost(work: Any) -> Any:
            await write(work)
            raise CommitUnknown("the connection was lost")

        front._db.write = lost  # type: ignore[method-assign]
        with pytest.raises(CommitUnknown):
            await post(front, town.app, "Ann")
        assert await lanes.get() == {town.endpoint.id: NOON_MS}
        assert await commands.get() == 0
        front._db.write = write  # type: ignore[method-assign]

    run(closing(story()))


def test_words_are_said_again_until_they_are_heard_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away takes nothing from them; what comes meanwhile goes with the next word, the earliest time counts."""
    monkeypatch.setattr(handovers_module, "_AGAIN_S", 0)
    said: list[tuple[str, str]] = []
    troubles = itertools.chain([True], itertools.repeat(False))

    async def tell(channel: str, payload: str) -> None:
        await asyncio.sleep(0)
        if next(troubles):
            handovers.say({1: 30, 2: 20}, 40)
            raise Unavailable("away")
        said.append((channel, payload))

    handovers = Handovers(tell, lambda _role: [])

    async def story() -> None:
        handovers.say({1: 20}, 50)
        while len(said) < 2:
            await asyncio.sleep(0)
        await handovers.close()

    run(story())
    assert said == [("homing_role_callbacks", "[0,20,[1,2]]"), ("homing_role_channels", "[0,40,[]]")]


def test_a_word_names_no_more_endpoints_than_a_notification_holds(run: Run) -> None:
    """8,000 bytes, however large the numbers are; all of them are named."""
    said: list[str] = []

    async def tell(_channel: str, payload: str) -> None:
        said.append(payload)

    async def story() -> None:
        handovers = Handovers(tell, lambda _role: [2**62])
        handovers.say(dict.fromkeys(range(2**62, 2**62 + 1_000), 2**62), None)
        await handovers.close()
        named: list[int] = []
        for payload in said:
            assert len(payload) < 8_000
            handovers.hear(Role.CALLBACKS, payload, 7)
            named += [int(one) for one in payload.rpartition("[")[2].rstrip("]").split(",")]
        assert named == list(range(2**62, 2**62 + 1_000))

    run(story())


@pytest.mark.parametrize(("turn", "waits_ms"), [(7, 0), (0, 0), (8, OTHERS_LATER_MS)])
def test_who_waits_for_whom(turn: int, waits_ms: int) -> None:
    """The one whose turn it is does not wait, nor anybody where it is nobody's."""
    assert Word(turn, 1).wait_ms(7) == waits_ms
