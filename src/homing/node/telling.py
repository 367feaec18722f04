"""What a node needs to tell customers: endpoints and the sender for everybody who sends, courier and replays by role.

A node with the role ``api`` alone sends the samples that somebody asks for, and no callback.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.courier import Courier
from homing.callbacks.directory import Directory
from homing.callbacks.job import Done
from homing.callbacks.limits import Limits
from homing.callbacks.replay import Replays
from homing.callbacks.sender import Sender
from homing.callbacks.tester import Tester
from homing.config import Role, Settings
from homing.engine import Engine
from homing.model import Endpoint
from homing.node.stores import Opened
from homing.store.batch import Committed
from homing.store.changes import Change, DeleteEndpoint, DisableEndpoint
from homing.telemetry.metrics import Counters

MAX_IN_FLIGHT: Final = 2_000
"""Callbacks under way at a time in one process; beyond that more in flight only costs (PROTOTYPE.md §6)."""


class Telling:
    """Make it on the loop, load its directory, then `start`; in the end `close`."""

    def __init__(
        self,
        settings: Settings,
        opened: Opened,
        policy: AddressPolicy,
        engine: Engine,
        counters: Counters,
        watch: Callable[[Done], None] | None,
    ) -> None:
        """``watch`` hears each finished try of a callback."""
        store, clock, callbacks = opened.store, opened.clock, settings.callbacks
        self._watch = watch
        self.directory = Directory(store, opened.vault, callbacks.user_agent, callbacks.timeout_seconds)
        self.sender = Sender(asyncio.get_running_loop(), policy, Limits(), self._done)
        self.tester = Tester(self.directory, self.sender, clock.now_ms)
        self.courier: Courier | None = None
        self.replays: Replays | None = None
        if not settings.server.has(Role.CALLBACKS):
            return
        self.courier = courier = Courier(
            recorder=engine,
            ledger=store,
            changes=store,
            directory=self.directory,
            sender=self.sender,
            clock=clock,
            delays_ms=[round(delay_s * 1000) for delay_s in callbacks.retry_delays_seconds],
            max_per_endpoint=callbacks.max_in_flight,
            max_in_flight=MAX_IN_FLIGHT,
            counts=counters,
            may_start=store.may_start_try,
            catch_up=store.catch_up if opened.is_shared else None,
        )
        self.replays = Replays(store, store, store, courier, clock)
        engine.born_free = courier.crowded
        engine.on_unknown.append(courier.on_unknown)
        engine.on_refused.append(courier.on_refused)

    async def start(self) -> None:
        """Take up what the process before left."""
        if self.courier is not None and self.replays is not None:
            await self.courier.start()
            await self.replays.start()

    async def reload(self) -> None:
        """Read anew what is kept of the configuration in memory."""
        await self.directory.load()
        if self.courier is not None and self.replays is not None:
            self.courier.reloaded()
            await self.replays.start()

    def is_quiet(self) -> bool:
        """Say whether nothing is under way and nothing is due that could be begun."""
        if self.courier is None or self.replays is None:
            return True
        return self.courier.is_quiet() and self.replays.is_quiet()

    def committed(self, committed: Committed) -> None:
        """Hear what is on disk."""
        if self.courier is not None and self.replays is not None:
            self.courier.on_committed(committed)
            self.replays.on_committed(committed)

    def changed(self, change: Change, value: object) -> None:
        """Hear of a change of the registry, after the directory did."""
        if self.courier is not None and self.replays is not None:
            self.courier.changed(change, value)
            self.replays.changed(change, value)
        if isinstance(change, DeleteEndpoint | DisableEndpoint) and isinstance(value, Endpoint):
            self.sender.forget(value.id)

    async def close(self, grace_s: float) -> None:
        """End the tries under way, or give them back."""
        if self.courier is not None and self.replays is not None:
            await self.replays.close()
            await self.courier.close(grace_s)

    def _done(self, dones: list[Done]) -> None:
        if self.tester.is_waiting:
            dones = self.tester.take(dones)
        if self.courier is not None:
            self.courier.on_done(dones)
        if self._watch is not None:
            for one in dones:
                self._watch(one)
