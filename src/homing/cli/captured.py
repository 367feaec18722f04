"""A request that somebody kept: read from a raw capture, from body and headers, or from a curl command."""

import shlex
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from homing.cli.exits import usage

_DATA_FLAGS: Final = frozenset({"-d", "--data", "--data-raw", "--data-binary", "--data-ascii"})
_WITH_VALUE: Final = frozenset(
    {"-X", "--request", "-H", "--header", "-A", "--user-agent", "--url", *_DATA_FLAGS}
)


class Captured(NamedTuple):
    """One request; header names in lower case, ``query`` raw and without its question mark."""

    method: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> bytes:
        """What is signed: the exact body, for GET the exact raw query string."""
        return self.query.encode("utf-8", "surrogateescape") if self.method == "GET" else self.body


def from_request(text: bytes) -> Captured:
    """Read a whole request: its line, its headers, an empty line, its body."""
    end = "\r\n\r\n" if b"\r\n\r\n" in text else "\n\n"
    head, _, body = text.partition(end.encode())
    first, *lines = head.decode("utf-8", "surrogateescape").splitlines() or [""]
    words = first.split(" ")
    if len(words) < 2 or not words[0].isalpha():
        raise usage("--request: the first line is not like POST /path HTTP/1.1")
    return Captured(words[0].upper(), words[1].partition("?")[2], _headers(lines), body)


def from_parts(headers: bytes, body: bytes, query: str | None) -> Captured:
    """Put together a request whose headers and body, or query, were kept apart."""
    found = _headers(headers.decode("utf-8", "surrogateescape").splitlines())
    if query is not None:
        return Captured("GET", query.removeprefix("?"), found, b"")
    return Captured("POST", "", found, body)


def from_curl(text: bytes) -> Captured:
    """Read a curl command as consoles and proxies copy it."""
    try:
        words = shlex.split(text.decode("utf-8", "surrogateescape").replace("\\\n", " "))
    except ValueError as error:
        raise usage(f"--curl: {error}") from error
    lines: list[str] = []
    data: list[str] = []
    method, url = "", ""
    rest = iter(words[1:] if words[:1] == ["curl"] else words)
    for word in rest:
        flag, joined, value = word.partition("=")
        if flag not in _WITH_VALUE or not flag.startswith("--"):
            flag, joined = word, ""
        if flag in _WITH_VALUE:
            value = value if joined else next(rest, "")
            if flag in _DATA_FLAGS:
                data.append(value)
            elif flag in {"-H", "--header"}:
                lines.append(value)
            elif flag in {"-X", "--request"}:
                method = value.upper()
            elif flag == "--url":
                url = value
        elif not word.startswith("-"):
            url = word
    body = "&".join(data).encode("utf-8", "surrogateescape")
    return Captured(method or ("POST" if data else "GET"), urlsplit(url).query, _headers(lines), body)


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers
