"""Logging in over HTTP: who gets a token, who has to wait, and that nobody learns who exists."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from tests.gateway.house import APP_KEY, PASSWORD, House, house

from homing.device import Device, Refused
from homing.gateway import login as room
from homing.passwords import verify_password

Run = Callable[[Coroutine[Any, Any, Any]], Any]
RIGHT = {"appKey": APP_KEY, "identifier": "ann", "password": PASSWORD}


async def ask(home: House, body: object = None, content: bytes | None = None, **more: Any) -> httpx.Response:
    """Post a log-in."""
    async with httpx.AsyncClient(trust_env=False) as client:
        url = home.url + "/device/1/sessions"
        return await client.post(url, **({"json": body} if content is None else {"content": content}), **more)


def test_the_right_password_gets_a_token(run: Run) -> None:
    """The answer has token, deviceId and epoch; the store keeps only the token's SHA-256."""

    async def story() -> None:
        async with house() as home:
            device = {"id": "my-phone", "name": "Ann's", "platform": "ios"}
            answer = await ask(home, {**RIGHT, "identifier": "ANN", "device": device, "more": 1})
            assert answer.status_code == 201
            told = answer.json()
            assert set(told) == {"token", "deviceId", "epoch"}
            assert told["deviceId"] == "my-phone"
            assert told["epoch"] == home.store.store_id
            assert len(told["token"]) == 54
            kept = await home.store.device(hashlib.sha256(told["token"].encode()).digest())
            assert kept is not None
            assert (kept.identifier, kept.name, kept.platform) == ("ann", "Ann's", "ios")

    run(story())


WRONG = [
    {**RIGHT, "password": "wrong"},
    {**RIGHT, "password": ""},
    {**RIGHT, "password": "x" * 10_000},
    {**RIGHT, "identifier": "nobody"},
    {**RIGHT, "identifier": ""},
    {**RIGHT, "appKey": "another"},
]


@pytest.mark.parametrize("body", WRONG)
def test_wrong_credentials_are_401_and_say_nothing(run: Run, body: dict[str, object]) -> None:
    """Whatever is wrong, the answer is the same."""

    async def story() -> None:
        async with house() as home:
            answer = await ask(home, body)
            assert answer.status_code == 401
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json() == {
                "type": "/docs#unauthorized",
                "title": "A valid token is needed",
                "status": 401,
                "detail": "App Key, identifier or password is wrong",
                "code": "unauthorized",
            }

    run(story())


