"""From bytes to a declared request: what is taken, what is refused as malformed (400) and what as not allowed (422)."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.api.decode import MAX_DEPTH, shape
from homing.api.endpoint_schema import EndpointCreate
from homing.api.schema import MessageList, SendRequest, UserCreate
from homing.errors import InvalidRequest, NotAcceptable

GOOD: dict[str, Any] = {"mobileAppId": 1, "text": "hi", "recipients": [{"identifier": "ann"}]}


def sent(**more: object) -> bytes:
    return json.dumps({**GOOD, **more}, ensure_ascii=False).encode()


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(sent() + b"x", id="something behind"),
        pytest.param(sent(text=1).replace(b"1", b"NaN"), id="NaN"),
        pytest.param(sent(optionalData={"a": 7}).replace(b"7", b"Infinity"), id="Infinity"),
        pytest.param(sent(optionalData={"a": 7}).replace(b"7", b"1e999"), id="number out of range"),
        pytest.param(sent(optionalData={"a": 7}).replace(b"7", b"1" * 5000), id="integer out of range"),
        pytest.param(b'{"text":"' + b"\xff" + b'"}', id="no UTF-8"),
        pytest.param(sent(text="#").replace(b"#", rb"\ud800"), id="half a surrogate pair"),
        pytest.param(sent(typo="#").replace(b"#", rb"\ud800"), id="half a surrogate pair, unknown property"),
        pytest.param(b"\xef\xbb\xbf" + sent(), id="byte order mark"),
        pytest.param(b"[" * 1000 + b"]" * 1000, id="depth 1000"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="depth 100000"),
        pytest.param(sent(optionalData=nested(MAX_DEPTH)), id="too deep in free data"),
        pytest.param(sent(devicesData={"ios": nested(MAX_DEPTH - 1)}), id="too deep in devicesData"),
        pytest.param(sent(typo=nested(MAX_DEPTH)), id="too deep in an unknown property"),
        pytest.param(sent()[:-1] + b',"text":"two"}', id="a key twice"),
        pytest.param(sent()[:-1] + b',"text" :"two"}', id="a key twice, spaced"),
        pytest.param(sent()[:-1] + b',"optionalData":{"a":1,"a":2}}', id="a key twice, deep"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"x"', id="a string"),
        pytest.param(b"null", id="null"),
        pytest.param(sent(mobileAppId=1.5), id="a fraction as id"),
        pytest.param(sent(mobileAppId=True), id="a boolean as id"),
        pytest.param(sent(text=5), id="a number as text"),
        pytest.param(sent(text=None), id="null as text"),
        pytest.param(sent(recipients={}), id="an object as list"),
        pytest.param(sent(recipients=[5]), id="a number as recipient"),
        pytest.param(sent(ttlSeconds="60"), id="a string as number"),
        pytest.param(sent(devicesData={"ios": 1}), id="a number as devicesData.ios"),
        pytest.param(sent(fallback=[]), id="a list as fallback"),
        pytest.param(json.dumps({"text": "hi", "recipients": []}).encode(), id="a property missing"),
        pytest.param(sent(recipients=[{}]), id="a deep property missing"),
    ],
)
def test_what_cannot_be_understood_is_a_400(body: bytes) -> None:
    """Malformed JSON, a wrong type, a missing property, too deep, or ambiguous: `InvalidRequest`."""
    with pytest.raises(InvalidRequest) as caught:
        shape(SendRequest).of_json(body)
    assert caught.value.http_status == 400


@pytest.mark.parametrize(
    "body, path",
    [
        (sent(text=""), "$.text"),
        (sent(text="x" * 8193), "$.text"),
        (sent(recipients=[]), "$.recipients"),
        (sent(recipients=[{"identifier": str(n)} for n in range(1001)]), "$.recipients"),
        (sent(recipients=[{"identifier": ""}]), "$.recipients[0].identifier"),
        (sent(recipients=[{"identifier": "x" * 256}]), "$.recipients[0].identifier"),
        (sent(recipients=[{"identifier": "x", "recipientRef": "x" * 256}]), "$.recipients[0].recipientRef"),
        (sent(messageRef="x" * 256), "$.messageRef"),
        (sent(ttlSeconds=59), "$.ttlSeconds"),
        (sent(ttlSeconds=172_801), "$.ttlSeconds"),
        (sent(fallback={"mode": "email"}), "$.fallback.mode"),
        (sent(fallback={"onUndeliveredSeconds": 0}), "$.fallback.onUndeliveredSeconds"),
        (sent(fallback={"onUnreadSeconds": 172_801}), "$.fallback.onUnreadSeconds"),
        (sent(inReplyTo="01890000-0000-7000-8000-000000000000"), "$.inReplyTo"),
        (sent(attachmentId="x"), "$.attachmentId"),
        (sent(notifyCallback={"method": "PUT", "url": "https://a.example"}), "$.notifyCallback.method"),
    ],
)
def test_a_value_that_is_not_allowed_is_a_422(body: bytes, path: str) -> None:
    """A well-formed value outside its bounds, or a property of a later release: `NotAcceptable`, naming the place."""
    with pytest.raises(NotAcceptable) as caught:
        shape(SendRequest).of_json(body)
    assert caught.value.http_status == 422
    assert [place for place, _ in caught.value.errors] == [path]


@pytest.mark.parametrize("name", ["clientCert", "clientKey"])
def test_a_property_of_a_later_release_says_so(name: str) -> None:
    """An endpoint's property that is not built yet is refused with "not yet", never passed over in silence."""
    body = json.dumps({"url": "https://a.example", "form": "get", "tls": {name: "x"}}).encode()
    with pytest.raises(NotAcceptable, match="not yet"):
        shape(EndpointCreate).of_json(body)


