"""Stories of one dispatch: what happens when, and all that the machine makes of it."""

from typing import NamedTuple

from homing.lifecycle.dispatch import (
    Clock,
    Command,
    FallbackMode,
    Input,
    SmsAccepted,
    SmsSubmitting,
    State,
)
from homing.lifecycle.machine import begin, step
from homing.lifecycle.policy import FallbackPlan, resolve

T0 = 1_764_000_000_000
SUBMIT, DROP = Command.SUBMIT_SMS, Command.DROP_SMS


class Told(NamedTuple):
    """A story's result: everything said with seconds since acceptance, every command, every note, the last state."""

    said: list[tuple[str, float]]
    commands: list[Command]
    notes: list[str | None]
    state: State


def tell(
    *happenings: tuple[float, Input],
    ttl_s: int | None = None,
    undelivered_s: int | None = None,
    unread_s: int | None = None,
    mode: FallbackMode = FallbackMode.OFF,
    known: bool = True,
) -> Told:
    """Let one dispatch live: each input with the seconds since acceptance at which it comes."""
    last = begin(known, resolve(T0, ttl_s, FallbackPlan(mode, undelivered_s, unread_s)), T0)
    events = list(last.events)
    commands: list[Command] = []
    notes: list[str | None] = []
    for seconds, happening in happenings:
        last = step(last.state, happening, T0 + round(seconds * 1000))
        events += last.events
        commands += last.commands
        notes.append(last.note)
    return Told([(str(status), (at - T0) / 1000) for status, at in events], commands, notes, last.state)


def sms(
    *happenings: tuple[float, Input], undelivered_s: int | None = None, unread_s: int | None = None
) -> Told:
    """A story in mode `sms`."""
    return tell(*happenings, mode=FallbackMode.SMS, undelivered_s=undelivered_s, unread_s=unread_s)


def at(seconds: float) -> int:
    """The device's clock."""
    return T0 + round(seconds * 1000)


SENT = ((900, Clock()), (901, SmsSubmitting()), (902, SmsAccepted()))
ON_UNDELIVERED = [("enqueued", 0), ("fallbackOnUndelivered", 900)]
