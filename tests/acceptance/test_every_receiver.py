"""Callbacks that survive every receiver, seen from outside: a served node, its API, and receivers that misbehave."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

from tests.acceptance.libraries import LIBRARIES, NO_MATCH, Case
from tests.acceptance.served import Served, made
from tests.acceptance.town import Town, say, told, town, until, until_told
from tests.acceptance.wire import wire
from tests.waiting import again

from homing.simulator.receivers import Caught, Receiver

Run = Callable[[Coroutine[Any, Any, Any]], Any]
WITHIN_S = 15.0


async def path_of(place: Town, receiver: Receiver) -> str:
    """The path of a receiver's endpoint."""
    items = (await place.http.get(f"{place.path}/endpoints")).json()["items"]
    [one] = [item for item in items if item["url"].startswith(receiver.url)]
    return f"{place.path}/endpoints/{one['id']}"


async def shown(place: Town, path: str, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Ask until what is shown holds, and return it."""

    async def ask() -> dict[str, Any]:
        answer: dict[str, Any] = (await place.http.get(path)).json()
        return answer

    return await again(ask, holds, "what a callback's answer came to is written after it was answered")


async def ended(place: Town, job: str) -> dict[str, Any]:
    """Wait until a job is through."""
    return await shown(place, f"/1/jobs/{job}", lambda it: it["state"] == "done")


def statuses(caught: list[Caught], message: str) -> list[str]:
    return [told(one)[2] for one in caught if told(one)[0] == message]


def test_an_endpoint_that_is_gone_is_disabled_enabled_and_told_what_it_missed(run: Run, node: Served) -> None:
    """410 ends everything for it; enabled again, it gets all of that under the ids it would have had."""

    async def story() -> None:
        async with town(node) as place:
            gone, other = await place.receiver("json", "gone"), await place.receiver("form")
            path = await path_of(place, gone)
            first = await place.send("nobody")
            disabled = await shown(place, path, lambda it: it["state"] == "disabled")
            assert "410" in disabled["stateReason"]
            second = await place.send("nobody")
            await until_told(other, second, "IdentifierNotFound")
            assert [told(one)[0] for one in gone.caught] == [first]
            await shown(place, f"{path}/dead/groups", lambda it: it["items"])  # settled after it was disabled
            await gone.becomes("ok")
            enabled = (await place.http.post(f"{path}/enable", json={"replayMissed": True})).json()
            assert (enabled["state"], enabled["missed"]["dead"]) == ("active", 1)
            job = await ended(place, enabled["jobId"])
            assert (job["total"], job["done"], job["failed"]) == (2, 2, 0)
            again = [one for one in gone.caught if one.answered == 204]
            assert {told(one)[0] for one in again} == {first, second}
            assert all(one.headers["homing-replay"] == enabled["jobId"] for one in again)
            assert gone.caught[0].headers["webhook-id"] in {one.headers["webhook-id"] for one in again}
            third = await place.send("nobody")
            await until_told(gone, third, "IdentifierNotFound")

    run(story())


def test_a_paused_endpoint_gets_nothing_until_it_goes_on(run: Run, node: Served) -> None:
    """What happened meanwhile waits in the store, and comes in order afterwards."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            held, other = await place.receiver("json", paused=True), await place.receiver("get")
            path = await path_of(place, held)
            message = await place.send("ann")
            await until_told(other, message, "enqueued")
            views = (await place.http.get(f"/1/messages/{message}/callbacks")).json()["items"]
            assert {one["state"] for one in views if one["endpointId"] in path} == {"waiting"}
            async with place.phone(await place.log_in("ann")) as phone:
                frame = await asyncio.wait_for(phone.recv(), WITHIN_S)
                assert message in str(frame)
                await say(phone, {"type": "read", "messageIds": [message]})
                await until_told(other, message, "read")
            assert not held.caught
            assert (await place.http.patch(path, json={"paused": False})).json()["state"] == "active"
            caught = await until_told(held, message, "read")
            assert statuses(caught, message) == ["enqueued", "delivered", "read"]

    run(story())


def test_a_message_with_a_callback_of_its_own_is_told_there_only(run: Run, node: Served) -> None:
    """In the method it names, signed with the application's secret, and a 410 ends this message's callbacks alone."""

    async def story() -> None:
        async with town(node) as place, wire(410) as own:
            everyone = await place.receiver("json")
            rotated = await place.http.post(f"{place.path}/rotate-callback-secret")
            secret = rotated.json()["secret"]
            sent: dict[str, str] = {}
            for method in ("GET", "POST", "JSON"):
                callback = {"method": method, "url": own.url(f"{method}?x=1")}
                sent[method] = await place.send("nobody", notifyCallback=callback)
                await own.heard(len(sent))
            plain = await place.send("nobody")
            await until_told(everyone, plain, "IdentifierNotFound")
            assert {told(one)[0] for one in everyone.caught} == {plain}
            cases = []
            for raw, (method, message) in zip(own.caught, sent.items(), strict=True):
                assert raw.method == (b"GET" if method == "GET" else b"POST")
                assert raw.path.startswith(method)
                assert message.encode() in raw.payload
                names = ("webhook-id", "webhook-timestamp", "webhook-signature")
                cases.append(Case(raw.payload, {name: raw.header(name) for name in names}, secret))
            assert own.caught[0].query.startswith(b"x=1&type=MessageStatus&")
            assert all(library(cases) == [None] * 3 for library in LIBRARIES.values())
            views = [
                (await place.http.get(f"/1/messages/{one}/callbacks")).json()["items"]
                for one in sent.values()
            ]
            assert [[item["state"] for item in view] for view in views] == [["dead"], ["done"], ["done"]]

    run(story())


def test_while_a_secret_rotates_old_and_new_both_verify(run: Run, node: Served) -> None:
    """Through the API, in all three forms, with the libraries of Python and npm; at once: only the new one."""

    async def story() -> None:
        async with town(node) as place, wire() as receiver:
            olds: list[str] = []
            paths: list[str] = []
            for form in ("get", "form", "json"):
                wish = {"url": receiver.url(f"{form}?q=1"), "form": form}
                endpoint = await made(place.http, f"{place.path}/endpoints", wish)
                olds.append(endpoint["secret"])
                paths.append(f"{place.path}/endpoints/{endpoint['id']}")

            async def rotate(grace_s: int) -> list[str]:
                wish = {"graceSeconds": grace_s}
                return [
                    (await place.http.post(f"{path}/rotate-secret", json=wish)).json()["secret"]
                    for path in paths
                ]

            def cases(secrets: list[str], since: int) -> list[Case]:
                names = ("webhook-id", "webhook-timestamp", "webhook-signature")
                by_form = {raw.path: raw for raw in receiver.caught[since:]}
                return [
                    Case(by_form[form].payload, {n: by_form[form].header(n) for n in names}, secret)
                    for form, secret in zip(("get", "form", "json"), secrets, strict=True)
                ]

            news = await rotate(3600)
            await place.send("nobody")
            await receiver.heard(3)
            for library in LIBRARIES.values():
                assert library(cases(olds, 0) + cases(news, 0)) == [None] * 6
            newest = await rotate(0)
            await place.send("nobody")
            await receiver.heard(6)
            for library in LIBRARIES.values():
                assert library(cases(newest, 3)) == [None] * 3
                assert library(cases(news, 3)) == [NO_MATCH] * 3

    run(story())


def test_who_looks_after_endpoints_is_told_what_becomes_of_them(run: Run, node: Served) -> None:
    """Kind ``operations``: resting, given up, disabled; flat JSON, signed like everything else."""

    async def story() -> None:
        async with town(node) as place, wire() as operations:
            wish = {"url": operations.url("ops"), "form": "json", "kind": "operations"}
            await made(place.http, f"{place.path}/endpoints", wish)
            sick = await place.receiver("json", "cuts")
            path = await path_of(place, sick)
            for _ in range(12):
                await place.send("nobody")
            resting = await shown(place, path, lambda it: it["state"] == "resting")
            assert "10 failures in a row" in resting["stateReason"]
            [raw] = await operations.heard(1)
            fact = json.loads(raw.body)
            assert list(fact) == ["type", "timestamp", "applicationId", "endpointId", "reason"]
            assert (fact["type"], fact["applicationId"]) == ("endpoint.resting", str(place.app["id"]))
            assert path.endswith(fact["endpointId"])
            refusing = await place.receiver("form", "unauthorised", retryDelaysSeconds=[0.1])
            message = await place.send("nobody")
            await until(refusing, lambda caught: len(caught) >= 2)
            raws = await operations.heard(2)
            dead = json.loads(raws[1].body)
            assert dead["type"] == "callback.dead"
            assert message in dead["reason"]

    run(story())


def test_failures_are_kept_whole_and_successes_compact(run: Run, node: Served) -> None:
    """Line, headers without secrets, the answer's beginning, the phases, and what it means."""

    async def story() -> None:
        async with town(node) as place:
            receiver = await place.receiver(
                "json",
                "answers:401,204",
                query="?k=1",
                headers={"X-Secret": "canary"},
                auth={"bearer": "canary"},
                retryDelaysSeconds=[0.1],
            )
            path = await path_of(place, receiver)
            await place.send("nobody")
            await until(receiver, lambda caught: len(caught) >= 2)
            log = await shown(place, f"{path}/attempts", lambda it: len(it["items"]) == 2)
            taken, failed = log["items"]
            assert (failed["status"], failed["error"], failed["attempt"]) == (401, "4xx", 1)
            assert failed["request"]["line"].endswith("?k=1 HTTP/1.1")
            assert failed["request"]["headers"]["x-secret"] == "[hidden]"
            assert failed["request"]["headers"]["authorization"] == "[hidden]"
            assert failed["request"]["headers"]["webhook-signature"] == "[hidden]"
            assert "credentials" in failed["note"]
            assert set(failed["timings"]) == {"dnsMs", "connectMs", "tlsMs", "firstByteMs", "totalMs"}
            assert (taken["status"], taken["error"], taken["attempt"]) == (204, None, 2)
            assert set(taken["timings"]) == {"totalMs"}
            assert "canary" not in str(log)
            [first, _] = receiver.caught
            assert first.headers["x-secret"] == "canary"
            assert first.headers["authorization"] == "Bearer canary"

    run(story())


def test_one_callback_is_told_again_by_its_webhook_id(run: Run, node: Served) -> None:
    """The same id and the same bytes, marked as a replay; the timestamp of the signature is of now."""

    async def story() -> None:
        async with town(node) as place:
            receiver = await place.receiver("json")
            message = await place.send("nobody")
            [first] = await until_told(receiver, message, "IdentifierNotFound")
            # What is still owed for the first time is passed over by a replay, so its settle is waited for.
            await shown(
                place, f"/1/messages/{message}/callbacks", lambda it: it["items"][0]["state"] == "done"
            )
            wish = {"webhookId": first.headers["webhook-id"]}
            begun = (await place.http.post(f"/1/messages/{message}/callbacks/replay", json=wish)).json()
            job = await ended(place, begun["jobId"])
            assert (job["total"], job["done"]) == (1, 1)
            [_, again] = receiver.caught
            assert again.headers["homing-replay"] == begun["jobId"]
            assert (again.headers["webhook-id"], again.body) == (first.headers["webhook-id"], first.body)
            assert abs(int(again.headers["webhook-timestamp"]) - time.time()) < 30

    run(story())


def test_an_endpoint_without_order_gets_everything(run: Run, node: Served) -> None:
    """With ``ordered: false`` an event that is refused holds up no other of its message."""

    async def story() -> None:
        async with town(node) as place:
            await place.user("ann")
            receiver = await place.receiver("json", "answers:404,204", ordered=False, retryDelaysSeconds=[60])
            message = await place.send("ann")
            await until(receiver, lambda caught: len(caught) >= 1)
            async with place.phone(await place.log_in("ann")) as phone:
                await asyncio.wait_for(phone.recv(), WITHIN_S)
                await say(phone, {"type": "read", "messageIds": [message]})
                caught = await until_told(receiver, message, "delivered", "read")
            assert sorted(statuses(caught, message)) == ["delivered", "enqueued", "read"]

    run(story())
