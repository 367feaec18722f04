"""The live feed of `homing dev`: one line for each try of a callback, made from the request as it was sent."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from homing.callbacks.job import Done, Job
from homing.callbacks.verdict import Outcome, outcome
from homing.cli.render import harmless
from homing.contract.decode import decode
from homing.contract.errors import Undecodable
from homing.contract.notification import StatusNotification

_STATUS_WIDTH: Final = 22
_NAME_WIDTH: Final = 5
_ANSWER_CHARS: Final = 100


def event_line(at_ms: int, message_id: str, recipient: str, what: str) -> str:
    """Return when something happened, the end of the message's id, to whom and what, as columns of a line."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{moment:%H:%M:%S}.{at_ms % 1000:03d}  …{message_id[-4:]}  {recipient:<{_NAME_WIDTH}} {what}"


class Try(msgspec.Struct, frozen=True):
    """What a line tells. ``next_s`` None: there is no next try."""

    message_id: str
    recipient: str
    what: str
    answered: str
    took_ms: int
    number: int
    tries: int
    next_s: float | None = None
    answer: str = ""

    def line(self, now_ms: int) -> str:
        """Return the line; ``now_ms`` is the server's clock."""
        event = event_line(now_ms, self.message_id, self.recipient, f"{self.what:<{_STATUS_WIDTH}}")
        parts = [f"{event} → {self.answered:<7} {self.took_ms:>4} ms"]
        if self.next_s is not None:
            parts.append(f"try {self.number} of {self.tries}, next in {self.next_s:g} s")
        elif self.number > 1 or self.answer:
            parts.append(f"try {self.number}" + (" of " + str(self.tries) if self.answer else ""))
        if self.answer:
            parts.append(self.answer)
        return harmless("  ".join(parts))


class Feed:
    """Prints a line for each finished try. Give `watch` to the node."""

    def __init__(self, delays_s: Sequence[float], now_ms: Callable[[], int]) -> None:
        self._delays_s = tuple(delays_s)
        self._now_ms = now_ms

    def watch(self, done: Done) -> None:
        """Print one line on stdout; what cannot be told is passed over."""
        told = what_was_tried(done, self._delays_s)
        if told is not None:
            print(told.line(self._now_ms()), flush=True)


def what_was_tried(done: Done, delays_s: Sequence[float]) -> Try | None:
    """Return what one finished try was about; None for a request that holds no callback."""
    job = done.job
    headers = _headers(job)
    query = "" if job.target is None else job.target.partition("?")[2]
    try:
        said = decode(
            "GET" if job.body is None else "POST", query, headers.get("content-type"), job.body or b""
        )
    except Undecodable:
        return None
    number = int(headers.get("homing-attempt", "1"))
    ended = outcome(done.status, done.error)
    is_well = ended is Outcome.SUCCESS
    is_last = is_well or ended is Outcome.GONE or number > len(delays_s)
    return Try(
        message_id=said.message_id,
        recipient=said.recipient if isinstance(said, StatusNotification) else said.sender,
        what=said.status.value if isinstance(said, StatusNotification) else "incoming message",
        answered=ended.value if done.error is not None else str(done.status),
        took_ms=done.phases.total_ms,
        number=number,
        tries=len(delays_s) + 1,
        next_s=None if is_last else delays_s[number - 1],
        answer="" if is_well else _why(done),
    )


def _why(done: Done) -> str:
    """The first line of the receiver's answer, or why there was none."""
    text = done.answer.decode("utf-8", "replace").strip()
    first = text.splitlines()[0] if text else done.error_text
    return first[:_ANSWER_CHARS]


def _headers(job: Job) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in job.headers)}
