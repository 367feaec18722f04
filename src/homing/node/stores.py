"""Which store a node has: in memory, embedded in a file, or a PostgreSQL that it shares with others."""

import secrets
from pathlib import Path

import msgspec

from homing.clock import Clock, RealClock
from homing.config import Role, Settings
from homing.errors import StartError, Unavailable
from homing.gateway.hub import Online
from homing.node.keys import shared_vault, vault_of
from homing.store.port import Store
from homing.store.sqlite import SqliteStore
from homing.telemetry import configure
from homing.vault import Vault


class Opened(msgspec.Struct, frozen=True):
    """A store that is open, its clock, and the vault its secrets are sealed in."""

    store: Store
    clock: Clock
    vault: Vault
    path: str
    """Where it is, for the log."""
    is_shared: bool
    """Whether other nodes may work on it too."""


async def open_store(
    settings: Settings, clock: Clock | None, online: Online, *, memory: bool, name: str | None
) -> Opened:
    """Open the store that the settings name, or one in memory; logs are as the settings say from here on.

    ``name`` is this node's alone among those that share the store: who had it before is no more. Without a clock of a test's own, a shared store's clock is all nodes'. Raises a `StartError` that says what to change.
    """
    is_shared = settings.store.is_shared and not memory
    path = ":memory:" if memory else settings.store.path()
    if memory:
        vault = Vault(secrets.token_bytes(32))
    elif is_shared:
        vault = shared_vault(settings.master_key_path())
    else:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        vault = vault_of(Path(path), settings.master_key_path())
    telemetry = settings.telemetry
    configure(telemetry.log_format, telemetry.log_level, hash_key=vault.derive("logs"))
    if is_shared:
        store, clock = await _open_shared(settings, clock, online, vault.key_id, name)
        return Opened(store, clock, vault, "postgresql", is_shared)
    clock = clock or RealClock()
    embedded = await SqliteStore.open(path, clock=clock, online=online, key_id=vault.key_id)
    return Opened(embedded, clock, vault, path, is_shared)


async def _open_shared(
    settings: Settings, clock: Clock | None, online: Online, key_id: str, name: str | None
) -> tuple[Store, Clock]:
    """Open the store that several nodes share; without a clock of a test's own, its clock is all nodes'."""
    try:
        from homing.store.postgres import PostgresStore  # an extra, which the embedded store does without
    except ModuleNotFoundError as error:
        raise StartError(
            f"store.url names a PostgreSQL, which needs {error.name}: install homing[postgres]"
        ) from error
    roles = [role for role in Role if settings.server.has(role)]
    try:
        store = await PostgresStore.open(
            settings.store.url, clock=clock, online=online, key_id=key_id, name=name, roles=roles
        )
    except Unavailable as error:
        raise StartError(f"store.url: {error.detail}") from error
    return store, store.clock
