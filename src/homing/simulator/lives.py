"""The shortest lawful lives that end in each of the 18 statuses, as data: what `homing trigger` plays.

What each says follows from the contract alone, as with the stories. Times are as short as the contract allows, so that
even a clock that cannot be pushed gets there, but for an SMS's validity.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from homing.channels.push import Platform
from homing.contract.status import STATUSES, Status
from homing.lifecycle.policy import SMS_VALIDITY_MS
from homing.simulator.stories import Story

INCOMING: Final = "incoming"
SENDS: Final = "later"
"""The habit of a person who is made to send a message to the application."""
HOW_INCOMING: Final = "a phone sends a message to the application's inboxes"


class Life(Story, frozen=True, kw_only=True):
    """A story that rests once it has said its last status, ``takes_ms`` by the clock after the sending; ``title`` says how.

    ``habit`` is that of a person who is made for it; with the habits in ``others`` it goes just so.
    """

    takes_ms: int = 0
    others: tuple[str, ...] = ()
    is_of_platform: bool = False
    """The status is that of one platform's push service."""

    @property
    def ends_in(self) -> Status:
        """The status it is played for."""
        return self.says[-1]

    def fits(self, habit: str, platform: Platform) -> bool:
        """Say whether a phone of this habit and platform lives so."""
        return habit in {self.habit, *self.others} and (not self.is_of_platform or platform == self.platform)


_ENQUEUED, _PUSHED, _DELIVERED, _READ = Status.ENQUEUED, Status.PUSH_SENT, Status.DELIVERED, Status.READ
_EXPIRED, _SENT = Status.EXPIRED, Status.FALLBACK_SENT
_ON_UNDELIVERED, _ON_UNREAD = Status.FALLBACK_ON_UNDELIVERED, Status.FALLBACK_ON_UNREAD

_AFTER_MS: Final = 1_000
_RECEIPT_MS: Final = 5_000
_TTL_MS: Final = 60_000
_WOKEN_MS: Final = 400
"""A phone that is woken by push has the message after so long: `habits.Habit`."""
_TUNNEL_MS: Final = 40 * 60_000

_TTL: Final[dict[str, object]] = {"ttlSeconds": 60}
_NOTIFY: Final[dict[str, object]] = {"fallback": {"mode": "notify", "onUndeliveredSeconds": 1}}
_SMS: Final[dict[str, object]] = {"fallback": {"mode": "sms", "onUndeliveredSeconds": 1}}
_NOTIFY_UNREAD: Final[dict[str, object]] = {"fallback": {"mode": "notify", "onUnreadSeconds": 1}}
_OUT_OF_REACH: Final = ("off", "later", "tunnel")
_UNREAD: Final = ("silent", "prompt", "pocket")
_READING: Final = ("reader", "two-devices", "repeater", "wrong-clock", "old-app")


def _sms(how: str, number: str, *outcome: Status, takes_ms: int) -> Life:
    says = (_ENQUEUED, _ON_UNDELIVERED, *outcome)
    return Life(how, says, "phoneless", number=number, wish=_SMS, takes_ms=takes_ms)


_FALLBACKS: Final = (
    Life(
        "no phone, and the fallback time passes; mode notify, so no SMS follows",
        (_ENQUEUED, _ON_UNDELIVERED),
        "phoneless",
        number="+447700900000",
        wish=_NOTIFY,
        takes_ms=_AFTER_MS,
    ),
    _sms("the carrier takes the SMS, and says no more", "+447700900008", _SENT, takes_ms=_AFTER_MS),
    _sms(
        "the SMS arrives",
        "+447700900000",
        _SENT,
        Status.FALLBACK_DELIVERED,
        takes_ms=_AFTER_MS + _RECEIPT_MS,
    ),
    _sms(
        "the carrier cannot deliver the SMS in its 24 hours",
        "+447700900002",
        _SENT,
        Status.FALLBACK_EXPIRED,
        takes_ms=_AFTER_MS + SMS_VALIDITY_MS,
    ),
    _sms(
        "the carrier refuses the number",
        "+447700900003",
        Status.FALLBACK_INVALID_NUMBER,
        takes_ms=_AFTER_MS,
    ),
    _sms(
        "the phone's memory is full, says the receipt",
        "+447700900005",
        _SENT,
        Status.FALLBACK_PHONE_ERROR,
        takes_ms=_AFTER_MS + _RECEIPT_MS,
    ),
    _sms(
        "the carrier's system refuses the SMS",
        "+447700900012",
        Status.FALLBACK_OPERATOR_ERROR,
        takes_ms=_AFTER_MS,
    ),
)


