"""What was seen from outside during a run of faults, and the one checker that judges it (RELIABILITY.md §6, I1–I10).

Written from the promises. It must know nothing of the engine; it reads only what clients, receivers, the API and, after
the last stop, the store's file said.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import msgspec

from homing.lifecycle import laws

Dispatch: TypeAlias = tuple[str, str]
"""(messageId, recipient)."""


class Endpoint(NamedTuple):
    """An endpoint as it was set up; ``statuses`` None: all. ``unit_ms`` is how finely it is told the time."""

    statuses: frozenset[str] | None = None
    unit_ms: int = 1

    def wants(self, status: str) -> bool:
        return self.statuses is None or status in self.statuses


class Accept(NamedTuple):
    """One 201 as a client saw it: its idempotency key, and the status told for each recipient."""

    key: str
    message_id: str
    told: Mapping[str, str]


class Call(msgspec.Struct):
    """One callback as a receiver saw it, in the order of arrival.

    ``life`` counts the server's starts until then; ``answered`` is the status it was given, None if the connection was
    cut; ``faults`` is what is wrong with the request by itself, its signature above all.
    """

    endpoint: str
    life: int
    webhook_id: str
    payload: bytes
    dispatch: Dispatch
    app: str
    status: str
    timestamp_ms: int
    answered: int | None = 204
    faults: tuple[str, ...] = ()

    @property
    def is_taken(self) -> bool:
        """It was answered 2xx."""
        return self.answered is not None and 200 <= self.answered < 300


class Event(NamedTuple):
    """One event as the API tells it at the end."""

    seq: int
    status: str
    timestamp_ms: int


class Rest(NamedTuple):
    """What the store's file holds after a clean stop: rows that are stuck, and states that contradict the events."""

    stuck: Mapping[str, int] = {}
    torn: Sequence[str] = ()


class Journal(msgspec.Struct):
    """A whole run. ``events`` holds every dispatch the API lists; ``readers`` who reads all messages on a device."""

    app: str
    endpoints: dict[str, Endpoint]
    accepts: list[Accept] = []
    calls: list[Call] = []
    events: dict[Dispatch, list[Event]] = {}
    readers: frozenset[str] = frozenset()
    rest: Rest = Rest()


class Counts(msgspec.Struct):
    """The size of a run."""

    accepted: int
    events: int
    callbacks: int
    retries: int
    """Tries of an event that nobody had taken yet, beyond its first."""
    duplicates: int
    """Tries of an event that had been taken: answered 2xx, but the server died before it had that on disk."""


_Said: TypeAlias = tuple[str, Dispatch, str]
"""(endpoint, dispatch, status): what one webhook-id stands for."""


def check(journal: Journal) -> list[str]:
    """Everything that breaks a promise, one line each, beginning with the number of the invariant."""
    return [
        *_accepted(journal),
        *_events(journal),
        *_order_of_events(journal),
        *_addressed(journal),
        *_duplicates(journal),
        *_order_of_calls(journal),
        *(f"I8: {torn}" for torn in journal.rest.torn),
        *(f"I9: {call.webhook_id}: {fault}" for call in journal.calls for fault in call.faults),
        *_quiet(journal),
    ]


def count(journal: Journal) -> Counts:
    """Count what happened."""
    taken: set[_Said] = set()
    seen: set[_Said] = set()
    retries = duplicates = 0
    for call in journal.calls:
        said = (call.endpoint, call.dispatch, call.status)
        duplicates += said in taken
        retries += said in seen and said not in taken
        seen.add(said)
        if call.is_taken:
            taken.add(said)
    return Counts(
        accepted=len({accept.message_id for accept in journal.accepts}),
        events=sum(len(life) for life in journal.events.values()),
        callbacks=len(journal.calls),
        retries=retries,
        duplicates=duplicates,
    )


def _accepted(journal: Journal) -> Iterator[str]:
    """I1: what was answered 201 is there, once for each key, and nothing else is there."""
    by_key: dict[str, str] = {}
    keys: dict[str, str] = {}
    for accept in journal.accepts:
        if by_key.setdefault(accept.key, accept.message_id) != accept.message_id:
            yield f"I1: key {accept.key} made {by_key[accept.key]} and {accept.message_id}"
        elif keys.setdefault(accept.message_id, accept.key) != accept.key:
            yield f"I1: {accept.message_id} answers to two keys"
        for recipient, status in accept.told.items():
            life = journal.events.get((accept.message_id, recipient))
            if not life:
                yield f"I1: {accept.message_id} to {recipient} was accepted and is lost"
            elif life[0].status != status:
                yield f"I1: {accept.message_id} to {recipient} was {status} at first, now {life[0].status}"
    told = {(accept.message_id, recipient) for accept in journal.accepts for recipient in accept.told}
    for message_id, recipient in journal.events.keys() - told:
        # Every client repeated its request until it had its 201, so there is no message that nobody was told of.
        yield f"I1: {message_id} to {recipient} exists, and no client was told so"


