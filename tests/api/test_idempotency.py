"""The same key and request twice is one thing and one answer; another request under the key is a conflict."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.api.world import JSON, Client, World, app_with_users, message_to, world

Run = Callable[[Coroutine[Any, Any, Any]], Any]

DAY_MS = 24 * 3600 * 1000


async def keyed(client: Client, path: str, value: object, key: str = "k1") -> Any:
    return await client.post(path, value, headers={**JSON, "idempotency-key": key})


def test_the_same_message_twice_is_one_message(run: Run) -> None:
    """Byte-equal answers, the second marked, one message stored."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            first = await keyed(w.client, "/1/messages", message_to(app, "ann"))
            again = await keyed(w.client, "/1/messages", message_to(app, "ann"))
            assert (first.status, again.status) == (201, 201)
            assert first.body == again.body
            assert "idempotency-replayed" not in first.headers
            assert again.headers["idempotency-replayed"] == "true"
            assert len((await w.client.get("/1/messages")).json["items"]) == 1

    run(story())


def test_the_same_message_at_the_same_time_is_one_message(run: Run) -> None:
    """However many arrive together, one is stored and all get its answer."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            asked = [keyed(w.client, "/1/messages", message_to(app, "ann")) for _ in range(20)]
            answers = await asyncio.gather(*asked)
            assert {answer.status for answer in answers} == {201}
            assert len({answer.body for answer in answers}) == 1
            assert len((await w.client.get("/1/messages")).json["items"]) == 1

    run(story())


@pytest.mark.parametrize("path", ["/1/messages", "/1/apps"])
def test_another_request_under_the_key_is_a_conflict(run: Run, path: str) -> None:
    """Another body, or another path, under the same key is refused with 409 and changes nothing."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            bodies = [message_to(app, "ann"), message_to(app, "ann", messageRef="other")]
            if path == "/1/apps":
                bodies = [{"name": "one"}, {"name": "two"}]
            assert (await keyed(w.client, path, bodies[0])).status == 201
            answer = await keyed(w.client, path, bodies[1])
            assert (answer.status, answer.code) == (409, "idempotency_conflict")
            elsewhere = await keyed(w.client, "/1/tokens", {"name": "x", "scopes": ["read"], "apps": "all"})
            assert (elsewhere.status, elsewhere.code) == (409, "idempotency_conflict")

    run(story())


def test_a_key_belongs_to_its_token(run: Run) -> None:
    """Two tokens may use the same key for different things."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            made = await w.client.made("/1/tokens", {"name": "t", "scopes": ["send"], "apps": "all"})
            one = await keyed(w.client, "/1/messages", message_to(app, "ann"))
            other = await keyed(w.client.as_(made["token"]), "/1/messages", message_to(app, "ann"))
            assert one.json["messageId"] != other.json["messageId"]

    run(story())


def test_a_key_is_forgotten_after_a_day(run: Run) -> None:
    """After 24 hours the same request is a new one."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            first = await keyed(w.client, "/1/messages", message_to(app, "ann"))
            w.clock.ahead_ms += DAY_MS - 60_000
            assert (await keyed(w.client, "/1/messages", message_to(app, "ann"))).body == first.body
            w.clock.ahead_ms += 120_000
            later = await keyed(w.client, "/1/messages", message_to(app, "ann"))
            assert (later.status, later.json["messageId"] != first.json["messageId"]) == (201, True)

    run(story())


def creations(app: int) -> list[tuple[str, dict[str, object], tuple[str, ...]]]:
    return [
        ("/1/apps", {"name": "x", "id": 77}, ()),
        (f"/1/apps/{app}/users", {"identifier": "eve", "password": "pw"}, ()),
        (f"/1/apps/{app}/endpoints", {"url": "http://127.0.0.1:9999/", "form": "get"}, ("secret",)),
        ("/1/tokens", {"name": "t", "scopes": ["read"], "apps": "all"}, ("token",)),
        ("/1/tokens", {"name": "c", "scopes": ["read"], "apps": "all", "kind": "client"}, ("clientSecret",)),
    ]


def test_every_creation_is_made_once_and_its_secret_told_once(run: Run) -> None:
    """The replayed answer is the first one without what is told once."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            for n, (path, value, secrets) in enumerate(creations(app)):
                first = await keyed(w.client, path, value, f"k{n}")
                again = await keyed(w.client, path, value, f"k{n}")
                assert (first.status, again.status) == (201, 201), (path, again.body)
                assert again.headers["idempotency-replayed"] == "true"
                told = dict(first.json)
                for secret in secrets:
                    assert told.pop(secret)
                assert again.json == told
            assert len((await w.client.get("/1/tokens")).json["items"]) == 2

    run(story())


def test_an_action_is_answered_as_the_first_time(run: Run) -> None:
    """A recall under a key gives its first answer again."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            sent = await w.client.made("/1/messages", message_to(app, "ann"))
            path = f"/1/messages/{sent['messageId']}/expire"
            first = await keyed(w.client, path, None)
            again = await keyed(w.client, path, None)
            assert (first.status, again.status, first.body) == (200, 200, again.body)
            assert again.headers["idempotency-replayed"] == "true"

    run(story())


def test_only_successes_are_kept(run: Run) -> None:
    """After a refusal the key is free: the request may succeed later."""

    async def story() -> None:
        async with world() as w:
            message = message_to(1, "ann")
            assert (await keyed(w.client, "/1/messages", message)).status == 404
            await app_with_users(w.client, "ann")
            assert (await keyed(w.client, "/1/messages", message)).status == 201
            assert (await keyed(w.client, "/1/apps", {"name": ""}, "k2")).status == 422
            assert (await keyed(w.client, "/1/apps", {"name": "x"}, "k2")).status == 201

    run(story())


async def deleted(w: World) -> tuple[int, Any]:
    app = await app_with_users(w.client, "ann")
    first = await keyed(w.client, "/1/messages", message_to(app, "ann"))
    assert (await w.client.ask("DELETE", f"/1/apps/{app}")).status == 204
    return app, first


def test_the_first_answer_outlives_what_it_was_about(run: Run) -> None:
    """A repeated request is answered as the first time, even if the application is gone meanwhile."""

    async def story() -> None:
        async with world() as w:
            app, first = await deleted(w)
            again = await keyed(w.client, "/1/messages", message_to(app, "ann"))
            assert (again.status, again.body) == (201, first.body)

    run(story())


@pytest.mark.parametrize("key", ["", "x" * 256, "ü"])
def test_a_key_that_is_none_is_refused(run: Run, key: str) -> None:
    """1 to 255 printable ASCII characters, or 400; 255 are taken."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            answer = await keyed(w.client, "/1/messages", message_to(app, "ann"), key)
            assert (answer.status, answer.code) == (400, "invalid_request")
            assert (await keyed(w.client, "/1/messages", message_to(app, "ann"), "x" * 255)).status == 201

    run(story())
