"""What each change of an application, user or token does to the rows, inside the caller's transaction.

Each function returns what its change's docstring promises, or raises a `RequestError` and leaves nothing behind.
"""

from typing import Any, Final

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
from homing.store.sql import load
from homing.store.sqlite.nouns import Row, as_json, to_app, to_token, to_user

_SQL: Final = load("postgres", "registry")
_LAST_ID: Final = 2**63 - 1
_DAY_MS: Final = 24 * 3600 * 1000


async def one(connection: Any, name: str, *values: object) -> Row | None:
    """Run a statement of the registry to its end and return its only row, if it has one."""
    rows = await connection.fetch(_SQL[name], *values)
    return rows[0] if rows else None


async def create_app(connection: Any, change: CreateApp, now_ms: int) -> App:
    """See `CreateApp`."""
    app = change.id
    if app is None:
        highest = await connection.fetchval(_SQL["highest_app"])
        if highest >= _LAST_ID:
            raise Conflict("there is no application id left to assign: choose one")
        app = highest + 1
    row = await one(
        connection, "add_app",
        app, change.name, change.mode, change.ttl_s, as_json(change.fallback), change.app_key, now_ms,
        change.callback_secret,
    )  # fmt: skip
    if row is None:
        raise Conflict(f"there is an application {app} already")
    await connection.execute(_SQL["remember_highest_app"], app)
    return to_app(row)


async def update_app(connection: Any, change: UpdateApp) -> App:
    """See `UpdateApp`."""
    row = await one(
        connection, "set_app", change.id, change.name, change.mode, change.ttl_s, as_json(change.fallback)
    )
    if row is None:
        raise NotFound("there is no such application")
    return to_app(row)


async def rotate_app_secret(connection: Any, change: RotateAppSecret) -> App:
    """See `RotateAppSecret`."""
    row = await one(connection, "rotate_app_secret", change.id, change.secret, change.previous_until_ms)
    if row is None:
        raise NotFound("there is no such application")
    return to_app(row)


async def delete_app(connection: Any, change: DeleteApp, now_ms: int) -> None:
    """See `DeleteApp`."""
    await connection.execute(_SQL["cancel_jobs"], change.id, None, now_ms)
    if await one(connection, "drop_app", change.id) is None:
        raise NotFound("there is no such application")
    # Locked before their lanes: a batch that is opening more keeps them until it is stored.
    await connection.execute(_SQL["lock_app_endpoints"], change.id)
    for name in (
        "drop_app_devices",
        "drop_app_users",
        "drop_app_lanes",
        "drop_app_dead",
        "drop_app_endpoints",
        "drop_app_listeners",
    ):
        await connection.execute(_SQL[name], change.id)


async def need_app(connection: Any, app: int) -> None:
    """Raise `NotFound` where there is no such application."""
    if await one(connection, "keep_app", app) is None:
        raise NotFound("there is no such application")


async def create_user(connection: Any, change: CreateUser, now_ms: int) -> User:
    """See `CreateUser`."""
    await need_app(connection, change.app)
    attributes = None if change.attributes is None else as_json(change.attributes)
    row = await one(
        connection, "add_user",
        change.app, change.folded, change.identifier, change.password_hash, change.mobile_number, attributes,
        now_ms,
    )  # fmt: skip
    if row is None:
        raise Conflict("there is a user with this identifier already")
    return to_user(row)


async def update_user(connection: Any, change: UpdateUser) -> User:
    """See `UpdateUser`."""
    attributes = None if change.attributes is None else as_json(change.attributes)
    row = await one(
        connection, "set_user",
        change.app, change.folded, change.password_hash, change.mobile_number, attributes,
    )  # fmt: skip
    if row is None:
        raise NotFound("there is no such user")
    return to_user(row)


async def delete_user(connection: Any, change: DeleteUser) -> list[str]:
    """See `DeleteUser`."""
    row = await one(connection, "drop_user", change.app, change.folded)
    if row is None:
        raise NotFound("there is no such user")
    return [device for (device,) in await connection.fetch(_SQL["drop_user_devices"], row[0])]


async def create_token(connection: Any, change: CreateToken, now_ms: int) -> Token:
    """See `CreateToken`."""
    await connection.execute(_SQL["drop_stale_access"], now_ms - _DAY_MS)
    apps = None if change.apps is None else as_json(change.apps)
    row = await one(
        connection, "add_token",
        change.id, change.name, change.kind, change.digest, as_json(change.scopes), apps, now_ms,
        change.expires_at_ms,
    )  # fmt: skip
    if row is None:
        raise Conflict("there is a token with this id already")
    return to_token(row)


async def delete_token(connection: Any, change: DeleteToken) -> None:
    """See `DeleteToken`."""
    if await one(connection, "drop_token", change.id) is None:
        raise NotFound("there is no such token")
