"""What each change of a device does to the rows, and to the count by which accepting knows whom a push can wake."""

from collections.abc import Iterable
from typing import Final

import apsw

from homing.errors import Conflict, NotFound
from homing.model import Device
from homing.store.changes import RemoveDevice, RetirePushToken, SaveDevice, SetPushToken, TouchDevices
from homing.store.sql import load
from homing.store.sqlite.nouns import as_json, fetch, to_device
from homing.store.sqlite.registry_changes import one

_SQL: Final = load("sqlite", "registry")


def _count(connection: apsw.Connection, recipients: Iterable[int]) -> None:
    connection.execute(_SQL["count_wakeable"], (as_json(sorted(set(recipients))),))


def save_device(connection: apsw.Connection, change: SaveDevice, now_ms: int) -> Device:
    """See `SaveDevice`; `Conflict` when the id is another user's, `NotFound` when the user is gone."""
    if one(connection, "user_exists", change.recipient, change.app) is None:
        raise NotFound("there is no such user")
    row = one(
        connection, "save_device",
        change.id, change.recipient, change.app, change.name, change.platform, change.token_digest, now_ms,
    )  # fmt: skip
    if row is None:
        raise Conflict("this device id belongs to another user")
    return to_device(row)


def set_push_token(connection: apsw.Connection, change: SetPushToken) -> Device:
    """See `SetPushToken`; `NotFound` when the device is gone."""
    row = one(connection, "set_push_token", change.device, change.platform, change.token, change.environment)
    if row is None:
        raise NotFound("there is no such device")
    device = to_device(row)
    robbed = fetch(connection, _SQL["take_push_token"], (change.device, change.token, change.platform))
    _count(connection, [device.recipient, *(recipient for (recipient,) in robbed)])
    return device


def retire_push_token(connection: apsw.Connection, change: RetirePushToken) -> None:
    """See `RetirePushToken`."""
    row = one(connection, "retire_push_token", change.device, change.token)
    if row is not None:
        _count(connection, row)


def remove_device(connection: apsw.Connection, change: RemoveDevice) -> None:
    """See `RemoveDevice`."""
    row = one(connection, "drop_device", change.device)
    if row is not None:
        _count(connection, row)


def touch_devices(connection: apsw.Connection, change: TouchDevices) -> None:
    """See `TouchDevices`."""
    connection.execute(_SQL["touch_devices"], (as_json(change.seen),))
