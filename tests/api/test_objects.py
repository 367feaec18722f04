"""Applications, users and endpoints: made, shown, changed by merge patch, listed in pages, deleted."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.api.test_messages import key_of
from tests.api.world import Client, app_with_users, message_to, world

from homing.api.routes_users import merge_patch
from homing.passwords import verify_password
from homing.store.batch import Attempt, Settle, Verdict

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_an_application_goes_its_whole_way(run: Run) -> None:
    """Made with a chosen or the next id, shown, patched, deleted; the key stays."""

    async def story() -> None:
        async with world() as w:
            made = await w.client.made("/1/apps", {"name": "bank", "id": 7, "ttlSeconds": 3600})
            assert made == (await w.client.get("/1/apps/7")).json
            assert (made["mode"], made["fallback"], made["ttlSeconds"]) == ("live", {"mode": "off"}, 3600)
            assert (await w.client.post("/1/apps", {"name": "x", "id": 7})).code == "conflict"
            assert (await w.client.made("/1/apps", {"name": "next"}))["id"] == 8
            patch = {"name": "new", "mode": "test", "ttlSeconds": None}
            patch_fallback = {"mode": "sms", "onUnreadSeconds": 60, "sender": "BANK", "defaultRegion": "IT"}
            changed = await w.client.ask("PATCH", "/1/apps/7", {**patch, "fallback": patch_fallback})
            assert changed.status == 200
            assert changed.json["fallback"] == patch_fallback
            assert "ttlSeconds" not in changed.json
            assert (changed.json["name"], changed.json["appKey"]) == ("new", made["appKey"])
            again = await w.client.ask("PATCH", "/1/apps/7", {"fallback": {"sender": None, "mode": "notify"}})
            expected = {"mode": "notify", "onUnreadSeconds": 60, "defaultRegion": "IT"}
            assert again.json["fallback"] == expected
            off = await w.client.ask("PATCH", "/1/apps/7", {"fallback": None})
            assert off.json["fallback"] == {"mode": "off"}
            assert (await w.client.ask("DELETE", "/1/apps/7")).status == 204
            assert (await w.client.get("/1/apps/7")).status == 404

    run(story())


@pytest.mark.parametrize(
    "value, status",
    [
        ({}, 400),
        ({"name": 1}, 400),
        ({"name": "x", "id": "1"}, 400),
        ({"name": ""}, 422),
        ({"name": "x", "id": 0}, 422),
        ({"name": "x", "mode": "prod"}, 422),
        ({"name": "x", "ttlSeconds": 59}, 422),
        ({"name": "x", "fallback": {"mode": "x"}}, 422),
        ({"name": "x", "fallback": {"onUnreadSeconds": 0}}, 422),
        ({"name": "x", "fallback": {"defaultRegion": "it"}}, 422),
    ],
)
def test_a_bad_application_is_refused(run: Run, value: object, status: int) -> None:
    """Wrong types and missing properties are a 400, values out of bounds a 422; nothing is made."""

    async def story() -> None:
        async with world() as w:
            assert (await w.client.post("/1/apps", value)).status == status
            assert (await w.client.get("/1/apps")).json["items"] == []

    run(story())


def test_what_cannot_be_changed_is_refused_not_ignored(run: Run) -> None:
    """An id, a key, an identifier or a kind in a patch is a 422."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            made = await w.client.made(
                f"/1/apps/{app}/endpoints", {"url": "http://127.0.0.1:9999/", "form": "get"}
            )
            for path, patch in (
                (f"/1/apps/{app}", {"id": 9}),
                (f"/1/apps/{app}", {"appKey": "x"}),
                (f"/1/apps/{app}/users/ann", {"identifier": "eve"}),
                (f"/1/apps/{app}/endpoints/{made['id']}", {"kind": "inbox"}),
            ):
                assert (await w.client.ask("PATCH", path, patch)).status == 422, path

    run(story())


