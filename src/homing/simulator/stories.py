"""The stories of `homing demo`: short lives that together say all 18 statuses, each for its real cause, as data.

What each must say, exactly and in order, follows from the contract alone; the engine is not asked.
"""

from typing import Final

import msgspec

from homing.channels.push import Platform
from homing.contract.status import Status


class Act(msgspec.Struct, frozen=True):
    """Something done by hand, ``after_s`` seconds of the story's time: recall, or what a phone can be told to do."""

    after_s: int
    do: str


class Story(msgspec.Struct, frozen=True):
    """One message to one person. ``habit`` None: nobody of that name exists. ``wish`` is said when sending."""

    title: str
    says: tuple[Status, ...]
    habit: str | None = "reader"
    platform: Platform = "ios"
    number: str | None = None
    wish: dict[str, object] = {}
    acts: tuple[Act, ...] = ()


_ENQUEUED, _PUSHED, _DELIVERED, _READ = Status.ENQUEUED, Status.PUSH_SENT, Status.DELIVERED, Status.READ
_EXPIRED, _SENT = Status.EXPIRED, Status.FALLBACK_SENT
_ON_UNDELIVERED, _ON_UNREAD = Status.FALLBACK_ON_UNDELIVERED, Status.FALLBACK_ON_UNREAD
_UNDELIVERED: Final[dict[str, object]] = {"fallback": {"mode": "sms", "onUndeliveredSeconds": 900}}
_UNREAD: Final[dict[str, object]] = {"fallback": {"mode": "sms", "onUnreadSeconds": 600}}
_READ_LIFE: Final = (_ENQUEUED, _PUSHED, _DELIVERED, _READ)

STORIES: Final[tuple[Story, ...]] = (
    Story("a push wakes the phone, ann reads", _READ_LIFE),
    Story("an Android phone, woken by Google", _READ_LIFE, platform="android"),
    Story("a browser, woken by Web Push", _READ_LIFE, platform="web"),
    Story("the app is open: no push is needed", (_ENQUEUED, _DELIVERED, _READ), "open"),
    Story("phone and tablet: each status once", _READ_LIFE, "two-devices"),
    Story("an old app that polls", _READ_LIFE, "old-app"),
    Story("a phone that says everything twice", _READ_LIFE, "repeater"),
    Story("a phone whose clock is wrong", _READ_LIFE, "wrong-clock"),
    Story("Apple is down for five minutes", _READ_LIFE, "unavailable"),
    Story("read only when told, an hour later", _READ_LIFE, "prompt", acts=(Act(3_600, "read"),)),
    Story(
        "the phone is off until the message expires",
        (_ENQUEUED, _PUSHED, _EXPIRED),
        "off",
        wish={"ttlSeconds": 3_600},
    ),
    Story("taken back after a minute", (_ENQUEUED, _PUSHED, _EXPIRED), "off", acts=(Act(60, "recall"),)),
    Story("nobody of that name", (Status.IDENTIFIER_NOT_FOUND,), None),
    Story(
        "the app was removed, iPhone",
        (_ENQUEUED, Status.IOS_ERROR_INVALID_TOKEN, _EXPIRED),
        "uninstalled",
    ),
    Story(
        "the app was removed, Android",
        (_ENQUEUED, Status.ANDROID_ERROR_INVALID_TOKEN, _EXPIRED),
        "uninstalled",
        "android",
    ),
    Story("Apple refuses our key", (_ENQUEUED, Status.IOS_ERROR, _EXPIRED), "refused"),
    Story("Google refuses our key", (_ENQUEUED, Status.ANDROID_ERROR, _EXPIRED), "refused", "android"),
    Story(
        "in a tunnel: the SMS arrives first, the message is read later",
        (_ENQUEUED, _PUSHED, _ON_UNDELIVERED, _SENT, Status.FALLBACK_DELIVERED, _DELIVERED, _READ),
        "tunnel",
        number="+447700900000",
        wish=_UNDELIVERED,
    ),
    Story(
        "delivered, never read: an SMS that the carrier cannot deliver in time",
        (_ENQUEUED, _PUSHED, _DELIVERED, _ON_UNREAD, _SENT, Status.FALLBACK_EXPIRED),
        "silent",
        number="+447700900002",
        wish=_UNREAD,
    ),
    Story(
        "the carrier refuses the number",
        (_ENQUEUED, _PUSHED, _ON_UNDELIVERED, Status.FALLBACK_INVALID_NUMBER, _EXPIRED),
        "off",
        number="+447700900003",
        wish=_UNDELIVERED,
    ),
    Story(
        "the number belongs to nobody, says the receipt",
        (_ENQUEUED, _PUSHED, _ON_UNDELIVERED, _SENT, Status.FALLBACK_INVALID_NUMBER, _EXPIRED),
        "off",
        number="+447700900004",
        wish=_UNDELIVERED,
    ),
    Story(
        "no number to send to",
        (_ENQUEUED, _PUSHED, _ON_UNDELIVERED, Status.FALLBACK_INVALID_NUMBER, _EXPIRED),
        "off",
        wish=_UNDELIVERED,
    ),
    Story(
        "the phone's memory is full",
        (_ENQUEUED, _PUSHED, _ON_UNDELIVERED, _SENT, Status.FALLBACK_PHONE_ERROR, _EXPIRED),
        "off",
        number="+447700900005",
        wish=_UNDELIVERED,
    ),
    Story(
        "the carrier's network fails",
        (_ENQUEUED, _PUSHED, _ON_UNDELIVERED, _SENT, Status.FALLBACK_OPERATOR_ERROR, _EXPIRED),
        "off",
        number="+447700900006",
        wish=_UNDELIVERED,
    ),
    Story(
        "the carrier is busy at first",
        (_ENQUEUED, _PUSHED, _ON_UNDELIVERED, _SENT, Status.FALLBACK_DELIVERED, _EXPIRED),
        "off",
        number="+447700900007",
        wish=_UNDELIVERED,
    ),
    Story(
        "the SMS's receipt overtakes the carrier's answer",
        (_ENQUEUED, _PUSHED, _ON_UNDELIVERED, _SENT, Status.FALLBACK_DELIVERED, _EXPIRED),
        "off",
        number="+447700900009",
        wish=_UNDELIVERED,
    ),
    Story(
        "fallback at the expiry, which comes first",
        (_ENQUEUED, _PUSHED, _EXPIRED, _ON_UNDELIVERED, _SENT, Status.FALLBACK_DELIVERED),
        "off",
        number="+447700900001",
        wish={"ttlSeconds": 600, **_UNDELIVERED},
    ),
    Story(
        "mode notify: the customer is told, and sends",
        (_ENQUEUED, _PUSHED, _ON_UNDELIVERED, _EXPIRED),
        "off",
        number="+447700900000",
        wish={"fallback": {"mode": "notify", "onUndeliveredSeconds": 900}},
    ),
)
