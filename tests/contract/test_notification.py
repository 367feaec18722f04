"""The notifications' keys in wire order, and their timestamps."""

import hashlib
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.contract.errors import Undecodable, Unencodable
from homing.contract.notification import (
    CONTRACT_KEYS,
    Attachment,
    IncomingNotification,
    StatusNotification,
    attachment_keys,
    attachment_of,
    iso_utc,
    keys,
    parse_utc,
)
from homing.contract.status import Status

FULL = StatusNotification(1_464_098_227_042, "318", "m-1", "ann", Status.READ, "ref", "rref", "+39")
INCOMING = IncomingNotification("ann", "hi", "318", 1_464_098_227_042, "m-1", "support", "m-0")
FIRST_MS = -62_135_596_800_000
LAST_MS = 253_402_300_799_999


def test_status_keys_in_wire_order() -> None:
    """A status notification gives its nine keys in the contract's order."""
    assert keys(FULL) == [
        ("type", "MessageStatus"),
        ("timestamp", "2016-05-24T13:57:07Z"),
        ("applicationId", "318"),
        ("messageId", "m-1"),
        ("recipient", "ann"),
        ("status", "read"),
        ("messageRef", "ref"),
        ("recipientRef", "rref"),
        ("fallbackRef", "+39"),
    ]


def test_incoming_keys_in_wire_order() -> None:
    """An incoming notification gives its eight keys in the contract's order."""
    assert keys(INCOMING, "ms") == [
        ("sender", "ann"),
        ("text", "hi"),
        ("applicationId", "318"),
        ("timestamp", "2016-05-24T13:57:07.042Z"),
        ("messageId", "m-1"),
        ("type", "IncomingMessage"),
        ("channel", "support"),
        ("inReplyToMessageId", "m-0"),
    ]


@pytest.mark.parametrize("nothing", [None, ""])
def test_keys_without_a_value_are_left_out(nothing: str | None) -> None:
    """Absent and empty optional values leave no key behind."""
    bare = msgspec.structs.replace(FULL, message_ref=nothing, recipient_ref=nothing, fallback_ref=nothing)
    assert [key for key, _ in keys(bare)][-1] == "status"
    silent = msgspec.structs.replace(INCOMING, text="", channel=nothing, in_reply_to_message_id=nothing)
    assert [key for key, _ in keys(silent)] == ["sender", "applicationId", "timestamp", "messageId", "type"]


@pytest.mark.parametrize("field", ["application_id", "message_id", "recipient"])
def test_empty_mandatory_status_field(field: str) -> None:
    """A status notification without a mandatory value is not encodable."""
    with pytest.raises(Unencodable, match="must not be empty"):
        keys(msgspec.structs.replace(FULL, **{field: ""}))


@pytest.mark.parametrize("field", ["application_id", "message_id", "sender"])
def test_empty_mandatory_incoming_field(field: str) -> None:
    """An incoming notification without a mandatory value is not encodable."""
    with pytest.raises(Unencodable, match="must not be empty"):
        keys(msgspec.structs.replace(INCOMING, **{field: ""}))


def test_attachment_facts() -> None:
    """Size and digest are worked out from the content, and told in wire order."""
    attachment = attachment_of("a.txt", "text/plain", b"hello")
    digest = hashlib.sha256(b"hello").hexdigest()
    assert attachment == Attachment("a.txt", "text/plain", 5, digest, b"hello")
    assert attachment_keys(attachment) == [
        ("attachmentName", "a.txt"),
        ("attachmentType", "text/plain"),
        ("attachmentSize", "5"),
        ("attachmentSha256", digest),
    ]


@pytest.mark.parametrize("name, media_type", [("", "text/plain"), ("a", "")])
def test_attachment_without_name_or_type(name: str, media_type: str) -> None:
    """An attachment must have a name and a type: keys are never empty."""
    with pytest.raises(Unencodable, match="a name and a media type"):
        attachment_keys(attachment_of(name, media_type, b""))


def test_contract_keys_hold_both_kinds() -> None:
    """CONTRACT_KEYS are all keys a callback of either kind can hold, the file's included."""
    file_keys = {"attachment", "attachmentName", "attachmentType", "attachmentSize", "attachmentSha256"}
    assert {key for key, _ in keys(FULL) + keys(INCOMING)} | file_keys == CONTRACT_KEYS


@given(st.integers(FIRST_MS, LAST_MS))
def test_timestamps_agree_with_datetime(ms: int) -> None:
    """Any instant of the years 1 to 9999 is spelled so that the standard library reads the same instant."""
    spelled = iso_utc(ms, "ms")
    seconds, fraction = divmod(ms, 1000)
    moment = datetime.fromisoformat(spelled)
    assert moment.tzinfo == UTC
    assert moment.microsecond == fraction * 1000
    assert parse_utc(spelled) == (ms, "ms")
    assert parse_utc(iso_utc(ms)) == (seconds * 1000, "s")
    assert iso_utc(ms) == f"{spelled[:19]}Z"


@pytest.mark.parametrize("ms", [FIRST_MS - 1, LAST_MS + 1, 10**30])
def test_times_outside_the_calendar(ms: int) -> None:
    """An instant that ISO-8601 cannot spell in four digits is not encodable."""
    with pytest.raises(Unencodable, match="years 1 to 9999"):
        iso_utc(ms)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1970-01-01T00:00:00Z", (0, "s")),
        ("1970-01-01T00:00:01.5Z", (1500, "ms")),
        ("1970-01-01T00:00:00.123456789Z", (123, "ms")),
        ("2024-02-29T00:00:00+00:00", (1_709_164_800_000, "s")),
        ("2024-02-29T00:00:00+0000", (1_709_164_800_000, "s")),
    ],
)
def test_accepted_timestamps(text: str, expected: tuple[int, str]) -> None:
    """Decimals are cut to milliseconds, and a zero offset is UTC."""
    assert parse_utc(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2016-05-24",
        "2016-05-24T13:57:07",
        "2016-05-24 13:57:07Z",
        "2016-05-24T13:57:07+02:00",
        "2016-05-24T13:57:07z",
        "2016-05-24T13:57:07.Z",
        "2016-05-24T13:57:07Z\n",
        "٢٠١٦-05-24T13:57:07Z",
        "2023-02-29T00:00:00Z",
        "2016-05-24T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
    ],
)
def test_refused_timestamps(text: str) -> None:
    """What is not ISO-8601 in UTC, or does not exist, is refused."""
    with pytest.raises(Undecodable, match="timestamp"):
        parse_utc(text)