def test_a_user_goes_its_whole_way(run: Run) -> None:
    """Found in any spelling, shown as registered, patched, deleted; the password never comes back."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            users = f"/1/apps/{app}/users"
            wanted = {
                "identifier": "Änn/1",
                "password": "secret",
                "mobileNumber": "39333",
                "attributes": {"a": 1},
            }
            made = await w.client.made(users, wanted)
            assert list(made) == ["identifier", "mobileNumber", "attributes", "createdAt"]
            path = f"{users}/%C3%A4nn%2F1"
            assert (await w.client.get(path)).json == made
            assert (await w.client.post(users, {**wanted, "identifier": "ÄNN/1"})).code == "conflict"
            patch = {"attributes": {"b": {"c": 2}, "a": None}, "mobileNumber": None, "password": "other"}
            changed = await w.client.ask("PATCH", path, patch)
            assert changed.json["attributes"] == {"b": {"c": 2}}
            assert "mobileNumber" not in changed.json
            credentials = await w.store.credentials(
                (await w.client.get(f"/1/apps/{app}")).json["appKey"], "änn/1"
            )
            assert credentials is not None
            assert await verify_password(credentials.password_hash, "other")
            assert not await verify_password(credentials.password_hash, "secret")
            assert (await w.client.ask("PATCH", path, {})).json == changed.json
            assert (await w.client.ask("DELETE", path)).status == 204
            assert (await w.client.get(path)).status == 404

    run(story())


@pytest.mark.parametrize(
    "value, status",
    [
        ({"identifier": "a"}, 400),
        ({"identifier": "a", "password": 1}, 400),
        ({"identifier": "a", "password": "p", "attributes": []}, 400),
        ({"identifier": "", "password": "p"}, 422),
        ({"identifier": "a", "password": ""}, 422),
        ({"identifier": "a", "password": "p" * 256}, 422),
        ({"identifier": "a" * 256, "password": "p"}, 422),
    ],
)
def test_a_bad_user_is_refused(run: Run, value: object, status: int) -> None:
    """As for applications; also nobody is made for an application that is not there."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            assert (await w.client.post(f"/1/apps/{app}/users", value)).status == status
            assert (await w.client.get(f"/1/apps/{app}/users")).json["items"] == []

    run(story())


def test_an_endpoint_goes_its_whole_way(run: Run) -> None:
    """Its secret is told once and kept sealed for it alone; patches change what they name."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            endpoints = f"/1/apps/{app}/endpoints"
            wanted = {
                "url": "http://127.0.0.1:9999/cb?x=1", "form": "form", "statuses": ["read", "enqueued"],
                "description": "orders", "timestampPrecision": "ms",
            }  # fmt: skip
            made = await w.client.made(endpoints, wanted)
            secret = made.pop("secret")
            assert secret.startswith("whsec_")
            kept = await w.store.endpoint(app, made["id"])
            assert kept is not None
            assert w.vault.open(kept.secret, f"endpoint:{made['id']}") == secret.encode()
            assert secret.encode() not in kept.secret
            path = f"{endpoints}/{made['id']}"
            assert (await w.client.get(path)).json == made
            assert made["statuses"] == ["enqueued", "read"]
            assert (made["kind"], made["state"], made["stateReason"]) == ("status", "active", None)
            patch = {"statuses": None, "form": "json", "description": None, "timestampPrecision": None}
            changed = (await w.client.ask("PATCH", path, patch)).json
            assert "statuses" not in changed
            assert "description" not in changed
            assert (changed["form"], changed["url"], changed["timestampPrecision"]) == (
                "json",
                made["url"],
                "s",
            )
            assert (await w.client.ask("PATCH", path, {"url": "http://10.0.0.1/"})).code == "url_refused"
            assert (await w.client.get(path)).json == changed
            assert (await w.client.ask("DELETE", path)).status == 204
            assert (await w.client.get(path)).status == 404

    run(story())


def test_an_inbox_has_no_statuses_and_says_so(run: Run) -> None:
    """A filter that means nothing for an inbox is passed over, and named."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            wanted = {
                "url": "http://127.0.0.1:9999/",
                "form": "get",
                "kind": "inbox",
                "statuses": ["read"],
                "x": 1,
            }
            answer = await w.client.post(f"/1/apps/{app}/endpoints", wanted)
            assert (answer.status, answer.json["kind"]) == (201, "inbox")
            assert "statuses" not in answer.json
            assert answer.headers["homing-ignored"] == "$.x, $.statuses"

    run(story())


