"""What both stores decide alike where they take up what is left over: where a probe looks, what a courier hears of a lane.

Each asks in its own way, in batches or row by row (ADR 0012). Nothing here asks, or reads a clock.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, NamedTuple, TypeVar

from homing.model import CommandKind, DispatchKey, MessageId
from homing.store.batch import CommandDone, CommandWork, Facts, IncomingFacts, LaneWork, OperationFacts

T = TypeVar("T")

Place = tuple[bytes, int]
"""Where a walk stands: (key, endpoint) along the lanes, (key, kind) along the commands."""
Stride = tuple[list[T], Place | None]
"""What a part of a walk found, and where to go on; None at the end."""
LaneRow = tuple[bytes, int, int, int, int]
"""key, endpoint, pending, tries, job"""
Event = tuple[int, int, int]
"""n, status, at_ms"""
About = tuple[Facts | IncomingFacts | OperationFacts, Iterable[Event]]
"""What a lane is about, and the events that there are of it."""
_NEARBY: Final = 64
"""How many places a probe may go on from where chance sent it: lanes let go together share one instant."""


async def walk(after: Place, stride: Callable[[Place], Awaitable[Stride[T]]]) -> list[T]:
    """Stride on until something is found, or the end is reached."""
    place: Place | None = after
    while place is not None:
        found, place = await stride(place)
        if found:
            return found
    return []


def probes(chance: float, first_ms: int, now_ms: int) -> tuple[tuple[int, int], ...]:
    """Return where to look for one due lane, one after the other: from which instant on, and how many places further.

    ``chance`` sends it to an instant between the first due one and now; what it goes past is looked at last.
    """
    at_ms = first_ms + int(chance * (now_ms - first_ms))
    places = int(chance * 7_919) % _NEARBY
    return (at_ms, places), (at_ms, 0), (first_ms, places), (first_ms, 0)


def of_dispatch(facts: Iterable[Any], events: Iterable[Event]) -> About:
    """Return what a lane of a dispatch is about."""
    return Facts(*facts), events


def of_incoming(row: Iterable[Any]) -> About:
    """Return what a lane of a message from a device is about: it happened once, and has no status."""
    app, identifier, text, channel, in_reply_to, at_ms = row
    reply = None if in_reply_to is None else MessageId(in_reply_to)
    return IncomingFacts(app, identifier, text, channel, reply), ((1, 0, at_ms),)


def of_operation(row: Iterable[Any]) -> About:
    """Return what a lane that tells of an endpoint is about; it happened once as well."""
    facts = OperationFacts(*row)
    return facts, ((1, 0, facts.at_ms),)


def to_work(row: LaneRow, about: About, job: str | None) -> LaneWork:
    """Return what a courier hears of a lane: of its events those that are pending; ``job`` is the name of the row's."""
    key, endpoint, pending, tries, _ = row
    facts, events = about
    told = tuple(event for event in events if pending >> (event[0] - 1) & 1)
    return LaneWork(DispatchKey(key), endpoint, facts, told, tries, job=job)


def to_command(row: Any) -> CommandWork:
    """Return the work of a command's row: key, kind, tries, detail."""
    return CommandWork(DispatchKey(row[0]), CommandKind(row[1]), row[2], row[3])


class Finished(NamedTuple):
    """What becomes of commands: places (key, kind); of owners' words owner and tries too, and when to try again, and a detail."""

    ended: list[tuple[Any, ...]]
    given_up: list[tuple[Any, ...]]
    put_off: list[tuple[Any, ...]]


def finished(done: Iterable[CommandDone], epoch: int) -> Finished:
    """Sort the outcomes of commands by what is written of them."""
    it = Finished([], [], [])
    for c in done:
        if c.retry_at_ms is not None:
            it.put_off.append((c.key, c.kind, epoch, c.tries, c.retry_at_ms, c.detail))
        elif c.is_given_up:
            it.given_up.append((c.key, c.kind, epoch, c.tries))
        else:
            it.ended.append((c.key, c.kind))
    return it
