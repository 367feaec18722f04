"""What a device may not say, and how it is told: close codes of API.md §2, never a traceback, never a 5xx."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.gateway.house import House, closed_with, house
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from homing.gateway import connection

Run = Callable[[Coroutine[Any, Any, Any]], Any]
A_TOKEN = "hom_d_" + "A" * 48

BAD_FIRST: dict[str, tuple[str | bytes, int]] = {
    "no JSON": ("hello", 4400),
    "no object": ("[]", 4400),
    "empty": ("", 4400),
    "not a number": ('{"type": "hello", "cursor": NaN}', 4400),
    "no type": ('{"token": "x"}', 4400),
    "unknown type": ('{"type": "subscribe"}', 4400),
    "type of the server's": ('{"type": "welcome"}', 4400),
    "no hello first": ('{"type": "ack", "messageIds": []}', 4400),
    "wrong type of a key": ('{"type": "hello", "token": 7}', 4400),
    "cursor as text": ('{"type": "hello", "cursor": "1"}', 4400),
    "too deep": ("[" * 30_000, 4400),
    "half a surrogate pair": ('{"type": "hello", "token": "\\ud800"}', 4400),
    "binary": (b'{"type": "hello"}', 4400),
    "over 64 KiB": (json.dumps({"type": "hello", "x": "y" * 65_536}), 4400),
    "over 1 MiB": (json.dumps({"type": "hello", "x": "y" * 2**20}), 4400),
    "over 64 KiB in few characters": (
        json.dumps({"type": "hello", "x": "€" * 30_000}, ensure_ascii=False),
        4400,
    ),
    "no token": ('{"type": "hello"}', 4401),
    "unknown token": (json.dumps({"type": "hello", "token": A_TOKEN}), 4401),
    "no token's shape": ('{"type": "hello", "token": "x"}', 4401),
}

BAD_LATER: dict[str, tuple[str | bytes, int]] = {
    "no JSON": ("{", 4400),
    "unknown type": ('{"type": "unread", "messageIds": []}', 4400),
    "hello again": (json.dumps({"type": "hello", "token": A_TOKEN}), 4400),
    "no messageIds": ('{"type": "ack"}', 4400),
    "messageIds no list": ('{"type": "read", "messageIds": "x"}', 4400),
    "null in messageIds": ('{"type": "read", "messageIds": [null]}', 4400),
    "send without text": ('{"type": "send", "clientRef": "1"}', 4400),
    "send of nothing": ('{"type": "send", "text": ""}', 4400),
    "send of too much": (json.dumps({"type": "send", "text": "x" * 8_193}), 4400),
    "clientRef too long": (json.dumps({"type": "send", "text": "x", "clientRef": "r" * 256}), 4400),
    "channel too long": (json.dumps({"type": "send", "text": "x", "channel": "c" * 256}), 4400),
    "inReplyTo, not yet": ('{"type": "send", "text": "x", "inReplyTo": "y"}', 4400),
    "attachmentId, not yet": ('{"type": "send", "text": "x", "attachmentId": "y"}', 4400),
    "binary": (b"x", 4400),
}

HARMLESS: dict[str, str] = {
    "unknown keys": '{"type": "ack", "messageIds": [], "battery": 80}',
    "ids that are none": '{"type": "ack", "messageIds": ["", "x", "01890000-0000-7000-8000-000000000000"]}',
    "at is no object": '{"type": "read", "messageIds": [], "at": 5}',
    "at of nonsense": '{"type": "ack", "messageIds": ["x"], "at": {"x": {"y": []}}}',
    "nulls for what may be absent": '{"type": "ack", "messageIds": [], "at": null}',
}


async def greet(home: House, link: ClientConnection) -> None:
    """Say hello as ann."""
    device = await home.device()
    await link.send(json.dumps({"type": "hello", "token": device.token}))
    assert json.loads(await link.recv())["type"] == "welcome"


@pytest.mark.parametrize("name", BAD_FIRST)
def test_bad_first_frames(run: Run, name: str) -> None:
    """Each is answered by its close code, and the gateway serves on."""

    async def story() -> None:
        frame, code = BAD_FIRST[name]
        async with house() as home, home.socket() as link, home.socket() as good:
            await link.send(frame)
            assert await closed_with(link) == code
            await greet(home, good)

    run(story())


@pytest.mark.parametrize("name", BAD_LATER)
def test_bad_later_frames(run: Run, name: str) -> None:
    """After hello too; the reason says what is wrong."""

    async def story() -> None:
        frame, code = BAD_LATER[name]
        async with house() as home, home.socket() as link:
            await greet(home, link)
            await link.send(frame)
            assert await closed_with(link) == code
            assert link.close_reason
            assert ("not yet" in link.close_reason) == name.endswith("not yet")
            await home.until(lambda: home.gateway.connected == 0)

    run(story())


def test_harmless_oddities_are_ignored(run: Run) -> None:
    """Unknown keys, ids that name nothing and times that are none do not end a connection."""

    async def story() -> None:
        async with house() as home, home.socket() as link:
            await greet(home, link)
            for frame in HARMLESS.values():
                await link.send(frame)
            await link.send('{"type": "send", "text": "still here"}')
            assert json.loads(await link.recv())["type"] == "sent"

    run(story())


def test_a_silent_connection_is_closed(run: Run) -> None:
    """No hello within the time for it is a bad frame."""

    async def story() -> None:
        async with house(hello_s=0.05) as home, home.socket() as link:
            assert await closed_with(link) == 4400
            assert link.close_reason == "no hello in time"

    run(story())


def test_the_token_may_come_in_the_opening_request(run: Run) -> None:
    """`Authorization` serves where the hello has no token."""

    async def story() -> None:
        async with house() as home:
            device = await home.device()
            headers = {"Authorization": f"Bearer {device.token}"}
            async with home.socket(headers=headers) as link:
                await link.send('{"type": "hello"}')
                welcome = json.loads(await link.recv())
                assert welcome == {
                    "type": "welcome",
                    "device": device.device_id,
                    "epoch": home.store.store_id,
                    "cursor": 0,
                    "serverTime": "2027-01-15T08:00:00.000Z",
                }

    run(story())


def test_only_its_own_subprotocol_is_spoken(run: Run) -> None:
    """`homing.v1` is chosen, none offered is taken for it, another is refused with 400; a wrong path with 404."""

    async def story() -> None:
        async with house() as home:
            async with home.socket() as link:
                assert link.subprotocol == "homing.v1"
            async with home.socket(subprotocol=None) as link:
                await greet(home, link)
            for subprotocol, path, status in (("mqtt", "connect", 400), ("homing.v1", "elsewhere", 404)):
                with pytest.raises(InvalidStatus) as caught:
                    async with home.socket(subprotocol=subprotocol, path=path):
                        pass
                answer = caught.value.response
                assert answer.status_code == status
                assert answer.headers["content-type"] == "application/problem+json"

    run(story())


def test_too_many_frames_without_news_are_too_fast(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receipts of what was sent cost nothing; repeats and chatter do, and end the connection with 4429."""
    monkeypatch.setattr(connection, "FRAME_BURST", 5)
    monkeypatch.setattr(connection, "FRAMES_PER_S", 0.001)

    async def story() -> None:
        async with house() as home, home.socket() as link:
            await greet(home, link)
            for number in range(10):
                message_id = await home.post(f"text {number}", "ann")
                assert json.loads(await link.recv())["messageId"] == message_id
                await link.send(json.dumps({"type": "ack", "messageIds": [message_id]}))
            for _ in range(6):
                await link.send('{"type": "ack", "messageIds": []}')
            assert await closed_with(link) == 4429

    run(story())
