"""When something is slow, lost or broken: what the gateway holds on to, and what it lets go."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from tests.gateway.house import House, closed_with, house

from homing.contract.status import Status
from homing.device import Device, Disconnected, Message
from homing.errors import Unavailable
from homing.gateway.session import WINDOW
from homing.store.batch import Occurrence, Result

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def next_message(device: Device) -> Message:
    """Return the next message a device gets."""
    async for event in device.events():
        assert isinstance(event, Message)
        return event
    raise AssertionError("the link ended")


@pytest.mark.usefixtures("quick_heartbeat")
def test_a_message_nobody_told_of_is_found_at_the_heartbeat(run: Run) -> None:
    """A commit whose outcome was unknown reaches no sink; the connected device gets its message all the same."""

    async def story() -> None:
        async with house() as home, await home.device() as phone:
            await phone.connect()
            home.engine.on_committed.clear()
            message_id = await home.post("x", "ann")
            assert (await next_message(phone)).id == message_id

    run(story())


@pytest.mark.usefixtures("quick_heartbeat")
def test_cursors_of_connected_devices_are_written_at_the_heartbeat(run: Run) -> None:
    """A crash costs at most a heartbeat's worth of them."""

    async def story() -> None:
        async with house() as home, await home.device() as phone:
            await phone.connect()
            await home.post("x", "ann")
            await phone.ack((await next_message(phone)).id)

            async def written() -> bool:
                return [device.cursor for device in await home.store.devices(1)] == [1]

            await home.until(written)

    run(story())


@pytest.mark.usefixtures("quick_heartbeat")
def test_a_store_that_fails_at_the_heartbeat_is_asked_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failure does not end the tending."""

    async def story() -> None:
        async with house() as home, await home.device() as phone:
            await phone.connect()
            heads = home.store.inbox_heads
            failed: list[bool] = []

            async def once(recipients: Sequence[int]) -> dict[int, int]:
                if not failed:
                    failed.append(True)
                    raise Unavailable("busy")
                return await heads(recipients)

            monkeypatch.setattr(home.store, "inbox_heads", once)
            home.engine.on_committed.clear()
            await home.post("x", "ann")
            await next_message(phone)
            assert failed

    run(story())


def test_a_device_that_does_not_acknowledge_holds_little(run: Run) -> None:
    """However many messages there are: the windows, nothing more; and others are served."""

    async def story() -> None:
        async with house() as home, await home.device() as phone, await home.device("bob") as other:
            await phone.connect()
            await other.connect()
            for _ in range(40):
                await asyncio.gather(*(home.post("x" * 4_000, "ann") for _ in range(10)))
            session = next(link.session for link in home.gateway._hub if link.device == phone.device_id)
            assert len(session._waiting) + len(session._unacked) <= 2 * WINDOW
            message_id = await home.post("x", "bob")
            assert (await next_message(other)).id == message_id

    run(story())


def test_a_device_that_takes_nothing_is_let_go(run: Run) -> None:
    """A session that overran is closed with 4503."""

    async def story() -> None:
        async with house() as home, await home.device() as phone:
            await phone.connect()
            for link in home.gateway._hub:
                link.session.is_overrun = True
                link.wake()
            with pytest.raises(Disconnected) as caught:
                await next_message(phone)
            assert (caught.value.code, caught.value.reason) == (4503, "too slow")

    run(story())


def test_a_peer_that_answers_no_ping_is_dropped(run: Run) -> None:
    """Its recipient is no longer online, and its buffers are gone."""

    async def story() -> None:
        async with house(ping_s=0.05) as home:
            device = await home.device()
            reader, writer = await asyncio.open_connection("127.0.0.1", int(home.url.rpartition(":")[2]))
            writer.write(
                b"GET /device/1/connect HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            await reader.readuntil(b"\r\n\r\n")
            hello = json.dumps({"type": "hello", "token": device.token}).encode()
            writer.write(bytes([0x81, 0xFE, *len(hello).to_bytes(2, "big"), 0, 0, 0, 0]) + hello)
            await home.until(lambda: home.gateway.connected == 1)
            await home.until(lambda: home.gateway.connected == 0)
            assert not home.gateway.online
            while await reader.read(65_536):
                pass
            writer.close()

    run(story())


def test_a_receipt_that_cannot_be_stored_ends_the_connection(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device comes again and is asked again: 4503, not silence."""

    async def story() -> None:
        async with house() as home:
            device = await home.device()
            message_id = await home.post("x", "ann")
            async with home.socket() as link:
                hello = {
                    "type": "hello",
                    "token": device.token,
                    "epoch": home.store.store_id,
                    "cursor": 1,
                }
                await link.send(json.dumps(hello))
                assert json.loads(await link.recv())["cursor"] == 1
                assert json.loads(await link.recv())["messageId"] == message_id
                other = await home.post("y", "ann")
                assert json.loads(await link.recv())["messageId"] == other

                async def refused(occurrences: Sequence[Occurrence]) -> list[Result]:
                    raise Unavailable("the disk is full")

                monkeypatch.setattr(home.engine, "record", refused)
                unknown = "01890000-0000-7000-8000-000000000000"
                await link.send(json.dumps({"type": "read", "messageIds": [unknown]}))
                assert await closed_with(link) == 4503
            await home.until(lambda: home.gateway.connected == 0)

    run(story())


def test_messages_committed_while_devices_come_and_go_all_arrive(run: Run) -> None:
    """A stream of messages, two devices whose links keep breaking: each message is delivered, none twice to the app."""

    async def consume(home: House, phone: Device, ids: set[str], count: int) -> None:
        got: list[str] = []
        async for message in phone.messages():
            got.append(message.id)
            if len(got) % 7 == 0:
                phone.drop()
            if len(got) == count:
                break
        assert len(set(got)) == count
        ids.update(got)

    async def story() -> None:
        async with house() as home:
            count = 150
            got: set[str] = set()
            phones = [await home.device(), await home.device()]
            eating = [asyncio.ensure_future(consume(home, phone, got, count)) for phone in phones]
            sent = [await home.post(f"text {number}", "ann") for number in range(count)]
            await asyncio.gather(*eating)
            assert got == set(sent)
            for message_id in sent:
                await home.until_said(message_id, Status.ENQUEUED, Status.DELIVERED)
            for phone in phones:
                await phone.go_offline()

    run(story())
