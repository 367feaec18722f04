"""Which commands are held here, and which the store holds for this node though nobody here does: those of a commit
whose outcome was never told. It carries out none.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from homing.channels.ports import Commands
from homing.model import CommandKind, message_of
from homing.store.batch import Batch, CommandDone, CommandWork

PAGE: Final = 500
_Place = tuple[bytes, CommandKind]


class Held:
    """A command is held from when it is taken until its outcome is on disk; while it is, it is not taken again."""

    def __init__(self, commands: Commands, take: Callable[[list[CommandWork]], None]) -> None:
        """``take`` is given what was found missing, which is held from then on."""
        self._commands = commands
        self._give = take
        self._held: set[_Place] = set()
        self._begun: set[_Place] = set()
        self._missing: set[_Place] = set()
        self.losses = 0
        """How often all that is ours was lost: what was taken, or asked of the store, before may be another's by now."""
        self._ended: set[_Place] = set()
        """Since the walk under way began: what it read may be older than that."""
        self._found: set[_Place] = set()
        """By looks, since the last claim began."""
        self._walking = asyncio.Lock()

    def take(self, works: Iterable[CommandWork]) -> list[CommandWork]:
        """Hold these, and return those that were not held before."""
        new = []
        for work in works:
            place = (work.key, work.kind)
            if place not in self._held:
                self._held.add(place)
                new.append(work)
        return new

    async def claim(self, limit: int) -> tuple[list[CommandWork], bool]:
        """Have the store make ours what is due; return what of it is to be done here, and whether there may be more.

        That is not what a look found to be ours before the answer came, which may be done with by now, nor what went to
        an owner that is no more. One claim at a time.
        """
        losses = self.losses
        self._found.clear()
        works = await self._commands.claim_commands(limit)
        news = [work for work in works if (work.key, work.kind) not in self._found]
        return self.take(news) if losses == self.losses else [], len(works) == limit

    def ended(self, dones: Iterable[CommandDone]) -> None:
        """Hear that outcomes are on disk."""
        for done in dones:
            place = (done.key, done.kind)
            self._held.discard(place)
            self._begun.discard(place)
            if self._walking.locked():
                self._ended.add(place)

    def begin(self, work: CommandWork) -> None:
        """Hear that it is being carried out: from now on only its outcome ends that."""
        self._begun.add((work.key, work.kind))

    def lose(self) -> None:
        """Let go of all that was not begun, and is others' by now."""
        self.losses += 1
        self._held &= self._begun

    async def sweep(self) -> None:
        """Take what the store says is ours and is not held; seen so twice, it was forgotten."""
        missing: set[_Place] = set()

        def is_forgotten(place: _Place) -> bool:
            missing.add(place)
            return place in self._missing

        await self._walk(is_forgotten)
        self._missing = missing

    async def look_for(self, messages: frozenset[bytes]) -> None:
        """Take what is ours and not held of these messages."""
        await self._walk(lambda place: message_of(place[0]) in messages)

    async def _walk(self, is_wanted: Callable[[_Place], bool]) -> None:
        async with self._walking:
            self._ended.clear()
            losses = self.losses
            after: tuple[bytes, int] = (b"", 0)
            while works := await self._commands.held_commands(after, PAGE):
                if losses != self.losses:  # these are another's by now, or will be
                    after, losses = (b"", 0), self.losses
                    continue
                after = (works[-1].key, works[-1].kind)
                free = [work for work in works if self._is_free((work.key, work.kind))]
                if wanted := self.take(work for work in free if is_wanted((work.key, work.kind))):
                    self._found.update((work.key, work.kind) for work in wanted)
                    self._give(wanted)

    def _is_free(self, place: _Place) -> bool:
        return place not in self._held and place not in self._ended


def messages_of(batch: Batch) -> frozenset[bytes]:
    """Return the messages of which a batch may have ordered commands."""
    return frozenset(accept.message_id for accept in batch.accepts).union(
        message_of(occurrence.key) for occurrence in batch.occurrences
    )
