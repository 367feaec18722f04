"""What nodes tell one another about their recipients: words that come back as they were said, in portions that fit."""

from homing.model import DispatchKey, dispatch_key
from homing.store.batch import Changed, Committed, NewMessage
from homing.store.postgres import hints


def committed(messages: int, changes: int) -> Committed:
    """Return what a commit came to that brought so many people a message, and changed so many."""
    key = dispatch_key(bytes(range(16)), 3)
    new = [NewMessage(2**62 + i, 1, key, "", None, 0, 0) for i in range(messages)]  # type: ignore[arg-type]
    return Committed(
        0, messages=new, changes=[Changed(2**62 + i, DispatchKey(key), "read") for i in range(changes)]
    )


def test_what_is_said_is_what_is_heard() -> None:
    """New messages and changes of them, each of whom they concern, however many portions it takes."""
    said = committed(900, 400)
    portions = list(hints.words(said))
    heard = [hints.read(",".join(portion.words)) for portion in portions]
    assert [one for recipients, _ in heard for one in recipients] == [one.recipient for one in said.messages]
    assert [one for _, changes in heard for one in changes] == said.changes
    for portion in portions:
        assert len(portion.recipients) == len(portion.words)
        assert len(",".join(portion.words).encode()) < 8_000


def test_a_commit_that_concerns_no_device_says_nothing() -> None:
    """Not even an empty notification."""
    assert list(hints.words(committed(0, 0))) == []


def test_words_of_a_newer_node_are_passed_over() -> None:
    """The rest of what it said is heard."""
    assert hints.read("7,8:00:sung:loudly,9") == ([7, 9], [])
