"""Work that a node stored and has not the role for, told to the nodes that have it.

Its lanes and commands are born free and due. After the commit one notification says which endpoints have lanes, another
when a command is due; everybody with the role hears it. The one whose turn it is looks at once, the others a while
later, should that one be no more. What is stored while a notification is under way goes with the next one. Words that
are lost are found by the sweeps, and who may have missed some looks into the store (`PostgresNode`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from homing.config.settings import Role
from homing.errors import HomingError

OTHERS_LATER_MS: Final = 5_000
"""How long work is left to the node whose turn it is; a deadline is left as long to the one whose share it is."""
_AT_ONCE: Final = 300
"""Endpoints named in one notification, which holds 8,000 bytes."""
_AGAIN_S: Final = 1.0
_LAST_WORDS_S: Final = 2.0

HearLanes = Callable[[Mapping[int, int]], None]
HearCommand = Callable[[int], None]


def channel(role: Role) -> str:
    """Return where those that have a role listen."""
    return f"homing_role_{role}"


class Word(msgspec.Struct, frozen=True, array_like=True):
    """One notification: work of a role that is due then, and whose turn it is; lanes are named by their endpoints.

    One of lanes that names no endpoint says that there may be some: whoever hears it looks into the store.
    """

    turn: int
    due_ms: int
    endpoints: tuple[int, ...] = ()

    def wait_ms(self, epoch: int) -> int:
        """How long this node leaves the work to the one whose turn it is."""
        return 0 if self.turn in {epoch, 0} else OTHERS_LATER_MS


_encode: Final = msgspec.json.encode
_decode: Final = msgspec.json.Decoder(Word).decode


class Handovers:
    """What waits to be said, and who hears of what was; ``takers`` are the nodes that live and have a role, in order."""

    def __init__(
        self,
        tell: Callable[[str, str], Awaitable[object]],
        takers: Callable[[Role], Sequence[int]],
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """``tell(channel, payload)`` notifies; it may raise a `HomingError`, and is asked again. ``look()`` looks for work."""
        self._tell = tell
        self._takers = takers
        self._look = look
        self._is_doubtful = False
        self._lanes: dict[int, int] = {}
        self._command_ms: int | None = None
        self._turn = 0
        self._telling: asyncio.Task[None] | None = None
        self._on_lanes: list[HearLanes] = []
        self._on_command: list[HearCommand] = []
        self._on_handed: list[Callable[[str], None]] = []

    def on_lanes(self, hear: HearLanes) -> None:
        """See `port.Handovers.on_lanes`."""
        self._on_lanes.append(hear)

    def on_command(self, hear: HearCommand) -> None:
        """See `port.Handovers.on_command`."""
        self._on_command.append(hear)

    def on_handed(self, hear: Callable[[str], None]) -> None:
        """See `port.Handovers.on_handed`."""
        self._on_handed.append(hear)

    def say(self, lanes: Mapping[int, int], command_ms: int | None) -> None:
        """Say that lanes of these endpoints fall due then, and that a command does."""
        for endpoint, due_ms in lanes.items():
            self._lanes[endpoint] = min(due_ms, self._lanes.get(endpoint, due_ms))
        if command_ms is not None:
            self._command_ms = command_ms if self._command_ms is None else min(command_ms, self._command_ms)
        if self._telling is None and self._has_words():
            self._telling = asyncio.create_task(self._say_all(), name="handovers")

    def doubt(self) -> None:
        """Say that there may be work of both roles: whether a commit stored any is not known."""
        self._is_doubtful = True
        self.say({}, 0)

    def hear(self, role: Role, payload: str, epoch: int) -> None:
        """Take a notification: work for this node, whose epoch this is."""
        word = _decode(payload)
        for hear in self._on_handed:
            hear(role)
        due_ms = word.due_ms + word.wait_ms(epoch)
        if role is Role.CALLBACKS and not word.endpoints:
            self._look()
        elif role is Role.CALLBACKS:
            self.found(dict.fromkeys(word.endpoints, due_ms), None)
        else:
            self.found({}, due_ms)

    def found(self, lanes: Mapping[int, int], command_ms: int | None) -> None:
        """Tell who takes work here what there is."""
        if lanes:
            for hear in self._on_lanes:
                hear(lanes)
        if command_ms is not None:
            for expect in self._on_command:
                expect(command_ms)

    async def close(self) -> None:
        """Say what is still to be said, for a moment."""
        if (telling := self._telling) is not None:
            await asyncio.wait({telling}, timeout=_LAST_WORDS_S)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _say_all(self) -> None:
        try:
            while self._has_words():
                lanes, command_ms, is_doubtful = self._lanes, self._command_ms, self._is_doubtful
                self._lanes, self._command_ms, self._is_doubtful = {}, None, False
                try:
                    for word in [*_words(lanes), *([Word(0, 0)] if is_doubtful else [])]:
                        await self._say(Role.CALLBACKS, word)
                    if command_ms is not None:
                        await self._say(Role.CHANNELS, Word(0, command_ms))
                except HomingError:
                    await asyncio.sleep(_AGAIN_S)
                    self._is_doubtful = self._is_doubtful or is_doubtful
                    self.say(lanes, command_ms)
        finally:
            self._telling = None

    def _has_words(self) -> bool:
        return bool(self._lanes) or self._command_ms is not None or self._is_doubtful

    async def _say(self, role: Role, word: Word) -> None:
        takers = self._takers(role)
        self._turn += 1
        turn = takers[self._turn % len(takers)] if takers else 0
        await self._tell(channel(role), _encode(msgspec.structs.replace(word, turn=turn)).decode())


def _words(lanes: Mapping[int, int]) -> list[Word]:
    """What is due at one instant goes together, as far as one notification holds it."""
    by_due: dict[int, list[int]] = {}
    for endpoint, due_ms in lanes.items():
        by_due.setdefault(due_ms, []).append(endpoint)
    return [
        Word(0, due_ms, tuple(endpoints[first : first + _AT_ONCE]))
        for due_ms, endpoints in by_due.items()
        for first in range(0, len(endpoints), _AT_ONCE)
    ]
