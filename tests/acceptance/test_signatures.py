"""Signatures as receivers check them: with the Standard Webhooks libraries of Python and npm, over the bytes that came."""

import json
import re
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
import uvloop
from tests.acceptance.libraries import LIBRARIES, NO_MATCH, Case, Library
from tests.acceptance.served import Served, made
from tests.acceptance.town import hear, say, town
from tests.acceptance.wire import Raw, wire

Run = Callable[[Coroutine[Any, Any, None]], None]
both = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)

FORMS = ("get", "form", "json")
KINDS = ("status", "inbox")
WHO = "Zoë + Łukasz & 🎉"
REF = 'order & co/47 €=100%+1 🎉 "q" \\ ?#;\' 你好 e\u0301 \u2028'
SAID = "1 + 1 & 2 = 100% ü 👩‍👩‍👧 <b>?#\n\tمرحبا"
OWN_QUERY = "a[]=1|2&b=%2e%2E&&c=~!$'()*;@:/?%20+"
"""What an endpoint's URL had already; signed with GET, byte for byte."""


class Heard(NamedTuple):
    """What one life was told: every request as it came, and the secret of each path."""

    began_s: int
    ended_s: int
    requests: list[Raw]
    secrets: dict[str, str]

    def case(self, raw: Raw) -> Case:
        """The request and its secret, as its receiver would verify it."""
        return Case(raw.payload, dict(raw.headers), self.secrets[raw.path])

    def of_each(self) -> list[Raw]:
        """One request of each form and kind."""
        return list({raw.path: raw for raw in self.requests}.values())


async def live(node: Served) -> Heard:
    """A message is sent, received, read and answered, before endpoints and inboxes of every form."""
    began_s, secrets = int(time.time()), {}
    async with town(node) as place, wire() as receiver:
        await place.user(WHO)
        for kind in KINDS:
            for form in FORMS:
                path = f"{kind}/{form}"
                asked = {"url": receiver.url(f"{path}?{OWN_QUERY}"), "form": form, "kind": kind}
                secrets[path] = (await made(place.http, f"{place.path}/endpoints", asked))["secret"]
        recipient = {"identifier": WHO, "recipientRef": REF[::-1]}
        message_id = await place.send(messageRef=REF, recipients=[recipient], fallback={"mode": "off"})
        async with place.phone(await place.log_in(WHO)) as phone:
            assert (await hear(phone))["messageId"] == message_id
            await say(phone, {"type": "read", "messageIds": [message_id]})
            await say(phone, {"type": "send", "text": SAID, "clientRef": "1", "channel": REF})
            requests = await receiver.heard(4 * len(FORMS))
    return Heard(began_s, int(time.time()), requests, secrets)


@pytest.fixture(scope="module")
def heard(node: Served) -> Heard:
    """What all tests here look at: it is told once."""
    return uvloop.run(live(node))


@both
def test_every_callback_verifies(heard: Heard, library: Library) -> None:
    """Three statuses and an incoming message, in each of the three forms, odd characters everywhere."""
    paths = sorted(raw.path for raw in heard.requests)
    assert paths == sorted(3 * [f"status/{form}" for form in FORMS] + [f"inbox/{form}" for form in FORMS])
    assert library([heard.case(raw) for raw in heard.requests]) == [None] * 12


def test_what_was_verified_says_what_was_said(heard: Heard) -> None:
    """The payloads are the odd ones, to the letter; with GET they begin with the query that the URL had already."""
    for raw in heard.requests:
        kind, _, form = raw.path.partition("/")
        if form == "get":
            assert raw.query.startswith(OWN_QUERY.encode() + b"&")
        elif form == "form":
            assert raw.query == OWN_QUERY.encode()
        read = json.loads(raw.body) if form == "json" else dict(parse_qsl(raw.payload.decode()))
        told = (
            {"recipient": WHO, "messageRef": REF, "recipientRef": REF[::-1]}
            if kind == "status"
            else {"sender": WHO, "text": SAID, "channel": REF}
        )
        assert told.items() <= read.items()


