"""The frames' own rules: times, what is refused in a device's message, what is left out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.gateway.frames import (
    BadFrame,
    Bye,
    Hello,
    SendMessage,
    Sent,
    Welcome,
    decode,
    encode,
    iso_time,
    letter,
    msg,
    refusal,
    times,
)
from homing.model import Body

DAY_MS = 86_400_000


@given(st.integers(0, 4_000_000_000_000))
def test_times_survive_the_wire(at_ms: int) -> None:
    """What is written is read back to the millisecond."""
    text = iso_time(at_ms)
    assert len(text) == 24
    assert times({"m": text}, ["m"]) == {"m": at_ms}


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-02T00:00:00Z", DAY_MS),
        ("1970-01-02T01:00:00+01:00", DAY_MS),
        ("1970-01-02T00:00:00.0015Z", DAY_MS + 1),
        ("1969-12-31T00:00:00Z", 0),
    ],
)
def test_times_of_devices(text: str, at_ms: int) -> None:
    """Any zone will do; before 1970 counts as 1970."""
    assert times({"m": text}, ["m"]) == {"m": at_ms}


@pytest.mark.parametrize("value", ["1970-01-02T00:00:00", "", "now", "9999-99-99T00:00:00Z", 5, None, [], {}])
def test_what_is_no_time_counts_for_nothing(value: object) -> None:
    """Nor does a time for a message that is not named."""
    assert times({"m": value, "other": "1970-01-02T00:00:00Z"}, ["m"]) == {}
    assert times(value, ["m"]) == {}


@given(st.text())
def test_any_text_is_a_frame_or_a_bad_frame(text: str) -> None:
    """Nothing else is ever raised."""
    try:
        decode(text)
    except BadFrame as bad:
        assert str(bad)


def test_a_hello_needs_nothing_but_its_type() -> None:
    """Everything in it may be absent or null."""
    assert decode('{"type": "hello"}') == Hello()
    assert decode('{"token": null, "type": "hello", "epoch": null, "cursor": 0}') == Hello()


def test_the_servers_frames_are_spelled_as_documented() -> None:
    """Keys and their order; a key without value is absent, a zero is a value."""
    assert encode(Welcome("d", "e", 0, "t")) == (
        '{"type":"welcome","device":"d","epoch":"e","cursor":0,"serverTime":"t"}'
    )
    assert encode(Sent("m")) == '{"type":"sent","messageId":"m"}'
    assert encode(Bye(4503, 0)) == '{"type":"bye","code":4503,"retryAfter":0}'
    body = Body("x", channel="c", optional_data={"a": None, "b": "ü"})
    frame = json.loads(msg(3, letter(bytes(16), "text", body, 0, DAY_MS)))
    assert list(frame) == [
        "type", "seq", "messageId", "text", "sentAt", "expiresAt", "channel", "optionalData",
    ]  # fmt: skip
    assert frame["optionalData"] == {"a": None, "b": "ü"}


@pytest.mark.parametrize(
    "given", [{"text": "\0"}, {"text": "x", "channel": "\0"}, {"text": "x", "client_ref": "\0"}]
)
def test_what_no_store_can_keep_is_refused(given: dict[str, str]) -> None:
    """U+0000 in any of a message's texts, named; the letters that spell it are a text like any other."""
    assert "must not hold the character U+0000" in str(refusal(SendMessage(**given)))
    assert refusal(SendMessage(text="\\u0000")) is None
