"""Sending, looking, explaining and taking back: what POST /1/messages and its kin promise."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from tests.api.world import World, app_with_users, message_to, world

from homing.api.answers import RecipientReply
from homing.lifecycle.dispatch import Fallback, Message, PushAccepted, Read, Received
from homing.model import dispatch_key, uuid_bytes
from homing.store.batch import Occurrence, Settle, Verdict

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def key_of(message_id: str, position: int = 0) -> Any:
    raw = uuid_bytes(message_id)
    assert raw is not None
    return dispatch_key(raw, position)


async def happens(w: World, message_id: str, *inputs: Any, position: int = 0) -> None:
    await w.engine.record([Occurrence(key_of(message_id, position), one) for one in inputs])


def test_a_message_is_stored_and_told(run: Run) -> None:
    """201 with the id, the time, and for each recipient the first status, in the sender's order."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "Ann", "bob")
            answer = await w.client.post("/1/messages", message_to(app, "ANN", "nobody", "bob"))
            sent = answer.json
            assert answer.status == 201
            assert list(sent) == ["messageId", "createdAt", "mobileAppId", "text", "recipients"]
            assert (sent["mobileAppId"], sent["text"]) == (app, "hello")
            assert sent["recipients"] == [
                {"identifier": "Ann", "status": "enqueued"},
                {"identifier": "nobody", "status": "IdentifierNotFound"},
                {"identifier": "bob", "status": "enqueued"},
            ]
            assert sent["messageId"][14] == "7"

    run(story())


def test_everything_a_compatible_sender_sends_is_taken(run: Run) -> None:
    """All the compatible properties together, the application's id as digits, find their places."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            message = {
                "mobileAppId": str(app),
                "text": "hello",
                "recipients": [
                    {
                        "identifier": "ann",
                        "recipientRef": "rr",
                        "override": {"text": "dear ann", "mobileNumber": "393331234567"},
                    }
                ],
                "notificationText": "psst",
                "messageRef": "mr",
                "channel": "bills",
                "optionalData": {"a": {"b": [1, None, "ü"]}},
                "devicesData": {"ios": {"alert": "x"}, "android": {"title": "y"}},
                "ttlSeconds": 600,
                "fallback": {"mode": "sms", "onUndeliveredSeconds": 300, "text": "sms", "sender": "BANK"},
            }
            sent = await w.client.made("/1/messages", message)
            shown = (await w.client.get(f"/1/messages/{sent['messageId']}")).json
            assert shown["messageRef"] == "mr"
            assert shown["recipients"][0]["recipientRef"] == "rr"
            assert shown["recipients"][0]["fallback"] == "armed"
            stored = await w.store.message(key_of(sent["messageId"])[:16])
            assert stored is not None
            body, dispatch = stored.body, stored.dispatches[0]
            assert (body.notification_text, body.channel) == ("psst", "bills")
            assert (body.sms_text, body.sms_sender) == ("sms", "BANK")
            assert body.optional_data == message["optionalData"]
            assert body.devices_data == message["devicesData"]
            assert (dispatch.text, dispatch.facts.fallback_ref) == ("dear ann", "393331234567")
            assert stored.expires_at_ms - stored.created_at_ms == 600_000

    run(story())


@pytest.mark.parametrize(
    "given, fallback",
    [
        ({}, "armed"),
        ({"fallback": None}, "off"),
        ({"fallback": {"mode": "off"}}, "off"),
        ({"fallback": {}}, "armed"),
    ],
)
def test_a_messages_fallback_goes_over_the_applications(
    run: Run, given: dict[str, object], fallback: str
) -> None:
    """Left out: as the application has it; null or mode off: none."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            patch = {"fallback": {"mode": "notify", "onUndeliveredSeconds": 60}}
            assert (await w.client.ask("PATCH", f"/1/apps/{app}", patch)).status == 200
            sent = await w.client.made("/1/messages", message_to(app, "ann", **given))
            shown = (await w.client.get(f"/1/messages/{sent['messageId']}")).json
            assert shown["recipients"][0]["fallback"] == fallback

    run(story())


