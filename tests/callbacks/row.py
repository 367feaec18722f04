"""One receiver and what must come of a callback to it; and the few kinds of them that a table is made of."""

from typing import NamedTuple

from tests.callbacks.habitats import Habitat, answers
from tests.callbacks.misdeeds import HEAD
from tests.callbacks.zoo import answer

from homing.callbacks.verdict import Outcome, Verdict

NOW_MS = 784_111_777_000
"""Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110: when a Retry-After is read."""
DAY_MS = 86_400_000
SOON_S = 1.0
"""The deadline of those that are to miss it."""


class Row(NamedTuple):
    """One receiver, and what must come of a callback to it."""

    name: str
    habitat: Habitat
    ended: Outcome
    follows: Verdict
    counts: bool
    status: int
    kept: bool
    note: str
    """Words of what the owner is told; empty where nothing is said."""
    wait_ms: int | None = None
    pauses: bool = False
    timeout_s: float = 15.0


def settled(
    name: str,
    habitat: Habitat,
    status: int = 200,
    *,
    kept: bool = True,
    note: str = "",
    wait_ms: int | None = None,
) -> Row:
    return Row(name, habitat, Outcome.SUCCESS, Verdict.SETTLED, False, status, kept, note, wait_ms)


def alive(
    name: str, habitat: Habitat, status: int, note: str, *, kept: bool = True, wait_ms: int | None = None
) -> Row:
    """It answered, so it lives: its answer fails this event only."""
    ended = Outcome.REDIRECT if status < 400 else Outcome.CLIENT_ERROR
    return Row(name, habitat, ended, Verdict.RETRY, False, status, kept, note, wait_ms)


def ill(
    name: str, habitat: Habitat, ended: Outcome, note: str, status: int = 0, *,
    kept: bool = False, wait_ms: int | None = None, pauses: bool = False,
) -> Row:  # fmt: skip
    """It counts against the endpoint."""
    late = {"timeout_s": SOON_S} if ended is Outcome.TIMEOUT else {}
    return Row(name, habitat, ended, Verdict.RETRY, True, status, kept, note, wait_ms, pauses, **late)


def slow(name: str, habitat: Habitat, note: str, status: int = 0) -> Row:
    return ill(name, habitat, Outcome.TIMEOUT, note, status)


def malformed(name: str, habitat: Habitat, status: int = 0, note: str = "no complete HTTP answer") -> Row:
    return ill(name, habitat, Outcome.MALFORMED, note, status)


def cut(name: str, habitat: Habitat, note: str = "cut without an answer") -> Row:
    return ill(name, habitat, Outcome.CONNECT, note)


def no_tls(name: str, habitat: Habitat, note: str) -> Row:
    return ill(name, habitat, Outcome.TLS, note)


def to(location: str, status: int = 302, path: str = "hook") -> Habitat:
    return answers(answer(f"{status} Elsewhere", f"Location: {location}\r\n"), path=path)


def busy(status: int, *lines: str) -> Habitat:
    return answers(answer(f"{status} Busy", "".join(f"{line}\r\n" for line in lines)))


def said(data: bytes, *, hangs_up: bool = False) -> Habitat:
    return answers(HEAD + data, hangs_up=hangs_up)


def padded(header_bytes: int) -> bytes:
    """A whole answer whose head is this long."""
    begin = HEAD + b"Content-Length: 2\r\nx: "
    return begin + b"y" * (header_bytes - len(begin) - 4) + b"\r\n\r\nok"


def lined(header_lines: int) -> bytes:
    """A whole answer whose head has so many lines, the first one and the empty one among them."""
    return HEAD + b"Content-Length: 2\r\n" + b"x: y\r\n" * (header_lines - 3) + b"\r\nok"
