"""What one node tells another about its recipients: words in a notification, made here and read here. Pure.

``17`` says that recipient 17 has a new message, ``17:KEY:read`` that dispatch KEY (hexadecimal) was read, ``17:KEY:gone``
that it is gone. Words are separated by commas. What only a newer node says is passed over.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from homing.model import DispatchKey
from homing.store.batch import Changed, Committed

_LONGEST: Final = 7_900
"""Characters of one notification, which holds fewer than 8,000 bytes."""


class Words(NamedTuple):
    """Recipients and what to say about each; the two lists are aligned."""

    recipients: list[int]
    words: list[str]


def words(committed: Committed) -> Iterator[Words]:
    """Say what a commit brought, in portions that fit into a notification even where one node has all the links."""
    said = [
        (recipient, str(recipient)) for recipient in sorted({one.recipient for one in committed.messages})
    ]
    said += [(one.recipient, f"{one.recipient}:{one.key.hex()}:{one.what}") for one in committed.changes]
    portion, length = Words([], []), 0
    for recipient, word in said:
        if length + len(word) + 1 > _LONGEST:
            yield portion
            portion, length = Words([], []), 0
        portion.recipients.append(recipient)
        portion.words.append(word)
        length += len(word) + 1
    if portion.words:
        yield portion


def read(payload: str) -> tuple[list[int], list[Changed]]:
    """Return who has new messages, and what was read or is gone."""
    recipients: list[int] = []
    changes: list[Changed] = []
    for recipient, *rest in _split(payload):
        match rest:
            case []:
                recipients.append(int(recipient))
            case [key, what]:
                changes.append(Changed(int(recipient), DispatchKey(bytes.fromhex(key)), what))
            case _:
                pass
    return recipients, changes


def _split(payload: str) -> Iterable[list[str]]:
    return (word.split(":") for word in payload.split(","))
