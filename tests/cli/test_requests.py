"""The requests that flags stand for, when waiting is over, and what was captured read back as a request."""

import json
import shlex
from typing import Any

import msgspec
import pytest

from homing.api.endpoint_schema import EndpointCreate
from homing.cli import endpoint_flags, send
from homing.cli.captured import from_curl, from_parts, from_request
from homing.cli.exits import CliError, ExitCode

NOTHING: dict[str, Any] = dict.fromkeys(
    ("ref", "recipient_ref", "channel", "title", "expire", "fallback", "fallback_after", "number")
)


def test_a_bare_send_holds_nothing_that_was_not_given() -> None:
    """Absent flags are absent properties."""
    assert send.request(1, "hi", ["ann"], **NOTHING, data=[]) == {
        "mobileAppId": 1,
        "text": "hi",
        "recipients": [{"identifier": "ann"}],
    }


def test_each_flag_of_send_becomes_its_property() -> None:
    """Every flag has its place in the API's request."""
    given: dict[str, Any] = {
        "ref": "A1", "recipient_ref": "R1", "channel": "c", "title": "t", "expire": "2h", "fallback": "unread",
        "fallback_after": "15m", "number": "+39333", "data": ["k=v=w", "e="],
    }  # fmt: skip
    assert send.request(7, "hi", ["ann"], **given) == {
        "mobileAppId": 7,
        "text": "hi",
        "recipients": [{"identifier": "ann", "recipientRef": "R1", "override": {"mobileNumber": "+39333"}}],
        "notificationText": "t",
        "messageRef": "A1",
        "channel": "c",
        "optionalData": {"k": "v=w", "e": ""},
        "ttlSeconds": 7200,
        "fallback": {"mode": "sms", "onUnreadSeconds": 900},
    }


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"fallback": "undelivered"}, {"mode": "sms", "onUndeliveredSeconds": 900}),
        ({"fallback_after": "1m"}, {"mode": "sms", "onUndeliveredSeconds": 60}),
        ({"fallback": "off"}, {"mode": "off"}),
    ],
)
def test_fallback_flags_stand_for_the_apis_fallback(flags: dict[str, str], wanted: object) -> None:
    """undelivered is meant where only a time is given; off is off."""
    assert send.request(1, "hi", ["ann"], **NOTHING | flags, data=[])["fallback"] == wanted


@pytest.mark.parametrize(
    ("people", "flags", "data"),
    [
        (["a", "b"], {"number": "+39"}, []),
        (["a", "b"], {"recipient_ref": "r"}, []),
        (["a"], {"fallback": "maybe"}, []),
        (["a"], {"fallback": "off", "fallback_after": "1m"}, []),
        (["a"], {}, ["novalue"]),
        (["a"], {}, ["=v"]),
        (["a"], {"expire": "soon"}, []),
    ],
)
def test_contradictions_are_wrong_usage(people: list[str], flags: dict[str, str], data: list[str]) -> None:
    """What cannot be meant is refused before anything is sent."""
    with pytest.raises(CliError) as caught:
        send.request(1, "hi", people, **NOTHING | flags, data=data)
    assert caught.value.code is ExitCode.USAGE


def test_a_dry_run_survives_the_shell() -> None:
    """The printed curl is one shell command whose data is the request, and holds no token."""
    body = {"text": 'it\'s $HOME "now"'}
    words = shlex.split(send.curl("http://127.0.0.1:1", body, "key 1"))
    assert json.loads(words[-1]) == body
    assert "Idempotency-Key: key 1" in words
    assert "Authorization: Bearer $HOMING_TOKEN" in words


def test_a_callback_of_its_own_is_json_unless_said_otherwise() -> None:
    """--callback alone is JSON; the method may be written small; a method without a place is wrong usage."""
    given = send.request(1, "hi", ["ann"], **NOTHING, data=[], callback="http://x/", callback_method=None)
    assert given["notifyCallback"] == {"method": "JSON", "url": "http://x/"}
    given = send.request(1, "hi", ["ann"], **NOTHING, data=[], callback="http://x/", callback_method="get")
    assert given["notifyCallback"]["method"] == "GET"
    with pytest.raises(CliError, match="--callback URL"):
        send.request(1, "hi", ["ann"], **NOTHING, data=[], callback_method="GET")


def options(**given: object) -> dict[str, Any]:
    return endpoint_flags.properties((endpoint_flags.STATUSES, *endpoint_flags.OPTIONS), given)


