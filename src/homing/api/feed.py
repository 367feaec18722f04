"""Following the feed: pages that come whole or say where to go on, and the wait for what is not there yet.

Nothing is kept for a follower between two questions, so one costs nothing but its place. While some wait, a commit costs
a look at which applications it was about; when nobody waits, nothing.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from homing.store.archive.port import Archive
from homing.store.batch import Batch, Committed
from homing.store.views import FeedItem, FeedPage

GATHER_S: Final = 0.02
"""How long news are gathered before those who wait are woken: a busy server wakes nobody more often than that."""
LOOKS: Final = 10
"""How many questions one page may cost the store, where an application is quiet among busy ones."""
COUNTED: Final = 1_000
"""How far what lies behind a place is counted."""

Apps = tuple[int, ...] | None
"""Whose events; None means everybody's."""


class Waiter:
    """One who waits for events of some applications."""

    __slots__ = ("_news", "apps")

    def __init__(self, apps: Apps) -> None:
        self.apps = apps
        self._news = asyncio.Event()

    def ring(self) -> None:
        """There may be something new."""
        self._news.set()

    def forget(self) -> None:
        """Take what was told so far as known; call it before looking, so that nothing falls between."""
        self._news.clear()

    async def news(self, timeout_s: float) -> None:
        """Return when there may be something new since `forget`, or after so many seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return


class Arrivals:
    """Wakes those who wait when what they wait for is on disk."""

    def __init__(self) -> None:
        self._waiting: set[Waiter] = set()
        self._touched: set[int] = set()
        self._ringing: asyncio.TimerHandle | None = None
        self.is_closed = False

    def on_committed(self, batch: Batch, committed: Committed) -> None:
        """Hear of a commit; on the engine's way, so it only notes whom it is about."""
        if not self._waiting:
            return
        self._touched.update([event.app for event in committed.recorded])
        self._touched.update([incoming.app for incoming in batch.incomings])
        if self._touched and self._ringing is None:
            self._ringing = asyncio.get_running_loop().call_later(GATHER_S, self._ring)

    @contextmanager
    def waiting(self, apps: Apps) -> Iterator[Waiter]:
        """Count one in who waits, for as long as the block lasts."""
        waiter = Waiter(apps)
        self._waiting.add(waiter)
        try:
            yield waiter
        finally:
            self._waiting.discard(waiter)

    def close(self) -> None:
        """Have all who wait answered now; later ones do not wait."""
        self.is_closed = True
        if self._ringing is not None:
            self._ringing.cancel()
        for waiter in self._waiting:
            waiter.ring()

    def _ring(self) -> None:
        self._ringing = None
        touched, self._touched = self._touched, set()
        for waiter in self._waiting:
            if waiter.apps is None or not touched.isdisjoint(waiter.apps):
                waiter.ring()


async def read(archive: Archive, apps: Apps, after: int, limit: int, *, incoming: bool) -> FeedPage:
    """Return a page that is full or ends where the feed does; short, or empty, only where it took too many `LOOKS`."""
    items: list[FeedItem] = []
    for _ in range(LOOKS):
        page = await archive.feed(apps, after, limit - len(items), incoming=incoming)
        items += page.items
        after = page.last
        if page.is_end or len(items) >= limit:
            return FeedPage(tuple(items), after, page.is_end)
    return FeedPage(tuple(items), after, is_end=False)


async def behind(archive: Archive, apps: Apps, after: int) -> tuple[int, bool]:
    """Count what lies behind a place, up to `COUNTED`: the number, and whether that is all."""
    page = await read(archive, apps, after, COUNTED, incoming=True)
    return len(page.items), page.is_end