@pytest.mark.parametrize(
    ("given", "fault"),
    [("0.5", NotAcceptable), ("15.5", NotAcceptable), ("true", InvalidRequest), ('"5"', InvalidRequest)],
)
def test_numbers_with_a_fraction_have_bounds_too(given: str, fault: type[Exception]) -> None:
    """A number outside its bounds is not allowed; what is no number is of a wrong type; 5 and 5.5 are numbers."""
    body = '{"url":"https://a.example","form":"json","timeoutSeconds":%s,"unknown":1}'
    for good in ("5", "5.5", "15"):
        assert shape(EndpointCreate).of_json((body % good).encode())[0].timeout_seconds == float(good)
    with pytest.raises(fault):
        shape(EndpointCreate).of_json((body % given).encode())


def test_all_faults_are_told_at_once_and_wrong_types_outweigh_wrong_values() -> None:
    """One answer names every fault, so that nobody fixes them one by one."""
    with pytest.raises(InvalidRequest) as caught:
        shape(SendRequest).of_json(sent(text="", ttlSeconds="x", recipients=[{"identifier": 1}]))
    places = {place for place, _ in caught.value.errors}
    assert places == {"$.text", "$.ttlSeconds", "$.recipients[0].identifier"}


@pytest.mark.parametrize(
    "body, ignored",
    [
        (sent(), ()),
        (sent(typo=1), ("$.typo",)),
        (sent(recipients=[{"identifier": "a", "x": 1}]), ("$.recipients[0].x",)),
        (sent(recipients=[{"identifier": c, "x": 1} for c in "abc"]), ("$.recipients[*].x",)),
        (sent(**{"a b,c": 1}), ("$['a%20b%2Cc']",)),
        (sent(**{"ü\r\n": 1}), ("$['%C3%BC%0D%0A']",)),
        (sent(inReplyTo=None), ("$.inReplyTo",)),
    ],
)
def test_unknown_properties_are_ignored_and_named(body: bytes, ignored: tuple[str, ...]) -> None:
    """A typo does not fail a call, and its JSON path is told, once however often it stands in a list."""
    it, told = shape(SendRequest).of_json(body)
    assert (it.text, told) == ("hi", ignored)


def test_the_deepest_allowed_data_is_taken() -> None:
    """Depth 32, the body itself counted, is taken as it is."""
    data = nested(MAX_DEPTH - 1)
    assert shape(SendRequest).of_json(sent(optionalData=data))[0].optional_data == data


@pytest.mark.parametrize("written", [b"1", b"1.0", b"1e0", b'"1"', b'"007"', b"1" + b"0" * 30])
def test_an_application_id_may_be_written_in_any_way_that_json_has(written: bytes) -> None:
    """A number, an integral float or digits: whether there is such an application is decided later."""
    body = sent().replace(b'"mobileAppId": 1', b'"mobileAppId": ' + written)
    assert shape(SendRequest).of_json(body)[0].mobile_app_id is not None


def test_a_string_that_looks_like_json_is_no_second_key() -> None:
    """The look for repeated keys is not misled by what texts and data hold."""
    data = {"a": '{"text":"x"}', "b": ['":', "{", "\\"]}
    it, ignored = shape(SendRequest).of_json(sent(text='"text":"x","text":', optionalData=data))
    assert (it.optional_data, ignored) == (data, ())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from([*GOOD, "fallback", "optionalData", "ttlSeconds", "zzz"]), JSON_VALUES)
)
def test_any_json_gives_a_request_or_one_of_the_two_errors(changes: dict[str, object]) -> None:
    """Nothing that is JSON makes the decoder raise anything else, and both ways of decoding agree."""
    body = sent(**changes)
    try:
        it, _ = shape(SendRequest).of_json(body)
    except (InvalidRequest, NotAcceptable):
        return
    assert it.text == changes.get("text", "hi")
    assert isinstance(it.mobile_app_id, int | str)


@given(st.binary(max_size=60))
def test_any_bytes_give_a_request_or_a_400(body: bytes) -> None:
    """Noise is malformed, never a fault of ours."""
    with pytest.raises((InvalidRequest, NotAcceptable)):
        shape(UserCreate).of_json(body)


@pytest.mark.parametrize(
    "query, error",
    [
        (b"limit=x", InvalidRequest),
        (b"limit=", InvalidRequest),
        (b"limit=1.5", InvalidRequest),
        (b"limit=1&limit=2", InvalidRequest),
        (b"recipient=%ff", InvalidRequest),
        (b"recipient=\xff", InvalidRequest),
        (b"&".join(b"a%d=1" % n for n in range(101)), InvalidRequest),
        (b"limit=0", NotAcceptable),
        (b"limit=201", NotAcceptable),
        (b"status=Read", NotAcceptable),
        (b"cursor=xyz", NotAcceptable),
    ],
)
def test_query_parameters_are_judged_like_bodies(query: bytes, error: type[Exception]) -> None:
    """Text that is no number where one is due is a 400, a number out of bounds a 422."""
    with pytest.raises(error):
        shape(MessageList).of_pairs(query)


def test_good_query_parameters_are_taken_and_unknown_ones_ignored() -> None:
    """Percent-encoding is undone, defaults are filled in, and unknown parameters do not matter, even repeated."""
    it = shape(MessageList).of_pairs(b"recipient=a%20b%2Bc&status=read&zzz=1&zzz=2")
    assert (it.recipient, it.status, it.limit) == ("a b+c", "read", 50)
    assert isinstance(it, msgspec.Struct)
