"""The check of a PostgreSQL: each setting that loses what was answered, each right that a node lacks, each fault in words."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import uvloop
from tests.checkup.pooler import pooler
from tests.postgres.server import Server
from tests.postgres.standby import catch_up, dsn_of_all, standby_of

from homing.checkup import clock, database
from homing.checkup.examination import SHARED, case_of, examine
from homing.checkup.item import Item, State, item
from homing.config import load
from homing.store.postgres import SCHEMA, PostgresStore
from homing.store.postgres.onlooker import Sight
from homing.vault import Vault

WELL = Sight(
    settings={
        "server_version_num": "150004", "server_version": "15.4", "fsync": "on", "full_page_writes": "on",
        "synchronous_commit": "on", "synchronous_standby_names": "", "wal_level": "replica", "max_connections": "100",
        "superuser_reserved_connections": "3", "reserved_connections": "0", "track_activities": "on", "server_encoding": "UTF8",
    },
    user="homing", is_superuser=False, sees_all=False, role_limit=-1, database_limit=-1, may_create=True,
    is_standby=False, foreign_owner=None, ahead_s=0.0, standbys=0, synchronous=0, hidden=0, sessions=20, strangers=(),
    is_pooled=False, is_shared=False, schema=SCHEMA, key_id="k", nodes=2, newest_ms=None, endpoints=(),
)  # fmt: skip
"""A server of which nothing is wrong."""


def judged(**other: object) -> Item:
    """Return the item of a sight that differs from `WELL` in this: fields, or settings by their own names."""
    settings = {name: value for name, value in other.items() if name in WELL.settings}
    rest = {name: value for name, value in other.items() if name not in settings}
    sight = msgspec.structs.replace(WELL, settings={**WELL.settings, **settings}, **rest)
    return item(database.NAME, database.judge(sight, SCHEMA))


def test_a_server_that_keeps_what_it_is_told_is_well() -> None:
    """Everything that was looked at is named; what a lost machine costs is said without being a fault."""
    found = judged()
    assert found.state is State.OK
    assert found.found == (
        "PostgreSQL 15.4, fsync on, full_page_writes on, synchronous_commit on, no synchronous standby (none follows): "
        "with this machine's disk is lost what no copy has yet, 97 connections, 2 nodes take up to 20, 20 are there, "
        f"schema {SCHEMA}"
    )


@pytest.mark.parametrize(
    ("other", "state", "told"),
    [
        ({"server_version_num": "140011", "server_version": "14.11"}, "FAIL", "PostgreSQL 14.11 is too old"),
        ({"fsync": "off"}, "FAIL", "fsync off: "),
        ({"full_page_writes": "off"}, "FAIL", "full_page_writes off: "),
        ({"synchronous_commit": "off"}, "FAIL", "synchronous_commit off: what was answered 201 can be lost"),
        ({"synchronous_commit": "local"}, "warn", "waits for no standby"),
        ({"synchronous_commit": "remote_write"}, "ok", "synchronous_commit remote_write"),
        ({"synchronous_commit": "remote_apply"}, "ok", "synchronous_commit remote_apply"),
        ({"wal_level": "minimal"}, "warn", "wal_level minimal: "),
        ({"synchronous_standby_names": "b"}, "FAIL", "waits for b, and none of them is connected"),
        ({"synchronous_standby_names": "b", "standbys": 1, "hidden": 1}, "warn", "is hidden from homing"),
        ({"synchronous_standby_names": "b", "standbys": 1, "synchronous": 1}, "ok", "is at b too (1 connected)"),
        ({"standbys": 2}, "ok", "no synchronous standby (2 follow)"),
        ({"is_pooled": True}, "FAIL", "behind a pooler (like PgBouncer)"),
        ({"is_pooled": True, "is_shared": True}, "FAIL", "to several sessions in turn"),
        ({"is_standby": True}, "FAIL", "a standby: it takes no writes"),
        ({"server_encoding": "LATIN1"}, "FAIL", "its texts are LATIN1"),
        ({"is_superuser": True}, "warn", "homing is a superuser"),
        ({"foreign_owner": "other"}, "FAIL", "the tables belong to other, not to homing"),
        ({"may_create": False}, "FAIL", "homing may make no tables here"),
        ({"strangers": ("other",)}, "FAIL", "nodes are connected as other too"),
        ({"strangers": ("other",), "sees_all": True}, "ok", "2 nodes"),
        ({"track_activities": "off"}, "FAIL", "track_activities off: "),
        ({"max_connections": "22"}, "FAIL", "19 connections, 2 nodes take up to 20"),
        ({"reserved_connections": "80"}, "FAIL", "17 connections"),
        ({"role_limit": 19}, "FAIL", "19 connections"),
        ({"database_limit": 20}, "ok", "20 connections"),
        ({"nodes": 0}, "ok", "a node takes up to 10"),
        ({"schema": None}, "warn", "no store yet"),
        ({"schema": SCHEMA + 1}, "FAIL", f"schema {SCHEMA + 1}, but this Homing"),
        ({"schema": SCHEMA - 1}, "warn", f"which the next start brings to {SCHEMA}"),
    ],
)  # fmt: skip
def test_what_was_seen_means_something(other: dict[str, object], state: str, told: str) -> None:
    """In words, as bad as it is, and with what to do unless it is well."""
    found = judged(**other)
    assert (found.state, told in found.found) == (state, True), found
    assert bool(found.hint) or state == "ok"


@pytest.mark.parametrize(
    ("ahead_s", "state", "told"),
    [
        (0.4, "ok", "as the database's"),
        (3.0, "warn", "3.0 s behind the"),
        (-60.0, "warn", "1 min ahead of the"),
    ],
)
def test_clocks_that_differ_are_told(ahead_s: float, state: str, told: str) -> None:
    """Messages go by the database's clock, signatures by this machine's."""
    found = clock.beside(ahead_s)
    assert (found.state, told in found.text) == (state, True)


class Place:
    """A node's settings before a database, and the key that its store is sealed under."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.key = folder / "master.key"
        self.dsn = dsn

    def fill(self) -> None:
        """Make the store, as a first start does."""
        key_id = Vault.load_or_create(self.key).key_id

        async def whole() -> None:
            store = await PostgresStore.open(self.dsn, key_id=key_id, beats=False)
            await store.close()

        uvloop.run(whole())

    def check(self, *names: str, dsn: str = "") -> list[Item]:
        flags = {
            "store.url": dsn or self.dsn, "server.listen": "127.0.0.1:1", "security.master_key_file": str(self.key),
        }  # fmt: skip
        return examine(case_of(load(Path(os.devnull), {}, flags), None), names or None)

    def one(self, dsn: str = "") -> Item:
        (found,) = self.check("database", dsn=dsn)
        return found


