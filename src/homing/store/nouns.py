"""Rows as the nouns they are, decoded by position: the columns' order is that of ``registry.sql``."""

from typing import Final

import msgspec

from homing.model import (
    App,
    Device,
    Endpoint,
    EndpointOptions,
    FallbackSettings,
    Job,
    Listener,
    ReplaySpec,
    Token,
    User,
)
from homing.store.dialogue import Row

_fallback: Final = msgspec.json.Decoder(FallbackSettings).decode
_attributes: Final = msgspec.json.Decoder(dict[str, object]).decode
_scopes: Final = msgspec.json.Decoder(tuple[str, ...]).decode
_options: Final = msgspec.json.Decoder(EndpointOptions).decode
_spec: Final = msgspec.json.Decoder(ReplaySpec).decode
_apps: Final = msgspec.json.Decoder(tuple[int, ...]).decode
_reach: Final = msgspec.json.Decoder(tuple[int, ...] | None).decode


def to_app(row: Row) -> App:
    """Return the columns of ``app``, which are in the struct's order, as an `App`."""
    return App(row[0], row[1], row[2], row[3], _fallback(row[4]), *row[5:])


def to_user(row: Row) -> User:
    """Return id, app, identifier, mobile_number, attributes, created_at as a `User`."""
    return User(row[0], row[1], row[2], row[3], None if row[4] is None else _attributes(row[4]), row[5])


def to_endpoint(row: Row) -> Endpoint:
    """Return the columns of ``endpoint``, which are in the struct's order, as an `Endpoint`."""
    values = [*row]
    values[14], values[16] = _options(row[14]), bool(row[16])
    return Endpoint(*values)


def to_job(row: Row) -> Job:
    """Return the columns of ``job``, but for its cursor, in the struct's order, as a `Job`."""
    values = [*row]
    values[5], values[11] = _spec(row[5]), bool(row[11])
    return Job(*values)


def to_listener(row: Row) -> Listener:
    """Return the columns of ``listener``, which are in the struct's order, as a `Listener`."""
    return Listener(_reach(row[0]), row[1], None if row[2] is None else _apps(row[2]), *row[3:])


def to_token(row: Row) -> Token:
    """Return id, name, kind, digest, scopes, apps, created_at, expires_at as a `Token`."""
    apps = None if row[5] is None else _apps(row[5])
    return Token(row[0], row[1], row[2], row[3], _scopes(row[4]), apps, row[6], row[7])


def to_device(row: Row) -> Device:
    """Return the columns of ``device``, the user's identifier after ``app``, as a `Device`."""
    return Device(*row)


def as_json(value: object) -> str:
    """Return a value as the JSON text of a column or of a statement's list."""
    return msgspec.json.encode(value).decode()
