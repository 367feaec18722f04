"""The pull feed: its pages, its cursors, whose events it holds, and the wait for what is not there yet."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from tests.api.world import JSON, Answer, Client, World, app_with_users, message_to, world
from tests.store.fakes import happen

from homing.api.feed import Arrivals
from homing.lifecycle.dispatch import Read
from homing.model import MessageId, uuid_bytes, uuid_text
from homing.store.batch import Batch, Committed, Incoming
from homing.store.views import FeedPage

Run = Callable[[Coroutine[Any, Any, Any]], Any]
STATUS_KEYS = {"kind", "cursor", "seq", "messageId", "recipient", "status", "timestamp", "mobileAppId"}
LONG_S = 20


async def sent(client: Client, app: int, *names: str, **more: object) -> bytes:
    """Send a message; return its id."""
    raw = uuid_bytes((await client.made("/1/messages", message_to(app, *names, **more)))["messageId"])
    assert raw is not None
    return raw


async def writes(w: World, app: int, text: str, **more: Any) -> MessageId:
    """Let ann write a message."""
    user = await w.store.user(app, "ann")
    assert user is not None
    message = MessageId(
        bytes.fromhex("01890000000070008000") + user.id.to_bytes(4, "big") + text[:2].encode()
    )
    return await w.engine.take_in(Incoming(message, app, user.id, "ann", "phone", text, **more))


async def page(client: Client, query: str = "") -> Any:
    answer = await client.get(f"/1/events?{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def walk(client: Client, query: str = "", cursor: str | None = None) -> list[Any]:
    """All items from a cursor on, as a client of any list reads them."""
    items: list[Any] = []
    while True:
        found = await page(client, query + ("" if cursor is None else f"&cursor={cursor}"))
        items += found["items"]
        cursor = found["nextCursor"]
        if cursor is None:
            return items


async def token_for(w: World, *apps: int, scopes: tuple[str, ...] = ("read",)) -> Client:
    made = await w.client.made("/1/tokens", {"name": "t", "scopes": scopes, "apps": [*apps]})
    return w.client.as_(made["token"])


def test_events_are_told_with_their_keys_in_the_order_they_were_recorded(run: Run) -> None:
    """API.md's keys, references where they are known; messages from devices only for who asks for them."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann", "bob")
            first = await sent(w.client, app, "ann", "nobody", messageRef="r")
            letter = await writes(w, app, "hi", channel="c", in_reply_to=MessageId(first))
            body = message_to(app)
            body["recipients"] = [
                {"identifier": "bob", "recipientRef": "b", "override": {"mobileNumber": "39333"}}
            ]
            await w.client.made("/1/messages", body)
            await happen(w.store, first, Read())
            items = (await page(w.client))["items"]
            told = [(it["recipient"], it["seq"], it["status"]) for it in items]
            assert told == [
                ("ann", 1, "enqueued"), ("nobody", 1, "IdentifierNotFound"), ("bob", 1, "enqueued"),
                ("ann", 2, "delivered"), ("ann", 3, "read"),
            ]  # fmt: skip
            assert set(items[0]) == STATUS_KEYS | {"messageRef"}
            assert set(items[2]) == STATUS_KEYS | {"recipientRef", "fallbackRef"}
            assert (items[2]["recipientRef"], items[2]["fallbackRef"]) == ("b", "39333")
            assert items[0]["mobileAppId"] == app
            assert items[0]["timestamp"].endswith("Z")
            assert len(items[0]["timestamp"]) == 24
            both = (await page(w.client, "incoming=true"))["items"]
            assert [it for it in both if it["kind"] == "status"] == items
            (incoming,) = [it for it in both if it["kind"] == "incoming"]
            assert both.index(incoming) == 2
            assert incoming | {"cursor": "", "timestamp": ""} == {
                "kind": "incoming", "cursor": "", "timestamp": "", "sender": "ann", "text": "hi", "channel": "c",
                "messageId": uuid_text(letter), "mobileAppId": app,
                "inReplyTo": uuid_text(first),
            }  # fmt: skip

    run(story())


