"""What each change of a device does to the rows, and to the count by which accepting knows whom a push can wake."""

from collections.abc import Iterable
from typing import Any, Final

from homing.errors import Conflict, NotFound
from homing.model import Device
from homing.store.changes import RemoveDevice, RetirePushToken, SaveDevice, SetPushToken, TouchDevices
from homing.store.postgres.registry_changes import one
from homing.store.sql import load
from homing.store.sqlite.nouns import to_device

_SQL: Final = load("postgres", "registry")


async def _count(connection: Any, recipients: Iterable[int]) -> None:
    # Locked by a statement of its own: what is counted then is what whoever had the lock before has left.
    ids = sorted(set(recipients))
    await connection.execute(_SQL["lock_recipients"], ids)
    await connection.execute(_SQL["count_wakeable"], ids)


async def save_device(connection: Any, change: SaveDevice, now_ms: int) -> Device:
    """See `SaveDevice`; `Conflict` when the id is another user's, `NotFound` when the user is gone."""
    if await one(connection, "user_exists", change.recipient, change.app) is None:
        raise NotFound("there is no such user")
    row = await one(
        connection, "save_device",
        change.id, change.recipient, change.app, change.name, change.platform, change.token_digest, now_ms,
    )  # fmt: skip
    if row is None:
        raise Conflict("this device id belongs to another user")
    return to_device(row)


async def set_push_token(connection: Any, change: SetPushToken) -> Device:
    """See `SetPushToken`; `NotFound` when the device is gone."""
    row = await one(
        connection, "set_push_token", change.device, change.platform, change.token, change.environment
    )
    if row is None:
        raise NotFound("there is no such device")
    device = to_device(row)
    robbed = await connection.fetch(_SQL["take_push_token"], change.device, change.token, change.platform)
    await _count(connection, [device.recipient, *(recipient for (recipient,) in robbed)])
    return device


async def retire_push_token(connection: Any, change: RetirePushToken) -> None:
    """See `RetirePushToken`."""
    row = await one(connection, "retire_push_token", change.device, change.token)
    if row is not None:
        await _count(connection, row)


async def remove_device(connection: Any, change: RemoveDevice) -> None:
    """See `RemoveDevice`."""
    row = await one(connection, "drop_device", change.device)
    if row is not None:
        await _count(connection, row)


async def touch_devices(connection: Any, change: TouchDevices) -> None:
    """See `TouchDevices`."""
    if change.seen:
        await connection.execute(_SQL["touch_devices"], *map(list, zip(*change.seen, strict=True)))
