"""How a decision asks for rows without knowing a store: it yields what it asks, and is sent what was found.

What a change does to the rows, and what a view is made of, stands once, as such a dialogue. Each store answers in its
own way: its own statements of the same names, in the caller's transaction. Nothing here waits, and nothing reads a clock.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

Row = Any
"""A tuple, or what is read like one; the columns' types are the schema's promise, not the type checker's."""


class Ask(NamedTuple):
    """Run statement ``name`` of ``file`` and tell its rows.

    A list among the values is a list to the statement, a `Table` its columns.
    """

    file: str
    name: str
    values: tuple[object, ...] = ()
    only_locks: bool = False
    """True: a store in which nobody else writes has no such statement, and tells no rows."""


class Table(list[tuple[object, ...]]):
    """Rows that are one value of a statement; there is at least one."""


Dialogue = Generator[Ask, list[Row], T]


class Again(Exception):
    """Another node was faster; the same work finds what that one did, and the store does it again."""


class Asked(ABC):
    """What the questions of the registry and of the archive are put to."""

    @abstractmethod
    async def _fetch(self, file: str, name: str, *values: object) -> list[Row]:
        """Answer one question."""

    @abstractmethod
    async def _look(self, dialogue: Dialogue[T]) -> T:
        """Hold a dialogue about one state of the store, without writing."""