def _pushed_in_vain() -> Iterator[Life]:
    """The same fallbacks for people whose phone takes pushes and stays out of reach: one status more."""
    for life in _FALLBACKS:
        says = (_ENQUEUED, _PUSHED, *life.says[1:])
        others = tuple(habit for habit in _OUT_OF_REACH if habit != "tunnel" or life.takes_ms < _TUNNEL_MS)
        yield msgspec.structs.replace(life, says=says, habit=others[0], others=others[1:])


LIVES: Final[tuple[Life, ...]] = (
    Life("the person has no phone", (_ENQUEUED,), "phoneless"),
    Life("the app is open; nobody looks", (_ENQUEUED, _DELIVERED), "idle"),
    Life(
        "a push wakes the phone; nobody looks",
        (_ENQUEUED, _PUSHED, _DELIVERED),
        _UNREAD[0],
        others=_UNREAD[1:],
        takes_ms=_WOKEN_MS,
    ),
    Life("the app is open, and the person reads", (_ENQUEUED, _DELIVERED, _READ), "open"),
    Life(
        "a push wakes the phone, and the person reads",
        (_ENQUEUED, _PUSHED, _DELIVERED, _READ),
        _READING[0],
        others=_READING[1:],
        takes_ms=_WOKEN_MS + 2_000,
    ),
    Life(
        "the phone comes out of the tunnel, and the person reads",
        (_ENQUEUED, _PUSHED, _DELIVERED, _READ),
        "tunnel",
        takes_ms=_TUNNEL_MS + 2_100,
    ),
    Life(
        "no phone, and the message's minute passes",
        (_ENQUEUED, _EXPIRED),
        "phoneless",
        wish=_TTL,
        takes_ms=_TTL_MS,
    ),
    Life(
        "the phone is out of reach until the message's minute has passed",
        (_ENQUEUED, _PUSHED, _EXPIRED),
        _OUT_OF_REACH[0],
        others=_OUT_OF_REACH[1:],
        wish=_TTL,
        takes_ms=_TTL_MS,
    ),
    *_FALLBACKS,
    *_pushed_in_vain(),
    Life(
        "the app is open, nobody looks, and the time for reading passes; mode notify, so no SMS follows",
        (_ENQUEUED, _DELIVERED, _ON_UNREAD),
        "idle",
        number="+447700900000",
        wish=_NOTIFY_UNREAD,
        takes_ms=_AFTER_MS,
    ),
    Life(
        "a push wakes the phone, nobody looks, and the time for reading passes; mode notify",
        (_ENQUEUED, _PUSHED, _DELIVERED, _ON_UNREAD),
        _UNREAD[0],
        others=_UNREAD[1:],
        number="+447700900000",
        wish=_NOTIFY_UNREAD,
        takes_ms=_WOKEN_MS + _AFTER_MS,
    ),
    Life("Apple refuses our key", (_ENQUEUED, Status.IOS_ERROR), "refused", is_of_platform=True),
    Life(
        "the app was removed from the iPhone",
        (_ENQUEUED, Status.IOS_ERROR_INVALID_TOKEN),
        "uninstalled",
        is_of_platform=True,
    ),
    Life(
        "Google refuses our key", (_ENQUEUED, Status.ANDROID_ERROR), "refused", "android", is_of_platform=True
    ),
    Life(
        "the app was removed from the Android phone",
        (_ENQUEUED, Status.ANDROID_ERROR_INVALID_TOKEN),
        "uninstalled",
        "android",
        is_of_platform=True,
    ),
    Life(
        "Apple takes the push; the phone stays out of reach",
        (_ENQUEUED, _PUSHED),
        _OUT_OF_REACH[0],
        others=_OUT_OF_REACH[1:],
    ),
    Life("nobody of that name", (Status.IDENTIFIER_NOT_FOUND,), None),
)
"""For each status the life of a person made for it, and those of people who are there already."""


def shortest(status: Status) -> Life:
    """Return the life that says least before it ends in ``status``, and of those the quickest."""
    return min(_ending_in(status), key=_length)


def lived_by(status: Status, habit: str, platform: Platform) -> Life | None:
    """Return the shortest that a phone of this habit and platform can bring about; None if there is none."""
    return min((life for life in _ending_in(status) if life.fits(habit, platform)), key=_length, default=None)


def _ending_in(status: Status) -> Iterator[Life]:
    return (life for life in LIVES if life.ends_in is status)


def _length(life: Life) -> tuple[int, int]:
    return len(life.says), life.takes_ms


SHORTEST: Final[dict[Status, Life]] = {status: shortest(status) for status in STATUSES}
