"""What people and their phones do with a message: named behaviours, each with a one-line promise, as data."""

from typing import Final

import msgspec

_SECOND_MS: Final = 1_000
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS


class Habit(msgspec.Struct, frozen=True):
    """When things happen, in ms by the clock; None: never by itself."""

    promise: str
    is_linked: bool = False
    """The app is open: it stays connected."""
    wakes_in_ms: int | None = 300
    """From a push that arrived until the app has connected."""
    acks_in_ms: int | None = 100
    reads_in_ms: int | None = 2 * _SECOND_MS
    """From the acknowledgement on."""
    push: str = "accept"
    """How the push service reaches it: `push.Line`."""
    is_repeating: bool = False
    clock_error_ms: tuple[int, int] | None = None
    """How far its own time of receiving, and of reading, is from the truth."""
    is_polling: bool = False
    devices: int = 1


HABITS: Final[dict[str, Habit]] = {
    "reader": Habit("woken by push, stores the message, reads it about 2 s later"),
    "open": Habit(
        "the app is open: no push needed, reads at once", is_linked=True, acks_in_ms=0, reads_in_ms=0
    ),
    "prompt": Habit("woken by push, stores the message, reads when told", reads_in_ms=None),
    "silent": Habit("woken by push, stores the message, never reads", reads_in_ms=None),
    "tunnel": Habit("out of reach for 40 min after each push, then reads", wakes_in_ms=40 * _MINUTE_MS),
    "pocket": Habit("woken by push, stores the message, reads an hour later", reads_in_ms=_HOUR_MS),
    "off": Habit("the push is taken and lost; it never connects", wakes_in_ms=None, push="drop"),
    "uninstalled": Habit(
        "the app was removed: its push token is dead", wakes_in_ms=None, push="token-invalid"
    ),
    "refused": Habit("the push service refuses our configuration", wakes_in_ms=None, push="refuse"),
    "unavailable": Habit("the push service is down for 5 min, then it reads", push="unavailable:5m"),
    "two-devices": Habit("phone and tablet: a read on one reaches the other", devices=2),
    "repeater": Habit(
        "acknowledges and reads everything twice, and once more after expiry", is_repeating=True
    ),
    "wrong-clock": Habit(
        "its receipts are two days ahead, then an hour before the sending",
        clock_error_ms=(2 * _DAY_MS, -_HOUR_MS),
    ),
    "old-app": Habit("plain HTTP long-poll, no WebSocket", is_polling=True),
    "later": Habit("connects only when told", wakes_in_ms=None, push="drop"),
    "idle": Habit(
        "the app is open, but nobody looks: stores the message, never reads",
        is_linked=True,
        acks_in_ms=0,
        reads_in_ms=None,
    ),
    "phoneless": Habit("has no phone: nothing but an SMS reaches them", devices=0),
}
