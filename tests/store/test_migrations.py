"""A store that an earlier release left is opened, migrated, and goes on with what it held."""

import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.store.fakes import NOON_MS, StillClock, message_id, number

from homing.contract.status import Status
from homing.model import EndpointOptions, ReplaySpec, dispatch_key
from homing.store import sql
from homing.store.sqlite import SCHEMA, SqliteStore

Run = Callable[[Coroutine[Any, Any, None]], None]
ENQUEUED = number(Status.ENQUEUED)


def left_by_the_first_release(path: Path, messages: int) -> list[bytes]:
    """Write what schema 1 held after a kill: messages with a lane each, the first half held by a process that is no more."""
    connection = apsw.Connection(str(path))
    connection.execute("BEGIN")
    connection.execute(sql.load("sqlite", "schema_1")["schema"])
    meta = {"schema": 1, "store_id": "s", "key_id": "", "epoch": 7, "position": messages}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
    connection.execute("INSERT INTO app VALUES (1, 'bank', 'live', NULL, '{}', 'key', ?)", (NOON_MS,))
    connection.execute(
        "INSERT INTO recipient(id, app, folded, identifier, password_hash, created_at)"
        " VALUES (5, 1, 'ann', 'Ann', 'hash', ?)",
        (NOON_MS,),
    )
    connection.execute(
        "INSERT INTO endpoint VALUES (3, 'e', 1, 'status', 'http://127.0.0.1/', 'json', NULL, 's', NULL, 'active',"
        " NULL, x'aa', ?, NULL)",
        (NOON_MS,),
    )
    keys = []
    for place in range(messages):
        id_ = message_id(NOON_MS)
        key = dispatch_key(id_, 0)
        keys.append(bytes(key))
        connection.execute(
            "INSERT INTO message VALUES (?, 1, ?, ?, ?, ?)",
            (id_, f"r{place}", b'{"text":"hello"}', NOON_MS, NOON_MS + 172_800_000),
        )
        connection.execute(
            "INSERT INTO dispatch VALUES (?, 1, 5, ?, 'Ann', ?, NULL, NULL, NULL, NULL, 1, 0, ?, 1, ?, ?, 0, NULL,"
            " NULL, NULL, NULL, NULL)",
            (key, place + 1, f"r{place}", 1 << ENQUEUED, NOON_MS, NOON_MS + 172_800_000),
        )
        connection.execute("INSERT INTO event VALUES (?, 1, ?, ?, ?)", (key, ENQUEUED, NOON_MS, place + 1))
        is_held = place < messages // 2
        connection.execute(
            "INSERT INTO lane(key, endpoint, pending, tries, due, owner) VALUES (?, 3, 1, ?, ?, ?)",
            (key, 0 if is_held else 2, None if is_held else NOON_MS - 1, 7 if is_held else 0),
        )
    connection.execute("COMMIT")
    connection.close()
    return keys


@pytest.mark.parametrize("messages", [1, 40])
def test_what_the_first_release_left_is_told_shown_and_followed(
    run: Run, tmp_path: Path, messages: int
) -> None:
    """Lanes, held and waiting, are taken up with their tries; endpoints have the defaults; events are in the feed."""
    path = tmp_path / "homing.db"
    keys = left_by_the_first_release(path, messages)

    async def story() -> None:
        store = await SqliteStore.open(str(path), clock=StillClock())
        try:
            [endpoint] = await store.endpoints(1)
            assert (endpoint.options, endpoint.paused, endpoint.credentials) == (
                EndpointOptions(),
                False,
                None,
            )
            assert (endpoint.failing_since_ms, endpoint.previous_secret) == (None, None)
            adopted = []
            after: tuple[bytes, int] = (b"", 0)
            while works := await store.adopt_lanes(after, 10):
                after = (works[-1].key, works[-1].endpoint)
                adopted += works
            claimed = (await store.claim_lanes(3, 100)).lanes
            told = {bytes(work.key): work.tries for work in itertools.chain(adopted, claimed)}
            half = messages // 2
            assert told == dict.fromkeys(keys[:half], 0) | dict.fromkeys(keys[half:], 2)
            page = await store.feed(None, 0, 100, incoming=True)
            assert [bytes(item.key) for item in page.items] == keys
            view = await store.message(keys[0][:16])
            assert view is not None
            assert view.dispatches[0].facts.notify is None
            count, _ = await store.count_replay(1, ReplaySpec("all", 2**47, endpoint=3), b"", 100)
            assert count == messages
        finally:
            await store.close()
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        assert connection.execute("SELECT value FROM meta WHERE name = 'schema'").get == SCHEMA
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        connection.close()

    run(story())


def test_a_migration_that_is_cut_off_leaves_the_store_as_it_was(run: Run, tmp_path: Path) -> None:
    """All of it is one transaction: a process that dies in between begins anew."""
    path = tmp_path / "homing.db"
    left_by_the_first_release(path, 2)
    blocks = sql.load("sqlite", "schema_2")["migrate"]
    connection = apsw.Connection(str(path))
    connection.execute("BEGIN")
    connection.execute(blocks)
    connection.close()  # nothing was committed

    async def story() -> None:
        store = await SqliteStore.open(str(path), clock=StillClock())
        assert len(await store.endpoints(None)) == 1
        await store.close()

    run(story())
