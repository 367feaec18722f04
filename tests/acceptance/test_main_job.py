"""The main job from outside: a message posted over HTTP, received and read on a WebSocket, each step called back."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl

import pytest
from standardwebhooks import Webhook
from tests.acceptance.served import Served
from tests.acceptance.town import WITHIN_S, Town, hear, say, told, town, until, until_told

from homing.lifecycle import laws
from homing.simulator.receivers import Caught, Receiver

Run = Callable[[Coroutine[Any, Any, None]], None]
LIFE = ["enqueued", "delivered", "read"]


async def read_one(place: Town, token: str, message_id: str) -> None:
    """A phone connects, gets a message, acknowledges and reads it."""
    async with place.phone(token) as phone:
        while (frame := await hear(phone)).get("messageId") != message_id:
            pass
        assert (frame["type"], frame["text"]) == ("msg", "hello")
        await say(phone, {"type": "ack", "messageIds": [message_id]})
        await say(phone, {"type": "read", "messageIds": [message_id]})
        await until_told(place.receivers[0], message_id, "read")


def statuses(caught: list[Caught]) -> list[str]:
    return [told(one)[2] for one in caught]


def test_unknown_recipient(node: Served, run: Run) -> None:
    """A message to somebody unknown ends with IdentifierNotFound and nothing else, whatever its fallback."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            receiver = await place.receiver("json")
            fallback = {"mode": "notify", "onUndeliveredSeconds": 1}
            sent = await place.http.post(
                "/1/messages", json=place.message("nobody", "ann", fallback=fallback, messageRef="r-1")
            )
            assert sent.status_code == 201
            assert sent.json()["recipients"] == [
                {"identifier": "nobody", "status": "IdentifierNotFound"},
                {"identifier": "ann", "status": "enqueued"},
            ]
            message_id = sent.json()["messageId"]
            # Ann's own fallback falls due at the same moment: by then nothing else was said about the other.
            caught = await until_told(receiver, message_id, "fallbackOnUndelivered", "IdentifierNotFound")
            assert statuses([one for one in caught if told(one)[1] == "nobody"]) == ["IdentifierNotFound"]
            assert (await place.statuses(message_id)) == {
                "nobody": ["IdentifierNotFound"],
                "ann": ["enqueued", "fallbackOnUndelivered"],
            }

    run(story())


def test_same_idempotency_key_twice(node: Served, run: Run) -> None:
    """The same Idempotency-Key with the same request makes one message, also when both come at once; else 409."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            receiver = await place.receiver("json")
            key, body = {"idempotency-key": "order 4711"}, place.message("ann")
            answers = await asyncio.gather(
                *(place.http.post("/1/messages", json=body, headers=key) for _ in range(5))
            )
            assert [one.status_code for one in answers] == [201] * 5
            assert len({one.content for one in answers}) == 1
            replayed = [one.headers.get("idempotency-replayed") for one in answers]
            assert sorted(replayed, key=str) == [None, *["true"] * 4]
            other = await place.http.post("/1/messages", json=body | {"text": "something else"}, headers=key)
            assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
            listed = (await place.http.get("/1/messages", params={"mobileAppId": place.app["id"]})).json()
            assert [one["messageId"] for one in listed["items"]] == [answers[0].json()["messageId"]]
            await until_told(receiver, answers[0].json()["messageId"], "enqueued")
            await until_told(receiver, await place.send("ann"), "enqueued")
            assert len(receiver.caught) == 2

    run(story())


def test_receiver_that_fails(node: Served, run: Run) -> None:
    """A receiver that answers 500, 500, 204 gets the same body and webhook-id three times, and never out of order."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            answers = "answers:" + ",".join(["500", "500", "204"] * len(LIFE))
            receiver = await place.receiver("json", answers)
            message_id = await place.send("ann")
            await read_one(place, await place.log_in("ann"), message_id)
            caught = await until_told(receiver, message_id, *LIFE)
            assert statuses(caught) == [status for status in LIFE for _ in range(3)]
            for place_in_life in range(len(LIFE)):
                tries = caught[3 * place_in_life : 3 * place_in_life + 3]
                assert len({(one.webhook_id, one.body) for one in tries}) == 1
                assert [one.headers["homing-attempt"] for one in tries] == ["1", "2", "3"]
                assert [one.answered for one in tries] == [500, 500, 204]
            assert len({one.webhook_id for one in caught}) == len(LIFE)
            assert (await place.statuses(message_id)) == {"ann": LIFE}

    run(story())


def independently(caught: Caught) -> dict[str, str]:
    """What a callback says, read by the standard library."""
    if caught.headers.get("content-type") == "application/json":
        return dict(json.loads(caught.body))
    return dict(parse_qsl(caught.payload.decode(), strict_parsing=True))


