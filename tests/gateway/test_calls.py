"""The device's plain HTTP: long poll, receipts, messages, push token; and what is refused, as a problem."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from tests.gateway.house import House, house

from homing.contract.status import Status
from homing.device import Device, Gone, Message, ReadElsewhere, Refused
from homing.gateway import calls, longpoll

Run = Callable[[Coroutine[Any, Any, Any]], Any]
ENQUEUED, DELIVERED, READ, EXPIRED = Status.ENQUEUED, Status.DELIVERED, Status.READ, Status.EXPIRED


async def ask(home: House, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
    """Make one HTTP call."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, f"{home.url}/device/1/{path}", headers=headers, **more)


def test_a_poll_gives_what_is_there(run: Run) -> None:
    """Frames as on the socket, with the epoch and the cursor to poll with next; then nothing, at once."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            message_id = await home.post("hello", "ann")
            answer = await ask(home, "GET", "messages?cursor=0&wait=0", phone.token)
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "no-store"
            assert answer.json() == {
                "epoch": home.store.store_id,
                "cursor": 1,
                "frames": [
                    {
                        "type": "msg",
                        "seq": 1,
                        "messageId": message_id,
                        "text": "hello",
                        "sentAt": "2027-01-15T08:00:00.000Z",
                        "expiresAt": "2027-01-17T08:00:00.000Z",
                    }
                ],
            }
            answer = await ask(home, "GET", "messages?cursor=1", phone.token)
            assert answer.json() == {"epoch": home.store.store_id, "cursor": 1, "frames": []}

    run(story())


def test_a_waiting_poll_answers_when_a_message_comes(run: Run) -> None:
    """While it waits its recipient is online; it ends with the message."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            polling = asyncio.ensure_future(phone.poll(wait_s=30))
            await home.until(lambda: bool(home.gateway.online))
            message_id = await home.post("hello", "ann")
            (message,) = await polling
            assert isinstance(message, Message)
            assert message.id == message_id
            assert not home.gateway.online

    run(story())


def test_a_newer_poll_of_the_device_ends_the_older(run: Run) -> None:
    """The older answers at once, empty; the message goes to the newer."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            older = asyncio.ensure_future(phone.poll(wait_s=30))
            await home.until(lambda: bool(home.gateway.online))
            newer = asyncio.ensure_future(phone.poll(wait_s=30))
            assert await older == []
            await home.until(lambda: bool(home.gateway.online))
            await home.post("hello", "ann")
            assert len(await newer) == 1

    run(story())


def test_a_poll_ends_after_its_time(run: Run) -> None:
    """With nothing to tell it answers, empty, after the time it was given."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            (kept,) = await home.store.devices(1)
            polled = await home.gateway._polls.poll(kept, cursor=0, epoch=None, wait_s=0.02)
            assert (polled.cursor, polled.frames) == (0, [])
            assert await phone.poll(wait_s=0) == []

    run(story())


def test_pages_follow_the_cursor(run: Run) -> None:
    """A hundred messages come in pages, in order, each once."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            ids = [await home.post(f"text {number}", "ann") for number in range(100)]
            got: list[str] = []
            while events := await phone.poll():
                assert len(events) <= longpoll.PAGE
                got += [event.id for event in events]
            assert got == ids
            assert phone.cursor == 100

    run(story())


def test_a_resuming_poll_gets_again_what_has_no_receipt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only after a pause: a device that polls on has its acknowledgements under way."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            acked, lost = await home.post("acked", "ann"), await home.post("lost", "ann")
            assert len(await phone.poll()) == 2
            await phone.receipts(received=[acked])
            assert await phone.poll() == []
            monkeypatch.setattr(longpoll, "KEPT_S", -1.0)
            again = await phone.poll()
            assert [(one.id, isinstance(one, Message) and one.is_repeat) for one in again] == [(lost, True)]
            assert phone.cursor == 2

    run(story())


def test_receipts_are_on_disk_when_answered_and_harmless_to_repeat(run: Run) -> None:
    """204 after it is durable; the same again changes nothing; read alone is delivered and read."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            one, two = await home.post("one", "ann"), await home.post("two", "ann")
            for _ in range(2):
                await phone.receipts(received=[one, "nonsense"], at={one: "2027-01-15T08:00:00Z"})
                assert await home.statuses(one) == [[ENQUEUED, DELIVERED]]
            for _ in range(2):
                await phone.receipts(received=[one, two], read=[two, two])
                assert await home.statuses(two) == [[ENQUEUED, DELIVERED, READ]]
            await phone.receipts()

    run(story())


