"""What a device hears on its link."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Message:
    """A message. ``sent_at`` and ``expires_at`` are ISO-8601 UTC; a repeat (``is_repeat``) was had before."""

    id: str
    seq: int
    text: str
    sent_at: str
    expires_at: str
    channel: str | None = None
    data: dict[str, Any] | None = None
    is_repeat: bool = False
    raw: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(slots=True, frozen=True)
class ReadElsewhere:
    """The person read the message on another device."""

    id: str


@dataclass(slots=True, frozen=True)
class Gone:
    """The message has expired or was recalled."""

    id: str


@dataclass(slots=True, frozen=True)
class Sent:
    """What this device sent is on the server's disk."""

    id: str
    client_ref: str | None


@dataclass(slots=True, frozen=True)
class Bye:
    """The server goes away."""

    code: int
    retry_after_s: int


Event = Message | ReadElsewhere | Gone | Sent


def parse(text: str | bytes) -> Event | Bye | None:
    """Read one frame; None for a type this device does not know, which it ignores."""
    frame = json.loads(text)
    match frame.get("type"):
        case "msg":
            return Message(
                id=frame["messageId"],
                seq=frame["seq"],
                text=frame["text"],
                sent_at=frame["sentAt"],
                expires_at=frame["expiresAt"],
                channel=frame.get("channel"),
                data=frame.get("optionalData"),
                raw=frame,
            )
        case "read":
            return ReadElsewhere(frame["messageId"])
        case "gone":
            return Gone(frame["messageId"])
        case "sent":
            return Sent(frame["messageId"], frame.get("clientRef"))
        case "bye":
            return Bye(frame["code"], frame["retryAfter"])
        case _:
            return None
