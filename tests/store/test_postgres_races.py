"""What nodes do to the same rows at once, on PostgreSQL, in every order of their statements (TA, TF, TG)."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.store.conftest import Run, needs_postgres
from tests.store.fakes import StillClock, message_id, new_endpoint
from tests.store.ledger import build_town, post, settled, told
from tests.store.steps import closing, commit, interleavings, node, play

from homing.lifecycle.dispatch import Received
from homing.model import Body, Endpoint
from homing.store.batch import Accept, Accepted, Addressee, Batch, Occurrence, Verdict
from homing.store.changes import DeleteEndpoint
from homing.store.port import Store
from homing.store.postgres import PostgresStore, ledger, remains
from homing.store.postgres.rows import hold
from homing.store.registry import endpoints

pytestmark = needs_postgres

BY_SUBQUERY = """
DELETE FROM lane WHERE key = $1 AND endpoint = $2
AND NOT EXISTS (SELECT 1 FROM event WHERE event.key = $1 AND event.n > 1)
"""
"""The planted bug: whether more is pending is asked of the events, which the statement sees as of its beginning."""
BY_SEQUENCE = """
SELECT r.app, r.folded, r.id, r.identifier, r.mobile_number, nextval('attempt_id') - 1, r.wakeable, FALSE
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS n(app, folded, count)
JOIN recipient AS r ON r.app = n.app AND r.folded = n.folded
"""
"""The planted bug: a database sequence for the order of a recipient's messages."""


def touches_lanes(sql: str) -> bool:
    """Name the statements whose order matters between an append and a settle."""
    return sql == "COMMIT" or re.search(r"\b(lane|event)\b", sql) is not None


async def append_and_settle(
    database: str, clock: StillClock, order: str, *, planted: bool = False
) -> str | None:
    """Append an event at one node while another, the lane's owner, settles the one before; say what went wrong."""
    owner, other = await node(database, clock=clock), await node(database, clock=clock)
    town = await build_town(owner)
    key = await post(owner, town.app, "Ann")
    endpoint = town.endpoint.id

    async def by_subquery(connection: Any) -> Any:
        await connection.execute(BY_SUBQUERY, key, endpoint)

    settle = commit(owner, Batch(settles=[settled(key, endpoint, 1)]))
    append = commit(other, Batch(occurrences=[Occurrence(key, Received())]))
    settling, appended = await play(
        database, order, [by_subquery if planted else settle, append], touches_lanes
    )
    callback = (await told(owner, key)).get(town.endpoint.uid)
    if planted:
        return None if callback is not None and callback.pending & 0b10 else "the event is forgotten"
    assert callback is not None
    if (callback.settled, callback.pending) != (0b01, 0b10):
        return f"settled {callback.settled}, pending {callback.pending}"
    heard = {
        store.epoch: [n for work in committed.lanes for n, _s, _at in work.events]
        for store, committed in ((owner, settling), (other, appended))
    }
    held = {store.epoch: await store.held_lanes((b"", 0), 9) for store in (owner, other)}
    if sorted(heard.values()) != [[], [2]]:
        return f"handed over to {heard}"
    if {epoch for epoch, lanes in held.items() if lanes} != {e for e, events in heard.items() if events}:
        return "whoever was told of it does not own the lane"
    return None


@pytest.mark.timeout(300)
def test_an_append_beside_a_settle_is_never_forgotten(database: str, clock: StillClock, run: Run) -> None:
    """In every order of the statements that touch lanes, events and the commit, one node is told and owns the lane (TA)."""

    async def story() -> None:
        for order in interleavings(3, 4):
            assert await closing(append_and_settle(database, clock, order)) is None, order

    run(closing(story()))


@pytest.mark.timeout(300)
def test_a_settle_by_subquery_is_caught(database: str, clock: StillClock, run: Run) -> None:
    """The same orders show the planted bug: in one of them at least the event is forgotten."""

    async def story() -> None:
        found = [
            await closing(append_and_settle(database, clock, order, planted=True))
            for order in interleavings(2, 4)
        ]
        assert any(found)

    run(closing(story()))


async def two_accepts(
    database: str, clock: StillClock, order: str, is_gated: Callable[[str], bool]
) -> list[int]:
    """Accept two messages to one person at two nodes; return the numbers in the order in which a device saw them."""
    a, b = await node(database, clock=clock), await node(database, clock=clock)
    town = await build_town(a)

    def accept() -> Batch:
        to = (Addressee("Ann", "ann"),)
        return Batch(accepts=[Accept(message_id(clock.ms), town.app, None, Body("hello"), to)])

    seen: list[int] = []

    async def look() -> None:
        seen.extend(item.seq for item in await a.inbox(town.ann, max(seen, default=0), 9))

    await play(database, order, [commit(a, accept()), commit(b, accept())], is_gated, look)
    await look()
    return seen


def is_numbering(sql: str) -> bool:
    """Name the statements that number messages, and the commit."""
    return sql == "COMMIT" or "recipient AS r" in sql


@pytest.mark.timeout(120)
def test_a_device_that_is_online_gets_both_of_two_accepts(database: str, clock: StillClock, run: Run) -> None:
    """Whatever order the commits come in, nobody sees a number before a lower one that is still to come (TG)."""

    async def story() -> None:
        for order in interleavings(2, 2):
            assert await closing(two_accepts(database, clock, order, is_numbering)) == [1, 2], order

    run(closing(story()))