def check_signature(receiver: Receiver, caught: Caught, secret: str) -> None:
    """Verify with the PyPI library, over the raw bytes; and that it would notice one changed byte."""
    webhook = Webhook(secret)
    webhook.verify(caught.payload, caught.headers, json_parse=False)
    changed = bytes([caught.payload[0] ^ 1]) + caught.payload[1:]
    with pytest.raises(Exception, match="No matching signature"):
        webhook.verify(changed, caught.headers, json_parse=False)


def test_all_forms_at_once(node: Served, run: Run) -> None:
    """Endpoints of all three forms hear a whole life in order, with the contract's keys to the letter, each signed."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("Ann+Ó Brien", mobileNumber="+39 333 1234567")
            receivers = [
                await place.receiver("json"),
                await place.receiver("form", query="?a=1"),
                await place.receiver("get", query="?a=1&b=%20x"),
            ]
            message_id = await place.send(
                "ann+ó brien", messageRef="order & co/47 €", fallback={"mode": "off"}
            )
            await read_one(place, await place.log_in("Ann+Ó Brien"), message_id)
            for receiver in receivers:
                caught = await until_told(receiver, message_id, *LIFE)
                assert statuses(caught) == LIFE
                assert [one.headers["homing-sequence"] for one in caught] == ["1", "2", "3"]
                lives = []
                for one in caught:
                    check_signature(receiver, one, place.secrets[receiver.name])
                    assert one.headers["user-agent"] == "Catapush"
                    said = independently(one)
                    own = {key: said.pop(key) for key in ("a", "b") if key in said}
                    assert own == ({"a": "1", "b": " x"} if receiver.name == "get" else {})
                    timestamp = said.pop("timestamp")
                    assert timestamp.endswith("Z")
                    assert len(timestamp) == len("2016-05-24T13:57:07Z")
                    assert list(said.items()) == [
                        ("type", "MessageStatus"),
                        ("applicationId", str(place.app["id"])),
                        ("messageId", message_id),
                        ("recipient", "Ann+Ó Brien"),
                        ("status", told(one)[2]),
                        ("messageRef", "order & co/47 €"),
                        ("fallbackRef", "+39 333 1234567"),
                    ]
                    it = one.notification
                    assert it is not None
                    lives.append((told(one)[2], it.timestamp_ms))
                assert laws.check(lives) == []
            get, form, json_ = (one.caught[0] for one in reversed(receivers))
            assert (get.method, form.method, json_.method) == ("GET", "POST", "POST")
            assert get.raw_query.startswith("a=1&b=%20x&type=MessageStatus&timestamp=")
            assert "recipient=Ann%2B%C3%93%20Brien&" in get.raw_query
            assert (get.body, get.headers.get("content-type")) == (b"", None)
            assert b"recipient=Ann%2B%C3%93+Brien&" in form.body
            assert (form.raw_query, form.headers["content-type"]) == (
                "a=1",
                "application/x-www-form-urlencoded",
            )
            assert '"recipient":"Ann+Ó Brien"'.encode() in json_.body
            ids = [one.webhook_id for receiver in receivers for one in receiver.caught]
            assert len(set(ids)) == 9
            assert not any("." in one for one in ids)

    run(story())


def test_several_devices(node: Served, run: Run) -> None:
    """However many devices a person has, each status comes once, and the others hear that the message was read."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            receiver = await place.receiver("json")
            tokens = [await place.log_in("ann") for _ in range(2)]
            async with place.phone(tokens[0]) as first, place.phone(tokens[1]) as second:
                message_id = await place.send("ann")
                for phone in (first, second):
                    assert (await hear(phone))["messageId"] == message_id
                    await say(phone, {"type": "ack", "messageIds": [message_id, message_id]})
                await say(second, {"type": "read", "messageIds": [message_id]})
                assert await hear(first) == {"type": "read", "messageId": message_id}
                await say(first, {"type": "read", "messageIds": [message_id]})
                later = await place.send("ann")
                assert statuses(await until_told(receiver, message_id, "read")) == LIFE
                await until_told(receiver, later, "enqueued")
                assert (await place.statuses(message_id)) == {"ann": LIFE}

    run(story())


async def until_states_settle(place: Town) -> list[str]:
    """The states of the endpoints, in order, as soon as one is not active any more."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            shown = (await place.http.get(f"{place.path}/endpoints")).json()["items"]
            states = [one["state"] for one in shown]
            if set(states) != {"active"}:
                return states


def test_a_filter_and_a_410(node: Served, run: Run) -> None:
    """An endpoint hears only the statuses it asked for; one that answers 410 is disabled, and the others go on."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            every = await place.receiver("json")
            some = await place.receiver("form", statuses=["read"])
            gone = await place.receiver("get", "gone")
            message_id = await place.send("ann")
            await read_one(place, await place.log_in("ann"), message_id)
            assert statuses(await until_told(every, message_id, *LIFE)) == LIFE
            assert statuses(await until_told(some, message_id, "read")) == ["read"]
            assert len(await until(gone, bool)) == 1
            assert await until_states_settle(place) == ["active", "active", "disabled"]
            await until_told(every, await place.send("ann"), "enqueued")
            assert len(gone.caught) == 1

    run(story())
