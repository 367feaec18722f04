"""Decoding: what was encoded comes back, what is bad raises Undecodable and nothing else."""

import json
from itertools import combinations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homing.contract.decode import Decoded, decode, read, split_urlencoded
from homing.contract.errors import ContractError, Undecodable
from homing.contract.forms import Encoded, Form, encode
from homing.contract.notification import (
    CONTRACT_KEYS,
    IncomingNotification,
    Notification,
    StatusNotification,
    attachment_of,
)
from homing.contract.status import STATUSES, Status

MS = st.integers(-62_135_596_800, 253_402_300_799).map(lambda second: second * 1000)
WORD = st.text(min_size=1)
MAYBE = st.none() | WORD
STATUS_NOTES = st.builds(
    StatusNotification, MS, WORD, WORD, WORD, st.sampled_from(STATUSES), MAYBE, MAYBE, MAYBE
)
ATTACHMENTS = st.builds(attachment_of, WORD, WORD, st.binary())
INCOMING_NOTES = st.builds(
    IncomingNotification, WORD, st.text(), WORD, MS, WORD, MAYBE, MAYBE, st.none() | ATTACHMENTS
)
NOTE = StatusNotification(1_000, "1", "m", "ann", Status.READ)
QUERY = encode(NOTE, Form.GET).payload.decode()
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def decode_encoded(encoded: Encoded) -> Notification:
    """Return what a receiver of these bytes reads."""
    return decode(encoded.method, encoded.query or "", encoded.content_type, encoded.body or b"")


@given(STATUS_NOTES | INCOMING_NOTES, st.sampled_from(Form))
def test_round_trip(note: Notification, form: Form) -> None:
    """Whatever can be encoded is decoded to the same notification, in every form."""
    assert decode_encoded(encode(note, form)) == note


@given(MS, st.integers(0, 999), st.sampled_from(Form))
def test_milliseconds_round_trip(ms: int, fraction: int, form: Form) -> None:
    """With millisecond precision nothing of the time is lost."""
    note = StatusNotification(ms + fraction, "1", "m", "ann", Status.READ)
    encoded = encode(note, form, "ms")
    seen = read(encoded.method, encoded.query or "", encoded.content_type, encoded.body or b"")
    assert (seen.notification, seen.precision) == (note, "ms")


def test_read_tells_form_precision_and_extra() -> None:
    """Beside the notification stand its form, its precision and the URL's own pairs as they are."""
    seen = read("get", f"k=%zz+&flag&{QUERY}&&z=1", None, b"ignored")
    assert seen == Decoded(NOTE, Form.GET, "s", (("k", "%zz+"), ("flag", ""), ("z", "1")))


@pytest.mark.parametrize("form", [Form.FORM, Form.JSON])
def test_a_posts_query_is_not_read(form: Form) -> None:
    """Contract keys in the query of a POST change nothing: only the body counts."""
    encoded = encode(NOTE, form)
    seen = read("POST", "status=enqueued&a=1&", encoded.content_type, encoded.payload)
    assert seen == Decoded(NOTE, form, "s", (("status", "enqueued"), ("a", "1")))


def test_multipart_extra() -> None:
    """Unknown parts and unknown files do no harm; the last file of the contract's name counts."""
    note = IncomingNotification("ann", "", "1", 0, "m", attachment=attachment_of("a", "a/b", b"1"))
    encoded = encode(note, Form.GET, boundary="B")
    unknown = b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n'
    other = b'--B\r\nContent-Disposition: form-data; name="x"; filename="y"\r\n\r\n\xff\r\n'
    seen = read("POST", "", encoded.content_type, unknown + other + encoded.payload)
    assert seen == Decoded(note, None, "s", (("x", "y"),))


def test_keys_of_the_other_kind_are_extra() -> None:
    """A key that belongs to the other kind is told, not mixed in."""
    seen = read("GET", QUERY + "&text=hello", None, b"")
    assert (seen.notification, seen.extra) == (NOTE, (("text", "hello"),))


def test_last_occurrence_wins() -> None:
    """When a key stands twice the last one counts, in query, form and JSON."""
    twice = "status=enqueued&" + QUERY
    assert decode("GET", twice, None, b"") == NOTE
    assert decode("POST", "", FORM, twice.encode()) == NOTE
    body = encode(NOTE, Form.JSON).payload
    assert decode("POST", "", JSON, b'{"status":"enqueued",' + body[1:]) == NOTE