def test_a_poller_hears_what_others_read_and_what_is_gone(run: Run) -> None:
    """Also between its polls; what it read itself is no news to it."""

    async def story() -> None:
        async with house() as home:
            poller, other = await home.device(), await home.device()
            one, two = await home.post("one", "ann"), await home.post("two", "ann")
            three = await home.post("three", "ann", ttl_s=60)
            await poller.poll()
            await poller.receipts(read=[one])
            await other.receipts(read=[two])
            assert await poller.poll() == [ReadElsewhere(two)]
            polling = asyncio.ensure_future(poller.poll(wait_s=30))
            await home.until(lambda: bool(home.gateway.online))
            home.clock.jump_to(home.clock.now_ms() + 61_000)
            assert await polling == [Gone(three)]

    run(story())


def test_receipts_over_http_make_room_in_the_window_of_the_socket(run: Run) -> None:
    """An extension that fetches beside the app acknowledges for both."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            await phone.connect()
            ids = [await home.post("x", "ann") for _ in range(33)]
            got: list[str] = []
            async for event in phone.events():
                got.append(event.id)
                if len(got) == 32:
                    await phone.receipts(received=got)
                if len(got) == 33:
                    break
            assert got == ids
            await phone.go_offline()

    run(story())


def test_closing_lets_waiting_polls_go(run: Run) -> None:
    """A stop does not wait for them."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            polling = asyncio.ensure_future(phone.poll(wait_s=30))
            await home.until(lambda: bool(home.gateway.online))
            await home.gateway.close()
            assert await polling == []

    run(story())


def test_another_store_is_noticed_while_polling(run: Run) -> None:
    """A poll that names another epoch starts as a new device; so does a cursor beyond all messages."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            await home.post("x", "ann")
            phone.cursor, phone.epoch = 1, "another"
            assert len(await phone.poll()) == 1
            assert phone.epoch == home.store.store_id
            assert len(await phone.poll(cursor=77)) == 1

    run(story())


def test_the_push_token_is_kept_with_the_device(run: Run) -> None:
    """Apple's and Google's as text, the Web's as its subscription."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            await phone.set_push_token("ios", "abc", "sandbox")
            (kept,) = await home.store.devices(1)
            assert (kept.push_platform, kept.push_token, kept.push_environment) == ("ios", "abc", "sandbox")
            subscription = {"endpoint": "https://push.example/1", "keys": {"p256dh": "x", "auth": "y"}}
            body = {"platform": "web", "subscription": subscription}
            answer = await ask(home, "PUT", "push-token", phone.token, json=body)
            assert answer.status_code == 204
            (kept,) = await home.store.devices(1)
            assert kept.push_platform == "web"
            assert "https://push.example/1" in (kept.push_token or "")

    run(story())


