"""What the proxy hears: whole messages whatever way their bytes arrive, and exact counts."""

import pytest
from tests.postgres.wire import Conversation, Counts, Message


def message(kind: str, body: bytes = b"") -> bytes:
    """Spell one message with a type byte."""
    return kind.encode() + (len(body) + 4).to_bytes(4) + body


def opening(code: int, body: bytes = b"") -> bytes:
    """Spell one of the messages that open a connection."""
    return (len(body) + 8).to_bytes(4) + code.to_bytes(4) + body


STARTUP = opening(196608, b"user\0homing\0\0")
SSL_REQUEST, CANCEL = opening(80877103), opening(80877102, b"12345678")
READY = message("Z", b"I")
PARSE = message("P", b"s1\0SELECT 1\0\0\0")
BIND = message("B", b"\0s1\0\0\0\0\0\0\0")
EXECUTE = message("E", b"\0\0\0\0\0")
SYNC = message("S")
DONE = message("C", b"SELECT 1\0")


def opened() -> Conversation:
    """Return a conversation that is past its login."""
    conversation = Conversation()
    conversation.from_client(STARTUP)
    conversation.from_server(message("R", b"\0\0\0\0") + READY)
    return conversation


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_messages_are_whole_however_their_bytes_come(size: int) -> None:
    """Byte by byte or all at once: the same messages at the same places, and nothing lost."""
    sent = STARTUP + PARSE + BIND + EXECUTE + SYNC
    conversation = Conversation()
    heard: list[Message] = []
    for at in range(0, len(sent), size):
        heard += conversation.from_client(sent[at : at + size])
    assert [it.kind for it in heard] == ["startup", "P", "B", "E", "S"]
    assert b"".join(it.data for it in heard) == sent
    assert [it.start for it in heard] == [0, *(it.end for it in heard[:-1])]
    assert heard[-1].end == len(sent)
    assert [it.text for it in heard] == ["", "SELECT 1", "SELECT 1", "SELECT 1", ""]


def test_an_unfinished_message_is_kept() -> None:
    """What never became a message can still be passed on when its sender is gone."""
    conversation = opened()
    assert conversation.from_client(PARSE[:9]) == []
    assert conversation.rest(of_client=True) == PARSE[:9]
    assert conversation.rest(of_client=False) == b""


def test_login_is_not_counted() -> None:
    """Counting begins when the server is ready for the first time."""
    assert opened().counts == Counts()


def test_what_is_asked_at_once_is_one_round_trip() -> None:
    """A client waits once for parse, bind, execute and sync together, and again only for what it asks later."""
    conversation = opened()
    conversation.from_client(PARSE + BIND + EXECUTE + BIND + EXECUTE + SYNC)
    conversation.from_server(message("1") + message("2") + DONE + message("2") + DONE + READY)
    assert conversation.counts == Counts(
        round_trips=1,
        statements=2,
        parses=1,
        completed=2,
        bytes_to_server=len(PARSE + BIND + EXECUTE + BIND + EXECUTE + SYNC),
        bytes_to_client=len(message("1") + message("2") + DONE + message("2") + DONE + READY),
    )
    before = conversation.counts
    conversation.from_client(message("Q", b"COMMIT\0"))
    conversation.from_server(message("C", b"COMMIT\0") + READY)
    more = conversation.counts - before
    assert (more.round_trips, more.statements, more.parses, more.commits) == (1, 1, 0, 1)
    assert conversation.statements == ["SELECT 1", "SELECT 1", "COMMIT"]


def test_what_a_server_says_unasked_is_no_answer() -> None:
    """A notification between two syncs of one pipeline makes them no two round trips."""
    conversation = opened()
    conversation.from_client(BIND + EXECUTE + SYNC)
    conversation.from_server(message("A", b"\0\0\0\1news\0\0") + message("N", b"\0"))
    conversation.from_client(BIND + EXECUTE + SYNC)
    assert conversation.counts.round_trips == 1


def test_encryption_that_is_declined_changes_nothing() -> None:
    """Most clients ask for TLS first; after the server's N the conversation is readable."""
    conversation = Conversation()
    assert [it.kind for it in conversation.from_client(SSL_REQUEST)] == ["encryption"]
    assert [it.kind for it in conversation.from_server(b"N")] == ["encryption"]
    assert [it.kind for it in conversation.from_client(STARTUP)] == ["startup"]
    assert [it.kind for it in conversation.from_server(READY)] == ["Z"]


def test_encryption_makes_the_rest_opaque() -> None:
    """After the server's S every byte passes at once, unread."""
    conversation = Conversation()
    conversation.from_client(SSL_REQUEST)
    conversation.from_server(b"S")
    assert [(it.kind, it.data) for it in conversation.from_client(b"\x16\x03")] == [("?", b"\x16\x03")]
    assert [(it.kind, it.data) for it in conversation.from_server(b"\x16")] == [("?", b"\x16")]
    assert conversation.counts == Counts()


def test_a_request_to_cancel_is_known() -> None:
    """It comes on a connection of its own, which says nothing else."""
    assert [it.kind for it in Conversation().from_client(CANCEL)] == ["cancel"]
