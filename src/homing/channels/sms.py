"""What the courier asks of a carrier of SMS, its three answers, and the receipts that come later.

How a carrier's codes become these is the business of its adapter (CHANNELS.md §3); only final receipts come here.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import msgspec

from homing.lifecycle.dispatch import SmsOutcome, SmsRefusal


class SmsRequest(msgspec.Struct, frozen=True):
    """One SMS. ``number`` is E.164; ``reference`` is the dispatch's key and may be sent along for the receipts.

    The carrier must not try to deliver after ``valid_until_ms``.
    """

    reference: bytes
    number: str
    text: str
    sender: str | None
    valid_until_ms: int


class SmsSubmitted(msgspec.Struct, frozen=True):
    """The carrier took it; ``ids`` are its own, one per part."""

    ids: tuple[str, ...]


class SmsRefusedAt(msgspec.Struct, frozen=True):
    """The carrier refused it for good at the submission."""

    kind: SmsRefusal
    reason: str | None = None


class SmsTryLater(msgspec.Struct, frozen=True):
    """The carrier surely did not take it, but may later."""

    reason: str | None = None
    retry_after_ms: int | None = None


class SmsUnanswered(msgspec.Struct, frozen=True):
    """It left, and no answer came: nobody knows whether the carrier has it."""

    reason: str | None = None


SmsAnswer: TypeAlias = SmsSubmitted | SmsRefusedAt | SmsTryLater | SmsUnanswered


class SmsReceipt(msgspec.Struct, frozen=True):
    """How an SMS ended. ``reference`` as in `SmsRequest`, where the carrier gives it back."""

    carrier: str
    id: str
    outcome: SmsOutcome
    reference: bytes | None = None
    detail: str | None = None


ReceiptSink: TypeAlias = Callable[[SmsReceipt], Awaitable[bool]]
"""True: the receipt is on disk, and may be acknowledged to the carrier. False: it fits no SMS known yet, and is kept
in memory for a minute in case the answer to its submission is only late."""


class Carrier(Protocol):
    """A way to send SMS."""

    @property
    def name(self) -> str:
        """By which its messages' ids are told from another carrier's; stable over restarts."""
        ...

    @property
    def is_up(self) -> bool:
        """Whether a submission has a chance just now. While False, no intent to submit is stored."""
        ...

    async def submit(self, sms: SmsRequest) -> SmsAnswer:
        """Submit one SMS and return the carrier's answer; bounded in real time by the carrier's adapter itself."""
        ...

    def report_to(self, sink: ReceiptSink) -> None:
        """Have every final receipt given to ``sink`` from now on."""
        ...


__all__ = [
    "Carrier",
    "ReceiptSink",
    "SmsAnswer",
    "SmsReceipt",
    "SmsRefusedAt",
    "SmsRequest",
    "SmsSubmitted",
    "SmsTryLater",
    "SmsUnanswered",
]
