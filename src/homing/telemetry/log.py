"""Structured logs: one line per fact, on stderr, people only as keyed hashes, secrets and URLs cut by their type.

A log line never raises and never carries a message's text; what a value may show is decided here, not by who logs.
"""

import contextlib
import hashlib
import re
import secrets
import sys
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, cast

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

LogFormat = Literal["json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]

_LEVELS: Final[dict[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_NEVER: Final = frozenset({"authorization", "body", "password", "secret", "text", "token"})
"""Keys whose value is hidden whatever it is: nobody should log them, and if one does it does no harm."""
_URL: Final = re.compile(
    r"""(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://)
    (?:
      [^/\s?#'":@[]*:                     # a user and a colon, unless that is a host before its port:
      (?!\d{1,5}(?:[/?#\s'"]|$))\S{0,300}@      # whatever a password that was left as it is may hold, up to the last @
    | [^/\s?#'"]*@
    )?
    (?P<rest>[^\s?#'"]*)(?:[?#][^\s'"]*)?""",
    re.VERBOSE,
)
"""A password with a space in it, or one that begins like a port and goes on with a slash, looks like no password. The
bound is for the loop: a long value made for it would be searched anew from each of its places.
"""
_HIDDEN: Final = "[hidden]"

_hash_key: bytes = secrets.token_bytes(32)
_logger: FilteringBoundLogger


def configure(
    form: LogFormat = "json",
    level: LogLevel = "info",
    *,
    node: str | None = None,
    hash_key: bytes | None = None,
    stream: TextIO | None = None,
) -> None:
    """Set how this process logs; before it, only warnings are written, as text.

    ``node`` is put on every line. ``hash_key`` (≤ 64 bytes) makes `recipient_h` the same over restarts and nodes.
    ``stream`` None is whatever ``sys.stderr`` is at the time of the line.
    """
    global _hash_key, _logger
    if hash_key is not None:
        _hash_key = hash_key
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            _redact,
            _as_json if form == "json" else _as_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )
    bound = structlog.get_logger().bind(**({} if node is None else {"node": node}))
    _logger = cast("FilteringBoundLogger", bound)


def logger() -> FilteringBoundLogger:
    """Return this process's logger: ``logger().info(LogEvent.…, app=1, message_id=…)``."""
    return _logger


def recipient_h(app: int, folded: str) -> str:
    """Return the 16 hex digits that stand for a person (folded identifier, or a number) in logs."""
    return hashlib.blake2b(f"{app}:{folded}".encode(), digest_size=8, key=_hash_key).hexdigest()


class _Lines:
    """Where lines go. A stream that is gone loses the line, never the work that wrote it."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        stream = self._stream if self._stream is not None else sys.stderr
        with contextlib.suppress(OSError, ValueError):
            stream.write(line + "\n")  # one write, so that lines of several threads do not mix
            stream.flush()

    debug = info = warning = error = critical = msg


def _shown(key: str, value: object) -> object:
    """Return what may be seen of a value."""
    if key in _NEVER and value is not None:
        return _HIDDEN
    match value:
        case str():
            plain = str.__str__(value)
            if not plain.isascii():  # half a surrogate pair is a str, but not UTF-8
                plain = plain.encode("utf-8", "backslashreplace").decode()
            return _URL.sub(r"\g<scheme>\g<rest>", plain) if "://" in plain else plain
        case None | bool() | int() | float():
            return value
        case bytes():
            return value.hex()
        case dict():
            return {str(name): _shown(str(name), part) for name, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_shown("", part) for part in value]
        case _:
            return _shown("", repr(value))


def _redact(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _shown(key, value) for key, value in line.items()}


def _as_json(_logger: object, method: str, line: MutableMapping[str, Any]) -> str:
    moment = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
    event = line.pop("event", "")
    ordered = {"ts": moment.replace("+00:00", "Z"), "level": method, "event": event, **line}
    return msgspec.json.encode(ordered).decode("utf-8", "replace")


def _as_text(_logger: object, method: str, line: MutableMapping[str, Any]) -> str:
    clock = time.strftime("%H:%M:%S")
    trace = line.pop("exception", None)
    event = line.pop("event", "")
    fields = " ".join(f"{key}={_word(value)}" for key, value in line.items())
    head = f"{clock} {method:<8} {event}{' ' if fields else ''}{fields}"
    return f"{head}\n{trace}" if trace else head


def _word(value: object) -> str:
    if isinstance(value, str) and value and value.isprintable() and " " not in value:
        return value
    return msgspec.json.encode(value).decode()


configure("text", "warning")
