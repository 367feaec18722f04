"""Encoding in the three forms and multipart, against the standard library's parsers; the URL's own query."""

import json
from typing import Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.contract.errors import Unencodable
from homing.contract.forms import (
    CONTRACT_KEYS,
    Form,
    append_query,
    boundary_of,
    encode,
    encode_form,
    encode_json,
    encode_multipart,
    encode_query,
    holds_contract_key,
)
from homing.contract.notification import (
    IncomingNotification,
    StatusNotification,
    attachment_of,
    keys,
)
from homing.contract.status import Status

TEXT: Final = st.text()
PAIRS = st.lists(st.tuples(st.sampled_from(sorted(CONTRACT_KEYS)), TEXT), unique_by=lambda pair: pair[0])
NOTE = StatusNotification(0, "1", "m", "ann lee", Status.READ)
LONE = "a\ud800b"


@given(PAIRS)
def test_urlencoding_is_quote_and_quote_plus(pairs: list[tuple[str, str]]) -> None:
    """Query and form body are byte for byte what quote and quote_plus give, and read back as the same pairs."""
    query, body = encode_query(pairs), encode_form(pairs)
    assert query == "&".join(f"{key}={quote(value, safe='')}" for key, value in pairs)
    assert body.decode() == "&".join(f"{key}={quote_plus(value, safe='')}" for key, value in pairs)
    for text in (query, body.decode()):
        assert parse_qsl(text, keep_blank_values=True, strict_parsing=bool(pairs)) == pairs


@given(PAIRS)
def test_json_is_compact_and_raw(pairs: list[tuple[str, str]]) -> None:
    """The JSON body is byte for byte what json.dumps gives when compact and not escaping, in the same order."""
    body = encode_json(pairs)
    assert body == json.dumps(dict(pairs), ensure_ascii=False, separators=(",", ":")).encode()
    assert list(json.loads(body).items()) == pairs


def test_every_character_in_every_form() -> None:
    """No code point, control characters included, can add a key, a line or a change of itself in any form."""
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for start in range(0, len(points), 65_536):
        value = "".join(map(chr, points[start : start + 65_536]))
        pairs = [("messageRef", value), ("status", "read")]
        query, body = encode_query(pairs), encode_form(pairs)
        names = [piece.partition("=")[0] for piece in query.split("&")]
        assert names == ["messageRef", "status"]
        assert unquote_to_bytes(query.split("&")[0].removeprefix("messageRef=")).decode() == value
        spaced = body.decode().replace("+", " ")
        assert unquote_to_bytes(spaced).decode() == f"messageRef={value}&status=read"
        assert set(query) | set(body.decode()) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%&=+"
        )
        assert json.loads(encode_json(pairs)) == dict(pairs)
        assert b"\n" not in encode_json(pairs)


@pytest.mark.parametrize("form", list(Form))
def test_lone_surrogate(form: Form) -> None:
    """A lone surrogate is no text: the one documented error, naming the key, in each form."""
    note = StatusNotification(0, "1", "m", "ann", Status.READ, message_ref=LONE)
    with pytest.raises(Unencodable, match="messageRef: a lone surrogate"):
        encode(note, form)


def test_encoded_get() -> None:
    """GET: everything in the query, after the URL's own part; no type, no body; the payload is the whole raw query."""
    encoded = encode(NOTE, Form.GET, url_query="a=%zz&b")
    expected = "a=%zz&b&type=MessageStatus&timestamp=1970-01-01T00%3A00%3A00Z&applicationId=1&messageId=m"
    assert (encoded.method, encoded.content_type, encoded.body) == ("GET", None, None)
    assert encoded.query == f"{expected}&recipient=ann%20lee&status=read"
    assert encoded.payload == encoded.query.encode()


def test_encoded_form() -> None:
    """Form: a POST with everything in the body; the URL's own query stays out of it and of the payload."""
    encoded = encode(NOTE, Form.FORM, url_query="a=1")
    assert (encoded.method, encoded.query) == ("POST", None)
    assert encoded.content_type == "application/x-www-form-urlencoded"
    assert encoded.payload == encoded.body
    assert encoded.payload.endswith(b"&recipient=ann+lee&status=read")


