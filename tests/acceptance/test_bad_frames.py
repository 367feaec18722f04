"""Bad frames on the device's WebSocket of a served node: each closes that connection with its documented code."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.acceptance.served import Served
from tests.acceptance.town import WITHIN_S, hear, link, say, town
from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection

Run = Callable[[Coroutine[Any, Any, None]], None]
ID = "018f4a00-0000-7000-8000-000000000000"


async def close_code(socket: ClientConnection) -> int:
    """Wait until the node closes and return the code it gave; what came before does not matter."""
    async with asyncio.timeout(WITHIN_S):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, "the connection was cut without a word"
            return closed.rcvd.code


BAD: dict[str, str | bytes] = {
    "no JSON": "hello",
    "empty": "",
    "binary": b'{"type":"ack","messageIds":[]}',
    "a list": "[]",
    "no type": '{"messageIds":[]}',
    "an unknown type": '{"type":"msg"}',
    "type is a number": '{"type":1}',
    "NaN": '{"type":"ack","messageIds":[],"at":NaN}',
    "depth 1000": '{"type":"ack","messageIds":' + "[" * 1000 + "]" * 1000 + "}",
    "depth 1000 in an open value": '{"type":"ack","messageIds":[],"at":' + "[" * 1000 + "]" * 1000 + "}",
    "ids missing": '{"type":"ack"}',
    "ids is a text": f'{{"type":"read","messageIds":"{ID}"}}',
    "ids are numbers": '{"type":"ack","messageIds":[1]}',
    "truncated": '{"type":"ack"',
    "lone surrogate": '{"type":"send","text":"\\ud800"}',
    "hello again": '{"type":"hello","token":"t"}',
    "text is missing": '{"type":"send"}',
    "text is empty": '{"type":"send","text":""}',
    "text is too long": '{"type":"send","text":"' + "x" * 8193 + '"}',
    "not yet": f'{{"type":"send","text":"t","inReplyTo":"{ID}"}}',
    "65 KiB": '{"type":"ack","messageIds":["' + "x" * 65 * 1024 + '"]}',
}


def test_bad_frames(node: Served, run: Run) -> None:
    """After a welcome each bad frame closes the connection with 4400, and the device may come again."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            token = await place.log_in("ann")
            codes = {}
            for name, frame in BAD.items():
                async with place.phone(token) as phone:
                    await phone.send(frame)
                    codes[name] = await close_code(phone)
            assert codes == dict.fromkeys(BAD, 4400)
            async with place.phone(token) as phone:
                message_id = await place.send("ann")
                assert (await hear(phone))["messageId"] == message_id

    run(story())


def test_a_frame_without_end(node: Served, run: Run) -> None:
    """A frame of many MiB is not taken in: the connection ends long before, and the device may come again."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            token = await place.log_in("ann")
            async with place.phone(token) as phone:
                with pytest.raises(ConnectionClosed) as closed:
                    await phone.send("x" * 2**26)
                    await phone.recv()
                # Who is still writing may meet the end of the connection before the close frame.
                assert closed.value.rcvd is None or closed.value.rcvd.code == 4400
            async with place.phone(token):
                pass

    run(story())


def test_receipts_that_mean_nothing(node: Served, run: Run) -> None:
    """Receipts for unknown, malformed or another person's messages, and odd times, are passed over in silence."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            await place.user("bob")
            bobs = await place.send("bob")
            async with place.phone(await place.log_in("ann")) as phone:
                for ids in ([], [ID], ["no id"], ["x" * 1000], [bobs], [bobs.upper()]):
                    await say(phone, {"type": "ack", "messageIds": ids, "at": {bobs: "yesterday"}})
                    await say(phone, {"type": "read", "messageIds": ids, "at": 7})
                mine = await place.send("ann")
                assert (await hear(phone))["messageId"] == mine
                at = {mine: "9999-12-31T23:59:59Z", "x": None}
                await say(phone, {"type": "ack", "messageIds": [mine], "at": at, "unknown": {}})
                await say(phone, {"type": "send", "clientRef": "c", "text": "still here"})
                assert (await hear(phone))["clientRef"] == "c"
            assert await place.statuses(bobs) == {"bob": ["enqueued"]}
            assert (await place.statuses(mine))["ann"] == ["enqueued", "delivered"]

    run(story())


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('{"type":"ack","messageIds":[]}', 4400),
        ('{"type":"hello"}', 4401),
        ('{"type":"hello","token":"hom_d_' + "x" * 48 + '"}', 4401),
        ('{"type":"hello","token":""}', 4401),
        ('{"type":"hello","token":"\u00e9"}', 4401),
        ('{"type":"hello","token":7}', 4400),
        ('{"type":"hello","token":"t","cursor":"1"}', 4400),
        ('{"type":"hello","token":"t","cursor":1.5}', 4400),
        ("hello", 4400),
        (b"\x00", 4400),
    ],
)
def test_bad_hello(node: Served, run: Run, frame: str | bytes, code: int) -> None:
    """A first frame that is no hello closes with 4400, one with a token that is none with 4401."""

    async def story() -> None:
        async with link(node) as socket:
            await socket.send(frame)
            assert await close_code(socket) == code

    run(story())


def test_odd_cursors(node: Served, run: Run) -> None:
    """A cursor or an epoch that means nothing here starts the device where a new one starts."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            token = await place.log_in("ann")
            message_id = await place.send("ann")
            for hello in (
                {"cursor": -5},
                {"cursor": 2**62},
                {"cursor": 1, "epoch": "another"},
                {"epoch": ""},
            ):
                async with link(node) as socket:
                    await say(socket, {"type": "hello", "token": token} | hello)
                    assert (await hear(socket))["type"] == "welcome"
                    assert (await hear(socket))["messageId"] == message_id

    run(story())


def test_replaced_and_too_fast(node: Served, run: Run) -> None:
    """A newer connection of a device closes the older with 4409; frames without end close with 4429."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            token = await place.log_in("ann")
            async with place.phone(token) as older, place.phone(token) as newer:
                assert await close_code(older) == 4409
                with pytest.raises(ConnectionClosed) as closed:
                    for _ in range(20_000):
                        await say(newer, {"type": "ack", "messageIds": [ID]})
                    await newer.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4429

    run(story())
