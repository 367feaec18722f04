"""A message's own ``notifyCallback``: it replaces the application's endpoints, and its origin shares one health."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.api.world import World, app_with_users, message_to, world

from homing.model import uuid_bytes
from homing.store.changes import DisableEndpoint

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def to(url: str, method: str = "JSON") -> dict[str, object]:
    return {"notifyCallback": {"method": method, "url": url}}


async def told(w: World, app: int, **more: object) -> list[tuple[str, int]]:
    """Send a message and return (kind of endpoint, pending events) of its lanes."""
    made = await w.client.made("/1/messages", message_to(app, "ann", **more))
    kinds = {endpoint.uid: endpoint.kind for endpoint in await w.store.endpoints(None)}
    views = await w.store.callbacks(uuid_bytes(made["messageId"]) or b"")
    return [(kinds[view.endpoint_uid], view.pending) for view in views]


def test_a_message_with_a_callback_of_its_own_is_told_there_and_nowhere_else(run: Run) -> None:
    """The application's endpoint hears of the others; its list does not show the message's own."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            wish = {"url": "http://127.0.0.1:9999/", "form": "json"}
            await w.client.made(f"/1/apps/{app}/endpoints", wish)
            assert await told(w, app) == [("status", 1)]
            assert await told(w, app, **to("http://127.0.0.1:9998/a?x=1")) == [("notify", 1)]
            listed = (await w.client.get(f"/1/apps/{app}/endpoints")).json["items"]
            assert [one["url"] for one in listed] == ["http://127.0.0.1:9999/"]

    run(story())


def test_messages_to_one_origin_share_an_endpoint(run: Run) -> None:
    """Whatever path and method; another port or another application is another one."""

    async def story() -> None:
        async with world() as w:
            app, other = await app_with_users(w.client, "ann"), await app_with_users(w.client, "ann")
            for url, method in (("/a", "GET"), ("/b", "POST"), ("/c?y=2", "JSON")):
                await told(w, app, **to(f"http://127.0.0.1:9998{url}", method))
            assert len(await w.store.endpoints(None)) == 1
            await told(w, app, **to("http://127.0.0.1:9997/"))
            await told(w, other, **to("http://127.0.0.1:9998/"))
            assert len(await w.store.endpoints(None)) == 3

    run(story())


def test_an_origin_that_was_given_up_is_tried_again_for_a_new_message(run: Run) -> None:
    """Nobody can enable it by hand, so the next message that names it does."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            await told(w, app, **to("http://127.0.0.1:9998/"))
            [endpoint] = await w.store.endpoints(None)
            await w.store.apply(DisableEndpoint(endpoint.id, "five days"))
            assert await told(w, app, **to("http://127.0.0.1:9998/")) == [("notify", 1)]
            assert [one.state for one in await w.store.endpoints(None)] == ["active"]

    run(story())


def test_an_origin_whose_end_was_missed_is_opened_anew(run: Run) -> None:
    """A node that lost its term may not have heard that an endpoint was disabled: it asks again, and has it enabled."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            await told(w, app, **to("http://127.0.0.1:9998/"))
            [endpoint] = await w.store.endpoints(None)
            w.store._watchers.clear()
            await w.store.apply(DisableEndpoint(endpoint.id, "five days"))
            for state in ("disabled", "active"):
                await told(w, app, **to("http://127.0.0.1:9998/"))
                assert [one.state for one in await w.store.endpoints(None)] == [state]
                w.api.forget()

    run(story())


def test_the_applications_callback_secret_signs_and_is_told_when_rotated(run: Run) -> None:
    """It is made for the first message that needs it; rotating tells a new one once, and the old one signs too."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            await told(w, app, **to("http://127.0.0.1:9998/"))
            [endpoint] = await w.store.endpoints(None)
            view = w.directory.view(endpoint.id)
            assert view is not None
            assert len(view.signers) == 1
            rotated = await w.client.post(f"/1/apps/{app}/rotate-callback-secret")
            assert rotated.json["secret"].startswith("whsec_")
            assert rotated.json["previousValidUntil"] is not None
            view = w.directory.view(endpoint.id)
            assert view is not None
            assert len(view.signers) == 2
            assert rotated.json["secret"] not in str(await w.store.app(app))
            fresh = await app_with_users(w.client)
            first = await w.client.post(f"/1/apps/{fresh}/rotate-callback-secret")
            assert first.json["previousValidUntil"] is None

    run(story())


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://10.0.0.1/", "url_refused"),
        ("http://169.254.169.254/", "url_refused"),
        ("http://localhost.internal/", "url_refused"),
        ("ftp://a.example/", "url_refused"),
        ("http://127.0.0.1:9998/?status=x", "url_refused"),
        ("https://u:p@a.example/", "url_refused"),
    ],
)
def test_the_guard_judges_it_before_anything_is_stored(run: Run, url: str, code: str) -> None:
    """422 with the place; no message and no endpoint come of it."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            answer = await w.client.post("/1/messages", message_to(app, "ann", **to(url)))
            assert (answer.status, answer.code) == (422, code)
            assert answer.json["errors"][0]["path"] == "$.notifyCallback.url"
            assert (await w.client.get("/1/messages")).json["items"] == []
            assert await w.store.endpoints(None) == []

    run(story())


def test_a_foreign_application_opens_no_endpoint(run: Run) -> None:
    """404 as for one that does not exist, and nothing is left behind."""

    async def story() -> None:
        async with world() as w:
            answer = await w.client.post("/1/messages", message_to(99, "ann", **to("http://127.0.0.1:9998/")))
            assert (answer.status, answer.code) == (404, "not_found")
            assert await w.store.endpoints(None) == []

    run(story())
