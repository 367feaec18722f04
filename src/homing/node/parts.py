"""The parts of a node, made and plugged together; who starts and stops them, and when, is `running`'s business."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

from homing.api.app import Api
from homing.api.ports import Settings as ApiSettings
from homing.api.urls import SavedUrls
from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.courier import Courier
from homing.callbacks.directory import Directory
from homing.callbacks.job import Done
from homing.callbacks.limits import Limits
from homing.callbacks.replay import Replays
from homing.callbacks.sender import Sender
from homing.callbacks.tester import Tester
from homing.channels.courier import ChannelCourier
from homing.config import Settings
from homing.engine import Engine
from homing.engine.upkeep import Upkeep
from homing.gateway.hub import Online
from homing.gateway.server import Gateway
from homing.model import Endpoint
from homing.node.debug_log import say_all
from homing.node.ends import Ends
from homing.node.probes import probe
from homing.node.stores import Opened
from homing.server import Asgi, Doors
from homing.store.batch import Batch, Committed
from homing.store.changes import Change, DeleteEndpoint, DisableEndpoint
from homing.store.port import Retention
from homing.telemetry.metrics import Counters

MAX_IN_FLIGHT: Final = 2_000
"""Callbacks under way at a time in one process; beyond that more in flight only costs (PROTOTYPE.md §6)."""
FEED_LOOKS_S: Final = 1.0
"""A shared store's feed ends seconds ago and holds what other nodes stored: who waits there looks again so often."""
_DAY_MS: Final = 24 * 3_600_000


class Parts:
    """Everything between the store and the doors. Make it on the loop, then `start`."""

    def __init__(
        self,
        settings: Settings,
        opened: Opened,
        ends: Ends,
        online: Online,
        admin_token: str,
        not_ready: Callable[[], list[str]],
    ) -> None:
        self._store = store = opened.store
        self._watch = ends.watch
        clock, callbacks = opened.clock, settings.callbacks
        policy = AddressPolicy(callbacks.allow, dangerous_allow_private=callbacks.dangerous_allow_private)
        self.engine = engine = Engine(store, clock)
        self.counters = Counters()
        self.directory = Directory(store, opened.vault, callbacks.user_agent, callbacks.timeout_seconds)
        self.sender = Sender(asyncio.get_running_loop(), policy, Limits(), self._done)
        self.tester = Tester(self.directory, self.sender, clock.now_ms)
        self.courier = Courier(
            recorder=engine,
            ledger=store,
            changes=store,
            directory=self.directory,
            sender=self.sender,
            clock=clock,
            delays_ms=[round(delay_s * 1000) for delay_s in callbacks.retry_delays_seconds],
            max_per_endpoint=callbacks.max_in_flight,
            max_in_flight=MAX_IN_FLIGHT,
            counts=self.counters,
            may_start=store.may_start_try,
        )
        self.replays = Replays(store, store, store, self.courier, clock)
        self.upkeep = Upkeep(store, _retention(settings))
        self.channels = ChannelCourier(
            engine, store, store, store, clock, ends.channels_for, ends.carriers, counts=self.counters,
            may_start=store.may_start_try,
        )  # fmt: skip
        self.gateway = Gateway(
            engine=engine, registry=store, archive=store, epoch=store.store_id, clock=clock, online=online
        )
        probe(self.counters, clock, store, engine, self.courier, self.gateway, settings.data_path())
        self.api = Api(
            engine=engine,
            registry=store,
            archive=store,
            vault=opened.vault,
            check_url=SavedUrls(policy),
            ready=not_ready,
            admin_digest=hashlib.sha256(admin_token.encode()).digest(),
            metrics_render=self.counters.render if settings.telemetry.metrics else bytes,
            clock=clock,
            settings=ApiSettings(
                base_url=settings.server.base_url or "",
                feed_looks_s=FEED_LOOKS_S if opened.is_shared else None,
            ),
            tests=self.tester,
        )
        self.app: Asgi = Doors(self.api, {"/device": self.gateway.app, **ends.doors})
        self._plug(is_closely=settings.telemetry.log_level == "debug", is_shared=opened.is_shared)

    def _plug(self, *, is_closely: bool, is_shared: bool) -> None:
        """Let what is on disk go on to whoever acts on it."""
        engine = self.engine
        engine.born_free = self.courier.crowded
        if is_closely:
            engine.on_committed.append(say_all)
        engine.on_unknown.append(self.courier.on_unknown)
        engine.on_refused.append(self.courier.on_refused)
        engine.on_committed += [self._committed, self.channels.committed]
        if not is_shared:
            engine.on_committed.append(self.api.on_committed)

    async def start(self, lost: Callable[[], None]) -> None:
        """Take up what the process before left, and begin; ``lost`` is called when the node's term has ended."""
        store = self._store
        await self.directory.load()
        store.watch(self._changed)
        await self.engine.start()
        await self.courier.start()
        await self.replays.start()
        await self.channels.start()
        self.upkeep.start()
        store.on_lost(lost)
        store.on_orphaned(self.courier.orphaned)
        store.on_orphaned(self.channels.orphaned)
        store.on_hint(self.gateway.on_hint)

    def is_quiet(self) -> bool:
        """Say whether nothing is under way anywhere and nothing is due."""
        return (
            self.engine.is_quiet()
            and self.courier.is_quiet()
            and self.replays.is_quiet()
            and self.channels.is_quiet()
            and self.gateway.is_quiet()
        )

    def drop(self) -> None:
        """Let go, without a word to the store, of what is held: it may be others' by now."""
        self.courier.lost()
        self.channels.lost()

    async def reload(self) -> None:
        """Read anew what is kept of the configuration in memory."""
        await self.directory.load()
        await self.replays.start()

    async def close_couriers(self, grace_s: float) -> None:
        """Tell devices goodbye, end the tries under way or give them back."""
        await self.gateway.close()
        await self.channels.close()
        await self.upkeep.close()
        await self.replays.close()
        await self.courier.close(grace_s)

    def _done(self, dones: list[Done]) -> None:
        if self.tester.is_waiting:
            dones = self.tester.take(dones)
        self.courier.on_done(dones)
        if self._watch is not None:
            for one in dones:
                self._watch(one)

    def _committed(self, _batch: Batch, committed: Committed) -> None:
        self.courier.on_committed(committed)
        self.replays.on_committed(committed)
        self.gateway.on_committed(committed)
        self.counters.committed(committed)

    def _changed(self, change: Change, value: object) -> None:
        self.directory.changed(change, value)
        self.courier.changed(change, value)
        self.replays.changed(change, value)
        self.api.changed(change, value)
        if isinstance(change, DeleteEndpoint | DisableEndpoint) and isinstance(value, Endpoint):
            self.sender.forget(value.id)


def _retention(settings: Settings) -> Retention:
    kept = settings.store
    return Retention(
        attempts_ms=kept.retention_attempts_days * _DAY_MS,
        failures_ms=kept.retention_failures_days * _DAY_MS,
        dead_ms=kept.retention_dead_days * _DAY_MS,
    )
