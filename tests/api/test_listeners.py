"""Listeners: a place that outlives its holder, one holder at a time, a secret that stays, names within a reach."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.api.test_events import sent, token_for, walk
from tests.api.world import JSON, Client, app_with_users, world

from homing.api.routes_listeners import LEASE_MS
from homing.clock import RealClock
from homing.contract.signature import key_of
from homing.store.changes import OpenListener

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def opened(client: Client, name: str = "ann", **more: object) -> Any:
    answer = await client.post("/1/listeners", {"name": name, "holder": "ann@laptop", **more})
    assert answer.status == 200, answer.body
    return answer.json


async def moved(client: Client, lease: str, cursor: str, name: str = "ann", **more: object) -> Any:
    answer = await client.post(f"/1/listeners/{name}/progress", {"lease": lease, "cursor": cursor, **more})
    assert answer.status == 200, answer.body
    return answer.json


def test_a_listener_goes_on_where_it_stopped(run: Run) -> None:
    """A new one begins now; opened again it stands where it was moved to, with the same secret, and says what waits."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            await sent(w.client, app, "ann")
            first = await opened(w.client)
            assert (first["isNew"], first["behind"], first["behindIsExact"]) == (True, 0, True)
            assert len(key_of(first["secret"])) == 32
            await sent(w.client, app, "ann", "nobody")
            (one, two) = await walk(w.client, cursor=first["cursor"])
            answer = await moved(w.client, first["lease"], one["cursor"], release=True)
            assert answer == {"cursor": one["cursor"], "heldUntil": None}
            second = await opened(w.client)
            assert (second["isNew"], second["behind"]) == (False, 1)
            assert second["cursor"] == one["cursor"]
            assert second["secret"] == first["secret"]
            assert second["lease"] != first["lease"]
            assert await walk(w.client, cursor=second["cursor"]) == [two]
            back = await moved(w.client, second["lease"], first["cursor"])
            assert back["cursor"] == one["cursor"]
            beyond = await moved(w.client, second["lease"], "ff" * 20)
            assert beyond["cursor"] == two["cursor"]

    run(story())


def test_a_time_moves_a_listener_wherever_it_stood(run: Run) -> None:
    """``since`` goes back too, and is where a new one begins."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            await sent(w.client, app, "ann", "nobody")
            start = "1970-01-01T00:00:00Z"
            first = await opened(w.client, since=start)
            assert (first["behind"], first["isNew"]) == (2, True)
            end = await opened(w.client, lease=first["lease"], since="2999-01-01T00:00:00Z")
            assert end["behind"] == 0
            again = await opened(w.client, lease=first["lease"], since=start)
            assert again["cursor"] == first["cursor"]

    run(story())


def test_a_second_holder_is_refused_and_told_who_holds_it(run: Run) -> None:
    """409 until the first lets go, its lease ends, or it is taken over; then the first is refused at its next word."""

    async def story() -> None:
        async with world() as w:
            first = await opened(w.client)
            wanted = {"name": "ann", "holder": "ann@desk"}
            refused = await w.client.post("/1/listeners", wanted)
            assert (refused.status, refused.code) == (409, "conflict")
            assert "ann is held by ann@laptop" in refused.json["detail"]
            assert (await opened(w.client, lease=first["lease"]))["lease"] == first["lease"]
            second = (await w.client.post("/1/listeners", wanted | {"takeover": True})).json
            late = await w.client.post(
                "/1/listeners/ann/progress", {"lease": first["lease"], "cursor": first["cursor"]}
            )
            assert (late.status, late.code) == (409, "conflict")
            assert "ann@desk" in late.json["detail"]
            now_ms = RealClock().now_ms()
            gone = OpenListener(
                None, "ann", None, b"", "ann@desk", second["lease"], now_ms - LEASE_MS, now_ms
            )
            await w.store.apply(gone)
            assert (await opened(w.client))["lease"] not in {first["lease"], second["lease"]}

    run(story())


def test_a_pushed_clock_does_not_end_a_lease(run: Run) -> None:
    """Who is alive is a matter of real time: in `homing dev` a day may pass while somebody listens."""

    async def story() -> None:
        async with world() as w:
            await opened(w.client)
            w.clock.ahead_ms = 24 * 3_600_000
            assert (await w.client.post("/1/listeners", {"name": "ann", "holder": "x"})).status == 409

    run(story())


def test_listeners_are_listed_and_forgotten(run: Run) -> None:
    """By name, page by page, without secrets and leases; one that was deleted is new when it comes again."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            for name in ("c", "a", "b"):
                await opened(w.client, name, mobileAppIds=[app] if name == "a" else None)
            first = (await w.client.get("/1/listeners?limit=2")).json
            assert [it["name"] for it in first["items"]] == ["a", "b"]
            assert [it["mobileAppIds"] for it in first["items"]] == [[app], None]
            assert set(first["items"][0]) == {
                "name", "holder", "mobileAppIds", "cursor", "heldUntil", "createdAt",
            }  # fmt: skip
            rest = (await w.client.get(f"/1/listeners?cursor={first['nextCursor']}")).json
            assert [it["name"] for it in rest["items"]] == ["c"]
            secret = (await opened(w.client, "b", takeover=True))["secret"]
            assert (await w.client.ask("DELETE", "/1/listeners/b", headers=JSON)).status == 204
            assert (await w.client.ask("DELETE", "/1/listeners/b", headers=JSON)).status == 404
            again = await opened(w.client, "b")
            assert again["isNew"]
            assert again["secret"] != secret

    run(story())


