"""One node as its settings describe it, seen from outside; what several checks ask for is found out once."""

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from homing.checkup.answers import Answers, ask
from homing.checkup.lock import Holder, holder
from homing.config import Loaded, Settings
from homing.model import Endpoint
from homing.store.sqlite import SCHEMA
from homing.store.sqlite.onlooker import Onlooker


class Owed(NamedTuple):
    """What an endpoint must still be told as the store has it: when the first of it fell due, and how much was given up."""

    first_due_ms: int | None
    dead: int


class Case:
    """What all checks look at. ``file`` is the settings' file, None without one."""

    root: ClassVar[str] = "store"
    """The item that says why nothing can be known of the store."""

    def __init__(self, loaded: Loaded, file: Path | None) -> None:
        self.loaded = loaded
        self.file = file

    @property
    def settings(self) -> Settings:
        """The settings in effect."""
        return self.loaded.settings

    @property
    def store(self) -> Path:
        """The store's file."""
        return Path(self.settings.store.path())

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.settings.data_path()

    @cached_property
    def holder(self) -> Holder:
        """Who has the data directory."""
        return holder(self.data / "homing.lock")

    @cached_property
    def answers(self) -> Answers | None:
        """What the server says of itself; None where its port is not in the settings."""
        return ask(self.settings.server.listen)

    @cached_property
    def schema(self) -> int | None:
        """The store's schema; None as long as there is no store."""
        if not self.store.exists() or not self.store.stat().st_size:
            return None
        with self.look() as onlooker:
            return onlooker.schema()

    @property
    def wanted_schema(self) -> int:
        """The schema that this program knows."""
        return SCHEMA

    @property
    def is_known(self) -> bool:
        """Whether the store can be asked about more than its schema."""
        return self.schema == self.wanted_schema

    def store_bytes(self) -> int:
        """Return the size of the store's file and its write-ahead log."""
        files = (self.store, Path(f"{self.store}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def look(self) -> Onlooker:
        """Return one look at the store, to be used as a context."""
        return Onlooker(self.store)

    def key_id(self) -> str:
        """Return the id of the master key under which the store's secrets are sealed."""
        with self.look() as onlooker:
            return onlooker.key_id()

    def newest_ms(self) -> int | None:
        """Return when the newest event in the store happened; None without any. Only of a store that `is_known`."""
        with self.look() as onlooker:
            return onlooker.newest_ms()

    def owed(self, most_dead: int) -> Sequence[tuple[Endpoint, Owed]]:
        """Return every endpoint with what it must still be told; dead letters are counted up to ``most_dead``."""
        with self.look() as onlooker:
            return [
                (one, Owed(onlooker.first_due_ms(one.id), onlooker.dead(one.id, most_dead)))
                for one in onlooker.endpoints()
            ]

    def now_ms(self) -> int:
        """Return this instant: the running server's clock, which a simulation may have pushed, else the machine's."""
        real_ms = time.time_ns() // 1_000_000
        if self.holder.is_held is False or self.answers is None:
            return real_ms
        return real_ms + self.answers.pushed_ms
