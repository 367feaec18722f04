"""A second server that follows a first one, so that a test can lose the first and lose nothing else.

with Server() as primary, standby_of(primary) as standby:   # a commit is on both when it is answered
primary.kill()
promote(standby)
follow(primary, standby)                                # the old one, made anew, follows the new one
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.postgres.address import SUPERUSER, USER, dsn
from tests.postgres.server import Server, Setting
from tests.postgres.waiting import until


@contextmanager
def standby_of(
    primary: Server, *, name: str = "standby", is_synchronous: bool = True, **settings: Setting
) -> Iterator[Server]:
    """Make a server that follows `primary`, with its settings and these, for the length of a `with`."""
    standby = Server(
        name=name,
        fast=False,  # if the primary is, its settings say so
        in_memory=primary.home.is_in_memory,
        binaries=primary.home.binaries,
        **primary.settings | settings,
    )
    try:
        follow(standby, primary, is_synchronous=is_synchronous)
        yield standby
    finally:
        standby.close()


def follow(standby: Server, primary: Server, *, is_synchronous: bool = True) -> None:
    """Make a server's data anew as a copy of `primary`'s, and have it follow from there; return when it does.

    Synchronous: from then on a commit at `primary` is answered when it is on disk at both, and waits while the standby
    is away.
    """
    standby.stop("immediate")
    standby.wipe()
    standby.become_copy_of(primary)
    _drop_slot(primary, standby.name)
    standby.home.run(
        "pg_basebackup",
        *("--pgdata", str(standby.home.data), "--dbname", _address(primary)),
        *("--checkpoint", "fast", "--no-sync", "--wal-method", "stream"),
        *("--create-slot", "--slot", standby.name),
        PGPASSWORD=primary.password,
    )
    (standby.home.data / "standby.signal").touch()
    standby.settings |= {"synchronous_standby_names": "", "primary_slot_name": standby.name}
    primary.configure(synchronous_standby_names=standby.name if is_synchronous else "")
    reroute(standby, primary)


def reroute(standby: Server, primary: Server, *, via_port: int | None = None) -> None:
    """Have a standby follow through a proxy, or past it again, and return when it does; it is started if it is down."""
    standby.configure(
        primary_conninfo=f"{_address(primary, via_port)} password={primary.password} application_name={standby.name}"
    )
    if not standby.is_running:
        standby.start()
    asked = (
        "SELECT count(*) FROM pg_stat_replication"
        " WHERE application_name = $1 AND state = 'streaming' AND (client_addr IS NOT NULL) = $2"
        " AND (sync_state = 'sync') = (current_setting('synchronous_standby_names') = $1)"
    )
    until(
        lambda: primary.ask(asked, standby.name, via_port is not None),
        30.0,
        lambda: f"{standby.name} does not follow:\n{standby.log_text()[-4000:]}",
    )


def catch_up(standby: Server, primary: Server) -> None:
    """Return when a reader at the standby sees all that is committed at `primary` now: even a synchronous one is late."""
    place = primary.ask("SELECT pg_current_wal_lsn()::text")
    asked = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
    until(
        lambda: standby.ask(asked, place),
        30.0,
        lambda: f"{standby.name} is behind:\n{standby.log_text()[-4000:]}",
    )


def promote(standby: Server) -> None:
    """Have a standby take writes from now on, alone; the first server must be dead, or there are two truths."""
    assert standby.ask("SELECT pg_promote(true, 30)"), standby.log_text()
    standby.configure(primary_conninfo="", primary_slot_name="")


def dsn_of_all(
    servers: Sequence[Server], database: str, *, ports: Sequence[int] = (), **parameters: str
) -> str:
    """Return one address for servers that follow each other, in the order in which a client tries them.

    `ports` are those of proxies before them; ``target_session_attrs="primary"`` finds the one that takes writes.
    """
    return dsn(
        ports or [server.port for server in servers], USER, servers[0].password, database, **parameters
    )


def _address(primary: Server, via_port: int | None = None) -> str:
    where = (
        f"host={primary.home.path} port={primary.port}"
        if via_port is None
        else f"host=127.0.0.1 port={via_port}"
    )
    return f"{where} user={SUPERUSER}"


def _drop_slot(primary: Server, slot: str) -> None:
    """Remove what a former life of the standby left; the sender of a killed standby lets go of it in its own time."""
    asked = "SELECT active FROM pg_replication_slots WHERE slot_name = $1"
    until(lambda: not primary.ask(asked, slot), 30.0, lambda: f"the slot {slot} stays in use")
    primary.ask(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", slot
    )
