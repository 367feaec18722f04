"""A person's devices at two nodes of one store: what one says reaches the other, by a hint or at the heartbeat."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.gateway.house import PASSWORD, House, ended, first, house, online, take

from homing.device import Device, Event, Gone, LoginNeeded, Message, ReadElsewhere
from homing.lifecycle.dispatch import Recalled
from homing.model import dispatch_key, uuid_bytes
from homing.store.batch import Occurrence
from homing.store.changes import DeleteUser
from homing.store.postgres import PostgresStore

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@asynccontextmanager
async def two_houses(address: str) -> AsyncIterator[tuple[House, House]]:
    """Open two nodes on one database, that know of each other and hear each other."""
    async with house(shared=address) as here, house(shared=address) as there:
        stores = [store_of(home) for home in (here, there)]
        await here.until(lambda: all(len(store._known.live) == 2 and store._ear for store in stores))
        yield here, there


def store_of(home: House) -> PostgresStore:
    """Return a house's store as what it is here."""
    assert isinstance(home.store, PostgresStore)
    return home.store


async def linked(home: House, count: int) -> None:
    """Wait until the other nodes know of so many links at this one."""
    store = store_of(home)

    async def is_said() -> bool:
        rows = await store._db.fetch("SELECT count(*) FROM link WHERE epoch = $1", store.epoch)
        return bool(rows[0][0] == count)

    await home.until(is_said)


async def recall(home: House, message_id: str) -> None:
    """Recall a message, as the API does."""
    raw = uuid_bytes(message_id)
    assert raw is not None
    await home.engine.record([Occurrence(dispatch_key(raw, 0), Recalled())])


async def told(device: Device) -> Event:
    """Return the first thing a device hears that is no message."""
    while isinstance(event := await first(device), Message):
        pass
    return event


def test_what_is_read_or_recalled_at_one_node_is_told_at_the_other(run: Run, dsn: str) -> None:
    """At once, by a hint: the heartbeat comes after 30 s."""

    async def story() -> None:
        async with (
            two_houses(dsn) as (here, there),
            await online(here) as phone,
            await online(there) as tablet,
        ):
            await linked(there, 1)
            read, gone = await here.post("x", "ann"), await here.post("y", "ann")
            assert [one.id for one in await take(phone, 2)] == [read, gone]
            assert [one.id for one in await take(tablet, 2)] == [read, gone]
            await phone.read(read)
            assert await told(tablet) == ReadElsewhere(read)
            await recall(here, gone)
            assert await told(phone) == await told(tablet) == Gone(gone)

    run(story())


def test_a_poll_at_one_node_hears_what_is_read_at_the_other(run: Run, dsn: str) -> None:
    """One that waits answers then."""

    async def story() -> None:
        async with two_houses(dsn) as (here, there), await online(here) as phone:
            tablet = await there.device()
            message_id = await here.post("x", "ann")
            await take(phone, 1)
            assert [type(event) for event in await tablet.poll()] == [Message]
            polling = asyncio.ensure_future(tablet.poll(wait_s=30))
            await linked(there, 1)
            await phone.read(message_id)
            assert await polling == [ReadElsewhere(message_id)]

    run(story())


@pytest.mark.usefixtures("quick_heartbeat")
def test_what_is_read_elsewhere_between_two_polls_is_found_at_the_heartbeat(run: Run, dsn: str) -> None:
    """A device that polls now and then is linked nowhere meanwhile, so nobody sends it a hint."""

    async def story() -> None:
        async with two_houses(dsn) as (here, there), await online(here) as phone:
            tablet = await there.device()
            message_id = await here.post("x", "ann")
            await take(phone, 1)
            assert [type(event) for event in await tablet.poll()] == [Message]
            await phone.read(message_id)
            box = there.gateway._polls._boxes[tablet.device_id or ""]
            await there.until(lambda: not box.open)
            assert await tablet.poll() == [ReadElsewhere(message_id)]

    run(story())


@pytest.mark.usefixtures("quick_heartbeat")
def test_a_hint_that_was_lost_is_made_good_at_the_heartbeat(
    run: Run, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of what the other node said arrives: the message, that it was read, that another is gone."""
    monkeypatch.setattr(PostgresStore, "_hinted", lambda *_said: None)

    async def story() -> None:
        async with (
            two_houses(dsn) as (here, there),
            await online(here) as phone,
            await online(there) as tablet,
        ):
            read, gone = await here.post("x", "ann"), await here.post("y", "ann")
            assert [one.id for one in await take(tablet, 2)] == [read, gone]
            await take(phone, 2)
            await phone.read(read)
            assert await told(tablet) == ReadElsewhere(read)
            await recall(here, gone)
            assert await told(tablet) == Gone(gone)

    run(story())


def test_word_of_a_login_does_not_end_the_link_that_was_opened_with_it(
    run: Run, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late it comes to the node where the device is by now; a newer login on it does."""
    monkeypatch.setattr(PostgresStore, "_notified", lambda *_said: None)

    async def story() -> None:
        async with two_houses(dsn) as (here, there):
            phone = await here.device()
            phone.url = there.url
            await phone.connect()
            await store_of(there).catch_up()
            message_id = await there.post("x", "ann")
            assert [one.id for one in await take(phone, 1)] == [message_id]
            again = Device(here.url, phone.app_key)
            again.device_id = phone.device_id
            await again.login("ann", PASSWORD)
            await store_of(there).catch_up()
            assert isinstance(await ended(phone), LoginNeeded)

    run(story())


def test_a_device_that_is_logged_out_at_one_node_is_let_go_at_the_other(run: Run, dsn: str) -> None:
    """Its token is revoked, or its user deleted: the link is closed with 4401."""

    async def story() -> None:
        async with (
            two_houses(dsn) as (here, there),
            await online(there) as phone,
            await online(there, "bob") as other,
        ):
            spare = Device(here.url, phone.app_key)
            spare.token = phone.token
            await spare.logout()
            assert isinstance(await ended(phone), LoginNeeded)
            await here.store.apply(DeleteUser(1, "bob"))
            assert (await ended(other)).code == 4401

    run(story())
