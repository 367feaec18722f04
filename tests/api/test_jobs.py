"""Jobs that tell callbacks again: begun, looked at, paused, ended; what they do is the runner's business."""

from collections.abc import Callable, Coroutine
from typing import Any

from tests.api.world import World, app_with_users, message_to, world

from homing.api.messages import new_message_id
from homing.model import uuid_text
from homing.store.batch import Incoming
from homing.store.changes import DisableEndpoint, SetEndpointHealth

Run = Callable[[Coroutine[Any, Any, Any]], Any]
NO_UUID = "01890000-0000-7000-8000-000000000000"


async def ready(w: World, messages: int = 1) -> tuple[int, str, list[str]]:
    """An application with an endpoint and some messages: its id, the endpoint's path, the messages' ids."""
    app = await app_with_users(w.client, "ann", "bob")
    made = await w.client.made(f"/1/apps/{app}/endpoints", {"url": "http://127.0.0.1:9999/", "form": "json"})
    ids = [
        (await w.client.made("/1/messages", message_to(app, "ann", "bob")))["messageId"]
        for _ in range(messages)
    ]
    return app, f"/1/apps/{app}/endpoints/{made['id']}", ids


def test_a_replay_begins_a_job_that_says_how_far_it_is(run: Run) -> None:
    """202 with its id; the job names what it is, whose, and its pace."""

    async def story() -> None:
        async with world() as w:
            app, path, _ = await ready(w)
            begun = await w.client.post(f"{path}/replay", {"which": "all", "ratePerSecond": 50})
            assert begun.status == 202
            job = (await w.client.get(f"/1/jobs/{begun.json['jobId']}")).json
            created, id_ = job.pop("createdAt"), job.pop("id")
            assert created.endswith("Z")
            assert id_ == begun.json["jobId"]
            assert job == {
                "kind": "replay", "state": "running", "done": 0, "failed": 0, "total": 0,
                "ratePerSecond": 50, "mobileAppId": app,
            }  # fmt: skip

    run(story())


def test_a_replay_that_is_repeated_is_one_job(run: Run) -> None:
    """The same idempotency key names the same job."""

    async def story() -> None:
        async with world() as w:
            _, path, _ = await ready(w)
            key = {"idempotency-key": "once"}
            first = await w.client.post(f"{path}/replay", {}, headers=key)
            again = await w.client.post(f"{path}/replay", {}, headers=key)
            assert (again.status, again.json) == (202, first.json)
            assert len((await w.client.get("/1/jobs")).json["items"]) == 1

    run(story())


def test_a_job_is_paused_goes_on_and_is_cancelled(run: Run) -> None:
    """An ended job changes no more: 409."""

    async def story() -> None:
        async with world() as w:
            _, path, _ = await ready(w)
            job = "/1/jobs/" + (await w.client.post(f"{path}/replay", {})).json["jobId"]
            for state in ("paused", "running", "cancelled"):
                changed = await w.client.ask("PATCH", job, {"state": state})
                assert (changed.status, changed.json["state"]) == (200, state)
                assert ("endedAt" in changed.json) is (state == "cancelled")
            assert (await w.client.ask("PATCH", job, {"state": "running"})).code == "conflict"
            assert (await w.client.ask("PATCH", job, {"state": "done"})).status == 422

    run(story())


def test_a_count_tells_what_a_replay_would_tell(run: Run) -> None:
    """By status and by time; nothing begins."""

    async def story() -> None:
        async with world() as w:
            _, path, _ = await ready(w, 3)

            async def total(**wish: object) -> int:
                answer = await w.client.post(f"{path}/replay/count", wish)
                assert answer.json["isExact"] is True
                return int(answer.json["total"])

            assert await total(which="all") == 6
            assert await total(which="all", statuses=["read"]) == 0
            assert await total(which="all", until="2020-01-01T00:00:00Z") == 0
            assert await total(which="all", since="2020-01-01T00:00:00Z", statuses=["enqueued"]) == 6
            assert await total() == 0
            assert (await w.client.post(f"{path}/replay/count", {"which": "missed"})).status == 422
            assert await total(which="missed", since="2020-01-01T00:00:00Z") == 6
            assert (await w.client.get("/1/jobs")).json["items"] == []

    run(story())


