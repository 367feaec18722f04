"""Whether a PostgreSQL keeps what it is told to keep, and whether this role may do and see what nodes must."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from homing import __version__
from homing.checkup.case import Case
from homing.checkup.item import Finding, Item, State, item
from homing.checkup.shared_case import SharedCase
from homing.errors import Unavailable

if TYPE_CHECKING:
    from homing.store.postgres.onlooker import Sight

NAME: Final = "database"
OLDEST: Final = 15
"""The first version that nodes are tested on."""
PER_NODE: Final = 10
"""Sessions of a node: four that write, four that read, one that listens, one for what is done alone."""
_POOLED: Final = "connect to the server itself: nodes listen, hold sessions of their own and ask for time-outs, which a pooler does not pass on"


def check(case: Case) -> list[Item]:
    """Return the item ``database``."""
    assert isinstance(case, SharedCase)
    try:
        sight = case.sight
    except Unavailable as error:
        return [item(NAME, [unreachable(error.detail)])]
    return [item(NAME, judge(sight, case.wanted_schema))]


def unreachable(why: str) -> Finding:
    """Return what it means that a database could not be looked at."""
    return Finding(why, State.FAIL, "is store.url right, and does the server take connections from here?")


def judge(sight: "Sight", schema: int) -> Iterator[Finding]:
    """Yield what was seen, and what it means."""
    yield _version(sight)
    yield from _place(sight)
    yield from _kept(sight)
    yield from _standbys(sight)
    yield from _role(sight)
    yield _room(sight)
    yield from _schema(sight, schema)


def _version(sight: "Sight") -> Finding:
    number = sight.settings["server_version"]
    if int(sight.settings["server_version_num"]) < OLDEST * 10_000:
        return Finding(f"PostgreSQL {number} is too old", State.FAIL, f"version {OLDEST} or newer")
    return Finding(f"PostgreSQL {number}")


def _place(sight: "Sight") -> Iterator[Finding]:
    if sight.is_pooled:
        how = "which gives one server process to several sessions in turn" if sight.is_shared else ""
        yield Finding(", ".join(filter(None, ("behind a pooler (like PgBouncer)", how))), State.FAIL, _POOLED)
    if sight.is_standby:
        yield Finding("a standby: it takes no writes", State.FAIL, "name the primary in store.url")
    if sight.settings["server_encoding"] != "UTF8":
        yield Finding(
            f"its texts are {sight.settings['server_encoding']}",
            State.FAIL,
            "make the database with ENCODING 'UTF8': not every name has its letters in another",
        )


def _kept(sight: "Sight") -> Iterator[Finding]:
    settings = sight.settings
    for name, what in (
        ("fsync", "a machine that fails can leave nothing of the database"),
        ("full_page_writes", "a page half written when the machine fails stays damaged"),
    ):
        if settings[name] == "on":
            yield Finding(f"{name} on")
        else:
            yield Finding(f"{name} off: {what}", State.FAIL, f"{name} = on")
    commit = settings["synchronous_commit"]
    if commit == "off":
        told = "synchronous_commit off: what was answered 201 can be lost"
        yield Finding(told, State.FAIL, "synchronous_commit = on, for the server, the database and the role")
    elif commit == "local":
        told = "synchronous_commit local: a commit waits for no standby"
        yield Finding(told, State.WARN, "synchronous_commit = on, for the server, the database and the role")
    else:
        yield Finding(f"synchronous_commit {commit}")
    if settings["wal_level"] == "minimal":
        yield Finding(
            "wal_level minimal: no standby and no backup of its files can be made",
            State.WARN,
            "wal_level = replica",
        )


def _standbys(sight: "Sight") -> Iterator[Finding]:
    names = sight.settings["synchronous_standby_names"]
    if not names:
        copies = f"{sight.standbys} follow" if sight.standbys else "none follows"
        yield Finding(
            f"no synchronous standby ({copies}): with this machine's disk is lost what no copy has yet",
            hint="synchronous_standby_names, where a lost machine must lose nothing",
        )
    elif sight.synchronous:
        yield Finding(f"a commit is at {names} too ({sight.synchronous} connected)")
    elif sight.hidden:
        told = f"a commit waits for {names}; whether one is connected is hidden from {sight.user}"
        yield Finding(told, State.WARN, f"GRANT pg_monitor TO {sight.user}, to see it here")
    else:
        told = f"a commit waits for {names}, and none of them is connected"
        yield Finding(told, State.FAIL, "bring the standby back, or take it out of synchronous_standby_names")


def _role(sight: "Sight") -> Iterator[Finding]:
    if sight.is_superuser:
        yield Finding(
            f"{sight.user} is a superuser, which is more than it needs", State.WARN,
            "a role of its own that owns the database",
        )  # fmt: skip
    if sight.foreign_owner is not None:
        told = f"the tables belong to {sight.foreign_owner}, not to {sight.user}: it cannot make or drop their weeks"
        yield Finding(told, State.FAIL, f"connect as {sight.foreign_owner}, as all nodes do")
    elif not sight.may_create:
        told = f"{sight.user} may make no tables here"
        yield Finding(
            told, State.FAIL, f"GRANT CREATE ON SCHEMA public TO {sight.user}, or have it own the database"
        )
    if sight.strangers and not sight.sees_all:
        told = f"nodes are connected as {', '.join(sight.strangers)} too: no feed can heed what they still commit"
        yield Finding(told, State.FAIL, "one role for all nodes")
    if sight.settings["track_activities"] != "on":
        told = "track_activities off: no feed can heed what other nodes still commit"
        yield Finding(told, State.FAIL, "track_activities = on")


def _room(sight: "Sight") -> Finding:
    settings = sight.settings
    kept_back = int(settings["superuser_reserved_connections"]) + int(settings.get("reserved_connections", 0))
    room = int(settings["max_connections"]) - (0 if sight.is_superuser else kept_back)
    room = min([room, *(limit for limit in (sight.role_limit, sight.database_limit) if limit >= 0)])
    needed = PER_NODE * max(sight.nodes, 1)
    nodes = "a node takes" if sight.nodes < 2 else f"{sight.nodes} nodes take"
    told = f"{room} connections, {nodes} up to {needed}, {sight.sessions} are there"
    if room < needed:
        return Finding(told, State.FAIL, f"max_connections, or the limit of {sight.user} or the database")
    return Finding(told)


def _schema(sight: "Sight", schema: int) -> Iterator[Finding]:
    if sight.schema is None and sight.foreign_owner is not None:
        return  # it may not even look
    if sight.schema is None:
        yield Finding("no store yet", State.WARN, "the first `homing serve` makes it; is store.url right?")
    elif sight.schema > schema:
        told = f"schema {sight.schema}, but this Homing ({__version__}) knows schemas up to {schema}"
        yield Finding(told, State.FAIL, "run the newer Homing that wrote it")
    elif sight.schema < schema:
        told = f"schema {sight.schema}, which the next start brings to {schema}"
        yield Finding(told, State.WARN, "make a backup before: an older Homing does not start on it then")
    else:
        yield Finding(f"schema {schema}")
