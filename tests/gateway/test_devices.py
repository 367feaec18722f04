"""Devices with a live link, end to end: what each gets, what its word does, how it comes back."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.gateway.house import first, house, online, take

from homing.contract.status import Status
from homing.device import (
    Gone,
    Message,
    ReadElsewhere,
    Sent,
)
from homing.gateway.session import WINDOW
from homing.model import Body

Run = Callable[[Coroutine[Any, Any, Any]], Any]
ENQUEUED, DELIVERED, READ, EXPIRED = Status.ENQUEUED, Status.DELIVERED, Status.READ, Status.EXPIRED


def test_a_message_is_delivered_by_ack_and_read_by_read(run: Run) -> None:
    """Writing to the socket proves nothing: delivered and read are said when the device says so."""

    async def story() -> None:
        async with house() as home, await online(home) as phone:
            data = {"order": 7, "nested": {"a": [1, None]}}
            message_id = await home.post("x", "ann", body=Body("Hello ✓", channel="news", optional_data=data))
            message = await first(phone)
            assert isinstance(message, Message)
            assert (message.id, message.seq, message.text) == (message_id, 1, "Hello ✓")
            assert (message.channel, message.data) == ("news", data)
            assert await home.statuses(message_id) == [[ENQUEUED]]
            await phone.ack(message_id)
            await home.until_said(message_id, ENQUEUED, DELIVERED)
            await phone.read(message_id)
            await home.until_said(message_id, ENQUEUED, DELIVERED, READ)

    run(story())


def test_reading_without_an_ack_is_both(run: Run) -> None:
    """A read receipt for what was not acknowledged yields delivered and read."""

    async def story() -> None:
        async with house() as home, await online(home) as phone:
            message_id = await home.post("x", "ann")
            await take(phone, 1)
            await phone.read(message_id)
            await home.until_said(message_id, ENQUEUED, DELIVERED, READ)

    run(story())


def test_a_read_on_one_device_reaches_the_other(run: Run) -> None:
    """Two devices of one person: both get the message; the one that did not read it hears so; each status once."""

    async def story() -> None:
        async with house() as home, await online(home) as phone, await online(home) as tablet:
            message_id = await home.post("x", "ann")
            await take(phone, 1)
            await take(tablet, 1)
            await tablet.ack(message_id)
            await phone.read(message_id)
            assert await first(tablet) == ReadElsewhere(message_id)
            await tablet.read(message_id)
            second = await home.post("y", "ann")
            assert (await take(phone, 1))[0].id == second  # and no notice of its own reading before it
            assert await home.statuses(message_id) == [[ENQUEUED, DELIVERED, READ]]

    run(story())


def test_the_window_holds_back_what_is_not_acknowledged(run: Run) -> None:
    """Of 100 messages 32 are sent; the rest follow the acknowledgements, in order, and all are delivered."""

    async def story() -> None:
        async with house() as home, await online(home) as phone:
            ids = [await home.post(f"text {number}", "ann") for number in range(100)]
            got = await take(phone, WINDOW)
            listening = asyncio.ensure_future(first(phone))
            done, _ = await asyncio.wait((listening,), timeout=0.05)
            assert not done
            for message in got:
                await phone.ack(message.id)
            seen = [message.id for message in got]
            event = await listening
            assert isinstance(event, Message)
            seen.append(event.id)
            await phone.ack(event.id)
            while len(seen) < 100:
                (message,) = await take(phone, 1)
                seen.append(message.id)
                await phone.ack(message.id)
            assert seen == ids
            await home.until_said(ids[-1], ENQUEUED, DELIVERED)

    run(story())


def test_a_device_resumes_where_it_stopped(run: Run) -> None:
    """It gets what came after its cursor, and again what the server has no receipt for; not what is delivered."""

    async def story() -> None:
        async with house() as home:
            phone = await online(home)
            acked, lost = await home.post("acked", "ann"), await home.post("lost", "ann")
            await take(phone, 2)
            await phone.ack(acked)
            await home.until_said(acked, ENQUEUED, DELIVERED)
            phone.drop()
            later = await home.post("later", "ann")
            await phone.connect()
            assert phone.cursor == 2
            got = await take(phone, 2)
            assert [(message.id, message.is_repeat) for message in got] == [(lost, True), (later, False)]
            await phone.go_offline()

    run(story())


def test_another_epoch_starts_as_a_new_device(run: Run) -> None:
    """A cursor of another store means nothing here: the welcome says from where it goes on."""

    async def story() -> None:
        async with house() as home:
            read = await home.post("read", "ann")
            waiting = await home.post("waiting", "ann")
            other = await online(home)
            await take(other, 2)
            await other.read(read)
            await home.until_said(read, ENQUEUED, DELIVERED, READ)
            phone = await home.device()
            phone.epoch, phone.cursor = "00000000-0000-0000-0000-000000000000", 2
            await phone.connect()
            assert phone.epoch == home.store.store_id
            assert phone.cursor == 1
            assert (await take(phone, 1))[0].id == waiting
            await phone.go_offline()
            await other.go_offline()

    run(story())


def test_a_cursor_beyond_the_last_message_is_not_believed(run: Run) -> None:
    """A device cannot talk itself past messages that are still to come."""

    async def story() -> None:
        async with house() as home:
            message_id = await home.post("x", "ann")
            phone = await home.device()
            phone.epoch, phone.cursor = home.store.store_id, 9_999
            await phone.connect()
            assert (await take(phone, 1))[0].id == message_id
            await phone.go_offline()

    run(story())


def test_what_expired_is_called_back_and_not_sent_later(run: Run) -> None:
    """A connected device that did not acknowledge hears `gone`; one that comes later never gets the message."""

    async def story() -> None:
        async with house() as home, await online(home) as phone:
            message_id = await home.post("x", "ann", ttl_s=60)
            await take(phone, 1)
            home.clock.jump_to(home.clock.now_ms() + 61_000)
            assert await first(phone) == Gone(message_id)
            await home.until_said(message_id, ENQUEUED, EXPIRED)
            later = await online(home)
            fresh = await home.post("y", "ann")
            assert (await take(later, 1))[0].id == fresh
            await later.go_offline()

    run(story())


def test_anothers_message_is_as_unknown_as_none(run: Run) -> None:
    """Receipts count only for the session's own recipient, on the socket and over HTTP."""

    async def story() -> None:
        async with house() as home, await online(home, "bob") as phone:
            anns = await home.post("for ann", "ann")
            await phone.ack(anns, "01890000-0000-7000-8000-000000000000", "no uuid")
            await phone.read(anns)
            await phone.receipts(received=[anns], read=[anns])
            mine = await home.post("for bob", "bob")
            await take(phone, 1)
            await phone.ack(mine)
            await home.until_said(mine, ENQUEUED, DELIVERED)
            assert await home.statuses(anns) == [[ENQUEUED]]

    run(story())


