"""A new secret, taking an endpoint up again, a test against real receivers, and what was given up."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from tests.api.receiver import receiver
from tests.api.world import World, app_with_users, message_to, world

from homing.contract.notification import parse_utc
from homing.contract.signature import verify
from homing.model import DispatchKey, dispatch_key, uuid_bytes
from homing.store.batch import Attempt, Batch, Settle, Verdict
from homing.store.changes import DisableEndpoint

Run = Callable[[Coroutine[Any, Any, Any]], Any]
URL = "http://127.0.0.1:9999/cb"


async def endpoint(w: World, app: int, url: str = URL, **given: object) -> tuple[str, Any]:
    """Make an endpoint; return its path and the answer."""
    answer = await w.client.made(f"/1/apps/{app}/endpoints", {"url": url, "form": "json", **given})
    return f"/1/apps/{app}/endpoints/{answer['id']}", answer


def test_a_rotated_secret_signs_beside_the_old_one_until_its_grace_is_over(run: Run) -> None:
    """The answer tells the new one once and until when; the sender's view has two signers, then one."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            path, answer = await endpoint(w, app)
            before_ms = time.time() * 1000
            rotated = await w.client.post(f"{path}/rotate-secret", {"graceSeconds": 60})
            assert rotated.status == 200
            assert rotated.json["secret"].startswith("whsec_")
            assert rotated.json["secret"] != answer["secret"]
            until_ms, _ = parse_utc(rotated.json["previousValidUntil"])
            assert before_ms + 59_000 < until_ms < before_ms + 90_000
            [stored] = await w.store.endpoints(None)
            view = w.directory.view(stored.id)
            assert view is not None
            assert len(view.signers) == 2
            at_once = await w.client.post(f"{path}/rotate-secret", {"graceSeconds": 0})
            assert at_once.json["previousValidUntil"] is None
            view = w.directory.view(stored.id)
            assert view is not None
            assert len(view.signers) == 1
            day = await w.client.post(f"{path}/rotate-secret")  # no body: the default grace of a day
            until = datetime.fromisoformat(day.json["previousValidUntil"]).timestamp()
            assert 86_000 < until - time.time() < 86_500

    run(story())


def test_a_rotation_that_is_repeated_rotates_once(run: Run) -> None:
    """The same idempotency key gets the first answer, without the secret."""

    async def story() -> None:
        async with world() as w:
            path, _ = await endpoint(w, await app_with_users(w.client))
            key = {"idempotency-key": "k"}
            first = await w.client.post(f"{path}/rotate-secret", {}, headers=key)
            again = await w.client.post(f"{path}/rotate-secret", {}, headers=key)
            assert again.headers["idempotency-replayed"] == "true"
            assert "secret" in first.json
            assert again.json == {"previousValidUntil": first.json["previousValidUntil"]}

    run(story())


