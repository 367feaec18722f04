"""What is asked of the feed and its listeners, and what they answer: the declarations that decode, encode and document it.

All of it is Homing's own; of the listeners API.md says nothing.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from homing.api.answers import Id, Reply, Time
from homing.api.schema import MAX_ID, Cursor, Instant, Page, Request
from homing.contract.status import Status

LISTENER_NAME: Final = "^[A-Za-z0-9@_-]{1,100}$"
"""As JSON Schema spells it; Python's ``$`` would let a line end pass."""
LeaseText = Annotated[
    str, Meta(min_length=1, max_length=100, description="says who it is that holds the listener")
]


class EventList(Page, frozen=True):
    """Which part of the feed, and how long to wait for it; without cursor and since: from its beginning."""

    mobile_app_id: (
        Annotated[
            str,
            Meta(
                max_length=2000,
                extra_json_schema={"pattern": "^[0-9]+(,[0-9]+)*$"},
                description="one, or several with commas between them; left out: all that the token reaches",
            ),
        ]
        | None
    ) = None
    since: (
        Annotated[
            Instant,
            Meta(description="without a cursor: what happened from then on, and what was recorded among it"),
        ]
        | None
    ) = None
    wait: Annotated[
        int, Meta(ge=0, le=30, description="seconds to wait where nothing is behind the cursor yet")
    ] = 0
    incoming: Annotated[bool, Meta(description="messages from devices too")] = False


class ListenerOpen(Request, frozen=True):
    """Hold a listener: a place in the feed under a name, which is made if it is not there."""

    name: Annotated[
        str, Meta(pattern=r"\A[A-Za-z0-9@_-]{1,100}\Z", extra_json_schema={"pattern": LISTENER_NAME})
    ]
    holder: Annotated[
        str,
        Meta(min_length=1, max_length=255, description="for people: where whoever holds it is to be found"),
    ]
    mobile_app_ids: (
        Annotated[
            list[Annotated[int, Meta(ge=1, le=MAX_ID)]],
            Meta(min_length=1, max_length=100, description="left out or null: all that the token reaches"),
        ]
        | None
    ) = None
    since: (
        Annotated[
            Instant,
            Meta(
                description="go to this time, forwards or back; left out: where it stopped, or a new one's now"
            ),
        ]
        | None
    ) = None
    takeover: Annotated[bool, Meta(description="also while another lease holds it")] = False
    lease: Annotated[LeaseText, Meta(description="left out: a new one")] | None = None


class ListenerProgress(Request, frozen=True):
    """Everything up to here is dealt with; hold on for another while."""

    lease: LeaseText
    cursor: Cursor
    release: Annotated[bool, Meta(description="let go of it: another may open it at once")] = False


class FeedEvent(Reply, frozen=True, kw_only=True, tag_field="kind", tag="status"):
    """One event of the feed; ``cursor`` is where to go on after it."""

    cursor: str
    seq: int
    message_id: Id
    recipient: str
    status: Status
    timestamp: Time
    mobile_app_id: int
    message_ref: str | UnsetType = UNSET
    recipient_ref: str | UnsetType = UNSET
    fallback_ref: str | UnsetType = UNSET


class FeedIncoming(Reply, frozen=True, kw_only=True, tag_field="kind", tag="incoming"):
    """One message from a device, where the feed was asked for those too."""

    cursor: str
    message_id: Id
    sender: str
    text: str
    channel: str | UnsetType = UNSET
    in_reply_to: Id | UnsetType = UNSET
    timestamp: Time
    mobile_app_id: int


class FeedItems(Reply, frozen=True, kw_only=True):
    """A part of the feed. It may be empty though there is more: ``nextCursor`` alone says that."""

    items: tuple[FeedEvent | FeedIncoming, ...]
    next_cursor: Annotated[str | None, Meta(description="null where nothing is behind this part yet")]
    cursor: Annotated[
        str,
        Meta(description="where to go on after this part, now or later; always there, also of an empty one"),
    ]


class ListenerReply(Reply, frozen=True, kw_only=True):
    """Who follows the feed under a name, and how far."""

    name: str
    holder: str
    mobile_app_ids: Annotated[tuple[int, ...] | None, Meta(description="null: all that the token reaches")]
    cursor: str
    held_until: Annotated[Time | None, Meta(description="null: nobody holds it")]
    created_at: Time


class ListenerItems(Reply, frozen=True, kw_only=True):
    """A page of listeners, by name."""

    items: tuple[ListenerReply, ...]
    next_cursor: str | None


class OpenedListener(Reply, frozen=True, kw_only=True):
    """A listener that is held from now on: follow ``GET /1/events`` from ``cursor``."""

    name: str
    secret: Annotated[
        str | UnsetType,
        Meta(description="signs what is forwarded; the same at every opening, and not in a repeated answer"),
    ] = UNSET
    lease: Annotated[str, Meta(description="to be shown with each progress")]
    held_until: Time
    mobile_app_ids: tuple[int, ...] | None
    cursor: str
    behind: Annotated[int, Meta(description="how much lies behind the cursor, messages from devices counted")]
    behind_is_exact: Annotated[bool, Meta(description="false: there is more than was counted")]
    is_new: bool


class MovedListener(Reply, frozen=True, kw_only=True):
    """How far a listener is, and until when it is held."""

    cursor: str
    held_until: Annotated[Time | None, Meta(description="null: it was let go")]
