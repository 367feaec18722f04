"""The law checker bites: on broken sequences, and on a machine with a bug planted in it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from tests.lifecycle.walk import HOUR, PUSH_BITS, T0, Step, walk

from homing.contract.status import NUMBER, STATUSES, Status
from homing.lifecycle import machine
from homing.lifecycle.dispatch import Fallback, Input, Message, Received, State, Symbol, Transition
from homing.lifecycle.laws import check
from homing.lifecycle.machine import CELLS, step
from homing.lifecycle.tables import Phase

DAY = 24 * HOUR


def said(*words: str | tuple[str, int]) -> list[tuple[str, int]]:
    """A sequence; a word without a time comes a second after the one before."""
    events: list[tuple[str, int]] = []
    for word in words:
        before = events[-1][1] if events else T0
        events.append((word, before + 1000) if isinstance(word, str) else (word[0], T0 + word[1]))
    return events


LAWFUL = {
    "nothing yet": said(),
    "unknown": said("IdentifierNotFound"),
    "read": said("enqueued", "PushSent", "delivered", "read"),
    "push after delivered": said("enqueued", "delivered", "PushSent", "read", "iOSError"),
    "push errors": said(
        "enqueued", "iOSErrorInvalidToken", "AndroidError", "AndroidErrorInvalidToken", "expired"
    ),
    "expired together": said("enqueued", ("expired", HOUR), ("fallbackOnUndelivered", HOUR)),
    "refused at submission": said("enqueued", "fallbackOnUndelivered", "fallbackInvalidNumber"),
    "late for the carrier": said(
        "enqueued", ("fallbackOnUndelivered", HOUR), ("fallbackOperatorError", HOUR + DAY)
    ),
    "delivered meanwhile": said("enqueued", "fallbackOnUndelivered", "delivered", "fallbackSent", "read"),
    "unread": said("enqueued", "delivered", "fallbackOnUnread", "fallbackSent", "read", "fallbackPhoneError"),
    "carrier in time": said(
        ("enqueued", 0), ("fallbackOnUndelivered", 0), ("fallbackSent", DAY), "fallbackExpired"
    ),
}

BROKEN = [
    (1, said("enqueued", "PushSent", "PushSent")),
    (1, said("enqueued", "delivered", "delivered")),
    (2, said("delivered")),
    (2, said("PushSent", "enqueued", "delivered")),
    (2, said("IdentifierNotFound", "PushSent")),
    (2, said("enqueued", "IdentifierNotFound")),
    (3, said("enqueued", "read", "delivered")),
    (3, said("enqueued", "read")),
    (4, said("enqueued", "delivered", "expired")),
    (4, said("enqueued", "expired", "delivered")),
    (4, said("enqueued", "expired", "read")),
    (4, said("enqueued", "expired", "PushSent")),
    (4, said("enqueued", "expired", "AndroidErrorInvalidToken")),
    (5, said("enqueued", "delivered", "fallbackOnUndelivered")),
    (5, said("enqueued", "fallbackOnUnread")),
    (5, said("enqueued", "delivered", "read", "fallbackOnUnread")),
    (5, said("enqueued", "fallbackOnUndelivered", "delivered", "fallbackOnUnread")),
    (5, said("enqueued", "fallbackSent")),
    (5, said("enqueued", "fallbackOperatorError", "fallbackOnUndelivered")),
    (6, said("enqueued", "fallbackOnUndelivered", "fallbackDelivered")),
    (6, said("enqueued", "fallbackOnUndelivered", "fallbackPhoneError", "fallbackSent")),
    (6, said("enqueued", "fallbackOnUndelivered", "fallbackInvalidNumber", "fallbackSent")),
    (
        6,
        said(
            "enqueued", "fallbackOnUndelivered", "fallbackSent", "fallbackDelivered", "fallbackOperatorError"
        ),
    ),
    (7, said("enqueued", "expired", "fallbackOnUndelivered")),
    (7, said("enqueued", ("fallbackOnUndelivered", 0), ("fallbackSent", DAY + 1))),
    (9, said("enqueued", ("delivered", -5))),
    (10, said("enqueued", "opened")),
]


@pytest.mark.parametrize("events", LAWFUL.values(), ids=LAWFUL)
def test_a_lawful_life_and_each_of_its_beginnings_are_lawful(events: list[tuple[str, int]]) -> None:
    """The checker finds nothing where nothing is wrong, however early it looks."""
    for length in range(len(events) + 1):
        assert check(events[:length]) == []


@pytest.mark.parametrize("law, events", BROKEN)
def test_a_broken_law_is_named(law: int, events: list[tuple[str, int]]) -> None:
    """Each sequence breaks the law it was made to break, and the finding begins with that law's number."""
    assert f"law {law}" in {finding.split(":")[0] for finding in check(events)}


def test_law_8_has_no_checks_of_its_own() -> None:
    """Every push status may come at any place after `enqueued` in a life without `expired`."""
    life = ["enqueued", "fallbackOnUndelivered", "fallbackSent", "delivered", "fallbackDelivered", "read"]
    pushes = [status for status in STATUSES if PUSH_BITS >> NUMBER[status] & 1]
    assert len(pushes) == 5
    for push in pushes:
        for place in range(1, len(life) + 1):
            assert check(said(*life[:place], push, *life[place:])) == []


def _retold(take: Step, change: Callable[[State, Input, int, Transition], Transition]) -> Step:
    def bugged(state: State, happening: Input, now: int) -> Transition:
        return change(state, happening, now, take(state, happening, now))

    return bugged


