"""What each change of a device does to the rows, and to the count by which accepting knows whom a push can wake."""

from collections.abc import Iterable

from homing.errors import Conflict, NotFound
from homing.model import Device
from homing.store.changes import RemoveDevice, RetirePushToken, SaveDevice, SetPushToken, TouchDevices
from homing.store.dialogue import Dialogue, Table
from homing.store.nouns import to_device
from homing.store.registry.rows import every, lock, one


def _count(recipients: Iterable[int]) -> Dialogue[None]:
    # Locked by a statement of its own: what is counted then is what whoever had the lock before has left.
    ids = sorted(set(recipients))
    yield from lock("lock_recipients", ids)
    yield from every("count_wakeable", ids)


def save_device(change: SaveDevice, now_ms: int) -> Dialogue[Device]:
    """See `SaveDevice`; `Conflict` when the id is another user's, `NotFound` when the user is gone."""
    if (yield from one("user_exists", change.recipient, change.app)) is None:
        raise NotFound("there is no such user")
    row = yield from one(
        "save_device",
        change.id, change.recipient, change.app, change.name, change.platform, change.token_digest, now_ms,
    )  # fmt: skip
    if row is None:
        raise Conflict("this device id belongs to another user")
    return to_device(row)


def set_push_token(change: SetPushToken) -> Dialogue[Device]:
    """See `SetPushToken`; `NotFound` when the device is gone."""
    row = yield from one("set_push_token", change.device, change.platform, change.token, change.environment)
    if row is None:
        raise NotFound("there is no such device")
    device = to_device(row)
    robbed = yield from every("take_push_token", change.device, change.token, change.platform)
    yield from _count([device.recipient, *(recipient for (recipient,) in robbed)])
    return device


def retire_push_token(change: RetirePushToken) -> Dialogue[None]:
    """See `RetirePushToken`."""
    row = yield from one("retire_push_token", change.device, change.token)
    if row is not None:
        yield from _count(row)


def remove_device(change: RemoveDevice) -> Dialogue[None]:
    """See `RemoveDevice`."""
    row = yield from one("drop_device", change.device)
    if row is not None:
        yield from _count(row)


def touch_devices(change: TouchDevices) -> Dialogue[None]:
    """See `TouchDevices`."""
    if change.seen:
        yield from every("touch_devices", Table(change.seen))
