"""Stores with a past: millions of messages in the product's own rows, faster than the product could write them.

One message is taken through its life by the product; its rows are the stencil of all the others. Only what makes a
message another one is replaced: id, references, recipient, positions. Every index is kept while the rows come, so that
its pages are as full as the product would leave them. Syncs are off meanwhile; the file is synced before anything is
measured.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from bench.subject import USERS, add_endpoint, add_user, fill, message, settings_in, sync, unsynced
from homing.clock import RealClock
from homing.lifecycle.dispatch import Read, Received
from homing.model import DispatchKey, EndpointOptions, dispatch_key
from homing.store.batch import Attempt, Batch, Occurrence, Settle, Verdict
from homing.store.changes import CreateApp
from homing.store.port import Store

BYTES_PER_MESSAGE = 900
"""What a whole life takes in the file, indexes included, with some to spare."""
_SICK = 100
"""Endpoints that the pending retries are of."""
_CHUNK = 100_000
_DAYS = 14
"""Over which the messages came, as their ids have it."""
_TABLES = ("message", "dispatch", "event", "settled", "attempt", "timer", "lane")
_ANOTHER = {
    "message.id": "new.id",
    "message.ref": "'ref' || new.n",
    "key": "new.key",
    "endpoint": "t.endpoint + new.n % :endpoints",
    "dispatch.recipient": "t.recipient + new.n % :users",
    "dispatch.identifier": "'user' || (new.n % :users)",
    "dispatch.seq": "t.seq + 1 + new.n / :users",
    "dispatch.message_ref": "'ref' || new.n",
    "event.position": ":position + new.n * :events + t.n",
    "attempt.id": "NULL",
}
_LATER = {"lane.due": ":now + 7200000 + new.n % 3600000"}
_LEFT = {
    "lane.due": "CASE WHEN new.n % 10 < 3 THEN :now - new.n % 1000 END",
    "lane.owner": "CASE WHEN new.n % 10 < 3 THEN 0 ELSE t.owner END",
}


class Stencil(NamedTuple):
    """The dispatch to copy, how often, over how many endpoints from its own on, and what else is replaced."""

    key: DispatchKey
    copies: int
    endpoints: int
    replaced: Mapping[str, str]


async def grown(data: Path, lives: int, retries: int) -> None:
    """Fill a store with messages that were read, and with as many as are to be tried again in some hours."""
    settings = settings_in(data)
    await fill(settings, ["http://127.0.0.1:18480/told"], wakeable=False)
    async with unsynced(settings) as (vault, store):
        told = await _life(store)
        await store.apply(CreateApp(name="elsewhere", app_key="elsewhere", id=2))
        for number in range(USERS):
            await add_user(store, 2, f"user{number}")
        for number in range(_SICK):
            await add_endpoint(store, vault, 2, f"http://127.0.0.1:18480/{number}", EndpointOptions())
        failed = await _failed(store)
    stencils = (Stencil(told, lives, 1, {}), Stencil(failed, retries, _SICK, _LATER))
    await asyncio.to_thread(_copy, settings.store.path(), stencils)


async def left_behind(data: Path, urls: list[str], lanes: int) -> None:
    """Fill a store with lanes that a process held when it ended, and three in ten that were due already."""
    settings = settings_in(data)
    await fill(settings, urls, wakeable=False)
    accept = message(0)
    async with unsynced(settings) as (_, store):
        await store.commit(Batch(accepts=[accept]))
    stencil = Stencil(dispatch_key(accept.message_id, 0), lanes, len(urls), _LEFT)
    await asyncio.to_thread(_copy, settings.store.path(), [stencil])


def clear(data: Path) -> None:
    """Take away what a part left in a grown store: endpoints of the first application, what they are owed, phones."""
    connection = apsw.Connection(settings_in(data).store.path())
    for statement in (
        "DELETE FROM lane WHERE endpoint IN (SELECT id FROM endpoint WHERE app = 1)",
        "DELETE FROM endpoint WHERE app = 1",
        "DELETE FROM command",
        "DELETE FROM device",
        "UPDATE recipient SET wakeable = 0 WHERE wakeable > 0",
    ):
        connection.execute(statement)
    connection.close()


async def _life(store: Store) -> DispatchKey:
    """One message that is read, with every event told."""
    accept = message(0)
    key = dispatch_key(accept.message_id, 0)
    endpoint = (await store.endpoints(1))[0].id
    at_ms = RealClock().now_ms()
    await store.commit(Batch(accepts=[accept]))
    await store.commit(Batch(occurrences=[Occurrence(key, Received()), Occurrence(key, Read())]))
    for n in (1, 2, 3):
        attempt = Attempt(at_ms, 12, 204, None, "127.0.0.1")
        await store.commit(Batch(settles=[Settle(key, endpoint, n, 0, Verdict.DONE, attempt)]))
    return key


async def _failed(store: Store) -> DispatchKey:
    """One message whose first callback failed."""
    accept = msgspec.structs.replace(message(0), app=2)
    key = dispatch_key(accept.message_id, 0)
    endpoint = (await store.endpoints(2))[0].id
    at_ms = RealClock().now_ms()
    await store.commit(Batch(accepts=[accept]))
    attempt = Attempt(at_ms, 12, 503, "5xx", "127.0.0.1", b"Service Unavailable")
    retry = Settle(key, endpoint, 1, 0, Verdict.RETRY, attempt, retry_at_ms=at_ms + 7_200_000)
    await store.commit(Batch(settles=[retry]))
    return key


def _copy(path: str, stencils: Sequence[Stencil]) -> None:
    connection = apsw.Connection(path)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-1048576"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("PRAGMA temp_store=MEMORY")
    total = sum(stencil.copies for stencil in stencils)
    connection.execute("CREATE TEMP TABLE new(n INTEGER PRIMARY KEY, id BLOB, key BLOB)")
    apart_ms = max(1, _DAYS * 86_400_000 // total)
    first_ms = int(time.time() * 1000) - 60_000 - total * apart_ms
    before = 0
    for stencil in stencils:
        _multiply(connection, stencil, first_ms + before * apart_ms, apart_ms)
        before += stencil.copies
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    sync(Path(path))


def _multiply(connection: apsw.Connection, stencil: Stencil, first_ms: int, apart_ms: int) -> None:
    position, events = connection.execute(
        "SELECT max(position), (SELECT max(n) FROM event WHERE key = ?) FROM event", (stencil.key,)
    ).fetchall()[0]
    given = {
        "users": USERS, "endpoints": stencil.endpoints, "position": position, "events": events,
        "now": int(time.time() * 1000),
    }  # fmt: skip
    statements = [_statement(connection, table, stencil) for table in _TABLES]
    for start in range(0, stencil.copies, _CHUNK):
        size = min(_CHUNK, stencil.copies - start)
        connection.execute("BEGIN")
        connection.execute("DELETE FROM new")
        connection.execute(_NEW, (start, start + size - 1, first_ms, apart_ms))
        connection.execute("UPDATE new SET key = CAST(id || x'0000' AS BLOB)")
        for statement in statements:
            connection.execute(statement, {name: given[name] for name in given if f":{name}" in statement})
        connection.execute("COMMIT")
    for table in _TABLES:
        connection.execute(f"DROP TABLE temp.t_{table}")
    connection.execute("UPDATE meta SET value = (SELECT max(position) FROM event) WHERE name = 'position'")
    connection.execute(
        "UPDATE recipient SET seq = seq + ?2 WHERE app = (SELECT app FROM dispatch WHERE key = ?1)",
        (stencil.key, stencil.copies // USERS + 2),
    )


_NEW = """
WITH RECURSIVE numbers(n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?2)
INSERT INTO new(n, id) SELECT n, unhex(printf('%012x70008%015x', ?3 + n * ?4, n)) FROM numbers
"""


def _statement(connection: apsw.Connection, table: str, stencil: Stencil) -> str:
    """Keep the stencil's rows aside, and return what writes them once more for every ``new``."""
    key = "id" if table == "message" else "key"
    value = stencil.key[:16] if table == "message" else stencil.key
    endpoint = ""
    if table in {"settled", "attempt", "lane"}:
        endpoint = f" AND endpoint = (SELECT min(endpoint) FROM {table} WHERE {key} = ?1)"
    connection.execute(
        f"CREATE TEMP TABLE t_{table} AS SELECT * FROM {table} WHERE {key} = ?1{endpoint}", (value,)
    )
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    replaced = {**_ANOTHER, **stencil.replaced}
    values = [replaced.get(f"{table}.{name}", replaced.get(name, f"t.{name}")) for name in columns]
    return (
        f"INSERT INTO main.{table}({', '.join(columns)}) "
        f"SELECT {', '.join(values)} FROM new CROSS JOIN temp.t_{table} AS t"
    )