def _forgets_pushes(state: State, happening: Input, now: int) -> Transition:
    return step(state._replace(emitted=state.emitted & ~PUSH_BITS), happening, now)


def _ignores_the_clock(state: State, happening: Input, now: int) -> Transition:
    """The receipt first, the deadlines never: what a machine does that waits for its timer."""
    if isinstance(happening, Received):
        after = step(state._replace(expires_at=now + 1), happening, now)
        return after._replace(state=after.state._replace(expires_at=state.expires_at))
    return step(state, happening, now)


def _stamps_late(_: State, __: Input, now: int, after: Transition) -> Transition:
    if not after.events:
        return after
    events = tuple((status, now) for status, _ in after.events)
    return after._replace(events=events, state=after.state._replace(last_at=now))


def _turns_time_back(_: State, happening: Input, now: int, after: Transition) -> Transition:
    if not isinstance(happening, Received) or not after.events:
        return after
    return after._replace(
        events=((after.events[0][0], T0 - 1),),
        state=after.state._replace(last_at=T0 - 1, delivered_at=T0 - 1),
    )


def _repeats_commands(_: State, __: Input, ___: int, after: Transition) -> Transition:
    return after._replace(commands=after.commands * 2)


@pytest.mark.parametrize(
    "bugged, finding",
    [
        (_forgets_pushes, "law 1"),
        (_ignores_the_clock, "not true: nothing is delivered at or after the expiry"),
        (_retold(step, _stamps_late), "expired is not stamped with the expiry"),
        (_retold(step, _turns_time_back), "law 9"),
        (_retold(step, _repeats_commands), "an SMS is submitted twice"),
    ],
)
def test_the_walk_finds_a_bug_around_the_machine(bugged: Step, finding: str) -> None:
    """A machine that forgets, waits for its timer, stamps wrongly or repeats itself does not pass the walk."""
    assert any(finding in fault for visit in walk("sms undelivered", bugged) for fault in visit.faults)


@contextmanager
def planted(row: list[Any], place: int, wrong: Any) -> Iterator[None]:
    """One entry of the machine's arrays is wrong for a while."""
    right, row[place] = row[place], wrong
    try:
        yield
    finally:
        row[place] = right


def wrong_cell(
    message: Message, phase: Phase, symbol: Symbol, wrong: dict[str, Any]
) -> AbstractContextManager[None]:
    """One cell says something else."""
    cell = CELLS[message][phase][symbol]
    assert cell is not None
    return planted(CELLS[message][phase], symbol, cell._replace(**wrong))


@pytest.mark.parametrize(
    "message, phase, symbol, wrong, finding",
    [
        (Message.ENQUEUED, Phase.OFF, Symbol.READ, {"says": (Status.READ,)}, "law 3"),
        (
            Message.DELIVERED,
            Phase.OFF,
            Symbol.RECALLED,
            {"says": (Status.EXPIRED,), "bits": 1 << NUMBER[Status.EXPIRED], "is_idle": False},
            "law 4",
        ),
        (
            Message.EXPIRED,
            Phase.SENT,
            Symbol.PUSH_ACCEPTED,
            {"says": (Status.PUSH_SENT,), "bits": 1 << NUMBER[Status.PUSH_SENT], "is_idle": False},
            "law 4",
        ),
        (
            Message.ENQUEUED,
            Phase.SUBMITTED,
            Symbol.REPORT_DELIVERED,
            {"says": (Status.FALLBACK_DELIVERED,), "bits": 1 << NUMBER[Status.FALLBACK_DELIVERED]},
            "law 6",
        ),
        (
            Message.ENQUEUED,
            Phase.PHONE_ERROR,
            Symbol.REPORT_DELIVERED,
            {
                "says": (Status.FALLBACK_DELIVERED,),
                "bits": 1 << NUMBER[Status.FALLBACK_DELIVERED],
                "is_idle": False,
            },
            "is a second outcome",
        ),
        (Message.ENQUEUED, Phase.DUE_UNDELIVERED, Symbol.RECEIVED, {"commands": ()}, "is not dropped"),
        (
            Message.ENQUEUED,
            Phase.DUE_UNDELIVERED,
            Symbol.READ,
            {"fallback": int(Fallback.DUE), "commands": ()},
            "an SMS waits",
        ),
        (Message.ENQUEUED, Phase.OFF, Symbol.RECALLED, {"note": "because"}, "notes are listed"),
        (Message.READ, Phase.OFF, Symbol.RECEIVED, {"note": None}, "does not say why"),
        (Message.DELIVERED, Phase.OFF, Symbol.READ, {"message": 1}, "never goes back"),
    ],
)
def test_the_walk_finds_a_bug_in_a_cell(
    message: Message,
    phase: Phase,
    symbol: Symbol,
    wrong: dict[str, Any],
    finding: str,
) -> None:
    """One wrong cell of the composed tables is enough for the walk to fail."""
    walks = (visit for policy in ("off", "sms undelivered") for visit in walk(policy))
    with wrong_cell(message, phase, symbol, wrong):
        assert any(finding in fault for visit in walks for fault in visit.faults)


def test_the_walk_finds_a_forgotten_joint_rule() -> None:
    """A fallback that stays armed after the delivery breaks law 5 as soon as its time has come."""
    armed = Phase.ARMED_UNDELIVERED
    forgotten = wrong_cell(Message.ENQUEUED, armed, Symbol.RECEIVED, {"fallback": int(Fallback.ARMED)})
    running = machine._RUNNING
    with forgotten, planted(running[Message.DELIVERED], armed, running[Message.EXPIRED][armed]):
        assert any("law 5" in fault for visit in walk("notify undelivered") for fault in visit.faults)