@pytest.fixture
def place(mortal_postgres: Server, tmp_path: Path) -> Iterator[Place]:
    """A database of this test's own on a server that keeps what it is told."""
    name = mortal_postgres.create()
    yield Place(tmp_path, mortal_postgres.dsn(name))
    mortal_postgres.drop(name)


def test_a_node_of_which_nothing_is_wrong_is_well(place: Place) -> None:
    """Every item speaks under its own name; the store is as it was, and nobody is left connected."""
    place.fill()
    items = place.check()
    assert [one.name for one in items] == list(SHARED)
    assert {one.name: one.state for one in items if one.state is State.FAIL} == {}
    found = {one.name: one.found for one in items}
    assert f"schema {SCHEMA}" in found["database"]
    assert "as the database's" in found["clock"]
    assert "is the store's" in found["keys"]


def test_settings_that_lose_what_was_answered_are_seen(place: Place, mortal_postgres: Server) -> None:
    """Each as it is on the server just then."""
    place.fill()
    mortal_postgres.configure(
        fsync=False, full_page_writes=False, synchronous_commit=False, track_activities=False
    )
    found = place.one()
    assert found.state is State.FAIL
    for told in ("fsync off", "full_page_writes off", "synchronous_commit off", "track_activities off"):
        assert told in found.found
    mortal_postgres.configure(
        fsync=True, full_page_writes=True, synchronous_commit=True, track_activities=True,
        synchronous_standby_names="elsewhere",
    )  # fmt: skip
    found = place.one()
    assert "waits for elsewhere, and none of them is connected" in found.found
    assert "in synchronous_standby_names" not in found.found


def test_a_synchronous_standby_is_seen_by_whoever_may(place: Place, mortal_postgres: Server) -> None:
    """Connected: well; hidden from an ordinary role: said so, with the grant that shows it."""
    with standby_of(mortal_postgres) as standby:
        place.fill()
        name = place.dsn.rpartition("/")[2]
        catch_up(standby, mortal_postgres)
        assert "a standby: it takes no writes" in place.one(standby.dsn(name)).found
        assert "a standby: " not in place.one(dsn_of_all([standby, mortal_postgres], name)).found
        hidden = place.one()
        assert (hidden.state, "hidden from homing" in hidden.found) == (State.WARN, True)
        mortal_postgres.ask("GRANT pg_monitor TO homing")
        assert "a commit is at standby too (1 connected)" in place.one().found
        mortal_postgres.ask("REVOKE pg_monitor FROM homing")
        mortal_postgres.configure(synchronous_standby_names="")