@pytest.mark.parametrize("limit", [1, 2, 3, 200])
def test_pages_hold_everything_once_and_every_place_goes_on(run: Run, limit: int) -> None:
    """By nextCursor, by the last item's cursor and by the page's cursor: the same; the end says null, and where it is."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            for _ in range(3):
                await sent(w.client, app, "ann", "nobody")
            everything = await walk(w.client, f"limit={limit}")
            assert len(everything) == 6
            assert everything == await walk(w.client)
            for number, item in enumerate(everything):
                assert await walk(w.client, f"limit={limit}", item["cursor"]) == everything[number + 1 :]
            first = await page(w.client, f"limit={limit}")
            assert first["cursor"] == first["items"][-1]["cursor"]
            assert first["nextCursor"] == (None if limit == 200 else first["cursor"])
            end = await page(w.client, f"cursor={everything[-1]['cursor']}")
            assert end == {"items": [], "nextCursor": None, "cursor": everything[-1]["cursor"]}

    run(story())


def test_an_empty_feed_says_where_to_go_on(run: Run) -> None:
    """At a first call, with a time that has not come, and behind the end: from there one hears of what is new."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            start = await page(w.client)
            assert (start["items"], start["nextCursor"]) == ([], None)
            await sent(w.client, app, "ann")
            now = await page(w.client, "since=2999-01-01T00:00:00Z")
            assert (now["items"], now["nextCursor"]) == ([], None)
            beyond = await page(w.client, "cursor=ffffffffffffffffffff")
            assert beyond == now
            await sent(w.client, app, "nobody")
            assert len(await walk(w.client, cursor=start["cursor"])) == 2
            (only,) = await walk(w.client, cursor=now["cursor"])
            assert only["recipient"] == "nobody"

    run(story())


def test_a_time_is_a_place(run: Run) -> None:
    """With ``since`` the feed begins there, in any zone; a cursor goes before it."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            await sent(w.client, app, "ann")
            w.clock.ahead_ms = 3_600_000
            await sent(w.client, app, "nobody")
            (first, second) = await walk(w.client)
            at = second["timestamp"]
            assert await walk(w.client, f"since={at}") == [second]
            assert await walk(w.client, f"since={at.replace('Z', '%2B00:00')}") == [second]
            assert await walk(w.client, f"since={first['timestamp']}") == [first, second]
            assert await walk(w.client, f"since={at}&cursor=00") == [first, second]

    run(story())


BAD = [
    ("cursor=xyz", 422), ("cursor=0", 422), ("cursor=", 422), ("cursor=00&cursor=00", 400),
    ("limit=0", 422), ("limit=201", 422), ("limit=x", 400), ("wait=31", 422), ("wait=-1", 422), ("wait=x", 400),
    ("wait=1.5", 400), ("incoming=yes", 400), ("incoming=", 400), ("since=yesterday", 422),
    ("since=2026-01-01", 422), ("since=x&cursor=00", 422), ("mobileAppId=99", 404), ("mobileAppId=1,99", 404),
    ("mobileAppId=1,", 404), ("mobileAppId=", 404), ("mobileAppId=" + ",".join(map(str, range(1, 103))), 422),
]  # fmt: skip


@pytest.mark.parametrize(("query", "status"), BAD)
def test_a_bad_question_is_refused(run: Run, query: str, status: int) -> None:
    """Wrong types are 400, values that are not allowed 422, applications out of reach 404; never an empty page."""

    async def story() -> None:
        async with world() as w:
            await app_with_users(w.client)
            assert (await w.client.get(f"/1/events?{query}")).status == status

    run(story())


def test_a_token_hears_of_its_own_applications_only(run: Run) -> None:
    """Whatever happens elsewhere never appears, moves no item, and a foreign application answers as an unknown one."""

    async def story() -> None:
        async with world() as w:
            mine = await app_with_users(w.client, "ann", name="mine")
            theirs = await app_with_users(w.client, "ann", name="theirs")
            other = await app_with_users(w.client, "ann", name="other")
            client = await token_for(w, mine, other)
            await sent(w.client, mine, "ann")
            before = await walk(client, "incoming=true")
            await sent(w.client, theirs, "ann", "nobody")
            await writes(w, theirs, "secret")
            assert await walk(client, "incoming=true") == before
            await sent(w.client, other, "ann")
            assert [it["mobileAppId"] for it in await walk(client)] == [mine, other]
            assert [it["mobileAppId"] for it in await walk(client, f"mobileAppId={other}")] == [other]
            both = await walk(w.client, f"mobileAppId={other},{mine}")
            assert [it["mobileAppId"] for it in both] == [mine, other]
            assert len(await walk(w.client, "incoming=true")) == 5
            foreign = await client.get(f"/1/events?mobileAppId={theirs}")
            unknown = await client.get("/1/events?mobileAppId=99")
            assert foreign.status == 404
            assert (foreign.headers, foreign.body) == (unknown.headers, unknown.body)

    run(story())


async def while_waiting(
    w: World, asked: Coroutine[Any, Any, Answer], do: Callable[[], Awaitable[object]]
) -> Answer:
    """Ask, let something happen once the question waits, and return its answer."""
    waiting = asyncio.ensure_future(asked)
    while not w.api._arrivals._waiting:
        assert not waiting.done(), "it did not wait"
        await asyncio.sleep(0)
    await do()
    async with asyncio.timeout(LONG_S):
        return await waiting


def test_a_question_waits_for_what_is_recorded_next(run: Run) -> None:
    """It is answered when something is on disk, an event or a message from a device; nobody waits afterwards."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            client = await token_for(w, app)
            answer = await while_waiting(
                w, client.get("/1/events?wait=30"), lambda: sent(w.client, app, "ann")
            )
            (event,) = answer.json["items"]
            assert event["status"] == "enqueued"
            question = f"/1/events?wait=30&incoming=true&cursor={answer.json['cursor']}"
            answer = await while_waiting(w, client.get(question), lambda: writes(w, app, "hi"))
            assert [it["kind"] for it in answer.json["items"]] == ["incoming"]
            assert not w.api._arrivals._waiting

    run(story())