LATER: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "messages", {}, 401, "unauthorized"),
    ("POST", "receipts", {"json": {}}, 401, "unauthorized"),
    ("DELETE", "session", {}, 401, "unauthorized"),
    ("PUT", "push-token", {"json": {}}, 401, "unauthorized"),
    ("POST", "attachments", {}, 401, "unauthorized"),
]
REFUSED: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "messages?cursor=x", {}, 400, "invalid_request"),
    ("GET", "messages?cursor=-1", {}, 400, "invalid_request"),
    ("GET", "messages?cursor=99999999999999999999", {}, 422, "invalid_request"),
    ("GET", "messages?wait=31", {}, 422, "invalid_request"),
    ("GET", "messages?" + "&".join(["a=b"] * 20), {}, 400, "invalid_request"),
    ("POST", "receipts", {"json": {"received": "x"}}, 400, "invalid_request"),
    ("POST", "receipts", {"json": {"read": [1]}}, 400, "invalid_request"),
    ("POST", "messages", {"json": {}}, 400, "invalid_request"),
    ("POST", "messages", {"json": {"text": ""}}, 422, "invalid_request"),
    ("POST", "messages", {"json": {"text": "x\0"}}, 422, "invalid_request"),
    ("POST", "receipts", {"json": {"read": ["\0"]}}, 422, "invalid_request"),
    ("POST", "messages", {"json": {"text": "x", "inReplyTo": "y"}}, 422, "invalid_request"),
    ("POST", "messages", {"json": {"text": "x", "attachmentId": "y"}}, 422, "invalid_request"),
    ("POST", "attachments", {"content": b"x"}, 422, "invalid_request"),
    ("GET", "attachments/1", {}, 422, "invalid_request"),
    ("PUT", "push-token", {"json": {"platform": "other", "token": "x"}}, 422, "invalid_request"),
    ("PUT", "push-token", {"json": {"platform": "ios"}}, 400, "invalid_request"),
    ("PUT", "push-token", {"json": {"platform": "web"}}, 400, "invalid_request"),
    ("PUT", "push-token", {"json": {"platform": "web", "subscription": {}}}, 422, "invalid_request"),
    ("PUT", "push-token", {"json": {"platform": "ios", "token": ""}}, 422, "invalid_request"),
    (
        "PUT", "push-token",
        {"json": {"platform": "ios", "token": "x", "environment": "moon"}}, 422, "invalid_request",
    ),
    ("GET", "connect", {}, 400, "invalid_request"),
    ("GET", "nothing", {}, 404, "not_found"),
    ("GET", "sessions", {}, 405, "method_not_allowed"),
    ("PATCH", "messages", {}, 405, "method_not_allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "more", "status", "code"), REFUSED)
def test_refusals(run: Run, method: str, path: str, more: dict[str, Any], status: int, code: str) -> None:
    """Each is a problem with its stable code; none is a 5xx."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            answer = await ask(home, method, path, phone.token, **more)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert answer.headers["content-type"] == "application/problem+json"
            if "attach" in str((path, more)) or "inReplyTo" in str(more):
                assert "not yet" in answer.json()["detail"]
            if status == 405:
                assert answer.headers["allow"]

    run(story())


@pytest.mark.parametrize(("method", "path", "more", "status", "code"), LATER)
@pytest.mark.parametrize("token", [None, "hom_d_" + "A" * 48, "hom_t_x", "ü"])
def test_no_call_without_a_devices_token(
    run: Run, method: str, path: str, more: dict[str, Any], status: int, code: str, token: str | None
) -> None:
    """No token, an unknown one, another kind's: 401, and the header that says what is wanted."""

    async def story() -> None:
        async with house() as home:
            headers = [] if token is None else [(b"authorization", b"Bearer " + token.encode())]
            async with httpx.AsyncClient(trust_env=False) as client:
                url = f"{home.url}/device/1/{path}"
                answer = await client.request(method, url, headers=headers, **more)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert answer.headers["www-authenticate"].startswith("Bearer")

    run(story())


def test_too_many_calls_of_one_device(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 with Retry-After for it, while another device is served."""
    monkeypatch.setattr(calls, "CALL_BURST", 3)
    monkeypatch.setattr(calls, "CALLS_PER_S", 0.1)

    async def story() -> None:
        async with house() as home:
            phone, other = await home.device(), await home.device()
            for _ in range(3):
                await phone.poll()
            with pytest.raises(Refused) as caught:
                await phone.poll()
            assert (caught.value.status, caught.value.code) == (429, "rate_limited")
            assert caught.value.retry_after_s == 10
            await other.poll()

    run(story())


def test_a_fault_of_ours_is_a_500_without_a_trace(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device learns nothing, the operator gets the traceback in the log."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()

            async def broken(recipient: int) -> int:
                raise LookupError("the secret reason")

            monkeypatch.setattr(home.store, "inbox_start", broken)
            answer = await ask(home, "GET", "messages", phone.token)
            assert answer.status_code == 500
            assert "secret reason" not in answer.text
            device = Device(home.url, phone.app_key)
            device.token = phone.token
            with pytest.raises(Exception, match="4503"):
                await device.connect()

    run(story())
