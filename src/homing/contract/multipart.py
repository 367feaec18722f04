"""multipart/form-data as bytes, both ways (RFC 7578), for incoming messages with an attachment."""

import re
from typing import Final

import msgspec

from homing.contract.errors import Undecodable, Unencodable

MAX_PARTS: Final = 64
"""More parts than this are refused: the contract knows 13."""

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z_-]{1,70}", re.ASCII)  # needs no quotes anywhere
_TYPE_CHARACTERS: Final = r"[0-9A-Za-z!#$&^_.+-]+"
_MEDIA_TYPE: Final = re.compile(rf"{_TYPE_CHARACTERS}/{_TYPE_CHARACTERS}(?:;[ -~]*)?", re.ASCII)
_BOUNDARY_PARAMETER: Final = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME_PARAMETER: Final = re.compile(r';\s*name="([^"\r\n]*)"', re.IGNORECASE)
_OCTETS: Final = "application/octet-stream"


class Part(msgspec.Struct, frozen=True):
    """One part as it was received; `is_file` when it had a filename."""

    name: str
    is_file: bool
    content: bytes


def build(
    fields: list[tuple[str, str]],
    file_key: str,
    filename: str,
    media_type: str,
    content: bytes,
    boundary: str,
) -> bytes:
    """Return the body: one part per field in order, then the file.

    Unencodable when a text holds a lone surrogate, the boundary is not 1 to 70 of ``0-9A-Za-z_-``, or it occurs in
    a part. A media type that could break the header is sent as application/octet-stream. In the file's name ``"``,
    CR and LF are percent-encoded, as browsers do (WHATWG HTML, multipart/form-data encoding).
    """
    if _BOUNDARY.fullmatch(boundary) is None:
        raise Unencodable(f"boundary {boundary!r} is not 1 to 70 of 0-9A-Za-z_-")
    filename = filename.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
    safe_type = media_type if _MEDIA_TYPE.fullmatch(media_type) else _OCTETS
    try:
        parts = [(f'name="{name}"', value.encode()) for name, value in fields]
        parts.append((f'name="{file_key}"; filename="{filename}"\r\nContent-Type: {safe_type}', content))
        heads = [f"Content-Disposition: form-data; {head}\r\n\r\n".encode() for head, _ in parts]
    except UnicodeEncodeError as fault:
        raise Unencodable("a lone surrogate is no text and has no UTF-8") from fault
    delimiter = f"--{boundary}".encode()
    if any(delimiter in value for _, value in parts):
        raise Unencodable("the boundary occurs in a part")
    pieces: list[bytes] = []
    for head, (_, value) in zip(heads, parts, strict=True):
        pieces += (delimiter, b"\r\n", head, value, b"\r\n")
    return b"".join((*pieces, delimiter, b"--\r\n"))


def boundary_in(content_type: str) -> str:
    """Return the boundary that a Content-Type names; Undecodable when there is none."""
    found = _BOUNDARY_PARAMETER.search(content_type)
    if found is None:
        raise Undecodable("multipart without a boundary")
    return found[1] or found[2]


def parse(body: bytes, boundary: str) -> list[Part]:
    """Return the parts in order; Undecodable when the body is cut short, or a part has no name or no end of headers."""
    try:
        delimiter = f"\r\n--{boundary}".encode()
    except UnicodeEncodeError as fault:
        raise Undecodable("the boundary is no text") from fault
    preamble, *chunks = (b"\r\n" + body).split(delimiter, MAX_PARTS + 1)
    if preamble.strip() or not chunks:
        raise Undecodable("the body does not begin with its boundary")
    *chunks, last = chunks
    if not last.startswith(b"--"):
        raise Undecodable(f"multipart body is cut short, or has more than {MAX_PARTS} parts")
    return [_part(chunk) for chunk in chunks]


def _part(chunk: bytes) -> Part:
    head, end, content = chunk.partition(b"\r\n\r\n")
    if not end or not head.startswith(b"\r\n"):
        raise Undecodable("a part without an end of its headers")
    for line in head.decode("utf-8", "replace").split("\r\n"):
        header, _, value = line.partition(":")
        if header.strip().lower() == "content-disposition":
            found = _NAME_PARAMETER.search(value)
            if found is not None:
                return Part(found[1], "filename" in value.replace(found[0], "", 1).lower(), content)
    raise Undecodable("a part without a name")