def test_a_role_that_lacks_what_a_node_needs_is_seen(place: Place, mortal_postgres: Server) -> None:
    """Tables of another's; no right to make any; no connections left; nodes under two names."""
    database_name = place.dsn.rpartition("/")[2]
    mortal_postgres.ask(f"CREATE ROLE visitor LOGIN PASSWORD '{mortal_postgres.password}' CONNECTION LIMIT 3")
    visitor = place.dsn.replace("//homing:", "//visitor:")
    found = place.one(visitor)
    assert (found.state, "visitor may make no tables here" in found.found) == (State.FAIL, True)
    assert "3 connections, a node takes" in found.found
    place.fill()
    assert "the tables belong to homing, not to visitor" in place.one(visitor).found

    async def beside() -> Item:
        store = await PostgresStore.open(place.dsn, beats=False)
        try:
            return await _in_thread(lambda: place.one(place.dsn.replace("//homing:", "//onlooker:")))
        finally:
            await store.close()

    mortal_postgres.ask(f"CREATE ROLE onlooker LOGIN PASSWORD '{mortal_postgres.password}' IN ROLE homing")
    assert "nodes are connected as homing too" in uvloop.run(beside()).found
    assert "is a superuser" in place.one(mortal_postgres.dsn(database_name, superuser=True)).found
    for role in ("visitor", "onlooker"):
        mortal_postgres.ask(f"DROP ROLE {role}")


async def _in_thread(work: Callable[[], Item]) -> Item:
    import asyncio

    return await asyncio.to_thread(work)


@pytest.mark.parametrize("by_transaction", [True, False])
def test_a_pooler_between_is_seen(by_transaction: bool, place: Place, mortal_postgres: Server) -> None:
    """Whatever its mode, for nodes listen and ask for time-outs; the mode that mixes sessions up is named."""
    place.fill()
    with pooler(mortal_postgres.port, by_transaction=by_transaction) as port:
        found = place.one(place.dsn.replace(f":{mortal_postgres.port}/", f":{port}/"))
    assert found.state is State.FAIL
    assert "behind a pooler (like PgBouncer)" in found.found
    assert ("several sessions in turn" in found.found) is by_transaction
    assert "connect to the server itself" in found.hint


def test_a_database_of_other_letters_is_seen(place: Place, mortal_postgres: Server) -> None:
    """Names come in all letters there are."""
    mortal_postgres.ask(
        "CREATE DATABASE old TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' OWNER homing"
    )
    assert "its texts are LATIN1" in place.one(mortal_postgres.dsn("old")).found
    mortal_postgres.drop("old")


def test_what_cannot_be_looked_at_is_one_line_without_a_secret(place: Place, mortal_postgres: Server) -> None:
    """Nobody there, another password, no such database, an address that is none: no item shows any part of the password."""
    secret = mortal_postgres.password
    for dsn, told in (
        (f"postgresql://homing:{secret}@127.0.0.1:1/x", "connect call failed"),
        (place.dsn.replace(secret, f"{secret}wrong"), "password authentication failed for user"),
        (f"{place.dsn}none", "does not exist"),
        (f"postgresql://homing:{secret}/wrong@127.0.0.1/x", "store.url cannot be read as an address"),
        (f"postgresql://homing:a:{secret}:b@127.0.0.1:{secret}/x", "store.url cannot be read as an address"),
    ):
        items = place.check(dsn=dsn)
        (root,) = (one for one in items if one.name == "database")
        assert (root.state, told in root.found.lower()) == (State.FAIL, True), root
        assert all(secret not in one.found + one.hint for one in items)
        assert all("\n" not in one.found for one in items)
        (endpoints,) = (one for one in items if one.name == "endpoints")
        assert endpoints.hint == "see the item database"


def test_another_key_than_the_stores_is_seen(place: Place) -> None:
    """By its id; a key that is missing must come from another node."""
    place.fill()
    place.key.unlink()
    (missing,) = place.check("keys")
    assert (missing.state, "copy it from another node" in missing.hint) == (State.FAIL, True)
    Vault.load_or_create(place.key)
    (other,) = place.check("keys")
    assert (other.state, "but the store is sealed under key" in other.found) == (State.FAIL, True)
