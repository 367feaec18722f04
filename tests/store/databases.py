"""Fresh databases on a PostgreSQL, by default the one that HOMING_TEST_POSTGRES names: each a copy of one with the tables made."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import uvloop
from tests.store.fakes import StillClock

from homing.store.postgres import PostgresStore

_server = [os.environ.get("HOMING_TEST_POSTGRES", "")]
"""The address of a server on which this user may create databases."""
_serial = itertools.count(1)
_templates: list[str] = []


def is_named() -> bool:
    """Say whether there is a server to make databases on."""
    return bool(_server[0])


def use(address: str) -> None:
    """Make databases on this server from now on."""
    _server[0] = address


def address(database: str) -> str:
    """Return the address of a database on the tests' server."""
    return urlunsplit(urlsplit(_server[0])._replace(path=f"/{database}"))


async def administer(*statements: str) -> None:
    """Run statements that concern databases themselves."""
    connection = await asyncpg.connect(_server[0])
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _template() -> str:
    if not _templates:
        name = f"homing_template_{os.getpid()}"

        async def make() -> None:
            await administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
            store = await PostgresStore.open(address(name), clock=StillClock(), beats=False)
            await store.close()

        uvloop.run(make())
        _templates.append(name)
    return _templates[0]


def drop_template() -> None:
    """Leave nothing behind."""
    while _templates:
        uvloop.run(administer(f"DROP DATABASE IF EXISTS {_templates.pop()} WITH (FORCE)"))


@contextmanager
def fresh_database() -> Iterator[str]:
    """Yield the address of a database that nobody else has, and drop it afterwards."""
    template, name = _template(), f"homing_test_{os.getpid()}_{next(_serial)}"
    uvloop.run(administer(f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield address(name)
    finally:
        uvloop.run(administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
