"""What a check says: one item, made of what was found, as bad as the worst of it."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec


class State(StrEnum):
    """How well something is; FAIL is written so that nobody overlooks it."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


AS_USER: Final = "run this as the user that runs the server"
"""What to do where this process may not look."""
_BADNESS: Final = list(State)


class Finding(NamedTuple):
    """One thing that was found; ``hint`` says what to do about it, where there is something to do."""

    text: str
    state: State = State.OK
    hint: str = ""


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the answer."""

    name: str
    state: State
    found: str
    hint: str = ""


def item(name: str, findings: Iterable[Finding]) -> Item:
    """Return the item of all findings: everything that was found, the worst state, and what to do about that."""
    every = list(findings)
    state = max((one.state for one in every), key=_BADNESS.index, default=State.OK)
    wrong = [one for one in every if one.state is not State.OK] or every
    hints = dict.fromkeys(one.hint for one in wrong if one.hint)
    return Item(name, state, ", ".join(one.text for one in every), "; ".join(hints))
