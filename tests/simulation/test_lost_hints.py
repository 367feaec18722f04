"""Nothing that two nodes say to one another arrives: everything comes all the same, within half a minute (T10).

HOMING_CHAOS=full has a hundred rounds. Virtual time, a real PostgreSQL, whole nodes; the devices speak frames.
"""

import asyncio
import json
import os
import random
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
from tests.simulation.scene import Receiver, out_of_order
from tests.simulation.shared import Node, nodes, simulate_shared
from tests.simulation.virtual import LoopClock

from homing.gateway import server
from homing.gateway.tokens import digest, mint
from homing.model import uuid_text
from homing.store.changes import SaveDevice
from homing.store.postgres import PostgresStore

ROUNDS = 100 if os.environ.get("HOMING_CHAOS") == "full" else 10
WITHIN_S = 30.0
WORDS = ("_hinted", "_notified", "_joined", "_handed_over")
"""What a node does with each kind of notification."""


class Phone:
    """A device at a node, as the server sees one: it acknowledges each message it gets."""

    def __init__(self, place: Node, token: str) -> None:
        self.frames: list[dict[str, Any]] = []
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said.put_nowait({"type": "websocket.connect"})
        self.say(type="hello", token=token)
        scope = {
            "type": "websocket", "path": "/device/1/connect", "headers": [], "subprotocols": ["homing.v1"],
            "client": ("127.0.0.1", 1),
        }  # fmt: skip
        place.spawn(place.gateway.app(scope, self._said.get, self._hear))

    def say(self, **frame: object) -> None:
        self._said.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    async def _hear(self, event: MutableMapping[str, Any]) -> None:
        if event["type"] == "websocket.close":
            self._said.put_nowait({"type": "websocket.disconnect"})
        if event["type"] == "websocket.send":
            frame = json.loads(event["text"])
            self.frames.append(frame)
            if frame["type"] == "msg":
                self.say(type="ack", messageIds=[frame["messageId"]])

    def has(self, kind: str, message_id: str = "") -> bool:
        return any(one["type"] == kind and one.get("messageId", "") == message_id for one in self.frames)


async def within(what: str, fact: Callable[[], bool]) -> None:
    """Wait for a fact, half a minute at most."""
    until_s = asyncio.get_running_loop().time() + WITHIN_S
    while not fact():
        assert asyncio.get_running_loop().time() < until_s, f"{what}: not within {WITHIN_S:.0f} s"
        await asyncio.sleep(1.0)


async def live(places: list[Node], rng: random.Random) -> None:
    """Found an application here, have a phone here and one there, send through either, read on either."""
    maker = rng.choice(places)
    app = await maker.found(1)
    user = await maker.store.user(app, "u0")
    assert user is not None
    phones = []
    for place in places:
        token = mint()
        await maker.store.apply(SaveDevice(mint(), user.id, app, "ios", digest(token)))
        phones.append(Phone(place, token))
    await within("a welcome", lambda: all(any(f["type"] == "welcome" for f in one.frames) for one in phones))
    endpoint = await maker.open(app, Receiver())
    [key] = await rng.choice(places).send(app)
    message_id = uuid_text(key[:16])
    await within("the message", lambda: all(phone.has("msg", message_id) for phone in phones))
    reader, other = rng.sample(phones, 2)
    reader.say(type="read", messageIds=[message_id])
    await within("that it was read", lambda: other.has("read", message_id))

    def told() -> list[int]:
        tries = [one for place in places for one in place.journal if one.endpoint == endpoint.id]
        return [one.n for one in sorted(tries, key=lambda one: one.began_ms) if one.is_told]

    await within("the callbacks", lambda: set(told()) == {1, 2, 3})
    assert told() == [1, 2, 3]


def deaf_nodes(address: str, rounds: int = ROUNDS) -> None:
    """Have two nodes that hear nothing of one another do all of this, many times at once."""

    async def story(clock: LoopClock) -> None:
        rng = random.Random(10)
        async with nodes(address, clock) as places:
            lives = []
            for _ in range(rounds):
                lives.append(asyncio.ensure_future(live(places, rng)))
                await asyncio.sleep(rng.uniform(0.0, 6.0))
            await asyncio.gather(*lives)
            journal = sorted((one for place in places for one in place.journal), key=lambda one: one.began_ms)
            assert out_of_order(journal) == []

    with pytest.MonkeyPatch.context() as patch:
        for word in WORDS:
            patch.setattr(PostgresStore, word, lambda *_said: None)
        simulate_shared(story)


@pytest.mark.timeout(240)
def test_nothing_is_lost_where_no_notification_arrives(dsn: str) -> None:
    """Messages, what was read, endpoints made elsewhere: found by heartbeats, beats and sweeps, none lost or doubled."""
    deaf_nodes(dsn)


@pytest.mark.timeout(240)
def test_a_gateway_without_a_heartbeat_is_caught(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: nobody asks the store for what hints did not tell."""
    monkeypatch.setattr(server, "HEARTBEAT_S", 1e9)
    with pytest.raises(AssertionError, match="the message: not within"):
        deaf_nodes(dsn, rounds=2)