def test_both_spellings_of_a_space() -> None:
    """A space is read from + and from %20, in query and form."""
    for text in ("a%20b", "a+b"):
        query = QUERY.replace("recipient=ann", f"recipient={text}")
        for note in (decode("GET", query, None, b""), decode("POST", "", FORM, query.encode())):
            assert isinstance(note, StatusNotification)
            assert note.recipient == "a b"


def test_escaped_names_and_raw_text() -> None:
    """A key's name may be escaped, and text that was not escaped at all is taken as it is."""
    note = decode("GET", QUERY.replace("recipient=ann", "%72ecipient=ü"), None, b"")
    assert isinstance(note, StatusNotification)
    assert note.recipient == "ü"


def test_empty_optional_value_counts_as_none() -> None:
    """A key with an empty value is read as absent."""
    assert decode("GET", QUERY + "&messageRef=", None, b"") == NOTE


def test_content_type_parameters_and_case() -> None:
    """A charset parameter and capitals in the Content-Type are no fault."""
    assert decode("post", "", "Application/JSON; charset=utf-8", encode(NOTE, Form.JSON).payload) == NOTE


MANDATORY = {
    "MessageStatus": ["timestamp", "applicationId", "messageId", "recipient", "status"],
    "IncomingMessage": ["timestamp", "applicationId", "messageId", "sender"],
}
SAMPLE = {
    "timestamp": "2016-05-24T13:57:07Z",
    "applicationId": "1",
    "messageId": "m",
    "recipient": "ann",
    "sender": "ann",
    "status": "read",
}


@pytest.mark.parametrize("kind", MANDATORY)
def test_missing_mandatory_keys(kind: str) -> None:
    """Whichever mandatory keys are missing or empty, it is refused naming one of them."""
    names = MANDATORY[kind]
    decode("POST", "", JSON, json.dumps({"type": kind} | {key: SAMPLE[key] for key in names}).encode())
    for count in range(1, len(names) + 1):
        for gone in combinations(names, count):
            for empty in ({}, dict.fromkeys(gone, "")):
                fields = {"type": kind} | {key: SAMPLE[key] for key in names if key not in gone} | empty
                with pytest.raises(Undecodable, match="|".join(f"{key} is missing" for key in gone)):
                    decode("POST", "", JSON, json.dumps(fields).encode())


def json_with(**changed: object) -> bytes:
    """Return a valid JSON callback with some values changed."""
    return json.dumps({"type": "MessageStatus", **SAMPLE, **changed}).encode()


@pytest.mark.parametrize(
    "body, message",
    [
        (b"", "body"),
        (b"null", "body"),
        (b"[]", "body"),
        (b"{}", "type is None"),
        (b"\xff", "body"),
        (b'{"type":"\xff"}', "body"),
        (b'{"type":"\\ud800"}', "body"),
        (b'{"type":NaN}', "body"),
        (b'{"type":' * 100_000, "body"),
        (b"[" * 100_000, "body"),
        (b"\xef\xbb\xbf{}", "body"),
        (json_with(type="Other"), "type is 'Other'"),
        (json_with(status="Read"), "'Read' is none of the 18"),
        (json_with(timestamp="yesterday"), "timestamp"),
        (json_with(messageRef=None), "body"),
        (json_with(applicationId=318), "body"),
        (json_with(unknown={}), "body"),
        (json_with()[:-1], "body"),
        (json_with() + b"x", "body"),
    ],
)
def test_bad_json(body: bytes, message: str) -> None:
    """Each kind of bad JSON raises the documented error with a reason."""
    with pytest.raises(Undecodable, match=message):
        decode("POST", "", JSON, body)


@pytest.mark.parametrize(
    "method, query, content_type, body, message",
    [
        ("PUT", QUERY, JSON, b"{}", "neither GET nor POST"),
        ("POST", QUERY, None, b"", "Content-Type"),
        ("POST", "", "text/plain", b"", "Content-Type"),
        ("POST", "", FORM, b"\xff", "body: not UTF-8"),
        ("GET", "", None, b"", "type is None"),
        ("GET", QUERY + "&messageRef=%zz", None, b"", "messageRef: a percent sign"),
        ("GET", QUERY + "&messageRef=%f", None, b"", "messageRef: a percent sign"),
        ("GET", QUERY + "&messageRef=%ff", None, b"", "messageRef: not UTF-8"),
        ("GET", QUERY + "&messageRef=%ed%a0%80", None, b"", "messageRef: not UTF-8"),
        ("GET", QUERY + "&messageRef=\ud800", None, b"", "messageRef: not UTF-8"),
        ("POST", "", "multipart/form-data", b"", "without a boundary"),
        ("POST", "", "multipart/form-data; boundary=B", b"", "begin with its boundary"),
    ],
)
def test_bad_requests(method: str, query: str, content_type: str | None, body: bytes, message: str) -> None:
    """Each kind of bad request raises the documented error with a reason."""
    with pytest.raises(Undecodable, match=message):
        decode(method, query, content_type, body)