def test_an_unknown_user_costs_a_hash_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time does not tell who exists: a password is verified in any case."""
    verified = []

    async def counted(password_hash: str, password: str) -> bool:
        verified.append(password_hash)
        return await verify_password(password_hash, password)

    monkeypatch.setattr(room, "verify_password", counted)

    async def story() -> None:
        async with house() as home:
            await ask(home, {**RIGHT, "identifier": "nobody"})
            await ask(home, {**RIGHT, "password": "wrong"})

    run(story())
    assert len(verified) == 2
    assert all(one.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for one in verified)


BAD: dict[str, tuple[bytes, int]] = {
    "no JSON": (b"{", 400),
    "NaN": (b'{"appKey": NaN}', 400),
    "not UTF-8": (b'{"appKey": "\xff"}', 400),
    "no object": (b"[]", 400),
    "nothing": (b"", 400),
    "too deep": (b'{"x":' + b"[" * 1_000 + b"]" * 1_000 + b"}", 400),
    "something missing": (b'{"appKey": "a", "identifier": "ann"}', 400),
    "wrong type": (b'{"appKey": "a", "identifier": "ann", "password": 1}', 400),
    "device without platform": (b'{"appKey": "a", "identifier": "a", "password": "p", "device": {}}', 400),
    "unknown platform": (
        b'{"appKey": "a", "identifier": "a", "password": "p", "device": {"platform": "symbian"}}',
        422,
    ),
    "odd device id": (
        b'{"appKey": "a", "identifier": "a", "password": "p", "device": {"platform": "ios", "id": "a b"}}',
        422,
    ),
    "long device name": (
        b'{"appKey":"a","identifier":"a","password":"p","device":{"platform":"ios","name":"%s"}}'
        % (b"n" * 256),
        422,
    ),
    "too large": (b'{"appKey": "' + b"a" * 70_000 + b'"}', 413),
    "far too large": (b"x" * 3 * 2**20, 413),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_log_ins(run: Run, name: str) -> None:
    """Malformed is 400, not allowed is 422, too large is 413; each a problem with its stable code."""

    async def story() -> None:
        content, status = BAD[name]
        async with house() as home:
            answer = await ask(home, content=content)
            assert answer.status_code == status
            assert answer.json()["code"] == ("payload_too_large" if status == 413 else "invalid_request")
            assert (await ask(home, RIGHT)).status_code == 201

    run(story())


def test_another_media_type_is_415(run: Run) -> None:
    """Only JSON is read."""

    async def story() -> None:
        async with house() as home:
            answer = await ask(home, content=b"appKey=a", headers={"Content-Type": "text/plain"})
            assert answer.status_code == 415

    run(story())


def test_several_wrong_passwords_make_the_name_wait(run: Run) -> None:
    """After several 401 comes 429 with Retry-After, for the right password too; others log in."""

    async def story() -> None:
        async with house(name_burst=3) as home:
            for _ in range(3):
                assert (await ask(home, {**RIGHT, "password": "wrong"})).status_code == 401
            answer = await ask(home, RIGHT)
            assert answer.status_code == 429
            assert answer.json()["code"] == "rate_limited"
            assert 1 <= int(answer.headers["retry-after"]) <= 30
            assert (await ask(home, {**RIGHT, "identifier": "Ann"})).status_code == 429
            assert (await ask(home, {**RIGHT, "identifier": "bob"})).status_code == 201

    run(story())


def test_guesses_at_once_count_like_guesses_in_a_row(run: Run) -> None:
    """Of many wrong passwords sent together only as many are tried as in a row."""

    async def story() -> list[int]:
        async with house(name_burst=3) as home:
            wrong = {**RIGHT, "password": "wrong"}
            answers = await asyncio.gather(*(ask(home, wrong) for _ in range(10)))
            return sorted(answer.status_code for answer in answers)

    assert run(story()) == [401] * 3 + [429] * 7


def test_several_wrong_names_make_the_address_wait(run: Run) -> None:
    """Guessing names is slowed down as well."""

    async def story() -> None:
        async with house(address_burst=3) as home:
            for number in range(3):
                body = {**RIGHT, "identifier": f"nobody {number}"}
                assert (await ask(home, body)).status_code == 401
            answer = await ask(home, RIGHT)
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1

    run(story())


def test_right_passwords_are_not_counted(run: Run) -> None:
    """Somebody may log in on many devices."""

    async def story() -> None:
        async with house(name_burst=2, address_burst=2) as home:
            for _ in range(5):
                assert (await ask(home, RIGHT)).status_code == 201

    run(story())


def test_no_more_than_so_many_log_ins_wait(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the hashes under way only a second's worth may queue; the rest is told to come again."""
    monkeypatch.setattr(room, "MAX_WAITING", 2)
    let_go: asyncio.Event

    async def held(password_hash: str, password: str) -> bool:
        await let_go.wait()
        return await verify_password(password_hash, password)

    monkeypatch.setattr(room, "verify_password", held)

    async def story() -> None:
        nonlocal let_go
        let_go = asyncio.Event()
        async with house() as home:
            first = [asyncio.ensure_future(ask(home, RIGHT)) for _ in range(2)]
            await home.until(lambda: home.gateway._calls.in_flight == 2)
            answer = await ask(home, RIGHT)
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "2"
            let_go.set()
            assert [one.status_code for one in await asyncio.gather(*first)] == [201, 201]

    run(story())


def test_a_phone_that_was_somebody_elses_gets_a_new_id(run: Run) -> None:
    """The wished id is another user's device: the log-in works, under an id of its own."""

    async def story() -> None:
        async with house() as home:
            anns = await home.device("ann")
            bobs = Device(home.url, APP_KEY)
            bobs.device_id = anns.device_id
            await bobs.login("bob", PASSWORD)
            assert bobs.device_id != anns.device_id
            await anns.poll()  # its token still holds

    run(story())


def test_logging_out_forgets_the_device(run: Run) -> None:
    """The token is worth nothing afterwards, anywhere."""

    async def story() -> None:
        async with house() as home:
            phone = await home.device()
            token = phone.token
            await phone.logout()
            phone.token = token
            with pytest.raises(Refused) as caught:
                await phone.poll()
            assert (caught.value.status, caught.value.code) == (401, "unauthorized")
            assert await home.store.devices(1) == []

    run(story())
