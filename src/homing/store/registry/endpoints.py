"""What each change of an endpoint does to the rows, inside the caller's transaction, and who is told of it.

Each function returns what its change's docstring promises, or raises a `RequestError` and leaves nothing behind.
"""

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
from homing.store.dialogue import Dialogue, Row, Table
from homing.store.nouns import as_json, to_endpoint
from homing.store.operations import tell_operations
from homing.store.registry.apps import need_app
from homing.store.registry.rows import every, one


def _found(row: Row | None) -> Endpoint:
    if row is None:
        raise NotFound("there is no such endpoint")
    return to_endpoint(row)


def create_endpoint(change: CreateEndpoint, now_ms: int) -> Dialogue[Endpoint]:
    """See `CreateEndpoint`."""
    yield from need_app(change.app)
    row = yield from one(
        "add_endpoint",
        change.uid, change.app, change.kind, change.url, change.form, change.statuses, change.precision,
        change.description, change.secret, now_ms, as_json(change.options), change.credentials, change.paused,
    )  # fmt: skip
    if row is None:
        raise Conflict("there is an endpoint with this id already")
    return to_endpoint(row)


def update_endpoint(change: UpdateEndpoint) -> Dialogue[Endpoint]:
    """See `UpdateEndpoint`."""
    row = yield from one(
        "set_endpoint",
        change.app, change.uid, change.url, change.form, change.statuses, change.precision, change.description,
        as_json(change.options), change.credentials, change.paused,
    )  # fmt: skip
    return _found(row)


def rotate_secret(change: RotateEndpointSecret) -> Dialogue[Endpoint]:
    """See `RotateEndpointSecret`."""
    until_ms = change.previous_until_ms
    return _found((yield from one("rotate_secret", change.app, change.uid, change.secret, until_ms)))


def enable_endpoint(change: EnableEndpoint) -> Dialogue[Endpoint]:
    """See `EnableEndpoint`."""
    return _found((yield from one("enable_endpoint", change.app, change.uid)))


def set_health(change: SetEndpointHealth, now_ms: int) -> Dialogue[Endpoint | None]:
    """See `SetEndpointHealth`."""
    row = yield from one("set_health", change.id, change.state, change.reason, change.failing_since_ms)
    if row is None:
        row = yield from one("endpoint_by_id", change.id)
        same = None if row is None else to_endpoint(row)
        return same if same is not None and same.state == change.state else None
    endpoint = to_endpoint(row)
    if change.state == "resting":
        reason = change.reason or ""
        yield from tell_operations(endpoint.app, "endpoint.resting", endpoint.uid, reason, now_ms)
    return endpoint


def disable_endpoint(change: DisableEndpoint, now_ms: int) -> Dialogue[Endpoint | None]:
    """See `DisableEndpoint`."""
    before = yield from one("lock_endpoint", change.id)
    row = yield from one("disable_endpoint", change.id, change.reason, now_ms)
    if row is None or before is None:
        return None
    endpoint = to_endpoint(row)
    if to_endpoint(before).state != "disabled":
        yield from tell_operations(endpoint.app, "endpoint.disabled", endpoint.uid, change.reason, now_ms)
    return endpoint


def open_notify(change: OpenNotify, now_ms: int) -> Dialogue[Endpoint]:
    """See `OpenNotify`."""
    yield from need_app(change.app)
    uid = str(uuid_utils.uuid7())
    yield from every("add_notify", uid, change.app, change.origin, now_ms)
    yield from every("enable_notify", change.app, change.origin)
    return _found((yield from one("notify", change.app, change.origin)))


def end_notify(change: EndNotify) -> Dialogue[None]:
    """See `EndNotify`."""
    message = change.message_id
    yield from every("end_notify", dispatch_key(message, 0), dispatch_key(message, INCOMING_POSITION))


def delete_endpoint(change: DeleteEndpoint, now_ms: int) -> Dialogue[Endpoint]:
    """See `DeleteEndpoint`."""
    endpoint = _found((yield from one("drop_endpoint", change.app, change.uid)))
    yield from every("drop_endpoint_lanes", endpoint.id)
    yield from every("drop_endpoint_dead", endpoint.id)
    yield from every("cancel_jobs", endpoint.app, endpoint.id, now_ms)
    return endpoint


def touch_endpoints(change: TouchEndpoints) -> Dialogue[None]:
    """See `TouchEndpoints`."""
    if change.succeeded:
        yield from every("touch_endpoints", Table(change.succeeded))
