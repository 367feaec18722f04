"""How a receiver of callbacks behaves: named behaviours, each with a one-line promise, as data."""

import random
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from homing.simulator.durations import duration_ms


class Answer(msgspec.Struct, frozen=True):
    """What is sent back, after ``delay_s`` of real time. ``is_cut``: nothing, the connection is cut.

    ``moves_slash``: a path without a slash at its end is redirected to the same with one, as web frameworks do.
    """

    status: int = 204
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delay_s: float = 0.0
    is_cut: bool = False
    moves_slash: bool = False

    def at(self, path: str) -> "Answer":
        """Return the answer to a request for this path."""
        if not self.moves_slash or path.endswith("/"):
            return self
        return Answer(307, (("location", f"{path}/"),))

    @property
    def wire(self) -> bytes:
        """The answer's bytes."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status != HTTPStatus.NO_CONTENT:
            lines.append(f"content-length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unnamed"


class Behaviour(msgspec.Struct, frozen=True):
    """What the n-th request since this behaviour began is answered (n from 0)."""

    name: str
    answer: Callable[[int, random.Random], Answer]
    is_listening: bool = True


OK: Final = Answer()
_MISLEADING_PAGE: Final = b"<!doctype html><title>Log in</title><form>"


def _always(answer: Answer) -> Callable[[int, random.Random], Answer]:
    return lambda _n, _rng: answer


def _percent(argument: str) -> Callable[[int, random.Random], Answer]:
    share = float(argument or "20") / 100
    return lambda _n, rng: Answer(500) if rng.random() < share else OK


def _listed(argument: str) -> Callable[[int, random.Random], Answer]:
    answers: Sequence[Answer] = [
        Answer(int(word)) for word in argument.strip("[]").split(",") if word.strip()
    ]
    if not answers:
        raise ValueError("answers needs at least one status, as in answers:500,500,204")
    return lambda n, _rng: answers[min(n, len(answers) - 1)]


def _slow(argument: str) -> Callable[[int, random.Random], Answer]:
    return _always(Answer(delay_s=duration_ms(argument or "3s") / 1000))


def _limited(argument: str) -> Callable[[int, random.Random], Answer]:
    share = max(1, int(argument or "2"))
    refused = Answer(429, (("retry-after", "1"),))
    return lambda n, _rng: OK if n % share == share - 1 else refused


NAMED: Final[dict[str, tuple[str, Callable[[str], Callable[[int, random.Random], Answer]]]]] = {
    "ok": ("204 at once", lambda _: _always(OK)),
    "answers": ("these statuses one after the other, then the last for ever", _listed),
    "flaky": ("500 to this percentage of requests", _percent),
    "slow": ("204 after this much real time", _slow),
    "cuts": ("the connection is cut without an answer", lambda _: _always(Answer(is_cut=True))),
    "down": ("connection refused", lambda _: _always(Answer(is_cut=True))),
    "gone": ("410: never call again", lambda _: _always(Answer(410))),
    "limited": ("429 with Retry-After to all but every n-th", _limited),
    "redirects": (
        "307 to the same path with a slash, 204 there",
        lambda _: _always(Answer(moves_slash=True)),
    ),
    "unauthorised": ("401", lambda _: _always(Answer(401, (("www-authenticate", "Basic"),)))),
    "liar": (
        "200 with a log-in page",
        lambda _: _always(Answer(200, (("content-type", "text/html"),), _MISLEADING_PAGE)),
    ),
}
"""Name → (its promise, what makes it from the text behind the colon)."""


def behaviour(text: str) -> Behaviour:
    """Return the behaviour of this name, with its argument behind a colon: ``flaky:20``; `ValueError` names the known."""
    name, _, argument = text.partition(":")
    if name not in NAMED:
        raise ValueError(f"{name!r} is no behaviour of a receiver; there are {', '.join(NAMED)}")
    return Behaviour(text, NAMED[name][1](argument), is_listening=name != "down")
