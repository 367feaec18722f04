"""The composition root: the only place that knows which adapter is used, and the order in which things start and stop.

No decision about messages is taken here; it only plugs the parts together. What lies at the far ends (push services,
carriers, a simulator's page) is handed in as `Ends`.
"""

import asyncio
import gc
import hashlib
import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

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
from homing.channels.ports import Channels, ChannelsFor
from homing.channels.sms import Carrier
from homing.clock import Clock, RealClock
from homing.config import Settings
from homing.contract.status import STATUSES
from homing.engine import Engine
from homing.engine.upkeep import Upkeep
from homing.errors import ConfigError, HomingError, StartError, Unavailable, WrongMasterKey
from homing.gateway.hub import Online
from homing.gateway.protocol import DeviceSocketProtocol
from homing.gateway.server import Gateway
from homing.identifiers import fold_identifier
from homing.model import Endpoint, uuid_text
from homing.server import Asgi, Doors, HttpServer, bind
from homing.store.batch import Batch, Committed, Verdict
from homing.store.changes import Change, DeleteEndpoint, DisableEndpoint
from homing.store.port import Retention, Store
from homing.store.sqlite import SqliteStore
from homing.store.sqlite.manifest import Note
from homing.telemetry import LogEvent, configure, logger, recipient_h
from homing.telemetry.metrics import Counters
from homing.vault import Vault

MAX_IN_FLIGHT: Final = 2_000
"""Callbacks under way at a time in one process; beyond that more in flight only costs (PROTOTYPE.md §6)."""
FEED_LOOKS_S: Final = 1.0
"""A shared store's feed ends seconds ago and holds what other nodes stored: who waits there looks again so often."""
RELOAD_AGAIN_S: Final = 1.0
_DAY_MS: Final = 24 * 3_600_000
_ADMIN_ENV: Final = "HOMING_ADMIN_TOKEN"
_ADMIN_MIN: Final = 32


def _no_channels(_app_mode: str) -> Channels:
    return Channels()


class Ends(msgspec.Struct, frozen=True):
    """What lies at the far ends of the wires. ``watch`` hears each finished try of a callback."""

    channels_for: ChannelsFor = _no_channels
    carriers: Sequence[Carrier] = ()
    doors: Mapping[str, Asgi] = {}
    watch: Callable[[Done], None] | None = None


