"""What each change of an endpoint does to the rows, inside the caller's transaction, and who is told of it.

Each function returns what its change's docstring promises, or raises a `RequestError` and leaves nothing behind.
"""

from typing import Any, Final

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
from homing.store.postgres.operations import tell_operations
from homing.store.postgres.registry_changes import need_app, one
from homing.store.sql import load
from homing.store.sqlite.nouns import Row, as_json, to_endpoint

_SQL: Final = load("postgres", "registry")


def _found(row: Row | None) -> Endpoint:
    if row is None:
        raise NotFound("there is no such endpoint")
    return to_endpoint(row)


async def create_endpoint(connection: Any, change: CreateEndpoint, now_ms: int) -> Endpoint:
    """See `CreateEndpoint`."""
    await need_app(connection, change.app)
    row = await one(
        connection, "add_endpoint",
        change.uid, change.app, change.kind, change.url, change.form, change.statuses, change.precision,
        change.description, change.secret, now_ms, as_json(change.options), change.credentials, change.paused,
        change.options.ordered,
    )  # fmt: skip
    if row is None:
        raise Conflict("there is an endpoint with this id already")
    return to_endpoint(row)


async def update_endpoint(connection: Any, change: UpdateEndpoint) -> Endpoint:
    """See `UpdateEndpoint`."""
    return _found(await one(
        connection, "set_endpoint",
        change.app, change.uid, change.url, change.form, change.statuses, change.precision, change.description,
        as_json(change.options), change.credentials, change.paused, change.options.ordered,
    ))  # fmt: skip


async def rotate_secret(connection: Any, change: RotateEndpointSecret) -> Endpoint:
    """See `RotateEndpointSecret`."""
    return _found(
        await one(
            connection, "rotate_secret", change.app, change.uid, change.secret, change.previous_until_ms
        )
    )


async def enable_endpoint(connection: Any, change: EnableEndpoint) -> Endpoint:
    """See `EnableEndpoint`."""
    return _found(await one(connection, "enable_endpoint", change.app, change.uid))


async def set_health(connection: Any, change: SetEndpointHealth, now_ms: int) -> Endpoint | None:
    """See `SetEndpointHealth`."""
    row = await one(connection, "set_health", change.id, change.state, change.reason, change.failing_since_ms)
    if row is None:
        row = await one(connection, "endpoint_by_id", change.id)
        same = None if row is None else to_endpoint(row)
        return same if same is not None and same.state == change.state else None
    endpoint = to_endpoint(row)
    if change.state == "resting":
        await tell_operations(
            connection, endpoint.app, "endpoint.resting", endpoint.uid, change.reason or "", now_ms
        )
    return endpoint


async def disable_endpoint(connection: Any, change: DisableEndpoint, now_ms: int) -> Endpoint | None:
    """See `DisableEndpoint`."""
    before = await one(connection, "lock_endpoint", change.id)
    row = await one(connection, "disable_endpoint", change.id, change.reason, now_ms)
    if row is None or before is None:
        return None
    endpoint = to_endpoint(row)
    if to_endpoint(before).state != "disabled":
        await tell_operations(
            connection, endpoint.app, "endpoint.disabled", endpoint.uid, change.reason, now_ms
        )
    return endpoint


async def open_notify(connection: Any, change: OpenNotify, now_ms: int) -> Endpoint:
    """See `OpenNotify`."""
    await need_app(connection, change.app)
    uid = str(uuid_utils.uuid7())
    await connection.execute(_SQL["add_notify"], uid, change.app, change.origin, now_ms)
    await connection.execute(_SQL["enable_notify"], change.app, change.origin)
    return _found(await one(connection, "notify", change.app, change.origin))


async def end_notify(connection: Any, change: EndNotify) -> None:
    """See `EndNotify`."""
    message = change.message_id
    last = dispatch_key(message, INCOMING_POSITION)
    await connection.execute(_SQL["end_notify"], dispatch_key(message, 0), last)


async def delete_endpoint(connection: Any, change: DeleteEndpoint, now_ms: int) -> Endpoint:
    """See `DeleteEndpoint`."""
    endpoint = _found(await one(connection, "drop_endpoint", change.app, change.uid))
    await connection.execute(_SQL["drop_endpoint_lanes"], endpoint.id)
    await connection.execute(_SQL["drop_endpoint_dead"], endpoint.id)
    await connection.execute(_SQL["cancel_jobs"], endpoint.app, endpoint.id, now_ms)
    return endpoint


async def touch_endpoints(connection: Any, change: TouchEndpoints) -> None:
    """See `TouchEndpoints`."""
    if change.succeeded:
        await connection.execute(_SQL["touch_endpoints"], *map(list, zip(*change.succeeded, strict=True)))