def _events(journal: Journal) -> Iterator[str]:
    """I2: what the API tells of a dispatch, and what each endpoint took, are the same events."""
    wanted: Counter[_Said] = Counter()
    at_ms: dict[_Said, int] = {}
    for dispatch, life in journal.events.items():
        for name, endpoint in journal.endpoints.items():
            for event in life:
                if endpoint.wants(event.status):
                    said = (name, dispatch, event.status)
                    wanted[said] += 1
                    at_ms[said] = event.timestamp_ms // endpoint.unit_ms * endpoint.unit_ms
    taken = {(call.endpoint, call.dispatch, call.status) for call in journal.calls if call.is_taken}
    for endpoint_name, dispatch, status in wanted.keys() - taken:
        yield f"I2: {status} of {dispatch} is lost at {endpoint_name}"
    for call in journal.calls:
        said = (call.endpoint, call.dispatch, call.status)
        if said not in wanted:
            yield f"I2: {call.endpoint} was told {call.status} of {call.dispatch}, which is no event"
        elif at_ms[said] != call.timestamp_ms:
            yield f"I2: {call.endpoint} was told another time for {call.status} of {call.dispatch}"


def _order_of_events(journal: Journal) -> Iterator[str]:
    """I3: the events of a dispatch are numbered from 1, and lawful; and so is what an endpoint first heard."""
    for dispatch, life in journal.events.items():
        if [event.seq for event in life] != list(range(1, len(life) + 1)):
            yield f"I3: the events of {dispatch} are numbered {[event.seq for event in life]}"
        for breach in laws.check([(event.status, event.timestamp_ms) for event in life]):
            yield f"I3: {dispatch}: {breach}"
    for (endpoint, dispatch), calls in _by_lane(journal).items():
        if journal.endpoints[endpoint].statuses is None:
            firsts = {call.status: call.timestamp_ms for call in reversed(calls)}
            heard = [(status, firsts[status]) for status in dict.fromkeys(call.status for call in calls)]
            for breach in laws.check(heard):
                yield f"I3: {dispatch} at {endpoint}: {breach}"


def _addressed(journal: Journal) -> Iterator[str]:
    """I4: nobody is told what is not for them."""
    for call in journal.calls:
        if call.app != journal.app:
            yield f"I4: {call.webhook_id} is of application {call.app}"
        if not journal.endpoints[call.endpoint].wants(call.status):
            yield f"I4: {call.endpoint} did not ask for {call.status}"


def _duplicates(journal: Journal) -> Iterator[str]:
    """I5: an event at an endpoint has one webhook-id and one body. I7: no try after a 2xx, but for a death between."""
    first: dict[_Said, Call] = {}
    owner: dict[str, _Said] = {}
    taken_in: dict[_Said, int] = {}
    for call in journal.calls:
        said = (call.endpoint, call.dispatch, call.status)
        before = first.setdefault(said, call)
        if before.webhook_id != call.webhook_id:
            yield f"I5: {said} came as {before.webhook_id} and as {call.webhook_id}"
        if before.payload != call.payload:
            yield f"I5: {said} came with two bodies"
        if owner.setdefault(call.webhook_id, said) != said:
            yield f"I5: {call.webhook_id} stands for {owner[call.webhook_id]} and for {said}"
        if taken_in.get(said) == call.life:
            yield f"I7: {said} was tried again after a 2xx, and the server had not died"
        if call.is_taken:
            taken_in[said] = call.life


def _order_of_calls(journal: Journal) -> Iterator[str]:
    """I6: no event is tried before those before it were taken, and none after a later one, whoever died between
    (docs/adr/0002: a death repeats at most the last event that was told of a dispatch).
    """
    for (endpoint, dispatch), calls in _by_lane(journal).items():
        wants = journal.endpoints[endpoint].wants
        order = [event.status for event in journal.events.get(dispatch, ()) if wants(event.status)]
        place = {status: index for index, status in enumerate(order)}
        taken: set[str] = set()
        for before, call in pairwise([None, *calls]):
            if call is None or call.status not in place:
                continue
            for status in order[: place[call.status]]:
                if status not in taken:
                    yield f"I6: {endpoint} was told {call.status} of {dispatch} before it took {status}"
            if before is not None and place.get(before.status, 0) > place[call.status]:
                yield f"I6: {endpoint} was told {call.status} of {dispatch} after {before.status}"
            if call.is_taken:
                taken.add(call.status)


def _quiet(journal: Journal) -> Iterator[str]:
    """I10: at the end nothing is stuck, and who reads has read everything."""
    for table, rows in journal.rest.stuck.items():
        if rows:
            yield f"I10: {rows} rows are stuck in {table}"
    for (message_id, recipient), life in journal.events.items():
        if recipient in journal.readers and life[-1].status != "read":
            yield f"I10: {message_id} to {recipient} has stopped at {life[-1].status}"


def _by_lane(journal: Journal) -> dict[tuple[str, Dispatch], list[Call]]:
    lanes: dict[tuple[str, Dispatch], list[Call]] = defaultdict(list)
    for call in journal.calls:
        lanes[call.endpoint, call.dispatch].append(call)
    return lanes