class Node:
    """One running Homing; made by `open`, ended by `close`."""

    def __init__(
        self, settings: Settings, clock: Clock, store: Store, vault: Vault, admin_token: str
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.store = store
        self.vault = vault
        self.admin_token = admin_token
        self._is_stopping = False
        self._server: HttpServer | None = None
        self._reloading: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, settings: Settings, *, clock: Clock | None = None, ends: Ends | None = None, memory: bool = False
    ) -> "Node":
        """Open the store and start every part but the HTTP server.

        ``memory`` keeps everything in memory (tests, demo). Raises a `StartError` that says what to change.
        """
        ends = ends or Ends()
        online = Online()
        is_shared = settings.store.is_shared and not memory
        path = ":memory:" if memory else settings.store.path()
        if memory:
            vault = Vault(secrets.token_bytes(32))
        elif is_shared:
            vault = _shared_vault(settings.master_key_path())
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            vault = _vault(Path(path), settings.master_key_path())
        telemetry = settings.telemetry
        configure(telemetry.log_format, telemetry.log_level, hash_key=vault.derive("logs"))
        store: Store
        if is_shared:
            path = "postgresql"
            store, clock = await _open_shared(settings.store.url, clock, online, vault.key_id)
        else:
            clock = clock or RealClock()
            store = await SqliteStore.open(path, clock=clock, online=online, key_id=vault.key_id)
        online.said = lambda recipient, is_linked: store.link(recipient, is_linked=is_linked)
        try:
            admin_token = _admin_token(None if memory else settings.data_path(), is_shared=is_shared)
            node = cls(settings, clock, store, vault, admin_token)
            await node._compose(ends, online)
        except BaseException:
            await store.close()
            raise
        _calm_collector()
        logger().info(LogEvent.STORE_OPENED, path=path, schema=store.schema)
        logger().info(LogEvent.NODE_STARTED, store=path, epoch=store.epoch)
        return node

    async def _compose(self, ends: Ends, online: Online) -> None:
        settings, clock, store = self.settings, self.clock, self.store
        is_shared = not isinstance(store, SqliteStore)
        callbacks = settings.callbacks
        policy = AddressPolicy(callbacks.allow, dangerous_allow_private=callbacks.dangerous_allow_private)
        self.engine = engine = Engine(store, clock)
        self.counters = Counters()
        self.directory = Directory(store, self.vault, callbacks.user_agent, callbacks.timeout_seconds)
        await self.directory.load()
        store.watch(self._changed)

        def done(dones: list[Done]) -> None:
            if self.tester.is_waiting:
                dones = self.tester.take(dones)
            self.courier.on_done(dones)
            if ends.watch is not None:
                for one in dones:
                    ends.watch(one)

        self.sender = Sender(asyncio.get_running_loop(), policy, Limits(), done)
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
        kept = settings.store
        self.upkeep = Upkeep(
            store,
            Retention(
                attempts_ms=kept.retention_attempts_days * _DAY_MS,
                failures_ms=kept.retention_failures_days * _DAY_MS,
                dead_ms=kept.retention_dead_days * _DAY_MS,
            ),
        )
        self.channels = ChannelCourier(
            engine, store, store, store, clock, ends.channels_for, ends.carriers, counts=self.counters,
            may_start=store.may_start_try,
        )  # fmt: skip
        self.gateway = Gateway(
            engine=engine, registry=store, archive=store, epoch=store.store_id, clock=clock, online=online
        )
        self._probe()
        engine.born_free = self.courier.crowded
        if settings.telemetry.log_level == "debug":
            engine.on_committed.append(self._said)
        engine.on_unknown.append(self.courier.on_unknown)
        engine.on_refused.append(self.courier.on_refused)
        engine.on_committed += [self._committed, self.channels.committed]
        self.api = api = Api(
            engine=engine,
            registry=store,
            archive=store,
            vault=self.vault,
            check_url=SavedUrls(policy),
            ready=self.not_ready,
            admin_digest=hashlib.sha256(self.admin_token.encode()).digest(),
            metrics_render=self.counters.render if settings.telemetry.metrics else bytes,
            clock=clock,
            settings=ApiSettings(
                base_url=settings.server.base_url or "", feed_looks_s=FEED_LOOKS_S if is_shared else None
            ),
            tests=self.tester,
        )
        if not is_shared:
            engine.on_committed.append(api.on_committed)
        self.app: Asgi = Doors(api, {"/device": self.gateway.app, **ends.doors})
        await engine.start()
        await self.courier.start()
        await self.replays.start()
        await self.channels.start()
        self.upkeep.start()
        store.on_lost(self._lost)
        store.on_orphaned(self.courier.orphaned)
        store.on_orphaned(self.channels.orphaned)
        store.on_hint(self.gateway.on_hint)

    async def listen(self, listener: socket.socket | None = None) -> int:
        """Serve on a bound socket, or bind what the settings say; return the port."""
        self._server = HttpServer(
            self.app, listener or bind(self.settings.server.listen), DeviceSocketProtocol
        )
        await self._server.start()
        return self._server.port

    def not_ready(self) -> list[str]:
        """Why this node takes no work just now; empty when it does."""
        reasons = ["stopping"] if self._is_stopping else []
        if isinstance(self.store, SqliteStore):
            if self.engine.trouble is not None:
                reasons.append(f"store: {self.engine.trouble}")
        elif self.store.trouble is not None:
            # Its heart writes every other second; a commit may not come before this node says that it is ready.
            reasons.append(f"database: {self.store.trouble}")
        return reasons

    def is_quiet(self) -> bool:
        """Say whether nothing is under way anywhere and nothing is due."""
        return (
            self.engine.is_quiet()
            and self.courier.is_quiet()
            and self.replays.is_quiet()
            and self.channels.is_quiet()
            and self.gateway.is_quiet()
        )

    async def close(self, grace_s: float = 15.0) -> None:
        """Stop in order: no new messages, devices told, tries ended or given back, everything on disk; then close."""
        if self._is_stopping:
            return
        self._is_stopping = True
        logger().info(LogEvent.NODE_STOPPING)
        self.engine.stop_accepting()
        if self._reloading is not None:
            self._reloading.cancel()
        await self.gateway.close()
        await self.channels.close()
        await self.upkeep.close()
        await self.replays.close()
        await self.courier.close(grace_s)
        self.api.close()
        if self._server is not None:
            await self._server.close()
        await self.engine.close()
        self.sender.close()
        await self.store.close()
        logger().info(LogEvent.STORE_CLOSED)
        logger().info(LogEvent.NODE_STOPPED)

    def _lost(self) -> None:
        """Drop what is held, and read the configuration again: the others took this node for dead, or it missed changes."""
        self.courier.lost()
        self.channels.lost()
        if self._reloading is None:
            self._reloading = asyncio.create_task(self._reload(), name="reload")

    async def _reload(self) -> None:
        while True:
            try:
                await self.directory.load()
                await self.replays.start()
                break
            except HomingError as error:
                logger().error(LogEvent.STORE_FULL, error=str(error))
                await asyncio.sleep(RELOAD_AGAIN_S)
        self._reloading = None

    def _probe(self) -> None:
        counters = self.counters
        self.engine.timed = counters.commit
        counters.probe("store_bytes", lambda: {("file",): float(self.store.size_bytes() or 0)})
        counters.probe("backup_age_seconds", self._backup_age)
        counters.probe("oldest_due_seconds", self._oldest_due)
        counters.probe("endpoints", lambda: {(h,): float(n) for h, n in self.courier.health().items()})
        counters.probe("devices_connected", lambda: {(): float(self.gateway.connected)})
        counters.probe(
            "lanes_waiting", lambda: {(str(e),): float(held) for e, held in self.courier.waiting().items()}
        )

    def _oldest_due(self) -> dict[tuple[str, ...], float]:
        """How late the most overdue callback in the store and the most overdue deadline are, in seconds."""
        now_ms = self.clock.now_ms()
        dues = {"callback": self.courier.oldest_due_ms(), "deadline": self.engine.next_deadline_ms}
        return {(kind,): max(0, now_ms - due_ms) / 1000 if due_ms else 0.0 for kind, due_ms in dues.items()}

    def _backup_age(self) -> dict[tuple[str, ...], float]:
        """How old the last backup is that the data directory knows of."""
        is_file = isinstance(self.store, SqliteStore) and self.store.size_bytes() is not None
        note = Note.read(self.settings.data_path()) if is_file else None
        return {} if note is None else {(): note.age_s(self.clock.now_ms())}

    def _said(self, _batch: Batch, committed: Committed) -> None:
        """Log every event and every settled callback, at the level that is for looking closely."""
        log = logger()
        for event in committed.recorded:
            person = recipient_h(event.app, fold_identifier(event.identifier))
            fact = LogEvent.MESSAGE_ACCEPTED if event.n == 1 else LogEvent.EVENT_RECORDED
            status = STATUSES[event.status]
            log.debug(
                fact,
                message_id=uuid_text(event.key),
                app=event.app,
                recipient_h=person,
                status=status,
                n=event.n,
            )
        for settle in committed.settled:
            if settle.verdict is Verdict.DONE:
                message_id = uuid_text(settle.key)
                log.debug(
                    LogEvent.CALLBACK_SETTLED, message_id=message_id, endpoint=settle.endpoint, n=settle.n
                )

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


