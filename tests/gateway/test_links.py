"""Links as they come and go: replaced, logged out, said bye to, written down, at rest."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.gateway.house import ended, house, online, take

from homing.contract.status import Status
from homing.device import (
    Device,
    Disconnected,
    LoginNeeded,
    Replaced,
)
from homing.store.changes import DeleteApp, DeleteUser, RemoveDevice
from homing.store.sqlite import SqliteStore

Run = Callable[[Coroutine[Any, Any, Any]], Any]
ENQUEUED, DELIVERED, READ, EXPIRED = Status.ENQUEUED, Status.DELIVERED, Status.READ, Status.EXPIRED


def test_a_newer_connection_of_the_same_device_replaces_the_older(run: Run) -> None:
    """The older one is closed with 4409, and only the newer one gets messages."""

    async def story() -> None:
        async with house() as home:
            older = await online(home)
            newer = Device(home.url, older.app_key)
            newer.token = older.token
            await newer.connect()
            replaced = await ended(older)
            assert isinstance(replaced, Replaced)
            assert replaced.code == 4409
            message_id = await home.post("x", "ann")
            assert (await take(newer, 1))[0].id == message_id
            assert home.gateway.connected == 1
            await newer.go_offline()

    run(story())


def test_a_recipient_is_online_while_a_device_has_a_link(run: Run) -> None:
    """The set shared with the store holds just the recipients with a live link."""

    async def story() -> None:
        async with house() as home:
            assert not home.gateway.online
            phone, tablet = await online(home), await online(home)
            assert len(home.gateway.online) == 1
            await phone.go_offline()
            await home.until(lambda: home.gateway.connected == 1)
            assert len(home.gateway.online) == 1
            await tablet.go_offline()
            await home.until(lambda: not home.gateway.online)

    run(story())


def test_logging_out_ends_the_link_and_the_token(run: Run) -> None:
    """A removed device is closed with 4401 and cannot come back with its token; so is one whose user is deleted."""

    async def story() -> None:
        async with house() as home:
            phone, tablet = await online(home), await online(home)
            spare = Device(home.url, phone.app_key)
            spare.token = phone.token
            await spare.logout()
            assert isinstance(await ended(phone), LoginNeeded)
            with pytest.raises(LoginNeeded):
                await phone.connect()
            await home.store.apply(DeleteUser(1, "ann"))
            assert (await ended(tablet)).code == 4401
            assert home.gateway.connected == 0

    run(story())


def test_a_device_that_was_logged_out_unheard_is_found_by_a_recheck(run: Run) -> None:
    """Only that one: the others keep their links."""

    async def story() -> None:
        async with house() as home:
            phone, tablet = await online(home), await online(home)
            assert isinstance(home.store, SqliteStore)
            home.store._watchers.clear()
            await home.store.apply(RemoveDevice(phone.device_id or ""))
            await home.gateway.recheck()
            assert isinstance(await ended(phone), LoginNeeded)
            message_id = await home.post("x", "ann")
            assert (await take(tablet, 1))[0].id == message_id
            await tablet.go_offline()

    run(story())


def test_deleting_the_application_ends_its_links(run: Run) -> None:
    """Devices of another application stay."""

    async def story() -> None:
        async with house() as home, await online(home) as phone:
            await home.add_app(2, "app-key-2")
            await home.add_user("ann", app=2)
            other = await home.device("ann", "app-key-2")
            await other.connect()
            await home.store.apply(DeleteApp(1))
            assert (await ended(phone)).code == 4401
            message_id = await home.post("x", "ann", app=2)
            assert (await take(other, 1))[0].id == message_id
            await other.go_offline()

    run(story())


def test_a_new_login_of_the_device_ends_the_link_of_the_old_token(run: Run) -> None:
    """The device keeps its id, the old token no longer holds."""

    async def story() -> None:
        async with house() as home, await online(home) as phone:
            again = Device(home.url, phone.app_key)
            again.device_id = phone.device_id
            await again.login("ann", "secret")
            assert again.device_id == phone.device_id
            assert isinstance(await ended(phone), LoginNeeded)

    run(story())


def test_closing_says_bye_with_times_spread(run: Run) -> None:
    """Each device hears when to come again, within a minute, and the close code is 4503."""

    async def story() -> list[int | None]:
        async with house() as home:
            phones = [await online(home) for _ in range(8)]
            silent = home.socket()
            link = await silent.__aenter__()
            waiting = [asyncio.ensure_future(ended(phone)) for phone in phones]
            await asyncio.sleep(0)
            await home.gateway.close()
            ends = await asyncio.gather(*waiting)
            assert {end.code for end in ends} == {4503}
            assert home.gateway.connected == 0
            with pytest.raises(Disconnected):
                await phones[0].connect()
            await link.wait_closed()
            assert link.close_code == 4503
            await silent.__aexit__(None, None, None)
            return [end.retry_after_s for end in ends]

    waits = run(story())
    assert all(wait is not None and 0 <= wait <= 60 for wait in waits)
    assert len(set(waits)) > 1


def test_cursors_are_written_down(run: Run) -> None:
    """What a device acknowledged is known in the store after it left."""

    async def story() -> None:
        async with house() as home:
            phone = await online(home)
            message_id = await home.post("x", "ann")
            await take(phone, 1)
            await phone.ack(message_id)
            await home.until_said(message_id, ENQUEUED, DELIVERED)
            await phone.go_offline()
            await home.gateway.close()
            (device,) = await home.store.devices(1)
            assert device.cursor == 1

    run(story())


def test_the_gateway_is_quiet_when_everything_is_sent(run: Run) -> None:
    """A connected device that does not acknowledge leaves nothing to be done; a waiting poll neither."""

    async def story() -> None:
        async with house() as home, await online(home) as phone:
            await home.post("x", "ann")
            assert not home.was_quiet
            await take(phone, 1)
            await home.until(home.gateway.is_quiet)
            poller = await home.device("bob")
            polling = asyncio.ensure_future(poller.poll(wait_s=30))
            await home.until(lambda: len(home.gateway.online) == 2)
            await home.until(home.gateway.is_quiet)
            await home.post("y", "bob")
            assert not home.was_quiet
            assert len(await polling) == 1
            await home.until(home.gateway.is_quiet)

    run(story())