def test_names_of_another_reach_are_neither_seen_nor_met(run: Run) -> None:
    """The same name is another listener; tokens with the same applications share one; foreign applications are unknown."""

    async def story() -> None:
        async with world() as w:
            mine = await app_with_users(w.client, "ann", name="mine")
            theirs = await app_with_users(w.client, "ann", name="theirs")
            me, other, both = (
                await token_for(w, mine),
                await token_for(w, theirs),
                await token_for(w, mine, theirs),
            )
            first = await opened(me)
            for client in (other, both, w.client):
                assert (await client.get("/1/listeners")).json["items"] == []
                one = await client.post(
                    "/1/listeners/ann/progress", {"lease": first["lease"], "cursor": "00"}
                )
                unknown = await client.post("/1/listeners/x/progress", {"lease": "x", "cursor": "00"})
                assert one.status == 404
                assert one.body == unknown.body
                found = await opened(client)
                assert found["isNew"]
                assert found["secret"] != first["secret"]
            same = await token_for(w, mine)
            assert (await same.post("/1/listeners", {"name": "ann", "holder": "x"})).status == 409
            again = await opened(same, takeover=True)
            assert again["secret"] == first["secret"]
            answers = [
                await me.post("/1/listeners", {"name": "new", "holder": "x", "mobileAppIds": [app]})
                for app in (theirs, 99)
            ]
            assert answers[0].status == 404
            assert answers[0].body == answers[1].body
            assert (await me.get("/1/listeners")).json["items"][0]["mobileAppIds"] is None
            await sent(w.client, theirs, "ann")
            await sent(w.client, mine, "ann")
            assert (await opened(same, lease=again["lease"]))["behind"] == 1

    run(story())


def test_a_repeated_key_opens_once_and_does_not_tell_the_secret_again(run: Run) -> None:
    """The first answer comes again, without what is secret; progress is told once too."""

    async def story() -> None:
        async with world() as w:
            wanted = {"name": "ann", "holder": "ann@laptop"}
            key = {"idempotency-key": "k"}
            first = await w.client.post("/1/listeners", wanted, headers=key)
            again = await w.client.post("/1/listeners", wanted, headers=key)
            assert again.headers["idempotency-replayed"] == "true"
            told = first.json
            assert told.pop("secret").startswith("whsec_")
            assert again.json == told
            step = {"lease": told["lease"], "cursor": told["cursor"]}
            for replayed in (None, "true"):
                answer = await w.client.post(
                    "/1/listeners/ann/progress", step, headers={"idempotency-key": "p"}
                )
                assert answer.headers.get("idempotency-replayed") == replayed

    run(story())


BAD = [
    ({}, 400), ({"name": "a"}, 400), ({"name": "a", "holder": ""}, 422), ({"name": "", "holder": "h"}, 422),
    ({"name": "a.b", "holder": "h"}, 422), ({"name": "a/b", "holder": "h"}, 422), ({"name": "ä", "holder": "h"}, 422),
    ({"name": "a" * 101, "holder": "h"}, 422), ({"name": "a\n", "holder": "h"}, 422),
    ({"name": "a", "holder": "h" * 256}, 422), ({"name": "a", "holder": "h", "lease": ""}, 422),
    ({"name": "a", "holder": "h", "mobileAppIds": []}, 422), ({"name": "a", "holder": "h", "mobileAppIds": [0]}, 422),
    ({"name": "a", "holder": "h", "mobileAppIds": ["1"]}, 400), ({"name": "a", "holder": "h", "since": "last"}, 422),
    ({"name": "a", "holder": "h", "takeover": "yes"}, 400),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status"), BAD)
def test_a_bad_opening_is_refused(run: Run, body: object, status: int) -> None:
    """What no webhook-id could hold is no name; nothing is made by a refused request."""

    async def story() -> None:
        async with world() as w:
            assert (await w.client.post("/1/listeners", body)).status == status
            assert (await w.client.get("/1/listeners")).json["items"] == []

    run(story())