@pytest.mark.timeout(120)
def test_a_database_sequence_for_seq_is_caught(
    database: str, clock: StillClock, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same orders show the planted bug: a device that follows loses a message."""
    monkeypatch.setattr(ledger, "_SQL", {**ledger._SQL, "number_messages": BY_SEQUENCE})

    async def story() -> None:
        lost = [
            len(await closing(two_accepts(database, clock, order, is_numbering))) < 2
            for order in interleavings(2, 2)
        ]
        assert any(lost)

    run(closing(story()))


def test_an_endpoint_made_at_one_node_hears_what_another_accepts(
    database: str, clock: StillClock, run: Run
) -> None:
    """A hundred times: created here, sent there, and the callback's lane is there (TF)."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        town = await build_town(a)
        to = (Addressee("Ann", "ann"),)
        for round_ in range(100):
            endpoint = (await a.apply(new_endpoint(town.app))).value
            assert isinstance(endpoint, Endpoint)
            accept = Accept(message_id(clock.ms), town.app, None, Body("hello"), to)
            committed = await b.commit(Batch(accepts=[accept]))
            assert isinstance(committed.accepts[0], Accepted)
            assert endpoint.id in {work.endpoint for work in committed.lanes}, round_
            await a.apply(DeleteEndpoint(town.app, endpoint.uid))

    run(closing(story()))


async def delete_beside_accepts(database: str, clock: StillClock) -> list[str]:
    """Accept at one node and delete the endpoint at another, in every order; return those that left a lane to nobody."""

    def is_gated(sql: str) -> bool:
        reads_or_writes = r"FROM endpoint\s+WHERE|DELETE FROM lane|INTO lane"
        return sql == "COMMIT" or re.search(reads_or_writes, sql) is not None

    a, b = await node(database, clock=clock), await node(database, clock=clock)
    town = await build_town(a)
    wrong = []
    for order in interleavings(3, 3):
        endpoint = (await a.apply(new_endpoint(town.app))).value
        assert isinstance(endpoint, Endpoint)
        accept = Accept(message_id(clock.ms), town.app, None, Body("hi"), (Addressee("Ann", "ann"),))

        async def delete(connection: Any, uid: str = endpoint.uid) -> Any:
            change = DeleteEndpoint(town.app, uid)
            await hold(connection, endpoints.delete_endpoint(change, clock.ms))
            while await remains.sweep(connection):
                pass

        await play(database, order, [delete, commit(b, Batch(accepts=[accept]))], is_gated)
        if await lanes_of(b, endpoint.id):
            wrong.append(order)
    return wrong


@pytest.mark.timeout(120)
def test_a_deleted_endpoint_is_owed_nothing(database: str, clock: StillClock, run: Run) -> None:
    """An accept and a deletion at once, in every order: no lane is left to an endpoint that is no more."""

    async def story() -> None:
        assert await delete_beside_accepts(database, clock) == []

    run(closing(story()))


@pytest.mark.timeout(120)
def test_reading_endpoints_without_keeping_them_is_caught(
    database: str, clock: StillClock, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same orders show the planted bug: endpoints that are read and not locked until the commit."""
    loose = ledger._SQL["load_targets"].replace("FOR KEY SHARE", "")
    monkeypatch.setattr(ledger, "_SQL", {**ledger._SQL, "load_targets": loose})

    async def story() -> None:
        assert await delete_beside_accepts(database, clock)

    run(closing(story()))


async def lanes_of(store: Store, endpoint: int) -> int:
    """Return how many lanes an endpoint has, whoever holds them."""
    assert isinstance(store, PostgresStore)
    rows = await store._db.fetch("SELECT count(*) FROM lane WHERE endpoint = $1", endpoint)
    return int(rows[0][0])


def test_a_late_outcome_changes_nothing_but_what_was_told(database: str, clock: StillClock, run: Run) -> None:
    """A node that is taken for dead settles: its retry is an attempt only; its 2xx clears the event all the same."""

    async def story() -> None:
        a, b = await node(database, clock=clock), await node(database, clock=clock)
        town = await build_town(a)
        key = await post(a, town.app, "Ann")
        endpoint = town.endpoint.id
        await a._db.write(
            lambda c: c.execute("UPDATE node SET alive_until = '-infinity' WHERE epoch = $1", a.epoch)
        )
        await b.beat()
        assert [work.key for work in await b.adopt_lanes((b"", 0), 9)] == [key]
        late = settled(key, endpoint, 1, Verdict.RETRY, retry_at_ms=clock.ms + 5)
        await a.commit(Batch(settles=[late]))
        await a.commit(Batch(settles=[settled(key, endpoint, 1, Verdict.DEAD)]))
        assert [work.key for work in await b.held_lanes((b"", 0), 9)] == [key]
        assert len(await b.attempts(endpoint, None, 9)) == 2
        await a.commit(Batch(settles=[settled(key, endpoint, 1)]))
        callback = (await told(b, key))[town.endpoint.uid]
        assert (callback.settled, callback.dead, callback.pending) == (1, 0, 0)

    run(closing(story()))