def test_the_devices_time_counts_and_nonsense_does_not(run: Run) -> None:
    """A true time before now is the event's; later than now, or no time at all, is now."""

    async def story() -> None:
        async with house() as home, await online(home) as phone:
            sent_ms = home.clock.now_ms()
            ids = [await home.post(text, "ann") for text in ("early", "future", "garbage", "zoneless")]
            await take(phone, len(ids))
            home.clock.jump_to(sent_ms + 10_000)
            times = (
                "2027-01-15T08:00:05.250Z",
                "2030-01-01T00:00:00Z",
                "yesterday",
                "2027-01-15T08:00:05",
            )
            for message_id, at in zip(ids, times, strict=True):
                await phone.ack(message_id, at=at)
                await home.until_said(message_id, ENQUEUED, DELIVERED)
            got = []
            for message_id in ids:
                view = await home.store.message(bytes.fromhex(message_id.replace("-", "")))
                assert view is not None
                got.append(view.dispatches[0].events[1].at_ms - sent_ms)
            assert got == [5_250, 10_000, 10_000, 10_000]

    run(story())


def test_a_message_from_a_device_is_stored_once_per_client_ref(run: Run) -> None:
    """`sent` comes when it is on disk; the same clientRef again is the same message, on the socket and over HTTP."""

    async def story() -> None:
        async with house() as home, await online(home) as phone:
            await phone.send("hello", channel="support", client_ref="r1")
            one = await first(phone)
            assert isinstance(one, Sent)
            assert one.client_ref == "r1"
            assert home.inboxes
            await phone.send("hello", channel="support", client_ref="r1")
            assert await first(phone) == one
            assert await phone.post("hello", client_ref="r1") == one.id
            assert await phone.post("hello", client_ref="r2") != one.id
            await phone.send("without a ref")
            other = await first(phone)
            assert isinstance(other, Sent)
            assert other.client_ref is None

    run(story())


def test_messages_keeps_its_link_by_itself(run: Run) -> None:
    """The device connects again after the link was lost, and yields each message once, acknowledged."""

    async def story() -> None:
        async with house() as home, await home.device() as phone:
            ids = [await home.post("one", "ann")]
            got = []
            async for message in phone.messages():
                got.append(message.id)
                if len(got) == 1:
                    phone.drop()
                    ids.append(await home.post("two", "ann"))
                else:
                    break
            assert got == ids
            await home.until_said(ids[1], ENQUEUED, DELIVERED)

    run(story())
