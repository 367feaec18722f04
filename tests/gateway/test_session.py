"""One device's session: what is sent when, what is kept, what counts as acknowledged. No socket, no clock."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from homing.gateway.frames import letter
from homing.gateway.session import NOTICES, RECENT, WINDOW, Level, Session
from homing.lifecycle.dispatch import Message
from homing.model import Body, dispatch_key, uuid_text
from homing.store.views import InboxItem

NOW = 1_800_000_000_000
LATER = NOW + 60_000
BODY = Body("hello")


def mid(seq: int) -> bytes:
    """Return the id of the message with this number."""
    return seq.to_bytes(16, "big")


def offer(session: Session, seq: int, expires_at_ms: int = LATER) -> None:
    """Have a message committed."""
    inside = letter(mid(seq), f"text {seq}", BODY, NOW, LATER)
    session.offer(seq, dispatch_key(mid(seq), 0), expires_at_ms, inside)


def item(seq: int, message: Message = Message.ENQUEUED, expires_at_ms: int = LATER) -> InboxItem:
    """Return a message as the store tells it."""
    return InboxItem(seq, dispatch_key(mid(seq), 0), message, f"text {seq}", BODY, NOW, expires_at_ms)


def fill(session: Session, items: list[InboxItem]) -> None:
    """Let the session fetch from a store that has these messages, until it wants no more."""
    while asked := session.wants:
        after = [one for one in items if one.seq > session.position][:asked]
        session.fill(after, asked=asked, head=session.head)


def drain(session: Session, now_ms: int = NOW) -> list[dict[str, Any]]:
    """Take all frames there are."""
    frames = []
    while (frame := session.next(now_ms)) is not None:
        frames.append(json.loads(frame))
    return frames


def started(cursor: int = 0, position: int | None = None, head: int | None = None) -> Session:
    """Return a session that has begun."""
    session = Session()
    session.start(
        cursor=cursor,
        position=cursor if position is None else position,
        head=cursor if head is None else head,
    )
    return session


def test_a_message_is_sent_as_it_is_committed() -> None:
    """The frame has exactly the keys that have a value, and times in ISO-8601 with milliseconds."""
    session = started()
    offer(session, 1)
    assert drain(session) == [
        {
            "type": "msg",
            "seq": 1,
            "messageId": uuid_text(mid(1)),
            "text": "text 1",
            "sentAt": "2027-01-15T08:00:00.000Z",
            "expiresAt": "2027-01-15T08:01:00.000Z",
        }
    ]
    assert session.cursor == 0


def test_what_was_given_is_open_until_it_is_over() -> None:
    """Given and neither read nor gone, by this device's word or by another's; of very many the latest are known."""
    session = started()
    for seq in range(1, 6):
        offer(session, seq)
    assert session.open == {}
    drain(session)
    session.receipt([mid(1)], Level.RECEIVED)
    session.receipt([mid(1), mid(2)], Level.READ)
    session.changed(mid(3), "read")
    session.changed(mid(4), "gone")
    assert session.open == {mid(5): dispatch_key(mid(5), 0)}
    session.found(dispatch_key(mid(5), 0), Level.READ)
    assert session.open == {}
    for seq in range(6, 6 + 2 * WINDOW):
        offer(session, seq)
        drain(session)
        session.receipt([mid(seq)], Level.RECEIVED)
    assert list(session.open) == [mid(seq) for seq in range(6 + WINDOW, 6 + 2 * WINDOW)]


def test_what_was_read_before_it_was_given_is_not_open() -> None:
    """The device is told so with the message."""
    session = started(head=1)
    fill(session, [item(1, Message.READ)])
    assert [frame["type"] for frame in drain(session)] == ["msg", "read"]
    assert session.open == {}


def test_no_more_than_the_window_is_unacknowledged() -> None:
    """With the window full the rest stays in the store; each acknowledged message makes room for one."""
    session = started()
    items = [item(seq) for seq in range(1, 101)]
    for one in items:
        offer(session, one.seq)
    assert len(drain(session)) == WINDOW
    assert session.wants == 0
    session.receipt([mid(1)], Level.RECEIVED)
    fill(session, items)
    (frame,) = drain(session)
    assert frame["seq"] == WINDOW + 1


def test_a_hundred_messages_come_in_order_through_the_window() -> None:
    """Acknowledging one after the other brings all of them, each once, in the order of their numbers."""
    session = started(head=100)
    items = [item(seq) for seq in range(1, 101)]
    got = []
    fill(session, items)
    while frames := drain(session):
        for frame in frames:
            got.append(frame["seq"])
            session.receipt([mid(frame["seq"])], Level.RECEIVED)
            fill(session, items)
    assert got == list(range(1, 101))
    assert session.cursor == 100


def test_a_gap_is_fetched_before_anything_later() -> None:
    """A message that was committed while an earlier one had not been heard of waits for the store to tell both."""
    session = started()
    offer(session, 2)
    assert drain(session) == []
    fill(session, [item(1), item(2)])
    assert [frame["seq"] for frame in drain(session)] == [1, 2]


def test_what_the_store_told_already_is_not_sent_again_when_offered() -> None:
    """Commit and fetch may overlap: the message is sent once."""
    session = started(head=1)
    session.fill([item(1), item(2)], asked=WINDOW, head=1)
    offer(session, 2)
    assert [frame["seq"] for frame in drain(session)] == [1, 2]


def test_nothing_offered_before_the_start_is_lost() -> None:
    """What is committed while the owner still asks the store where the device stands is fetched after the start."""
    session = Session()
    offer(session, 5)
    assert session.next(NOW) is None
    session.start(cursor=4, position=4, head=4)
    assert session.wants == WINDOW
    fill(session, [item(5)])
    assert [frame["seq"] for frame in drain(session)] == [5]


def test_messages_removed_from_the_store_do_not_hold_up_a_session() -> None:
    """Where the store has nothing up to the head, the session goes on after it."""
    session = started(head=7)
    fill(session, [])
    assert session.wants == 0
    assert session.cursor == 7
    offer(session, 8)
    assert [frame["seq"] for frame in drain(session)] == [8]


def test_a_resumed_device_gets_again_what_has_no_receipt() -> None:
    """Up to its cursor only messages still undelivered are sent (the acknowledgement was lost), after it all."""
    session = started(cursor=3, position=0, head=5)
    fill(
        session,
        [item(1, Message.DELIVERED), item(2), item(3, Message.READ), item(4, Message.DELIVERED), item(5)],
    )
    assert [frame["seq"] for frame in drain(session)] == [2, 4, 5]
    assert session.cursor == 3
    session.receipt([mid(4), mid(5)], Level.RECEIVED)
    assert session.cursor == 5


def test_a_message_read_elsewhere_comes_with_its_notice() -> None:
    """A device that was away gets the message, then hears that it was read."""
    session = started(head=1)
    fill(session, [item(1, Message.READ)])
    assert [frame["type"] for frame in drain(session)] == ["msg", "read"]


def test_expired_messages_are_not_sent() -> None:
    """Neither what the store knows as expired, nor what expires while it waits; both count as passed."""
    session = started(head=3)
    fill(session, [item(1, Message.EXPIRED), item(2, expires_at_ms=NOW), item(3)])
    assert [frame["seq"] for frame in drain(session)] == [3]
    session.receipt([mid(3)], Level.RECEIVED)
    assert session.cursor == 3


def test_the_cursor_stops_before_the_first_unacknowledged() -> None:
    """Acknowledging out of order moves the cursor only when the gap closes, and never back."""
    session = started()
    for seq in (1, 2, 3):
        offer(session, seq)
    drain(session)
    session.receipt([mid(2), mid(3)], Level.RECEIVED)
    assert session.cursor == 0
    session.receipt([mid(1)], Level.RECEIVED)
    assert session.cursor == 3
    assert session.has_moved()
    assert not session.has_moved()


def test_a_receipt_is_news_once_per_level() -> None:
    """Ack and then read are two pieces of news; repeats of either, and an ack after a read, are none."""
    session = started()
    offer(session, 1)
    drain(session)
    key = dispatch_key(mid(1), 0)
    assert session.receipt([mid(1), mid(1)], Level.RECEIVED).news == [key]
    assert session.receipt([mid(1)], Level.RECEIVED) == ([], [], 1)
    assert session.receipt([mid(1)], Level.READ).news == [key]
    assert session.receipt([mid(1)], Level.RECEIVED) == ([], [], 1)


def test_unknown_messages_are_told_apart() -> None:
    """Ids this session never sent are left to a look into the store, and are known afterwards."""
    session = started()
    assert session.receipt([mid(9)], Level.READ).unknown == [mid(9)]
    session.found(dispatch_key(mid(9), 4), Level.READ)
    assert session.receipt([mid(9)], Level.READ).repeats == 1


def test_only_so_many_acknowledged_messages_are_remembered() -> None:
    """The memory of a session does not grow with its messages."""
    session = started()
    for seq in range(1, RECENT + 2):
        offer(session, seq)
        drain(session)
        session.receipt([mid(seq)], Level.RECEIVED)
    assert session.receipt([mid(1)], Level.READ).unknown == [mid(1)]
    assert session.receipt([mid(2)], Level.READ).news == [dispatch_key(mid(2), 0)]


def test_reading_on_another_device_is_told() -> None:
    """The other device hears `read`; the one that said so does not."""
    session = started()
    offer(session, 1)
    drain(session)
    session.changed(mid(1), "read")
    assert drain(session) == [{"type": "read", "messageId": uuid_text(mid(1))}]
    session.receipt([mid(1)], Level.READ)
    session.changed(mid(1), "read")
    assert drain(session) == []


def test_gone_messages_are_called_back_or_never_sent() -> None:
    """What waits is dropped in silence; what was sent is called back and leaves the window."""
    session = started()
    for seq in range(1, WINDOW + 1):
        offer(session, seq)
    drain(session)
    session.changed(mid(1), "gone")
    assert drain(session) == [{"type": "gone", "messageId": uuid_text(mid(1))}]
    assert session.cursor == 1
    offer(session, WINDOW + 1)
    session.changed(mid(WINDOW + 1), "gone")
    assert drain(session) == []


def test_a_read_notice_never_overtakes_its_message() -> None:
    """A message that waits for room is marked, and the notice follows it."""
    session = started(head=1)
    session.fill([item(1)], asked=WINDOW, head=1)
    session.changed(mid(1), "read")
    assert [frame["type"] for frame in drain(session)] == ["msg", "read"]


def test_a_device_that_takes_nothing_overruns() -> None:
    """Notices are bounded: beyond that the session says that its device is to be disconnected."""
    session = started()
    for seq in range(NOTICES):
        session.changed(mid(seq), "gone")
    assert not session.is_overrun
    session.changed(mid(NOTICES), "gone")
    assert session.is_overrun


@given(
    st.lists(st.sampled_from(["commit", "commit", "hear", "take", "ack", "fetch", "reconnect"]), max_size=120)
)
def test_every_message_arrives_whatever_the_interleaving(moves: list[str]) -> None:
    """Commits heard late or never, fetches, window and reconnects in any order: in the end all arrived, in order."""
    items: list[InboxItem] = []
    unheard: list[int] = []
    session = started()
    stored: list[int] = []
    unacked: list[int] = []

    def take() -> None:
        before = 0
        for frame in drain(session):
            assert frame["seq"] > before
            before = frame["seq"]
            if frame["seq"] not in stored:
                stored.append(frame["seq"])
            unacked.append(frame["seq"])

    def acknowledge() -> None:
        session.receipt([mid(seq) for seq in unacked], Level.RECEIVED)
        unacked.clear()

    for move in moves:
        match move:
            case "commit":
                items.append(item(len(items) + 1))
                unheard.append(len(items))
            case "hear":
                for seq in unheard:
                    offer(session, seq)
                unheard.clear()
            case "take":
                take()
            case "ack":
                acknowledge()
            case "fetch":
                fill(session, items)
            case _:
                session = started(cursor=max(stored, default=0), position=0, head=len(items))
                unacked.clear()
    session.head = len(items)  # the heartbeat
    for _ in range(len(items) + 1):
        fill(session, items)
        take()
        acknowledge()
    assert stored == list(range(1, len(items) + 1))
    assert session.cursor == len(items)
