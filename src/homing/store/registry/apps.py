"""What each change of an application, user or token does to the rows, inside the caller's transaction.

Each function returns what its change's docstring promises, or raises a `RequestError` and leaves nothing behind.
"""

from typing import Final

from homing.errors import Conflict, NotFound
from homing.model import App, Token, User
from homing.store.changes import (
    CreateApp,
    CreateToken,
    CreateUser,
    DeleteApp,
    DeleteToken,
    DeleteUser,
    RotateAppSecret,
    UpdateApp,
    UpdateUser,
)
from homing.store.dialogue import Dialogue, Row
from homing.store.nouns import as_json, to_app, to_token, to_user
from homing.store.registry.rows import every, lock, one

_LAST_ID: Final = 2**63 - 1
_DAY_MS: Final = 24 * 3600 * 1000
_OWNED: Final = (
    "drop_app_devices",
    "drop_app_users",
    "drop_app_lanes",
    "drop_app_dead",
    "drop_app_endpoints",
    "drop_app_listeners",
)


def create_app(change: CreateApp, now_ms: int) -> Dialogue[App]:
    """See `CreateApp`."""
    app = change.id
    if app is None:
        highest = (yield from every("highest_app"))[0][0]
        if highest >= _LAST_ID:
            raise Conflict("there is no application id left to assign: choose one")
        app = highest + 1
    row = yield from one(
        "add_app", app, change.name, change.mode, change.ttl_s, as_json(change.fallback), change.app_key, now_ms,
        change.callback_secret,
    )  # fmt: skip
    if row is None:
        raise Conflict(f"there is an application {app} already")
    yield from every("remember_highest_app", app)
    return to_app(row)


def update_app(change: UpdateApp) -> Dialogue[App]:
    """See `UpdateApp`."""
    fallback = as_json(change.fallback)
    return _found((yield from one("set_app", change.id, change.name, change.mode, change.ttl_s, fallback)))


def rotate_app_secret(change: RotateAppSecret) -> Dialogue[App]:
    """See `RotateAppSecret`."""
    return _found((yield from one("rotate_app_secret", change.id, change.secret, change.previous_until_ms)))


def delete_app(change: DeleteApp, now_ms: int) -> Dialogue[None]:
    """See `DeleteApp`."""
    yield from every("cancel_jobs", change.id, None, now_ms)
    if (yield from one("drop_app", change.id)) is None:
        raise NotFound("there is no such application")
    # Locked before their lanes: a batch that is opening more keeps them until it is stored.
    yield from lock("lock_app_endpoints", change.id)
    for name in _OWNED:
        yield from every(name, change.id)


def need_app(app: int) -> Dialogue[None]:
    """Raise `NotFound` where there is no such application; it stays as long as the transaction."""
    if (yield from one("keep_app", app)) is None:
        raise NotFound("there is no such application")


def _found(row: Row | None) -> App:
    if row is None:
        raise NotFound("there is no such application")
    return to_app(row)


def create_user(change: CreateUser, now_ms: int) -> Dialogue[User]:
    """See `CreateUser`."""
    yield from need_app(change.app)
    attributes = None if change.attributes is None else as_json(change.attributes)
    row = yield from one(
        "add_user",
        change.app, change.folded, change.identifier, change.password_hash, change.mobile_number, attributes,
        now_ms,
    )  # fmt: skip
    if row is None:
        raise Conflict("there is a user with this identifier already")
    return to_user(row)


def update_user(change: UpdateUser) -> Dialogue[User]:
    """See `UpdateUser`."""
    attributes = None if change.attributes is None else as_json(change.attributes)
    row = yield from one(
        "set_user", change.app, change.folded, change.password_hash, change.mobile_number, attributes
    )
    if row is None:
        raise NotFound("there is no such user")
    return to_user(row)


def delete_user(change: DeleteUser) -> Dialogue[list[str]]:
    """See `DeleteUser`."""
    row = yield from one("drop_user", change.app, change.folded)
    if row is None:
        raise NotFound("there is no such user")
    return [device for (device,) in (yield from every("drop_user_devices", row[0]))]


def create_token(change: CreateToken, now_ms: int) -> Dialogue[Token]:
    """See `CreateToken`."""
    yield from every("drop_stale_access", now_ms - _DAY_MS)
    apps = None if change.apps is None else as_json(change.apps)
    row = yield from one(
        "add_token", change.id, change.name, change.kind, change.digest, as_json(change.scopes), apps, now_ms,
        change.expires_at_ms,
    )  # fmt: skip
    if row is None:
        raise Conflict("there is a token with this id already")
    return to_token(row)


def delete_token(change: DeleteToken) -> Dialogue[None]:
    """See `DeleteToken`."""
    if (yield from one("drop_token", change.id)) is None:
        raise NotFound("there is no such token")