def test_what_no_flag_says_is_in_no_request() -> None:
    """Nothing given is nothing changed; `none` is null in a patch, and absent where there is nothing yet."""
    assert options() == {}
    taken_back = options(rate="none", header=["none"], bearer_file="none", ca="none", statuses="all")
    nulls = dict.fromkeys(("ratePerSecond", "headers", "auth", "statuses"))
    assert taken_back == nulls | {"tls": {"ca": None}}
    assert endpoint_flags.for_update(taken_back, {}) == nulls | {"tls": None}
    assert endpoint_flags.for_create(taken_back) == {}


def test_a_patch_keeps_what_it_does_not_name() -> None:
    """The API replaces `tls` whole, so the part that was not given is put in; a header without value is dropped."""
    now = {"tls": {"ca": "PEM", "dangerousSkipVerify": True}}
    assert endpoint_flags.for_update(options(skip_verify=False), now) == {"tls": {"ca": "PEM"}}
    assert endpoint_flags.for_update(options(ca="none"), now) == {"tls": {"dangerousSkipVerify": True}}
    patch = endpoint_flags.for_update(options(header=["X-A:", "X-B: a: b "]), {})
    assert patch == {"headers": {"X-A": None, "X-B": "a: b"}}


def test_every_option_of_an_endpoint_is_a_flag() -> None:
    """Whatever the API takes when it makes an endpoint, some flag gives."""
    flags = {
        flag.property for flag in (endpoint_flags.KIND, endpoint_flags.STATUSES, *endpoint_flags.OPTIONS)
    }
    fields = {field.encode_name for field in msgspec.structs.fields(EndpointCreate)}
    assert flags - {""} | {"url", "headers", "auth", "tls"} == fields


def recipient(message: str, fallback: str, *statuses: str) -> dict[str, Any]:
    return {"message": message, "fallback": fallback, "events": [{"status": one} for one in statuses]}


@pytest.mark.parametrize(
    ("found", "wanted", "ended"),
    [
        (recipient("enqueued", "off", "enqueued"), "read", None),
        (recipient("read", "off", "enqueued", "delivered", "read"), "delivered", True),
        (recipient("expired", "off", "enqueued", "expired"), "read", False),
        (recipient("expired", "armed", "enqueued", "expired"), "fallbackSent", None),
        (recipient("unknown", "off", "IdentifierNotFound"), "read", False),
        (recipient("unknown", "off", "IdentifierNotFound"), "final", True),
        (recipient("delivered", "off", "enqueued", "delivered"), "final", None),
        (recipient("read", "sent", "read"), "final", None),
        (recipient("read", "delivered", "read"), "final", True),
    ],
)
def test_waiting_ends_when_it_is_reached_or_cannot_be(found: Any, wanted: str, ended: bool | None) -> None:
    """Reached, impossible now, or still open: told from the message's state alone."""
    assert send.end(found, wanted) is ended


RAW = (
    b'POST /h?own=1 HTTP/1.1\r\nHost: x\r\nWebhook-Id: m\r\nContent-Type: application/json\r\n\r\n{"a":"b"}\n'
)


def test_a_raw_request_keeps_its_bytes() -> None:
    """What stands behind the empty line is the payload, to the byte."""
    found = from_request(RAW)
    assert found.method == "POST"
    assert found.payload == b'{"a":"b"}\n'
    assert found.headers["webhook-id"] == "m"


def test_of_a_get_the_raw_query_is_the_payload() -> None:
    """A GET is signed over its query as it stands in the request's line."""
    assert from_request(b"GET /h?a=%20b&c HTTP/1.1\nx: y\n\n").payload == b"a=%20b&c"
    assert from_parts(b"x: y", b"", "?a=1").payload == b"a=1"


def test_a_curl_command_is_a_request() -> None:
    """As browsers and proxies copy it: quoted headers, raw data, line continuations."""
    text = b"curl 'http://x/h?own=1' \\\n -X POST -H 'webhook-id: m' --data-raw='{\"a\":\"b\"}' --compressed"
    found = from_curl(text)
    assert (found.method, found.payload, found.headers) == ("POST", b'{"a":"b"}', {"webhook-id": "m"})
    assert from_curl(b"curl http://x/h?a=1").payload == b"a=1"


@pytest.mark.parametrize("text", [b"", b"garbage", b"\xff\xfe"])
def test_what_is_no_request_is_refused(text: bytes) -> None:
    """A capture that is no request is wrong usage."""
    with pytest.raises(CliError):
        from_request(text)
