"""What each change of an endpoint does to the rows, inside the caller's transaction, and who is told of it.

Each function returns what its change's docstring promises, or raises a `RequestError` and leaves nothing behind.
"""

from typing import Final

import apsw
import uuid_utils

from homing.errors import Conflict, NotFound
from homing.model import INCOMING_POSITION, Endpoint, dispatch_key
from homing.store.changes import (
    CreateEndpoint,
    DeleteEndpoint,
    DisableEndpoint,
    EnableEndpoint,
    EndNotify,
    OpenNotify,
    RotateEndpointSecret,
    SetEndpointHealth,
    TouchEndpoints,
    UpdateEndpoint,
)
from homing.store.sql import load
from homing.store.sqlite.nouns import Row, as_json, to_endpoint
from homing.store.sqlite.operations import tell_operations
from homing.store.sqlite.registry_changes import need_app, one

_SQL: Final = load("sqlite", "registry")


def _found(row: Row | None) -> Endpoint:
    if row is None:
        raise NotFound("there is no such endpoint")
    return to_endpoint(row)


def create_endpoint(connection: apsw.Connection, change: CreateEndpoint, now_ms: int) -> Endpoint:
    """See `CreateEndpoint`."""
    need_app(connection, change.app)
    row = one(
        connection, "add_endpoint",
        change.uid, change.app, change.kind, change.url, change.form, change.statuses, change.precision,
        change.description, change.secret, now_ms, as_json(change.options), change.credentials, change.paused,
    )  # fmt: skip
    if row is None:
        raise Conflict("there is an endpoint with this id already")
    return to_endpoint(row)


def update_endpoint(connection: apsw.Connection, change: UpdateEndpoint) -> Endpoint:
    """See `UpdateEndpoint`."""
    return _found(one(
        connection, "set_endpoint",
        change.app, change.uid, change.url, change.form, change.statuses, change.precision, change.description,
        as_json(change.options), change.credentials, change.paused,
    ))  # fmt: skip


def rotate_secret(connection: apsw.Connection, change: RotateEndpointSecret) -> Endpoint:
    """See `RotateEndpointSecret`."""
    return _found(
        one(connection, "rotate_secret", change.app, change.uid, change.secret, change.previous_until_ms)
    )


def enable_endpoint(connection: apsw.Connection, change: EnableEndpoint) -> Endpoint:
    """See `EnableEndpoint`."""
    return _found(one(connection, "enable_endpoint", change.app, change.uid))


def set_health(connection: apsw.Connection, change: SetEndpointHealth, now_ms: int) -> Endpoint | None:
    """See `SetEndpointHealth`."""
    row = one(connection, "set_health", change.id, change.state, change.reason, change.failing_since_ms)
    if row is None:
        row = one(connection, "endpoint_by_id", change.id)
        same = None if row is None else to_endpoint(row)
        return same if same is not None and same.state == change.state else None
    endpoint = to_endpoint(row)
    if change.state == "resting":
        tell_operations(
            connection, endpoint.app, "endpoint.resting", endpoint.uid, change.reason or "", now_ms
        )
    return endpoint


def disable_endpoint(connection: apsw.Connection, change: DisableEndpoint, now_ms: int) -> Endpoint | None:
    """See `DisableEndpoint`."""
    before = one(connection, "endpoint_by_id", change.id)
    row = one(connection, "disable_endpoint", change.id, change.reason, now_ms)
    if row is None or before is None:
        return None
    endpoint = to_endpoint(row)
    if to_endpoint(before).state != "disabled":
        tell_operations(connection, endpoint.app, "endpoint.disabled", endpoint.uid, change.reason, now_ms)
    return endpoint


def open_notify(connection: apsw.Connection, change: OpenNotify, now_ms: int) -> Endpoint:
    """See `OpenNotify`."""
    need_app(connection, change.app)
    uid = str(uuid_utils.uuid7())
    connection.execute(_SQL["add_notify"], (uid, change.app, change.origin, now_ms))
    connection.execute(_SQL["enable_notify"], (change.app, change.origin))
    return _found(one(connection, "notify", change.app, change.origin))


def end_notify(connection: apsw.Connection, change: EndNotify) -> None:
    """See `EndNotify`."""
    message = change.message_id
    last = dispatch_key(message, INCOMING_POSITION)
    connection.execute(_SQL["end_notify"], (dispatch_key(message, 0), last))


def delete_endpoint(connection: apsw.Connection, change: DeleteEndpoint, now_ms: int) -> Endpoint:
    """See `DeleteEndpoint`."""
    endpoint = _found(one(connection, "drop_endpoint", change.app, change.uid))
    connection.execute(_SQL["drop_endpoint_lanes"], (endpoint.id,))
    connection.execute(_SQL["drop_endpoint_dead"], (endpoint.id,))
    connection.execute(_SQL["cancel_jobs"], (endpoint.app, endpoint.id, now_ms))
    return endpoint


def touch_endpoints(connection: apsw.Connection, change: TouchEndpoints) -> None:
    """See `TouchEndpoints`."""
    connection.execute(_SQL["touch_endpoints"], (as_json(change.succeeded),))