def test_patches_at_the_same_time_do_not_undo_each_other(run: Run) -> None:
    """Two patches of different properties both stay."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            made = await w.client.made(
                f"/1/apps/{app}/endpoints", {"url": "http://127.0.0.1:9999/", "form": "get"}
            )
            for path, one, other in (
                (f"/1/apps/{app}", {"name": "new"}, {"ttlSeconds": 600}),
                (f"/1/apps/{app}/users/ann", {"mobileNumber": "39333"}, {"attributes": {"a": 1}}),
                (f"/1/apps/{app}/endpoints/{made['id']}", {"description": "d"}, {"form": "json"}),
            ):
                await asyncio.gather(*(w.client.ask("PATCH", path, patch) for patch in (one, other)))
                shown = (await w.client.get(path)).json
                assert {**shown, **one, **other} == shown, path

    run(story())


@pytest.mark.parametrize(
    "change, status, code",
    [
        ({"url": None}, 400, "invalid_request"),
        ({"form": "xml"}, 422, "invalid_request"),
        ({"statuses": []}, 422, "invalid_request"),
        ({"statuses": ["Read"]}, 422, "invalid_request"),
        ({"kind": "operations"}, 422, "invalid_request"),
        ({"kind": "notify"}, 422, "invalid_request"),
        ({"url": "ftp://a.example/"}, 422, "url_refused"),
        ({"url": "http://10.0.0.1/"}, 422, "url_refused"),
        ({"url": "http://169.254.169.254/latest"}, 422, "url_refused"),
        ({"url": "http://[::1]:9999/"}, 422, "url_refused"),
        ({"url": "http://127.0.0.1:9999/?status=1"}, 422, "url_refused"),
        ({"url": "http://user:pw@127.0.0.1:9999/"}, 422, "url_refused"),
        ({"url": "not a url"}, 422, "url_refused"),
    ],
)
def test_a_bad_endpoint_is_refused(run: Run, change: dict[str, object], status: int, code: str) -> None:
    """What the guard refuses is `url_refused`, whatever the form; nothing is made."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            endpoints = f"/1/apps/{app}/endpoints"
            answer = await w.client.post(
                endpoints, {"url": "http://127.0.0.1:9999/", "form": "get", **change}
            )
            assert (answer.status, answer.code) == (status, code)
            assert (await w.client.get(endpoints)).json["items"] == []

    run(story())


