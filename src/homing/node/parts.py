"""The parts of a node, made by its roles and plugged together; when they start and stop is `running`'s business."""

import hashlib
from collections.abc import Callable
from typing import Final

from homing.api.app import Api, Health
from homing.api.ports import Settings as ApiSettings
from homing.api.urls import SavedUrls
from homing.callbacks.addresses import AddressPolicy
from homing.channels.courier import ChannelCourier
from homing.config import ROLES, Role, Settings
from homing.engine import Engine
from homing.engine.upkeep import Upkeep
from homing.gateway.hub import Online
from homing.gateway.server import Gateway
from homing.node.debug_log import say_all
from homing.node.ends import Ends
from homing.node.probes import probe
from homing.node.stores import Opened
from homing.node.telling import Telling
from homing.server import Asgi, Doors
from homing.store.batch import Batch, Committed
from homing.store.changes import Change
from homing.store.port import Retention
from homing.telemetry import going_on
from homing.telemetry.metrics import Counters

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
        clock, has = opened.clock, settings.server.has
        callbacks = settings.callbacks
        policy = AddressPolicy(callbacks.allow, dangerous_allow_private=callbacks.dangerous_allow_private)
        self.engine = engine = Engine(store, clock)
        self.counters = counters = Counters()
        self.upkeep = Upkeep(store, _retention(settings))
        self.telling: Telling | None = None
        self.channels: ChannelCourier | None = None
        self.gateway: Gateway | None = None
        self.api: Api | None = None
        if has(Role.CALLBACKS) or has(Role.API):
            self.telling = Telling(settings, opened, policy, engine, counters, ends.watch)
        if has(Role.CHANNELS):
            self.channels = ChannelCourier(
                engine, store, store, store, clock, ends.channels_for, ends.carriers, counts=counters,
                may_start=store.may_start_try,
            )  # fmt: skip
        if has(Role.GATEWAY):
            self.gateway = Gateway(
                engine=engine, registry=store, archive=store, epoch=lambda: store.store_id, clock=clock, online=online,
                is_shared=opened.is_shared,
            )  # fmt: skip
        metrics = counters.render if settings.telemetry.metrics else bytes
        self.health = Health(store, not_ready, metrics, _elsewhere(settings))
        if has(Role.API) and self.telling is not None:
            self.api = Api(
                engine=engine,
                registry=store,
                archive=store,
                vault=opened.vault,
                check_url=SavedUrls(policy),
                ready=not_ready,
                admin_digest=hashlib.sha256(admin_token.encode()).digest(),
                metrics_render=metrics,
                clock=clock,
                settings=ApiSettings(
                    base_url=settings.server.base_url or "",
                    feed_looks_s=FEED_LOOKS_S if opened.is_shared else None,
                ),
                tests=self.telling.tester,
            )
        devices: dict[str, Asgi] = {"/device": self.health if self.gateway is None else self.gateway.app}
        self.app: Asgi = Doors(self.api or self.health, {**devices, **ends.doors})
        courier = None if self.telling is None else self.telling.courier
        counters.probe("retention_kept", lambda: self.upkeep.kept)
        probe(counters, clock, store, engine, courier, self.gateway, settings.data_path())
        if settings.telemetry.log_level == "debug":
            engine.on_committed.append(say_all)
        engine.on_committed.append(self._committed)
        if self.channels is not None:
            engine.on_committed.append(self.channels.committed)
            engine.on_unknown.append(self.channels.on_unknown)
        if self.api is not None and not opened.is_shared:
            engine.on_committed.append(self.api.on_committed)

    async def start(self, lost: Callable[[], None]) -> None:
        """Take up what the process before left, and begin; ``lost`` is called when the node's term has ended."""
        store, telling, channels = self._store, self.telling, self.channels
        # First of all, for the store's heart beats already: whatever is held from here on may be lost.
        store.on_lost(lost)
        if self.gateway is not None:
            store.on_hint(self.gateway.on_hint)
            store.on_rewound(self.gateway.rewound)
        if telling is not None:
            store.watch(telling.directory.changed)
            await telling.directory.load()
        store.watch(self._changed)
        await self.engine.start()
        store.on_handed(self.counters.handed)
        # From here on others' words count: what was said before is in the store, where starting looks.
        if telling is not None and telling.courier is not None and telling.replays is not None:
            store.on_share(telling.courier.share)
            store.on_share(telling.replays.share)
            store.on_orphaned(telling.courier.orphaned)
            store.on_lanes(telling.courier.on_work)
        if channels is not None:
            store.on_orphaned(channels.orphaned)
            store.on_command(channels.on_work)
        if telling is not None:
            await telling.start()
        if channels is not None:
            await channels.start()
        self.upkeep.start()

    def is_quiet(self) -> bool:
        """Say whether nothing is under way anywhere and nothing is due."""
        parts = (self.engine, self.telling, self.channels, self.gateway)
        return all(part is None or part.is_quiet() for part in parts)

    def drop(self) -> None:
        """Let go, without a word to the store, of what is held: it may be others' by now."""
        if self.telling is not None and self.telling.courier is not None:
            self.telling.courier.lost()
        if self.channels is not None:
            self.channels.lost()
        if self.api is not None:
            self.api.forget()

    async def reload(self) -> None:
        """Read anew what is kept of the configuration in memory."""
        if self.telling is not None:
            await self.telling.reload()
        if self.gateway is not None:
            await self.gateway.recheck()

    async def close(self, grace_s: float) -> None:
        """Tell devices goodbye, end the tries under way or give them back; one that cannot be ended is logged."""
        if self.gateway is not None:
            with going_on():
                await self.gateway.close()
        if self.channels is not None:
            with going_on():
                await self.channels.close()
        with going_on():
            await self.upkeep.close()
        if self.telling is not None:
            with going_on():
                await self.telling.close(grace_s)
        if self.api is not None:
            with going_on():
                self.api.close()

    def end(self) -> None:
        """Let go of what is left, once nothing is settled any more."""
        if self.telling is not None:
            self.telling.sender.close()

    def _committed(self, _batch: Batch, committed: Committed) -> None:
        if self.telling is not None:
            self.telling.committed(committed)
        if self.gateway is not None:
            self.gateway.on_committed(committed)
        self.counters.committed(committed)

    def _changed(self, change: Change, value: object) -> None:
        if self.telling is not None:
            self.telling.changed(change, value)
        if self.api is not None:
            self.api.changed(change, value)


def _elsewhere(settings: Settings) -> str:
    """What a node says to those who ask it for what it does not do."""
    roles = ", ".join(role for role in ROLES if settings.server.has(Role(role)))
    return f"there is nothing at this path on this node, which has the roles {roles}"


def _retention(settings: Settings) -> Retention:
    kept = settings.store
    return Retention(
        attempts_ms=kept.retention_attempts_days * _DAY_MS,
        failures_ms=kept.retention_failures_days * _DAY_MS,
        dead_ms=kept.retention_dead_days * _DAY_MS,
        messages_ms=kept.retention_messages_days * _DAY_MS or None,
    )
