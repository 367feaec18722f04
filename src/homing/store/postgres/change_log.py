"""Changes of configuration as rows that other nodes read: packed with their kind's name, unpacked to the same structs."""

from typing import Any, Final, get_args

import msgspec

from homing.model import App, Device, Endpoint, Job, Token, User
from homing.store import changes
from homing.store.changes import (
    Change,
    CreateUser,
    DeleteListener,
    MoveListener,
    OpenListener,
    TouchDevices,
    TouchEndpoints,
    UpdateUser,
)

_KINDS: Final[dict[str, Any]] = {kind.__name__: kind for kind in get_args(Change)}
_VALUES: Final[dict[type, Any]] = {
    changes.CreateApp: App,
    changes.UpdateApp: App,
    changes.RotateAppSecret: App,
    changes.CreateUser: User,
    changes.UpdateUser: User,
    changes.DeleteUser: list[str],
    changes.CreateEndpoint: Endpoint,
    changes.UpdateEndpoint: Endpoint,
    changes.DeleteEndpoint: Endpoint,
    changes.RotateEndpointSecret: Endpoint,
    changes.EnableEndpoint: Endpoint,
    changes.OpenNotify: Endpoint,
    changes.SetEndpointHealth: Endpoint | None,
    changes.DisableEndpoint: Endpoint | None,
    changes.CreateJob: Job,
    changes.UpdateJob: Job,
    changes.CreateToken: Token,
    changes.SaveDevice: Device,
    changes.SetPushToken: Device,
}
"""What each change comes to; any other comes to None."""
_QUIET: Final = (TouchDevices, TouchEndpoints, OpenListener, MoveListener, DeleteListener)
"""What happens all the time, or is read from its row each time, and concerns nobody else."""
_encode: Final = msgspec.msgpack.Encoder().encode


def is_told(change: Change) -> bool:
    """Say whether other nodes must hear of a change."""
    return not isinstance(change, _QUIET)


def pack(change: Change, value: object) -> tuple[str, bytes, bytes]:
    """Return (kind, change, value) as a row keeps them; a password's hash is nobody's business."""
    if isinstance(change, CreateUser | UpdateUser):
        change = msgspec.structs.replace(change, password_hash="")
    return type(change).__name__, _encode(change), _encode(value)


def unpack(kind: str, change: bytes, value: bytes) -> tuple[Change, object] | None:
    """Return a row's change and value; None for a kind that only a newer node knows."""
    found = _KINDS.get(kind)
    if found is None:
        return None
    return msgspec.msgpack.decode(change, type=found), msgspec.msgpack.decode(
        value, type=_VALUES.get(found, None)
    )