def test_the_attempt_log_shows_request_and_answer(run: Run) -> None:
    """Newest first, in pages: line, headers without the signature, status, time, address, error, first of the answer."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            made = await w.client.made(
                f"/1/apps/{app}/endpoints", {"url": "http://127.0.0.1:9999/cb?x=1", "form": "json"}
            )
            sent = await w.client.made("/1/messages", message_to(app, "ann"))
            endpoint = (await w.store.endpoints(app))[0]
            key, now_ms = key_of(sent["messageId"]), w.clock.now_ms()
            failed = Attempt(now_ms, 7, 0, "connect", "127.0.0.1")
            done = Attempt(now_ms + 9, 3, 204, None, "127.0.0.1", b"o\xffk")
            w.engine.settle([Settle(key, endpoint.id, 1, 0, Verdict.RETRY, failed, now_ms + 1)])
            w.engine.settle([Settle(key, endpoint.id, 1, 1, Verdict.DONE, done)])
            await w.client.made("/1/messages", message_to(app, "ann"))  # on disk after those
            path = f"/1/apps/{app}/endpoints/{made['id']}/attempts"
            second, first = (await w.client.get(path)).json["items"]
            assert (first["attempt"], second["attempt"]) == (1, 2)
            assert (first["status"], first["error"], first["answer"]) == (None, "connect", None)
            assert (second["status"], second["answer"], second["durationMs"]) == (204, "o\ufffdk", 3)
            assert (second["event"], second["seq"], second["messageId"]) == ("enqueued", 1, sent["messageId"])
            assert second["request"]["line"] == "POST /cb?x=1 HTTP/1.1"
            headers = second["request"]["headers"]
            assert headers["webhook-signature"] == "[hidden]"
            assert headers["webhook-id"] == first["request"]["headers"]["webhook-id"]
            page = (await w.client.get(f"{path}?limit=1")).json
            assert [item["id"] for item in page["items"]] == [second["id"]]
            rest = (await w.client.get(f"{path}?limit=1&cursor={page['nextCursor']}")).json
            assert ([item["id"] for item in rest["items"]], rest["nextCursor"]) == ([first["id"]], None)

    run(story())


async def walk(client: Client, path: str, limit: int) -> list[Any]:
    """Read a list page by page."""
    found: list[Any] = []
    cursor = ""
    while True:
        joint = "&" if "?" in path else "?"
        page = (await client.get(f"{path}{joint}limit={limit}{cursor}")).json
        assert len(page["items"]) <= limit
        found += page["items"]
        if page["nextCursor"] is None:
            return found
        cursor = f"&cursor={page['nextCursor']}"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
def test_pages_hold_everything_once_and_in_order(run: Run, limit: int) -> None:
    """Whatever the page's size, each list is whole, and the last page says that it is the last."""

    async def story() -> None:
        async with world() as w:
            names = ["ann", "Bob", "çem", "dan", "ÉVE", "fay", "zoe"]
            app = await app_with_users(w.client, *names)
            endpoints = [
                await w.client.made(
                    f"/1/apps/{app}/endpoints", {"url": f"http://127.0.0.1:9999/{n}", "form": "get"}
                )
                for n in range(3)
            ]
            for n in range(6):
                await w.client.made("/1/apps", {"name": f"a{n}"})
                await w.client.made("/1/tokens", {"name": f"t{n}", "scopes": ["read"], "apps": [app]})
                await w.client.made("/1/messages", message_to(app, "ann"))
            apps = await walk(w.client, "/1/apps", limit)
            assert [item["id"] for item in apps] == [1, 2, 3, 4, 5, 6, 7]
            users = await walk(w.client, f"/1/apps/{app}/users", limit)
            assert {item["identifier"] for item in users} == set(names)
            assert len(users) == 7
            shown = await walk(w.client, f"/1/apps/{app}/endpoints", limit)
            assert [item["id"] for item in shown] == [item["id"] for item in endpoints]
            tokens = await walk(w.client, "/1/tokens", limit)
            assert [item["name"] for item in tokens] == [f"t{n}" for n in range(6)]
            messages = await walk(w.client, "/1/messages", limit)
            ids = [item["messageId"] for item in messages]
            assert ids == sorted(set(ids), reverse=True)
            assert len(ids) == 6

    run(story())


@pytest.mark.parametrize(
    "path", ["/1/apps", "/1/tokens", "/1/messages", "/1/apps/1/users", "/1/apps/1/endpoints"]
)
@pytest.mark.parametrize("cursor", ["00", "ff", "ff" * 40, "e28098"])
def test_any_cursor_of_the_right_form_is_some_place_in_the_list(run: Run, path: str, cursor: str) -> None:
    """A cursor that nobody gave is no error and no 5xx: it is just some place."""

    async def story() -> None:
        async with world() as w:
            await app_with_users(w.client, "ann")
            assert (await w.client.get(f"{path}?cursor={cursor}")).status == 200

    run(story())


@pytest.mark.parametrize(
    "target, patch, result",
    [
        ({"a": 1}, {"a": None}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": 1}, {"a": {"b": None, "c": 3}}, {"a": {"c": 3}}),
        ({"a": [1]}, {"a": [None]}, {"a": [None]}),
        ({}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
    ],
)
def test_merge_patch_is_that_of_rfc_7396(target: Any, patch: Any, result: Any) -> None:
    """Null removes, objects merge, everything else replaces; the target itself is not touched."""
    before = repr(target)
    assert merge_patch(target, patch) == result
    assert repr(target) == before
