"""An application of a test's own on a served node: its people, its receivers, its phones. All over loopback, all real."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
from tests.acceptance.served import Served, made
from websockets import Subprotocol
from websockets.asyncio.client import ClientConnection, connect

from homing.contract.notification import StatusNotification
from homing.simulator.answers import Answer
from homing.simulator.receivers import Caught, Receiver

WITHIN_S = 10.0


class Town:
    """One application; made by `town`."""

    def __init__(self, served: Served, http: httpx.AsyncClient, app: dict[str, Any]) -> None:
        self.served = served
        self.http = http
        self.app = app
        self.path = f"/1/apps/{app['id']}"
        self.receivers: list[Receiver] = []
        self.secrets: dict[str, str] = {}
        """Receiver's name → its endpoint's secret."""

    async def user(self, identifier: str, **more: object) -> None:
        """Register somebody, with the password ``secret``."""
        await made(self.http, f"{self.path}/users", {"identifier": identifier, "password": "secret"} | more)

    async def receiver(self, form: str, is_told: str = "ok", query: str = "", **more: object) -> Receiver:
        """Start a receiver that checks signatures, and make an endpoint of it."""
        receiver = Receiver(form, is_told=is_told)
        self.receivers.append(receiver)
        await receiver.start()
        endpoint = await made(
            self.http, f"{self.path}/endpoints", {"url": receiver.url + query, "form": form} | more
        )
        receiver.trust(endpoint["secret"])
        self.secrets[receiver.name] = endpoint["secret"]
        return receiver

    def message(self, *identifiers: str, **more: object) -> dict[str, object]:
        """The body of a message to these people."""
        recipients = [{"identifier": identifier} for identifier in identifiers]
        return {"mobileAppId": self.app["id"], "text": "hello", "recipients": recipients} | more

    async def send(self, *identifiers: str, **more: object) -> str:
        """Send a message and return its id."""
        sent = await made(self.http, "/1/messages", self.message(*identifiers, **more))
        return str(sent["messageId"])

    async def statuses(self, message_id: str) -> dict[str, list[str]]:
        """Recipient → statuses in order, as the API tells them."""
        shown = (await self.http.get(f"/1/messages/{message_id}")).raise_for_status().json()
        return {
            one["identifier"]: [event["status"] for event in one["events"]] for one in shown["recipients"]
        }

    async def log_in(self, identifier: str) -> str:
        """Return a new device's token."""
        login = {"appKey": self.app["appKey"], "identifier": identifier, "password": "secret"}
        return str((await made(self.http, "/device/1/sessions", login))["token"])

    @contextlib.asynccontextmanager
    async def phone(self, token: str) -> AsyncIterator[ClientConnection]:
        """A device that has said hello and was welcomed."""
        async with link(self.served) as socket:
            await say(socket, {"type": "hello", "token": token, "epoch": None, "cursor": 0})
            assert (await hear(socket))["type"] == "welcome"
            yield socket


def link(served: Served) -> connect:
    """A WebSocket to the node; nothing was said on it yet."""
    url = served.url.replace("http:", "ws:") + "/device/1/connect"
    return connect(url, subprotocols=[Subprotocol("homing.v1")], compression=None, proxy=None)


async def say(socket: ClientConnection, frame: object) -> None:
    """Send one frame."""
    await socket.send(msgspec.json.encode(frame).decode())


async def hear(socket: ClientConnection) -> dict[str, Any]:
    """Return the next frame."""
    async with asyncio.timeout(WITHIN_S):
        frame: dict[str, Any] = msgspec.json.decode(await socket.recv())
        return frame


async def until(
    receiver: Receiver, is_enough: Callable[[list[Caught]], bool], *, within_s: float = WITHIN_S
) -> list[Caught]:
    """Wait until what a receiver answered is enough; return it in order of arrival."""
    answered = asyncio.Event()

    def look(_caught: Caught) -> None:
        if is_enough(done()):
            answered.set()

    def done() -> list[Caught]:
        return [caught for caught in receiver.caught if caught.answered != 0]

    receiver.on_caught.append(look)
    try:
        if not is_enough(done()):
            async with asyncio.timeout(within_s):
                await answered.wait()
    except TimeoutError:
        raise AssertionError(f"{receiver.name} got only {[told(one) for one in done()]}") from None
    finally:
        receiver.on_caught.remove(look)
    return done()


def arrival(receiver: Receiver) -> asyncio.Event:
    """Return what is set when the next request has come, before it is answered."""
    arrived, behaviour = asyncio.Event(), receiver._behaviour

    def answer(n: int, rng: random.Random) -> Answer:
        arrived.set()
        return behaviour.answer(n, rng)

    receiver._behaviour = msgspec.structs.replace(behaviour, answer=answer)
    return arrived


async def until_told(receiver: Receiver, message_id: str, *statuses: str) -> list[Caught]:
    """Wait until a receiver took each of these statuses of a message; return what came about it."""

    def about(caught: list[Caught]) -> list[Caught]:
        return [one for one in caught if told(one)[0] == message_id]

    def is_enough(caught: list[Caught]) -> bool:
        taken = [told(one)[2] for one in about(caught) if one.answered and one.answered < 300]
        return set(statuses) <= set(taken)

    return about(await until(receiver, is_enough))


async def all_told(receiver: Receiver, messages: list[str], within_s: float) -> None:
    """Wait until the receiver took the first status of each of these messages."""
    missing, is_whole = set(messages), asyncio.Event()

    def look(caught: Caught) -> None:
        if 200 <= (caught.answered or 0) < 300:
            missing.discard(told(caught)[0])
        if not missing:
            is_whole.set()

    receiver.on_caught.append(look)
    for caught in receiver.caught:
        look(caught)
    try:
        await asyncio.wait_for(is_whole.wait(), within_s)
    except TimeoutError:
        raise AssertionError(f"{len(missing)} of {len(messages)} were never told") from None


def told(caught: Caught) -> tuple[str, str, str]:
    """(messageId, recipient, status) of a callback about a message."""
    it = caught.notification
    assert isinstance(it, StatusNotification), caught
    return it.message_id, it.recipient, it.status.value


@contextlib.asynccontextmanager
async def town(served: Served) -> AsyncIterator[Town]:
    """An application on a node; afterwards it is deleted, and its receivers are closed."""
    async with served.client() as http:
        built = Town(served, http, await made(http, "/1/apps", {"name": "town"}))
        try:
            yield built
            assert [
                fault for one in built.receivers for caught in one.caught for fault in caught.faults
            ] == []
        finally:
            with contextlib.suppress(
                httpx.TransportError
            ):  # a test that failed may have left the node stopped
                await http.delete(built.path)
            for receiver in built.receivers:
                await receiver.close()
