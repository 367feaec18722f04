"""The Python device by itself: what it does with answers that are none, with frames it does not know, with waiting."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from homing.device import Device, Disconnected, LoginNeeded, Message, NotConnected, Refused, Replaced
from homing.device.events import parse
from homing.device.http import call

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Talk = Callable[[ServerConnection], Coroutine[Any, Any, None]]


def msg(seq: int) -> str:
    """Return a msg frame."""
    return json.dumps(
        {
            "type": "msg",
            "seq": seq,
            "messageId": f"m{seq}",
            "text": "hi",
            "sentAt": "2027-01-15T08:00:00.000Z",
            "expiresAt": "2027-01-15T09:00:00.000Z",
        }
    )


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    """Serve devices in a scripted way, after a proper welcome."""

    async def greet(link: ServerConnection) -> None:
        hello = json.loads(await link.recv())
        welcome = {
            "type": "welcome",
            "device": "d",
            "epoch": "e",
            "cursor": hello["cursor"],
            "serverTime": "t",
        }
        await link.send(json.dumps(welcome))
        await talk(link)

    async with serve(greet, "127.0.0.1", 0, subprotocols=["homing.v1"]) as running:  # type: ignore[list-item]
        port = next(iter(running.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def http_server(answer: bytes) -> AsyncIterator[str]:
    """Answer every request with these bytes."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    running = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"


def device(url: str, **more: Any) -> Device:
    """Return a device that believes itself logged in."""
    made = Device(url, "key", **more)
    made.token = "token"
    return made


def test_frames_of_a_later_server_are_ignored() -> None:
    """A type this device does not know is nothing to it; unknown keys are kept in `raw`."""
    assert parse('{"type": "reaction", "x": 1}') is None
    message = parse(msg(1).replace('"hi"', '"hi", "new": 1'))
    assert isinstance(message, Message)
    assert message.raw["new"] == 1


def test_messages_are_acknowledged_and_yielded_once(run: Run) -> None:
    """A repeat is acknowledged again, and not yielded; what was not acknowledged is, after connecting again."""

    async def story() -> None:
        acks: list[list[str]] = []
        is_acknowledged = asyncio.Event()

        async def talk(link: ServerConnection) -> None:
            for frame in (msg(1), msg(1), '{"type": "later"}', msg(2)):
                await link.send(frame)
            async for text in link:
                heard = json.loads(text)
                acks.append(heard["messageIds"])
                if len(acks) == 4:
                    is_acknowledged.set()

        async with server(talk) as url, device(url) as phone:
            phone.unacknowledged.add("m0")
            got = []
            async for message in phone.messages():
                got.append(message.id)
                if message.id == "m2":
                    break
            assert got == ["m1", "m2"]
            await is_acknowledged.wait()
            assert acks == [["m0"], ["m1"], ["m1"], ["m2"]]
            assert phone.unacknowledged == set()
            assert (phone.cursor, phone.epoch, phone.device_id) == (2, "e", "d")

    run(story())


def test_the_server_says_when_to_come_again(run: Run) -> None:
    """`bye.retryAfter` wins over the device's own pauses, which grow with each failure, up to the longest."""

    async def story() -> None:
        waits: list[float] = []
        talks = 0

        async def talk(link: ServerConnection) -> None:
            nonlocal talks
            talks += 1
            if talks == 1:
                await link.send('{"type": "bye", "code": 4503, "retryAfter": 17}')
                await link.close(4503, "going away")
            elif talks < 5:
                await link.close(1011, "trouble")
            else:
                await link.send(msg(1))
                await link.wait_closed()

        async def sleep(wait_s: float) -> None:
            waits.append(wait_s)

        class Most(random.Random):
            def uniform(self, a: float, b: float) -> float:
                return b

        async with server(talk) as url, device(url, sleep=sleep, rng=Most()) as phone:
            async for _ in phone.messages():
                break
            assert waits == [17.0, 1.0, 1.0, 1.0]

    run(story())