def test_encoded_json() -> None:
    """JSON: a POST of one flat object; milliseconds when the endpoint asked for them."""
    encoded = encode(NOTE, Form.JSON, "ms")
    assert (encoded.method, encoded.query, encoded.content_type) == ("POST", None, "application/json")
    assert encoded.payload == encoded.body
    assert encoded.payload == (
        b'{"type":"MessageStatus","timestamp":"1970-01-01T00:00:00.000Z","applicationId":"1",'
        b'"messageId":"m","recipient":"ann lee","status":"read"}'
    )


def test_lone_surrogate_in_the_urls_own_query() -> None:
    """A URL's own query that is no text is Unencodable too, not some other error."""
    with pytest.raises(Unencodable, match="own query"):
        encode(NOTE, Form.GET, url_query=LONE)


@pytest.mark.parametrize("form", list(Form))
def test_attachment_makes_any_form_multipart(form: Form) -> None:
    """With a file, whatever the form, it is a multipart POST; the bytes are the same at every try."""
    note = IncomingNotification("ann", "hi", "1", 0, "m", attachment=attachment_of("a", "image/png", b"\0"))
    encoded = encode(note, form, url_query="a=1")
    assert (encoded.method, encoded.query) == ("POST", None)
    assert encoded.content_type is not None
    assert encoded.content_type.startswith("multipart/form-data; boundary=homing-")
    assert encoded.payload == encoded.body
    assert encode(note, form, url_query="a=1") == encoded
    assert encode(note, form, boundary="b").content_type == "multipart/form-data; boundary=b"


def test_boundary_follows_the_content() -> None:
    """A boundary depends on text and file: nobody can put it into a message beforehand."""
    file, other = attachment_of("a", "image/png", b"\0"), attachment_of("a", "image/png", b"\1")
    boundaries = {
        boundary_of([("text", "hi")], file),
        boundary_of([("text", "ho")], file),
        boundary_of([("text", "hi")], other),
    }
    assert len(boundaries) == 3


def test_multipart_body() -> None:
    """The parts are the keys in order, the file's facts, then the file."""
    attachment = attachment_of("a.png", "image/png", b"\x89PNG\r\n")
    content_type, body = encode_multipart([("sender", "ann")], attachment, "B")
    assert content_type == "multipart/form-data; boundary=B"
    names = [line for line in body.split(b"\r\n") if line.startswith(b"Content-Disposition")]
    order = [b"sender", b"attachmentName", b"attachmentType", b"attachmentSize", b"attachmentSha256"]
    plain = [b'Content-Disposition: form-data; name="%s"' % name for name in order]
    assert names == [*plain, b'Content-Disposition: form-data; name="attachment"; filename="a.png"']
    assert body.endswith(b"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\r\n--B--\r\n")


@pytest.mark.parametrize(
    "existing, expected",
    [
        ("", "new=1"),
        ("a=1", "a=1&new=1"),
        ("a=%zz+ ü&&", "a=%zz+ ü&&new=1"),
        ("a", "a&new=1"),
        ("&", "&new=1"),
    ],
)
def test_append_query(existing: str, expected: str) -> None:
    """The URL's own query is kept byte for byte in front, and the pieces are parted by one ampersand."""
    assert append_query(existing, "new=1") == expected


@pytest.mark.parametrize(
    "query, expected",
    [
        ("", None),
        ("a=1&b=type", None),
        ("Type=1&STATUS=2", None),
        ("types=1&ty pe=2&%ff=3&%zz=4&\ud800=5", None),
        ("a=1&type=x&status=y", "type"),
        ("status", "status"),
        ("%74ype=", "type"),
        ("message%52ef=1", "messageRef"),
        ("&&sender==", "sender"),
        ("attachmentSha256=1", "attachmentSha256"),
    ],
)
def test_holds_contract_key(query: str, expected: str | None) -> None:
    """A contract key in a query is found however it is escaped; other names, and other cases, are not."""
    assert holds_contract_key(query) == expected


def test_every_contract_key_is_refused_in_a_url() -> None:
    """Whatever both kinds may send is found in a URL's query."""
    assert all(holds_contract_key(f"a=1&{encode_query([pair])}") == pair[0] for pair in keys(NOTE))
    assert all(holds_contract_key(f"{key}=x") == key for key in CONTRACT_KEYS)
