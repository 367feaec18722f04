"""multipart/form-data, both ways, against the standard library's MIME parser."""

from email import message_from_bytes
from email.message import Message
from email.policy import HTTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.contract.errors import Undecodable, Unencodable
from homing.contract.multipart import MAX_PARTS, Part, boundary_in, build, parse

VALUE = st.text()


def parts_by_email(body: bytes) -> list[Message]:
    """Return the parts as the standard library sees them."""
    message = message_from_bytes(
        b'Content-Type: multipart/form-data; boundary="B"\r\n\r\n' + body, policy=HTTP
    )
    parts = message.get_payload()
    assert isinstance(parts, list)
    return [part for part in parts if isinstance(part, Message)]


@given(st.lists(st.tuples(st.sampled_from(["sender", "text", "channel"]), VALUE)), st.binary())
def test_round_trip(fields: list[tuple[str, str]], content: bytes) -> None:
    """What is built is parsed back: any text, any bytes, in order."""
    boundary = "homing-0f0f0f0f0f0f0f0f0f0f"
    body = build(fields, "attachment", "f", "image/png", content, boundary)
    expected = [Part(name, is_file=False, content=value.encode()) for name, value in fields]
    assert parse(body, boundary) == [*expected, Part("attachment", is_file=True, content=content)]


def test_read_by_the_standard_library() -> None:
    """An independent parser sees the same names, file name, type and bytes."""
    content = bytes(range(256)) * 3 + b"\r\n"
    body = build([("sender", "Zoë\r\nB"), ("text", "")], "attachment", "Ü.png", "image/png", content, "B")
    sender, text, file = parts_by_email(body)
    assert [part.get_param("name", header="content-disposition") for part in (sender, text, file)] == [
        "sender",
        "text",
        "attachment",
    ]
    assert sender.get_payload(decode=True) == "Zoë\r\nB".encode()
    assert text.get_payload(decode=True) == b""
    assert file.get_payload(decode=True) == content
    assert file.get_content_type() == "image/png"


def test_filename_cannot_break_its_header() -> None:
    """Quotes and line ends in a file's name are percent-encoded, so they add no header."""
    body = build([], "attachment", 'a"\r\nX: 1', "image/png", b"", "B")
    assert b'filename="a%22%0D%0AX: 1"\r\n' in body
    assert [key for key, _ in parts_by_email(body)[0].items()] == ["Content-Disposition", "Content-Type"]


@pytest.mark.parametrize("media_type", ["text", "text/html\r\nX: 1", "text/ü", "", "a/b;\n", "a b/c"])
def test_odd_media_type_becomes_octets(media_type: str) -> None:
    """A media type that is none, or could break the header, is sent as octet-stream."""
    body = build([], "attachment", "a", media_type, b"", "B")
    assert b"\r\nContent-Type: application/octet-stream\r\n\r\n" in body


def test_media_type_with_parameter_is_kept() -> None:
    """A parameter of the media type arrives."""
    assert b"Content-Type: text/plain; charset=utf-8\r\n" in build(
        [], "f", "a", "text/plain; charset=utf-8", b"", "B"
    )


@pytest.mark.parametrize("boundary", ["", "a b", "ü", "x" * 71, 'a"', "a\n"])
def test_odd_boundaries_are_not_built(boundary: str) -> None:
    """Only boundaries that need no quoting are used."""
    with pytest.raises(Unencodable, match="boundary"):
        build([], "f", "a", "a/b", b"", boundary)


@pytest.mark.parametrize("text, content", [("x--B", b""), ("", b"\r\n--B--")])
def test_boundary_inside_a_part(text: str, content: bytes) -> None:
    """A boundary that occurs in text or file is refused instead of cutting the body short."""
    with pytest.raises(Unencodable, match="occurs in a part"):
        build([("text", text)], "f", "a", "a/b", content, "B")


@pytest.mark.parametrize("text, filename", [("\ud800", "a"), ("a", "\udfff")])
def test_lone_surrogate(text: str, filename: str) -> None:
    """A lone surrogate in text or file name is the one documented error."""
    with pytest.raises(Unencodable, match="surrogate"):
        build([("text", text)], "f", filename, "a/b", b"", "B")


@pytest.mark.parametrize(
    "content_type, expected",
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('multipart/form-data; charset=x; Boundary="a b;c"', "a b;c"),
        ("multipart/form-data;boundary=abc;x=y", "abc"),
    ],
)
def test_boundary_in(content_type: str, expected: str) -> None:
    """The boundary is found quoted or not, in any case."""
    assert boundary_in(content_type) == expected


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "; aboundary=x"]
)
def test_no_boundary(content_type: str) -> None:
    """A multipart type without a boundary is refused."""
    with pytest.raises(Undecodable, match="without a boundary"):
        boundary_in(content_type)


PART = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'


def test_what_other_encoders_may_add() -> None:
    """Blank preamble, epilogue, further headers in any order and any case are no fault."""
    body = b"\r\n--B\r\nX-A: b\r\ncontent-disposition: Form-Data; NAME=\"a\"; FileName*=utf-8''x\r\n\r\ny\r\n--B--\r\nbye"
    assert parse(body, "B") == [Part("a", is_file=True, content=b"y")]
    assert parse(b"--B--", "B") == []


@pytest.mark.parametrize(
    "body, message",
    [
        (b"", "begin with its boundary"),
        (b"hello" + PART + b"--B--", "begin with its boundary"),
        (b"nothing at all", "begin with its boundary"),
        (b"\r\n", "begin with its boundary"),
        (PART, "cut short"),
        (PART * (MAX_PARTS + 1) + b"--B--", "more than 64"),
        (b'--B\r\nContent-Disposition: form-data; name="a"\r\nx\r\n--B--', "end of its headers"),
        (b"--Bx\r\n\r\n\r\n--B--", "end of its headers"),
        (b"--B\r\n\r\n\r\n--B--", "end of its headers"),
        (b"--B\r\nContent-Disposition: form-data\r\nX: \xff\r\n\r\n\r\n--B--", "without a name"),
    ],
)
def test_broken_bodies(body: bytes, message: str) -> None:
    """A body that is cut, empty, too rich or has nameless parts is refused with the reason."""
    with pytest.raises(Undecodable, match=message):
        parse(body, "B")


def test_most_parts_allowed() -> None:
    """The limit itself is still accepted."""
    assert len(parse(PART * MAX_PARTS + b"--B--", "B")) == MAX_PARTS


def test_boundary_that_is_no_text() -> None:
    """A lone surrogate in the Content-Type's boundary is refused like any other fault."""
    with pytest.raises(Undecodable, match="no text"):
        parse(b"", "\ud800")
