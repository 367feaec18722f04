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
    primary: Server,
    *,
    name: str = "standby",
    fast: bool = False,
    is_synchronous: bool = True,
    **settings: Setting,
) -> Iterator[Server]:
    """Make a server that follows `primary`, for the length of a `with`; `fast` and `settings` are `Server`'s."""
    standby = Server(name=name, fast=fast, binaries=primary.home.binaries, **settings)
    try:
        follow(standby, primary, is_synchronous=is_synchronous)
        yield standby
    finally:
        standby.close()


def follow(
    standby: Server, primary: Server, *, is_synchronous: bool = True, via_port: int | None = None
) -> None:
    """Make a server's data anew as a copy of `primary`'s, and have it follow from there; return when it does.

    Synchronous: from then on a commit at `primary` is answered when it is on disk at both, and waits while the standby
    is away. `via_port` is that of a proxy between the two.
    """
    slot = standby.name
    standby.stop("immediate")
    standby.wipe()
    standby.become_copy_of(primary)
    _drop_slot(primary, slot)
    address = f"host={primary.home.path} port={primary.port} user={SUPERUSER}"
    standby.home.run(
        "pg_basebackup",
        *("--pgdata", str(standby.home.data), "--dbname", address, "--checkpoint", "fast", "--no-sync"),
        *("--wal-method", "stream", "--create-slot", "--slot", slot),
        PGPASSWORD=primary.password,
    )
    if via_port is not None:
        address = f"host=127.0.0.1 port={via_port} user={SUPERUSER}"
    (standby.home.data / "standby.signal").touch()
    standby.settings |= {
        "primary_conninfo": f"{address} password={primary.password} application_name={standby.name}",
        "primary_slot_name": slot,
        "synchronous_standby_names": "",
    }
    standby.start()
    if is_synchronous:
        primary.configure(synchronous_standby_names=standby.name)
    state = "sync" if is_synchronous else "async"
    asked = "SELECT sync_state FROM pg_stat_replication WHERE application_name = $1 AND state = 'streaming'"
    until(
        lambda: primary.ask(asked, standby.name) == state,
        30.0,
        lambda: f"nobody follows:\n{standby.log_text()}",
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


def _drop_slot(primary: Server, slot: str) -> None:
    """Remove what a former life of the standby left; the sender of a killed standby lets go of it in its own time."""
    asked = "SELECT active FROM pg_replication_slots WHERE slot_name = $1"
    until(lambda: not primary.ask(asked, slot), 30.0, lambda: f"the slot {slot} stays in use")
    primary.ask(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", slot
    )