def test_one_callback_of_a_message_is_named_by_its_webhook_id(run: Run) -> None:
    """All of a message's, those to one endpoint, or one alone; an id of another message is refused."""

    async def story() -> None:
        async with world() as w:
            app, path, (one, other) = await ready(w, 2)
            [stored] = await w.store.endpoints(app)
            replay = f"/1/messages/{one}/callbacks/replay"

            async def spec(wish: dict[str, object]) -> Any:
                answer = await w.client.post(replay, wish)
                assert answer.status == 202, answer.body
                job = await w.store.job(answer.json["jobId"])
                assert job is not None
                count, _ = await w.store.count_replay(app, job.spec, b"", 100)
                return count

            assert await spec({}) == 2
            assert await spec({"endpointId": path.rpartition("/")[2]}) == 2
            named = f"msg_{one.replace('-', '')}0001_1_{stored.id}"
            assert await spec({"webhookId": named}) == 1
            for bad in (f"msg_{other.replace('-', '')}0001_1_{stored.id}", "x", ""):
                answer = await w.client.post(replay, {"webhookId": bad})
                assert (answer.status, answer.json["errors"][0]["path"]) == (422, "$.webhookId")
            assert (await w.client.post(replay, {"endpointId": NO_UUID})).status == 404

    run(story())


def test_what_a_person_wrote_is_told_again_too(run: Run) -> None:
    """An incoming message has callbacks like any other, and answers as unknown to whom it does not belong."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            wish = {"url": "http://127.0.0.1:9999/", "form": "json", "kind": "inbox"}
            await w.client.made(f"/1/apps/{app}/endpoints", wish)
            ann = await w.store.user(app, "ann")
            assert ann is not None
            id_ = await w.engine.take_in(
                Incoming(new_message_id(w.clock.now_ms()), app, ann.id, "ann", "d", "hi")
            )
            path = f"/1/messages/{uuid_text(id_)}/callbacks/replay"
            job = await w.store.job((await w.client.post(path)).json["jobId"])
            assert job is not None
            assert (await w.store.count_replay(app, job.spec, b"", 10))[0] == 1
            other = await app_with_users(w.client)
            wanted = {"name": "t", "scopes": ["manage"], "apps": [other]}
            stranger = w.client.as_((await w.client.made("/1/tokens", wanted))["token"])
            foreign = await stranger.post(path)
            assert foreign.status == 404
            assert foreign.body == (await stranger.post(f"/1/messages/{NO_UUID}/callbacks/replay")).body

    run(story())


def test_explain_says_why_callbacks_wait(run: Run) -> None:
    """Paused, resting, disabled: the endpoint's reason is in the message's explanation."""

    async def story() -> None:
        async with world() as w:
            app, path, [message] = await ready(w)
            [stored] = await w.store.endpoints(app)

            async def told() -> str:
                answer = (await w.client.get(f"/1/messages/{message}/explain")).json
                return str(answer["recipients"][0]["explanation"][-1]["text"])

            assert "0 of 1 callbacks settled" in await told()
            await w.client.ask("PATCH", path, {"paused": True})
            assert "waits, because it is paused by its owner" in await told()
            await w.client.ask("PATCH", path, {"paused": False})
            await w.store.apply(SetEndpointHealth(stored.id, "resting", "10 failures in a row"))
            assert "it rests and is asked now and then (10 failures in a row)" in await told()
            await w.store.apply(DisableEndpoint(stored.id, "answered 410"))
            assert "it is disabled (answered 410)" in await told()

    run(story())


def test_jobs_are_listed_newest_first_page_by_page(run: Run) -> None:
    """Of all applications, or of one."""

    async def story() -> None:
        async with world() as w:
            _, path, _ = await ready(w)
            ids = [(await w.client.post(f"{path}/replay", {})).json["jobId"] for _ in range(5)]
            seen, cursor = [], ""
            while True:
                page = (await w.client.get(f"/1/jobs?limit=2{cursor}")).json
                seen += [job["id"] for job in page["items"]]
                if page["nextCursor"] is None:
                    break
                cursor = f"&cursor={page['nextCursor']}"
            assert seen == ids[::-1]
            other = await app_with_users(w.client)
            assert (await w.client.get(f"/1/jobs?mobileAppId={other}")).json["items"] == []

    run(story())


def test_what_is_told_about_endpoints_is_not_told_again(run: Run) -> None:
    """Facts about endpoints are kept until they are told, so there is nothing to replay: 409."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            wish = {"url": "http://127.0.0.1:9999/", "form": "json", "kind": "operations"}
            made = await w.client.made(f"/1/apps/{app}/endpoints", wish)
            answer = await w.client.post(f"/1/apps/{app}/endpoints/{made['id']}/replay", {})
            assert answer.code == "conflict"

    run(story())