def attachment_request(old: bytes, new: bytes) -> tuple[str, bytes]:
    """Return a multipart request in which a few bytes were replaced."""
    note = IncomingNotification("ann", "hi", "1", 0, "m", attachment=attachment_of("a", "a/b", b"12345"))
    encoded = encode(note, Form.JSON, boundary="B")
    assert encoded.content_type is not None
    assert old in encoded.payload
    return encoded.content_type, encoded.payload.replace(old, new)


@pytest.mark.parametrize(
    "old, new, message",
    [
        (b"\r\n\r\n5\r\n", b"\r\n\r\n05\r\n", "attachmentSize is '05'"),
        (b"\r\n\r\n12345\r\n", b"\r\n\r\n12346\r\n", "attachmentSha256 is not"),
        (b'name="attachmentName"', b'name="x"', "attachmentName is missing"),
        (b"\r\n\r\nhi\r\n", b"\r\n\r\n\xff\r\n", "text: not UTF-8"),
    ],
)
def test_bad_attachments(old: bytes, new: bytes, message: str) -> None:
    """A file whose facts are missing or do not fit it is refused."""
    content_type, body = attachment_request(old, new)
    with pytest.raises(Undecodable, match=message):
        decode("POST", "", content_type, body)


def test_file_under_another_name_is_no_attachment() -> None:
    """A file part of another name is not taken for the attachment; its facts become extra."""
    content_type, body = attachment_request(b'name="attachment";', b'name="other";')
    seen = read("POST", "", content_type, body)
    assert isinstance(seen.notification, IncomingNotification)
    assert seen.notification.attachment is None
    assert dict(seen.extra).keys() == {
        "attachmentName",
        "attachmentType",
        "attachmentSize",
        "attachmentSha256",
    }


def test_split_keeps_foreign_pieces_exactly() -> None:
    """What is not the contract's stays as it stands, order and escapes included."""
    assert split_urlencoded("b=%e9&type=a%20b&&a&a==") == ({"type": "a b"}, ["b=%e9", "a", "a=="])


NAMED = st.sampled_from([*sorted(CONTRACT_KEYS), "x", "%74ype"])
NEARLY = st.sampled_from(
    ["MessageStatus", "IncomingMessage", "read", "2016-05-24T13:57:07Z", "%", "%ff", "", "\ud800"]
)
QUERIES = st.lists(st.tuples(NAMED, NEARLY | st.text()), max_size=12).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
TYPES = st.sampled_from(
    [None, FORM, JSON, "multipart/form-data; boundary=B", "multipart/form-data; boundary=\ud800"]
)
BODIES = st.one_of(
    st.binary(),
    QUERIES.map(lambda query: query.encode("utf-8", "replace")),
    st.dictionaries(NAMED, NEARLY | st.none() | st.integers()).map(
        lambda fields: json.dumps(fields).encode()
    ),
    st.lists(st.tuples(NAMED, NEARLY), max_size=12).map(
        lambda pairs: (
            b"".join(
                f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode(
                    "utf-8", "replace"
                )
                for name, value in pairs
            )
            + b"--B--"
        )
    ),
)


@settings(max_examples=500)
@given(st.sampled_from(["GET", "POST", "\ud800"]), QUERIES | st.text(), TYPES | st.text(), BODIES)
@example("GET", "type=" + "9" * 5000, None, b"")
def test_only_the_documented_error(method: str, query: str, content_type: str | None, body: bytes) -> None:
    """Whatever comes, decoding gives a notification that can be encoded again, or Undecodable: never another error."""
    reason: ContractError | None = None
    try:
        note = decode(method, query, content_type, body)
    except ContractError as fault:
        reason = fault
    else:
        assert decode_encoded(encode(note, Form.JSON, "ms")) == note
    assert reason is None or type(reason) is Undecodable
    assert len(str(reason)) < 400