def test_a_disabled_endpoint_is_enabled_and_what_it_missed_begins_to_be_told(run: Run) -> None:
    """The answer names since when it heard of nothing, and the job; enabling one that is well is harmless."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            path, _ = await endpoint(w, app)
            harmless = await w.client.post(f"{path}/enable")
            assert (harmless.status, harmless.json["state"]) == (200, "active")
            assert "missed" not in harmless.json
            [stored] = await w.store.endpoints(None)
            await w.store.apply(DisableEndpoint(stored.id, "answered 410"))
            shown = (await w.client.get(path)).json
            assert (shown["state"], shown["stateReason"]) == ("disabled", "answered 410")
            counted = await w.client.post(f"{path}/replay/count", {"which": "all"})
            assert counted.json["total"] == 0
            assert (await w.client.post(f"{path}/replay")).status == 409
            for _ in range(3):
                await w.client.made("/1/messages", message_to(app, "ann"))
            counted = await w.client.post(f"{path}/replay/count", {"which": "missed"})
            assert counted.json["total"] == 3  # though it is told nothing while it is disabled
            enabled = (await w.client.post(f"{path}/enable", {"replayMissed": True})).json
            assert (enabled["state"], enabled["stateReason"]) == ("active", None)
            assert enabled["missed"] == {"since": shown["disabledAt"], "dead": 0}
            counted = await w.client.post(f"{path}/replay/count", {"which": "missed"})
            assert counted.json == {"total": 3, "isExact": True}
            job = (await w.client.get(f"/1/jobs/{enabled['jobId']}")).json
            assert (job["kind"], job["state"], job["mobileAppId"]) == ("replay", "running", app)

    run(story())


def test_a_test_tells_each_step_of_a_good_exchange(run: Run) -> None:
    """A signed sample, marked as one, reaches the receiver; nothing of it is recorded."""

    async def story() -> None:
        async with world() as w, receiver() as receivers:
            app = await app_with_users(w.client)
            path, made = await endpoint(w, app, receivers.url("ok"))
            told = await w.client.post(f"{path}/test", {"status": "read"})
            assert told.status == 200
            answer = told.json
            assert (answer["ok"], answer["verdict"]) == (True, "a callback would be settled")
            assert [step["name"] for step in answer["steps"]] == ["address", "connect", "answer"]
            assert all(step["ok"] for step in answer["steps"])
            [request] = receivers.requests
            assert request.headers["homing-test"] == "true"
            assert request.headers["webhook-id"] == answer["webhookId"]
            assert b'"status":"read"' in request.body
            assert b'"recipient":"homing-test"' in request.body
            verify(request.headers, request.body, [made["secret"]], time.time())
            assert answer["request"]["headers"]["webhook-signature"] == "[hidden]"
            assert (await w.client.get(f"{path}/attempts")).json["items"] == []
            assert (await w.client.get("/1/messages")).json["items"] == []

    run(story())


def test_a_test_names_what_is_wrong(run: Run) -> None:
    """A slash the framework moved, credentials that are wanted, nobody there, an address that is refused."""

    async def story() -> None:
        async with world() as w, receiver() as receivers:
            app = await app_with_users(w.client)
            path, _ = await endpoint(w, app, receivers.url("slash"))
            moved = (await w.client.post(f"{path}/test")).json
            assert (moved["ok"], moved["status"]) == (False, 307)
            assert moved["betterUrl"] == receivers.url("slash") + "/"
            assert "slash" in moved["verdict"]
            assert moved["steps"][-1]["name"] == "answer"
            path, _ = await endpoint(w, app, receivers.url("login"))
            assert "credentials" in (await w.client.post(f"{path}/test")).json["verdict"]
            path, _ = await endpoint(w, app, "http://127.0.0.1:9998/")
            refused = (await w.client.post(f"{path}/test")).json
            assert (refused["error"], refused["steps"][-1]["name"]) == ("connect", "connect")

    run(story())


def test_many_tests_at_once_all_come_back(run: Run) -> None:
    """More than there is room for: each waits for its turn."""

    async def story() -> None:
        async with world() as w, receiver() as receivers:
            app = await app_with_users(w.client)
            path, _ = await endpoint(w, app, receivers.url("ok"))
            answers = await asyncio.gather(*(w.client.post(f"{path}/test") for _ in range(30)))
            assert all(answer.json["ok"] for answer in answers)
            assert len({answer.json["webhookId"] for answer in answers}) == 30

    run(story())


def test_what_was_given_up_is_listed_and_grouped(run: Run) -> None:
    """Page by page, newest message first; counted by reason and status."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            path, _ = await endpoint(w, app)
            [stored] = await w.store.endpoints(None)
            ids = [
                (await w.client.made("/1/messages", message_to(app, "ann")))["messageId"] for _ in range(3)
            ]
            keys: list[DispatchKey] = [dispatch_key(uuid_bytes(one) or b"", 0) for one in ids]
            attempt = Attempt(w.clock.now_ms(), 3, 404, "4xx")
            settles = [
                Settle(key, stored.id, 1, 0, Verdict.DEAD, attempt, 0, 0, "tries_spent") for key in keys
            ]
            await w.store.commit(Batch(settles=settles))
            first = (await w.client.get(f"{path}/dead?limit=2")).json
            assert [item["messageId"] for item in first["items"]] == ids[:0:-1]
            rest = (await w.client.get(f"{path}/dead?limit=2&cursor={first['nextCursor']}")).json
            assert ([item["messageId"] for item in rest["items"]], rest["nextCursor"]) == ([ids[0]], None)
            assert first["items"][0]["status"] == "enqueued"
            assert first["items"][0]["recipient"] == "ann"
            [group] = (await w.client.get(f"{path}/dead/groups")).json["items"]
            assert (group["reason"], group["status"], group["count"]) == ("tries_spent", "enqueued", 3)
            counted = await w.client.post(f"{path}/replay/count", {"which": "dead"})
            assert counted.json["total"] == 3

    run(story())
