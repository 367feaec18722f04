"""A database seen from beside: what `homing check` asks of a PostgreSQL, whether nodes run on it or not.

It joins no pool, takes no term, writes nothing, and asks for none of the settings that a node's sessions ask for. No
error of it holds an address: there may be a password in it.
"""

import time
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import msgspec

from homing.config.address import UNREADABLE, is_readable
from homing.errors import Unavailable
from homing.model import Endpoint
from homing.store.nouns import to_endpoint
from homing.store.postgres.dial import LOST
from homing.store.sql import load

_SQL: Final = load("postgres", "onlooker")
_META: Final = load("postgres", "meta")
_CLAIMS: Final = load("postgres", "claims")
_REGISTRY: Final = load("postgres", "registry")
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 10.0
_LOOKS: Final = 3
"""How often it is looked whether two sessions are given one and the same process."""


class Owes(msgspec.Struct, frozen=True):
    """An endpoint, when the first of its callbacks that wait in the store falls due, and how many were given up."""

    endpoint: Endpoint
    first_due_ms: int | None
    dead: int


class Sight(msgspec.Struct, frozen=True):
    """What was seen. Of a store that is not there or not of ``schema`` asked for, only what every database has."""

    settings: dict[str, str]
    user: str
    is_superuser: bool
    sees_all: bool
    """Whether this role sees everybody's sessions and standbys."""
    role_limit: int
    database_limit: int
    may_create: bool
    is_standby: bool
    foreign_owner: str | None
    """Whose the store's tables are, where that is neither this role nor one whose rights it has."""
    ahead_s: float
    """How far the database's clock is ahead of this machine's."""
    standbys: int
    synchronous: int
    hidden: int
    """How many of the standbys show nothing of themselves to this role."""
    sessions: int
    strangers: tuple[str, ...]
    """Other roles under which Homing is connected to this database."""
    is_pooled: bool
    """Somebody stands between: the process that answers is not the one that said hello."""
    is_shared: bool
    """One process answers several sessions in turn."""
    schema: int | None
    key_id: str
    nodes: int
    newest_ms: int | None
    endpoints: tuple[Owes, ...]


async def see(dsn: str, schema: int, most_dead: int) -> Sight:
    """Look at the database of an address; raises `Unavailable` in words for its operator."""
    if not is_readable(dsn):
        raise Unavailable(UNREADABLE)
    try:
        one = await _connect(dsn)
        try:
            return await _see(one, dsn, schema, most_dead)
        finally:
            one.terminate()
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        raise Unavailable(UNREADABLE) from error
    except TimeoutError as error:
        raise Unavailable("no answer in time") from error
    except asyncpg.TargetServerAttributeNotMatched as error:
        raise Unavailable("none of its servers takes writes") from error
    except LOST as error:
        raise Unavailable(_words(error)) from error


async def _connect(dsn: str) -> Any:
    # Of several servers, the one that a node would use. No statement is prepared by name: behind a pooler it might be
    # looked for where it is not.
    which = {"target_session_attrs": "read-write"} if "," in urlsplit(dsn).netloc else {}
    return await asyncpg.connect(
        dsn, timeout=_CONNECT_S, command_timeout=_ANSWER_S, statement_cache_size=0, **which
    )


async def _see(one: Any, dsn: str, schema: int, most_dead: int) -> Sight:
    is_pooled = one.get_server_pid() != await _backend(one)
    is_shared = is_pooled and await _is_shared(one, dsn)
    async with one.transaction(readonly=True):
        settings = dict(map(tuple, await one.fetch(_SQL["settings"])))
        user, is_superuser, sees_all, *limits, may_create, is_standby, has_meta, owner = await one.fetchrow(
            _SQL["role"]
        )
        asked_s = time.time()
        there_s = await one.fetchval(_SQL["clock"])
        ahead_s = there_s - (asked_s + time.time()) / 2
        standbys = await one.fetchrow(_SQL["standbys"])
        sessions, strangers = await one.fetchrow(_SQL["sessions"])
        found = await one.fetchval(_META["number"], "schema") if has_meta else None
        is_known = found == schema
        return Sight(
            settings=settings, user=user, is_superuser=is_superuser, sees_all=sees_all, role_limit=limits[0],
            database_limit=limits[1], may_create=may_create, is_standby=is_standby, foreign_owner=owner,
            ahead_s=ahead_s, standbys=standbys[0], synchronous=standbys[1], hidden=standbys[2],
            sessions=sessions, strangers=tuple(strangers or ()), is_pooled=is_pooled, is_shared=is_shared,
            schema=found,
            key_id=await one.fetchval(_META["words"], "key_id") or "" if has_meta else "",
            nodes=await one.fetchval(_SQL["nodes"]) if is_known else 0,
            newest_ms=await one.fetchval(_SQL["newest"]) if is_known else None,
            endpoints=await _endpoints(one, most_dead) if is_known else (),
        )  # fmt: skip


async def _endpoints(one: Any, most_dead: int) -> tuple[Owes, ...]:
    found = [to_endpoint(row) for row in await one.fetch(_REGISTRY["endpoints"])]
    return tuple([
        Owes(
            endpoint,
            await one.fetchval(_CLAIMS["next_lane"], endpoint.id),
            await one.fetchval(_SQL["dead_count"], endpoint.id, most_dead),
        )
        for endpoint in found
    ])  # fmt: skip


async def _backend(connection: Any) -> int:
    async with connection.transaction():
        return int(await connection.fetchval(_SQL["backend"]))


async def _is_shared(one: Any, dsn: str) -> bool:
    """Say whether a process that has answered one session answers another while the first is still there."""
    other = await _connect(dsn)
    try:
        seen = [(await _backend(one), await _backend(other)) for _ in range(_LOOKS)]
    finally:
        other.terminate()
    ones, others = zip(*seen, strict=True)
    return len({*ones}) > 1 or len({*others}) > 1 or bool({*ones} & {*others})


def _words(error: Exception) -> str:
    """Return what a server said, in one line; what the machine said, without Python's numbers."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__
