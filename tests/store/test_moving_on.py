"""What a store that was moved goes on with on PostgreSQL, and the way back."""

from pathlib import Path

import pytest
from tests.postgres.server import Server
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import DAY_MS, StillClock
from tests.store.ledger import build_town, incoming, post, settle, settled
from tests.store.moved import moved, silent, there
from tests.store.stocked import NOW_MS, empty

from homing.errors import PlaceTaken, StoreMoved
from homing.store.batch import Batch, Verdict
from homing.store.moving import target
from homing.store.moving.move import move
from homing.store.postgres import PostgresStore
from homing.store.sqlite import SqliteStore
from homing.store.sqlite.another import reopen

pytestmark = needs_postgres


def test_ids_from_times_to_come_have_their_weeks(
    tmp_path: Path, dsn: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was wrong for a while leaves such ids; nothing before or behind them is in the way."""
    monkeypatch.setattr(target, "WEEKS_BACK", 1)
    file = tmp_path / "homing.db"
    connection = empty(file)
    ids = [(NOW_MS + years * 365 * DAY_MS).to_bytes(6, "big") + bytes(10) for years in (-50, 0, 1, 20, 60)]
    connection.executemany("INSERT INTO message VALUES (?, 1, NULL, x'7b7d', 0, 0)", [(one,) for one in ids])
    connection.executemany(
        "INSERT INTO event VALUES (?, 1, 1, 0, ?)", [(one + b"\0\0", n) for n, one in enumerate(ids)]
    )
    connection.close()

    async def story() -> None:
        assert (await moved(file, dsn, batch_rows=2)).is_whole
        assert {row[0] for row in await there(dsn, "SELECT id FROM message")} == set(ids)

    run(story())


def test_what_was_to_be_done_is_done_there_and_the_feed_goes_on(tmp_path: Path, dsn: str, run: Run) -> None:
    """Lanes with their tries, held or waiting; places in the feed and instants lead where they led; new events come behind."""
    file = tmp_path / "homing.db"
    clock = StillClock()
    clock.ms = NOW_MS

    async def story() -> None:
        store = await SqliteStore.open(str(file), clock=clock, key_id="")
        town = await build_town(store, secret=b"")
        keys = []
        for _ in range(12):
            clock.ms += 60_000
            keys.append(await post(store, town.app, "Ann"))
        retry = settled(keys[0], town.endpoint.id, 1, Verdict.RETRY, retry_at_ms=clock.ms + 5_000)
        await settle(store, retry)
        await settle(store, settled(keys[1], town.endpoint.id, 1))
        phone = incoming(store, town, keys[3][:8] + bytes(8))
        await store.commit(Batch(incomings=[phone]))
        feed = await store.feed(None, 0, 1_000, incoming=True)
        instants = [
            NOW_MS - 1,
            NOW_MS + 60_000,
            NOW_MS + 200_000,
            clock.ms,
            clock.ms + 1,
            clock.ms + DAY_MS,
        ]
        sinces = [await store.feed_since(at_ms) for at_ms in instants]
        inbox, view = await store.inbox(town.ann, 0, 100), await store.message(keys[1][:16])
        store_id, epoch = store.store_id, store.epoch
        await store.close()
        done = await move(file, "", dsn, "there", silent)
        assert done.is_whole
        shared = await PostgresStore.open(dsn, clock=clock, feed_lag_ms=0, beats=False)
        assert (shared.store_id, shared.epoch) == (store_id, epoch + 1)
        again = await shared.feed(None, 0, 1_000, incoming=True)
        assert again.items == feed.items
        for item in feed.items:
            page = await shared.feed(None, item.position, 3, incoming=True)
            behind = [one for one in feed.items if one.position > item.position][:3]
            assert list(page.items) == behind
        assert [await shared.feed_since(at_ms) for at_ms in instants[:4]] == sinces[:4]
        assert (await shared.inbox(town.ann, 0, 100), await shared.message(keys[1][:16])) == (inbox, view)
        works = await shared.adopt_lanes((b"", 0), 100)
        assert [bytes(work.key) for work in works] == [bytes(one) for one in keys[2:]]
        clock.ms += 5_000
        (late,) = (await shared.claim_lanes(town.endpoint.id, 100)).lanes
        assert (late.key, late.tries) == (keys[0], 1)
        new = await post(shared, town.app, "Ann")
        clock.ms += 5_000
        page = await shared.feed(None, feed.last, 10, incoming=True)
        assert [item.key for item in page.items] == [new]
        assert await shared.feed_since(clock.ms - 5_000) < page.items[0].position
        assert await shared.feed_since(clock.ms - 5_000) >= feed.last
        await shared.close()

    run(story())


def test_a_move_can_be_taken_back(tmp_path: Path, postgres: Server, run: Run) -> None:
    """The old store is another one then, behind every position there; and can be moved again, to a new database."""
    file = tmp_path / "homing.db"
    clock = StillClock()
    clock.ms = NOW_MS

    async def story() -> None:
        first, second = postgres.create(), postgres.create()
        try:
            store = await SqliteStore.open(str(file), clock=clock, key_id="")
            town = await build_town(store, secret=b"")
            await post(store, town.app, "Ann")
            before = store.store_id
            await store.close()
            assert reopen(file) is None
            assert (await move(file, "", postgres.dsn(first), "there", silent)).is_whole
            with pytest.raises(StoreMoved):
                await SqliteStore.open(str(file), clock=clock, key_id="")
            shared = await PostgresStore.open(postgres.dsn(first), feed_lag_ms=0, beats=False)
            await post(shared, town.app, "Ann")
            given = await shared.feed_head()
            await shared.close()
            assert reopen(file) == "there"
            store = await SqliteStore.open(str(file), clock=clock, key_id="")
            assert store.store_id != before
            await post(store, town.app, "Ann")
            assert await store.feed_head() > given
            await store.close()
            with pytest.raises(PlaceTaken):
                await move(file, "", postgres.dsn(first), "there", silent)
            assert (await move(file, "", postgres.dsn(second), "there", silent)).is_whole
        finally:
            postgres.drop(first)
            postgres.drop(second)

    run(story())
