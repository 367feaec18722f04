"""U+0000, which PostgreSQL keeps in no text, is refused by both stores alike: 422, with the path of the text."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from tests.api.world import app_with_users, message_to, world
from tests.postgres.server import Server

Run = Callable[[Coroutine[Any, Any, Any]], Any]
APP = "/1/apps/{app}"
REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/1/messages", {"text": "a\0b"}, "$.text"),
    ("POST", "/1/messages", {"messageRef": "\0"}, "$.messageRef"),
    ("POST", "/1/messages", {"notificationText": "\0"}, "$.notificationText"),
    ("POST", "/1/messages", {"recipients": [{"identifier": "a\0nn"}]}, "$.recipients[0].identifier"),
    (
        "POST", "/1/messages", {"recipients": [{"identifier": "ann", "override": {"text": "\0"}}]},
        "$.recipients[0].override.text",
    ),
    ("POST", "/1/apps", {"name": "b\0nk"}, "$.name"),
    ("PATCH", APP, {"fallback": {"sender": "\0"}}, "$.fallback.sender"),
    ("POST", f"{APP}/users", {"identifier": "x\0", "password": "pw"}, "$.identifier"),
    ("POST", f"{APP}/users", {"identifier": "x", "password": "\0"}, "$.password"),
    ("POST", f"{APP}/endpoints", {"url": "http://127.0.0.1/", "form": "json", "description": "\0"}, "$.description"),
    ("POST", "/1/tokens", {"name": "\0", "scopes": ["read"], "apps": "all"}, "$.name"),
]  # fmt: skip


@pytest.fixture(params=["sqlite", "postgres"])
def dsn(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Give the address of the store of this test; None is one in memory."""
    if request.param == "sqlite":
        yield None
        return
    server: Server = request.getfixturevalue("postgres")
    yield server.dsn(request.getfixturevalue("fresh_database"))


def test_a_text_with_u0000_is_refused_whatever_the_store(dsn: str | None, run: Run) -> None:
    """In every text that is kept, with its path; nothing is stored, and what is next is taken."""

    async def story() -> None:
        async with world(dsn=dsn) as w:
            app = await app_with_users(w.client, "ann")
            for method, path, given, at in REFUSED:
                body = (
                    message_to(app, "ann", **given)
                    if path == "/1/messages" and "recipients" not in given
                    else given
                )
                if path == "/1/messages" and "recipients" in given:
                    body = {**message_to(app), **given}
                answer = await w.client.ask(method, path.format(app=app), body)
                assert (answer.status, answer.code) == (422, "invalid_request"), (path, given)
                (error,) = answer.json["errors"]
                assert error["path"].startswith(at), error
                assert "U+0000" in error["message"]
            assert (await w.client.get("/1/messages")).json["items"] == []
            assert (await w.client.post("/1/messages", message_to(app, "ann"))).status == 201

    run(story())


def test_what_only_looks_like_it_is_taken(dsn: str | None, run: Run) -> None:
    """A backslash and letters are a text like any other; what is ignored is not judged; data of the sender's own is kept as JSON."""

    async def story() -> None:
        async with world(dsn=dsn) as w:
            app = await app_with_users(w.client, "ann")
            more = {"unknown": "\0", "optionalData": {"a": ["\0"]}}
            answer = await w.client.post("/1/messages", message_to(app, "ann", text="\\u0000", **more))
            assert (answer.status, answer.json["text"]) == (201, "\\u0000")
            assert answer.headers["homing-ignored"] == "$.unknown"
            assert (await w.client.get("/1/messages?messageRef=%00")).status == 422
            assert (await w.client.get(f"/1/apps/{app}/users/a%00")).status == 404

    run(story())