def _vault(store: Path, key: Path) -> Vault:
    """Return the vault of the master key; a new key is made for a new store, never beside one that was sealed already."""
    if not key.exists() and store.exists() and store.stat().st_size:
        told = f"the store's secrets are sealed under a master key, and {key} is missing: put it back from its copy"
        raise WrongMasterKey(f"{told}, or set [security] master_key_file")
    return Vault.load_or_create(key)


async def _open_shared(url: str, clock: Clock | None, online: Online, key_id: str) -> tuple[Store, Clock]:
    """Open the store that several nodes share; without a clock of a test's own, its clock is all nodes'."""
    try:
        from homing.store.postgres import PostgresStore  # an extra, which the embedded store does without
    except ModuleNotFoundError as error:
        raise StartError(
            f"store.url names a PostgreSQL, which needs {error.name}: install homing[postgres]"
        ) from error
    try:
        store = await PostgresStore.open(url, clock=clock, online=online, key_id=key_id)
    except Unavailable as error:
        raise StartError(f"store.url: {error.detail}") from error
    return store, store.clock


def _shared_vault(key: Path) -> Vault:
    """Return the vault of the key that all nodes have; its operator makes it, for no node can know that it is the first."""
    if not key.exists():
        raise WrongMasterKey(
            f"{key} is missing: copy it from another node, or make it for a new store: "
            f"(umask 077; head -c 32 /dev/urandom | base64 > {key})"
        )
    return Vault.load_or_create(key)


def _calm_collector() -> None:
    """Take what was loaded out of the garbage collector's rounds, and have it make fewer: nothing here builds cycles
    by the thousand, and a round over all modules costs more than it ever frees.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _admin_token(data: Path | None, *, is_shared: bool = False) -> str:
    """Return the admin token: the environment's, else the one in ``DATA/admin-token``, made at the first start.

    Not where several nodes share a store: each would make another.
    """
    given = os.environ.get(_ADMIN_ENV)
    if given is not None:
        if len(given) < _ADMIN_MIN or not (given.isascii() and given.isprintable()):
            raise ConfigError(f"{_ADMIN_ENV} must be at least {_ADMIN_MIN} printable ASCII characters")
        return given
    if data is None:
        return "hom_a_" + secrets.token_urlsafe(30)
    path = data / "admin-token"
    if is_shared and not path.exists():
        raise ConfigError(
            f"{_ADMIN_ENV} or {path} must be given: all nodes of one store have the same admin token"
        )
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("hom_a_" + secrets.token_urlsafe(30) + "\n")
    return path.read_text("ascii").strip()