@pytest.mark.parametrize("twice", [("ann", "ann"), ("ann", "ANN"), ("Ä", "a\u0308"), ("straße", "STRASSE")])
def test_the_same_recipient_twice_is_refused(run: Run, twice: tuple[str, str]) -> None:
    """Also in another spelling: NFC and casefold decide; nothing is stored."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            answer = await w.client.post("/1/messages", message_to(app, "x", *twice))
            assert (answer.status, answer.code) == (422, "invalid_request")
            assert answer.json["errors"][0]["path"] == "$.recipients[2].identifier"
            assert (await w.client.get("/1/messages")).json["items"] == []

    run(story())


def test_a_thousand_recipients_are_one_message(run: Run) -> None:
    """The largest message is taken whole."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client)
            sent = await w.client.made("/1/messages", message_to(app, *(f"u{n}" for n in range(1000))))
            assert [recipient["identifier"] for recipient in sent["recipients"]] == [
                f"u{n}" for n in range(1000)
            ]

    run(story())


def test_unknown_properties_are_named_in_the_answer(run: Run) -> None:
    """A typo does not fail the call; `Homing-Ignored` names it."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            message = message_to(app, "ann", mesageRef="x", devideData={})
            answer = await w.client.post("/1/messages", message)
            assert answer.status == 201
            assert answer.headers["homing-ignored"] == "$.mesageRef, $.devideData"
            clean = await w.client.post("/1/messages", message_to(app, "ann"))
            assert "homing-ignored" not in clean.headers

    run(story())


def test_the_ignored_header_stays_a_header(run: Run) -> None:
    """However many and long the unknown names, the header is bounded ASCII that ends with a whole path."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            odd = {f"ü{n}" + "x" * 500: 1 for n in range(200)}
            answer = await w.client.post("/1/messages", message_to(app, "ann", **odd))
            told = answer.headers["homing-ignored"]
            assert answer.status == 201
            assert len(told) <= 4000
            assert told.isascii()
            assert told.endswith("']")

    run(story())


def test_the_whole_story_of_a_message_is_shown(run: Run) -> None:
    """Events with number, status and time; `status` is the latest one's; states by their names."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            sent = await w.client.made("/1/messages", message_to(app, "ann", "zed"))
            await happens(w, sent["messageId"], PushAccepted(), Received(), Read())
            shown = (await w.client.get(f"/1/messages/{sent['messageId']}")).json
            ann, zed = shown["recipients"]
            told = [(event["seq"], event["status"]) for event in ann["events"]]
            assert told == [(1, "enqueued"), (2, "PushSent"), (3, "delivered"), (4, "read")]
            assert (ann["status"], ann["message"], ann["fallback"]) == ("read", "read", "off")
            assert (zed["status"], zed["message"]) == ("IdentifierNotFound", "unknown")
            assert shown["createdAt"] == sent["createdAt"]
            assert shown["expiresAt"] > shown["createdAt"]

    run(story())


def test_state_names_in_answers_are_those_of_the_machine() -> None:
    """What the document allows is what the enums are called."""
    declared_reply = msgspec.inspect.type_info(RecipientReply)
    assert isinstance(declared_reply, msgspec.inspect.StructType)
    types = {field.encode_name: field.type for field in declared_reply.fields}
    for name, states in (("message", Message), ("fallback", Fallback)):
        declared = types[name]
        assert isinstance(declared, msgspec.inspect.LiteralType)
        assert set(declared.values) == {state.name.lower() for state in states}


def test_recall_expires_what_was_not_delivered(run: Run) -> None:
    """Undelivered dispatches expire now, delivered ones stay; repeating it is harmless."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann", "bob")
            sent = await w.client.made("/1/messages", message_to(app, "ann", "bob", "zed"))
            path = f"/1/messages/{sent['messageId']}/expire"
            await happens(w, sent["messageId"], Received(), position=1)
            answer = await w.client.post(path)
            assert answer.status == 200
            states = [recipient["status"] for recipient in answer.json["recipients"]]
            assert states == ["expired", "delivered", "IdentifierNotFound"]
            again = await w.client.post(path)
            assert (again.status, again.body) == (200, answer.body)

    run(story())


