"""Receivers that answer 204 mostly, else 500, late, or by cutting the connection; what they got becomes journal calls."""

import asyncio
import contextlib
import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import partial

from tests.chaos.journal import Call, Dispatch
from tests.waiting import again

from homing.contract.notification import StatusNotification
from homing.simulator.answers import Answer, Behaviour
from homing.simulator.receivers import Caught, Receiver

_FAILING, _LATE, _CUT = Answer(500), Answer(delay_s=0.15), Answer(is_cut=True)
SICK = Behaviour("sick", lambda _n, rng: _CUT if rng.random() < 0.5 else Answer(503))
"""Never takes anything, so that its endpoint comes to rest."""


def _moody(late: float) -> Behaviour:
    def answer(_n: int, rng: random.Random) -> Answer:
        mood = rng.random()
        if mood < 0.06:
            return _FAILING
        if mood < 0.09:
            return _CUT
        return _LATE if mood < 0.09 + late else Answer()

    return Behaviour("moody", answer)


class Receivers:
    """Several receivers, and the wait until they were told everything."""

    def __init__(
        self, names: Sequence[str], seed: int, *, late: float = 0.04, sick: Sequence[str] = ()
    ) -> None:
        """``late`` is the share of callbacks that are answered late; who is ``sick`` takes none until it recovers."""
        self._moody = _moody(late)
        self._sick = frozenset(sick)
        self.by_name = {
            name: Receiver(name, seed=seed + place, keep=10_000_000) for place, name in enumerate(names)
        }
        self._taken: set[tuple[str, Dispatch, str]] = set()
        self._missing: set[tuple[str, Dispatch, str]] = set()
        self._has_all = asyncio.Event()
        self._is_told = asyncio.Event()

    async def start(self) -> None:
        """Listen, moody from now on."""
        for receiver in self.by_name.values():
            await receiver.start()
            receiver._behaviour = SICK if receiver.name in self._sick else self._moody
            receiver.on_caught.append(partial(self._hear, receiver.name))

    def recover(self, name: str) -> None:
        """Have one that was sick take what comes from now on."""
        self.by_name[name]._behaviour = self._moody

    async def until_told(self, what: set[tuple[str, Dispatch, str]], within_s: float) -> None:
        """Wait until each of (endpoint, dispatch, status) was answered 2xx; what is missing in the end, `check` finds."""
        self._missing = what - self._taken
        if self._missing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._has_all.wait()

    async def until_told_anything(self) -> None:
        """Wait until the next callback, whatever it is and whoever gets it."""
        self._is_told.clear()
        await self._is_told.wait()

    async def until_hung_up(self) -> None:
        """Wait until all that a dead server had sent was read and its connections have ended."""
        for receiver in self.by_name.values():
            await hung_up(receiver)

    def calls(self, starts_s: Sequence[float]) -> Iterator[Call]:
        """Everything that came, in order of arrival at each receiver; ``starts_s`` tells the server's lives apart.

        The loop's clock counts whole ms: what came at the very one of a start is of the life before, for none speaks so soon.
        """
        for name, receiver in self.by_name.items():
            for caught in receiver.caught:
                yield _call(name, caught, bisect_left(starts_s, caught.at_s))

    def arrivals_s(self) -> list[float]:
        """When requests came, by the loop's clock."""
        return sorted(caught.at_s for one in self.by_name.values() for caught in one.caught)

    async def close(self) -> None:
        """Stop listening."""
        for receiver in self.by_name.values():
            await receiver.close()

    def _hear(self, name: str, caught: Caught) -> None:
        caught.headers = {
            "webhook-id": caught.webhook_id
        }  # the rest was examined; a long run keeps many of these
        self._is_told.set()
        it = caught.notification
        if caught.answered is None or caught.answered >= 300 or not isinstance(it, StatusNotification):
            return
        said = (name, (it.message_id, it.recipient), it.status.value)
        self._taken.add(said)
        if self._missing:
            self._missing.discard(said)
            if not self._missing:
                self._has_all.set()


async def hung_up(receiver: Receiver) -> None:
    """Wait until all that a dead server had sent to it was read and its connections have ended."""
    # Connections that still wait to be accepted show nowhere, but those that came before ours are accepted before it.
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()

    async def open_ones() -> int:
        return len(receiver._connections)

    await again(open_ones, lambda count: count == 0, "a receiver does not tell that somebody hung up")


def _call(name: str, caught: Caught, life: int) -> Call:
    it = caught.notification
    call = Call(
        endpoint=name,
        life=life,
        webhook_id=caught.webhook_id,
        payload=caught.payload,
        dispatch=("", ""),
        app="",
        status="",
        timestamp_ms=0,
        answered=caught.answered,
        faults=caught.faults,
    )
    if isinstance(it, StatusNotification):
        call.dispatch, call.app = (it.message_id, it.recipient), it.application_id
        call.status, call.timestamp_ms = it.status.value, it.timestamp_ms
    return call
