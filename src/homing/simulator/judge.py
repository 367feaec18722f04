"""Judges what receivers got: signatures, forms, order, repeats, and the laws of CONTRACT.md §4 over whole lives.

Written from the contract, for requests as they came over the wire; it knows nothing of the engine.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from homing.contract.notification import StatusNotification
from homing.lifecycle import laws
from homing.simulator.receivers import Caught

Dispatch: TypeAlias = tuple[str, str]
"""(messageId, recipient) as callbacks name them."""


class Life(msgspec.Struct):
    """What one receiver heard of one dispatch: each event once, in the order of its first try."""

    dispatch: Dispatch
    events: list[tuple[str, int]] = []
    """(status, timestamp in ms)."""
    repeats: int = 0
    """Tries of an event that had been answered 2xx already: allowed, as delivery is at least once."""
    findings: list[str] = []

    @property
    def statuses(self) -> list[str]:
        """The statuses in order."""
        return [status for status, _ in self.events]


class _Event(msgspec.Struct):
    webhook_id: str
    payload: bytes
    place: int
    is_settled: bool = False


class Book:
    """The lives that one receiver's requests tell, kept up while they come; `add` must get a request after its answer."""

    def __init__(self, requests: Iterable[Caught] = ()) -> None:
        self.lives: dict[Dispatch, Life] = {}
        self.findings: list[str] = []
        """What is wrong with single requests, and with those that belong to no dispatch."""
        self._events: dict[Dispatch, list[_Event]] = {}
        for caught in requests:
            self.add(caught)

    def add(self, caught: Caught) -> None:
        """Take one more request, in the order in which they came."""
        self.findings += [f"{caught.webhook_id or 'a request'}: {fault}" for fault in caught.faults]
        it = caught.notification
        if not isinstance(it, StatusNotification):
            return
        dispatch = (it.message_id, it.recipient)
        life = self.lives.setdefault(dispatch, Life(dispatch))
        events = self._events.setdefault(dispatch, [])
        event = next((one for one in events if one.webhook_id == caught.webhook_id), None)
        if event is None:
            if events and not events[-1].is_settled:
                life.findings.append(f"{it.status} was tried before {life.events[-1][0]} was settled")
            event = _Event(caught.webhook_id, caught.payload, len(events))
            events.append(event)
            life.events.append((it.status.value, it.timestamp_ms))
        else:
            life.repeats += event.is_settled
            if event.payload != caught.payload:
                life.findings.append(f"{it.status} came again under its id with other bytes")
            if event.place != len(events) - 1 and not event.is_settled:
                life.findings.append(f"{it.status} came again after {life.events[-1][0]}")
        event.is_settled = event.is_settled or (caught.answered is not None and 200 <= caught.answered < 300)

    def judge(self) -> list[str]:
        """Everything that is wrong, one line each; empty when every law holds."""
        found = list(self.findings)
        for (message_id, recipient), life in self.lives.items():
            where = f"{recipient} {message_id}"
            found += [f"{where}: {finding}" for finding in life.findings]
            found += [f"{where}: {breach}" for breach in laws.check(life.events)]
        return found


def judge(requests: Sequence[Caught]) -> list[str]:
    """Everything that is wrong with what one receiver got, one line each."""
    return Book(requests).judge()