def test_pauses_grow_while_nobody_answers(run: Run) -> None:
    """Each failure to connect doubles the longest pause, up to its bound."""

    async def story() -> None:
        waits: list[float] = []

        async def sleep(wait_s: float) -> None:
            waits.append(wait_s)
            if len(waits) == 5:
                raise asyncio.CancelledError

        class Most(random.Random):
            def uniform(self, a: float, b: float) -> float:
                return b

        phone = device("http://127.0.0.1:9", sleep=sleep, rng=Most(), backoff_s=(1.0, 5.0))
        with pytest.raises(asyncio.CancelledError):
            async for _ in phone.messages():
                pass
        assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]

    run(story())


@pytest.mark.parametrize(("code", "kind"), [(4401, LoginNeeded), (4409, Replaced)])
def test_some_ends_are_final(run: Run, code: int, kind: type[Disconnected]) -> None:
    """A token that does not hold, or another connection of this device: trying again is of no use."""

    async def story() -> None:
        async def talk(link: ServerConnection) -> None:
            await link.close(code, "why")

        async with server(talk) as url, device(url) as phone:
            with pytest.raises(kind) as caught:
                async for _ in phone.messages():
                    pass
            assert (caught.value.code, caught.value.reason) == (code, "why")
            assert not phone.is_connected

    run(story())


def test_going_offline_ends_the_events_quietly(run: Run) -> None:
    """It is the device's own wish; a link that was dropped is an error."""

    async def story() -> None:
        async def talk(link: ServerConnection) -> None:
            await link.wait_closed()

        async def listen(phone: Device) -> str:
            try:
                async for _ in phone.events():
                    pass
            except Disconnected as ended:
                return str(ended.code)
            return "quiet"

        async with server(talk) as url, device(url) as phone:
            for leave, expected in ((phone.go_offline, "quiet"), (None, "1006")):
                await phone.connect()
                listening = asyncio.ensure_future(listen(phone))
                await asyncio.sleep(0)
                assert phone.is_connected
                if leave is None:
                    phone.drop()
                else:
                    await leave()
                assert await listening == expected
                assert not phone.is_connected

    run(story())


def test_nothing_is_said_without_a_link_or_a_token(run: Run) -> None:
    """The errors say what to do first."""

    async def story() -> None:
        phone = device("http://127.0.0.1:9")
        with pytest.raises(NotConnected):
            await phone.ack("m1")
        phone.token = None
        with pytest.raises(LoginNeeded):
            await phone.poll()
        await phone.logout()

    run(story())


def test_an_answer_that_is_an_error_is_told_with_its_code(run: Run) -> None:
    """Status, stable code, and how long to wait."""

    async def story() -> None:
        body = b'{"code": "rate_limited", "detail": "wait"}'
        head = b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n" % len(body)
        async with http_server(head + body) as url:
            with pytest.raises(Refused) as caught:
                await call(url, "GET", "/")
        error = caught.value
        assert (error.status, error.code, error.retry_after_s) == (429, "rate_limited", 7)
        assert str(error) == "429 rate_limited: wait"

    run(story())


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", b"HTTP/1.1\r\n\r\n"],
)
def test_an_answer_that_is_no_http_is_a_connection_error(run: Run, answer: bytes) -> None:
    """A device treats it as no network: it comes again."""

    async def story() -> None:
        async with http_server(answer) as url:
            with pytest.raises(ConnectionError):
                await call(url, "GET", "/")

    run(story())


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]"])
def test_an_error_without_a_problem_is_still_an_error(run: Run, body: bytes) -> None:
    """A proxy's page in between has no code."""

    async def story() -> None:
        answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        async with http_server(answer) as url:
            with pytest.raises(Refused) as caught:
                await call(url, "GET", "/")
            assert (caught.value.status, caught.value.code) == (502, "")

    run(story())


def test_a_refused_upgrade_is_a_disconnection(run: Run) -> None:
    """Where the server takes no WebSocket, the device comes again later."""

    async def story() -> None:
        for answer, wait_s in (
            (b"HTTP/1.1 503 Later\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n", 9),
            (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", None),
            (b"SSH-2.0-x\r\n\r\n", None),
        ):
            async with http_server(answer) as url:
                with pytest.raises(Disconnected) as caught:
                    await device(url).connect()
                assert caught.value.retry_after_s == wait_s

    run(story())