def test_what_is_there_already_is_answered_without_waiting(run: Run) -> None:
    """With events behind the cursor the longest wait is none."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            await sent(w.client, app, "ann")
            async with asyncio.timeout(LONG_S):
                assert len((await page(w.client, "wait=30"))["items"]) == 1

    run(story())


def test_others_events_wake_nobody(run: Run) -> None:
    """A follower of one application is not asked to look when something happens in another; it is told when its own does."""

    async def story() -> None:
        async with world() as w:
            mine = await app_with_users(w.client, "ann", name="mine")
            theirs = await app_with_users(w.client, "ann", name="theirs")
            client = await token_for(w, mine)
            looks = 0
            feed = w.store.feed

            async def counted(*args: Any, **more: Any) -> FeedPage:
                nonlocal looks
                looks += 1
                return await feed(*args, **more)

            w.store.feed = counted  # type: ignore[method-assign]

            rang, ring = asyncio.Event(), w.api._arrivals._ring

            def rings() -> None:
                ring()
                rang.set()

            w.api._arrivals._ring = rings  # type: ignore[method-assign]

            async def both() -> None:
                for _ in range(5):
                    await sent(w.client, theirs, "ann")
                    await rang.wait()
                    rang.clear()
                assert looks == 1
                await sent(w.client, mine, "ann")

            answer = await while_waiting(w, client.get("/1/events?wait=30"), both)
            assert [it["mobileAppId"] for it in answer.json["items"]] == [mine]
            assert looks == 2

    run(story())


def test_a_wait_ends_with_nothing_and_a_place(run: Run) -> None:
    """After its seconds the answer is empty and its cursor has passed over what was not asked for."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            answer = await while_waiting(w, w.client.get("/1/events?wait=1"), lambda: writes(w, app, "hi"))
            assert answer.json["items"] == []
            assert answer.json["nextCursor"] is None
            assert answer.json["cursor"] == (await page(w.client))["cursor"] != "00" * 8

    run(story())


@pytest.mark.parametrize("shown", ["header", "parameter"])
def test_a_revoked_token_hears_nothing_more(run: Run, shown: str) -> None:
    """A question that waits when its token is revoked is answered 401, not with what came since."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            made = await w.client.made("/1/tokens", {"name": "t", "scopes": ["read"], "apps": [app]})
            client = w.client.as_(made["token"] if shown == "header" else None)
            query = "wait=30" if shown == "header" else f"wait=30&access_token={made['token']}"

            async def revoke_and_send() -> None:
                assert (await w.client.ask("DELETE", f"/1/tokens/{made['id']}", headers=JSON)).status == 204
                await sent(w.client, app, "ann")

            answer = await while_waiting(w, client.get(f"/1/events?{query}"), revoke_and_send)
            assert answer.status == 401

    run(story())


def test_a_stopping_server_answers_who_waits(run: Run) -> None:
    """At once, with nothing and a place to go on from; whoever asks later does not wait either."""

    async def story() -> None:
        async with world() as w:

            async def stop() -> None:
                w.api.close()

            answer = await while_waiting(w, w.client.get("/1/events?wait=30"), stop)
            assert (answer.status, answer.json["items"]) == (200, [])
            async with asyncio.timeout(LONG_S):
                assert (await page(w.client, "wait=30"))["items"] == []

    run(story())


def test_commits_cost_nothing_while_nobody_waits(run: Run) -> None:
    """Without a waiter nothing is noted and no timer set; with hundreds one timer wakes them all, once."""

    async def story() -> None:
        arrivals = Arrivals()
        batch = Batch(incomings=[Incoming(MessageId(bytes(16)), 7, 1, "ann", "phone", "hi")])
        arrivals.on_committed(batch, Committed(0))
        before = arrivals._ringing
        assert before is None
        assert not arrivals._touched

        async def wait(app: int) -> None:
            with arrivals.waiting((app,)) as waiter:
                await waiter.news(LONG_S)

        other, *waiting = [asyncio.ensure_future(wait(app)) for app in (8, *[7] * 300)]
        await asyncio.sleep(0)
        arrivals.on_committed(batch, Committed(0))
        timer = arrivals._ringing
        arrivals.on_committed(batch, Committed(0))
        assert timer is not None
        assert arrivals._ringing is timer
        await asyncio.gather(*waiting)
        assert not other.done()
        other.cancel()

    run(story())