def test_the_headers_are_the_standards(heard: Heard) -> None:
    """Each once and spelled in lower case; an id without a full stop, real seconds, one v1 signature."""
    names = ["webhook-id", "webhook-signature", "webhook-timestamp"]
    for raw in heard.requests:
        assert sorted(name for name, _ in raw.headers if name.lower().startswith("webhook")) == names
        assert re.fullmatch(r"[!-\-/-~]{1,256}", raw.header("webhook-id"))
        timestamp = raw.header("webhook-timestamp")
        assert timestamp == str(int(timestamp))
        assert heard.began_s <= int(timestamp) <= heard.ended_s
        assert re.fullmatch(r"v1,[A-Za-z0-9+/]{43}=", raw.header("webhook-signature"))
    assert len({raw.header("webhook-id") for raw in heard.requests}) == 12


@both
def test_any_byte_that_changed_is_noticed(heard: Heard, library: Library) -> None:
    """One bit of one byte of the payload, each byte in its turn, fails with both libraries."""
    cases = [
        case._replace(payload=case.payload[:at] + bytes([case.payload[at] ^ 1]) + case.payload[at + 1 :])
        for case in map(heard.case, heard.of_each())
        for at in range(len(case.payload))
    ]
    assert len(cases) > 1_000
    assert set(library(cases)) == {NO_MATCH}


@both
def test_a_payload_written_anew_is_not_the_one_that_was_signed(heard: Heard, library: Library) -> None:
    """Parsed and encoded again, without the URL's own query, with a line end: only the raw bytes verify."""
    respelled = {
        "get": [(b"%20", b"+"), (OWN_QUERY.encode() + b"&", b""), (b"%2e%2E", b"..")],
        "form": [(b"+", b"%20"), (b"%C3", b"%c3")],
        "json": [(b'":"', b'": "'), (b"/", b"\\/"), (b"}", b"}\n")],
    }
    cases = []
    for raw in heard.of_each():
        for old, new in respelled[raw.path.partition("/")[2]]:
            if old in raw.payload:
                cases.append(heard.case(raw)._replace(payload=raw.payload.replace(old, new)))
        if raw.path.endswith("json"):
            anew = json.dumps(json.loads(raw.body)).encode()
            cases.append(heard.case(raw)._replace(payload=anew))
    assert len(cases) >= 12
    assert set(library(cases)) == {NO_MATCH}


@both
def test_another_id_time_signature_or_secret_fails(heard: Heard, library: Library) -> None:
    """What is signed is this id at this second with this endpoint's secret."""
    cases = []
    each = heard.of_each()
    for raw, other in zip(each, each[1:] + each[:1], strict=True):
        case, second = heard.case(raw), int(raw.header("webhook-timestamp"))
        changes = [
            {"webhook-id": raw.header("webhook-id") + "0"},
            {"webhook-id": other.header("webhook-id")},
            {"webhook-timestamp": str(second + 1)},
            {"webhook-timestamp": str(second - 1)},
            {"webhook-signature": other.header("webhook-signature")},
            {"webhook-signature": raw.header("webhook-signature").replace("v1,", "v1a,")},
        ]
        cases += [case._replace(headers={**case.headers, **change}) for change in changes]
        cases += [case._replace(secret=secret) for secret in heard.secrets.values() if secret != case.secret]
    assert len(cases) == len(heard.secrets) * (6 + 5)
    assert set(library(cases)) == {NO_MATCH}


@both
def test_every_try_verifies(node: Served, run: Run, library: Library) -> None:
    """A receiver that failed gets the same payload under the same id, signed for the second of each try."""

    async def story() -> None:
        async with town(node) as place, wire(500, 503, 400) as receiver:
            await place.user("ann")
            asked = {"url": receiver.url("again"), "form": "form"}
            secret = (await made(place.http, f"{place.path}/endpoints", asked))["secret"]
            await place.send("ann", messageRef=REF)
            tries = await receiver.heard(4)
            assert len({(raw.payload, raw.header("webhook-id")) for raw in tries}) == 1
            cases = [Case(raw.payload, dict(raw.headers), secret) for raw in tries]
            assert library(cases) == [None] * 4

    run(story())