def test_recall_of_what_was_delivered_to_all_is_a_conflict(run: Run) -> None:
    """When nobody is left to take it back from, nothing changes and the answer is 409."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            sent = await w.client.made("/1/messages", message_to(app, "ann"))
            await happens(w, sent["messageId"], Read())
            answer = await w.client.post(f"/1/messages/{sent['messageId']}/expire")
            assert (answer.status, answer.code) == (409, "conflict")

    run(story())


def test_explain_says_in_sentences_what_is_known(run: Run) -> None:
    """For each recipient a list of sentences with stable keys."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            await w.client.made(
                f"/1/apps/{app}/endpoints",
                {"url": "http://127.0.0.1:9999/", "form": "json", "description": "orders"},
            )
            override = {"identifier": "ann", "override": {"mobileNumber": "393331234567"}}
            message = {**message_to(app), "recipients": [override, {"identifier": "zed"}]}
            message["fallback"] = {"mode": "sms", "onUndeliveredSeconds": 60}
            sent = await w.client.made("/1/messages", message)
            told = (await w.client.get(f"/1/messages/{sent['messageId']}/explain")).json
            assert told["messageId"] == sent["messageId"]
            ann, zed = told["recipients"]
            keys = [sentence["key"] for sentence in ann["explanation"]]
            assert keys[0] == "explain.waiting_without_device"
            texts = " ".join(sentence["text"] for sentence in ann["explanation"])
            assert "orders" in texts
            assert "393…67" in texts
            assert "393331234567" not in texts
            assert zed["explanation"][0]["key"] == "explain.unknown_recipient"

    run(story())


def test_callbacks_show_what_is_owed_and_what_was_told(run: Run) -> None:
    """One item per recipient and endpoint: in flight, retrying, done, dead, with statuses by name."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "ann")
            endpoint = await w.client.made(
                f"/1/apps/{app}/endpoints", {"url": "http://127.0.0.1:9999/", "form": "json"}
            )
            sent = await w.client.made("/1/messages", message_to(app, "ann"))
            path = f"/1/messages/{sent['messageId']}/callbacks"
            key = key_of(sent["messageId"])
            internal = (await w.store.endpoints(app))[0].id

            async def settle(n: int, tries: int, verdict: Verdict, retry_at_ms: int = 0) -> dict[str, Any]:
                w.engine.settle([Settle(key, internal, n, tries, verdict, None, retry_at_ms)])
                await happens(w, sent["messageId"], Received())  # on disk after what was handed in before it
                (item,) = (await w.client.get(path)).json["items"]
                return dict(item)

            (first,) = (await w.client.get(path)).json["items"]
            assert first["endpointId"] == endpoint["id"]
            assert (first["state"], first["pending"], first["settled"]) == ("in_flight", ["enqueued"], [])
            item = await settle(1, 0, Verdict.DEAD)
            assert (item["state"], item["pending"], item["dead"]) == (
                "in_flight",
                ["delivered"],
                ["enqueued"],
            )
            item = await settle(2, 0, Verdict.DONE)
            assert (item["state"], item["settled"], item["pending"]) == ("dead", ["delivered"], [])
            other = await w.client.made("/1/messages", message_to(app, "ann"))
            key, path = key_of(other["messageId"]), f"/1/messages/{other['messageId']}/callbacks"
            item = await settle(1, 0, Verdict.RETRY, w.clock.now_ms() + 60_000)
            assert (item["state"], item["tries"]) == ("retrying", 1)
            assert item["nextTryAt"] is not None

    run(story())


def test_messages_are_found_by_each_filter(run: Run) -> None:
    """Recipient in any spelling, reference, status, time and application; newest first."""

    async def story() -> None:
        async with world() as w:
            app = await app_with_users(w.client, "Ann", "bob")
            one = await w.client.made("/1/messages", message_to(app, "Ann", messageRef="r1"))
            w.clock.ahead_ms += 60_000
            two = await w.client.made("/1/messages", message_to(app, "bob", messageRef="r2"))
            await happens(w, two["messageId"], Received())

            async def found(query: str) -> list[str]:
                answer = await w.client.get(f"/1/messages?{query}")
                assert answer.status == 200, answer.body
                return [item["messageId"] for item in answer.json["items"]]

            first, second = one["messageId"], two["messageId"]
            assert await found("") == [second, first]
            assert await found("recipient=ANN") == [first]
            assert await found("messageRef=r2") == [second]
            assert await found("status=delivered") == [second]
            assert await found(f"mobileAppId={app}&status=enqueued") == [first]
            since = two["createdAt"].replace("Z", "%2B00:00")
            assert await found(f"until={since}") == [first]
            assert await found(f"since={one['createdAt']}") == [second, first]
            assert await found(f"since={two['createdAt']}") == [second]
            assert await found("since=2100-01-01T00:00:00Z") == []

    run(story())


@pytest.mark.parametrize("time", ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"])
def test_a_time_that_is_none_is_refused(run: Run, time: str) -> None:
    """Only ISO-8601 with a zone says when."""

    async def story() -> None:
        async with world() as w:
            answer = await w.client.get(f"/1/messages?since={time}")
            assert (answer.status, answer.code) == (422, "invalid_request")

    run(story())
