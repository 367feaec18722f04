"""A PostgreSQL server of the tests' own: its data, its life and its deaths, and fresh databases in it.

    with Server(fast=True) as server:
        connection = await asyncpg.connect(server.dsn(server.create()))

It listens on 127.0.0.1 and on a unix socket; both ask for a password. Everything here may be called from plain tests and
inside a running event loop; each call blocks until it is true, or raises after its time.
"""

import contextlib
import itertools
import secrets
import shutil
import signal
import subprocess
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Self

import psutil
from tests.postgres.address import SUPERUSER, USER, dsn, free_port
from tests.postgres.admin import Admin
from tests.postgres.binaries import Binaries, found
from tests.postgres.home import Home
from tests.postgres.waiting import ServerError, all_gone, all_still, until
from tests.postgres.watch import forget_shared_memory

Setting = str | int | bool
_ALWAYS: Final[Mapping[str, Setting]] = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "64MB",
    "max_connections": 60,
    "max_wal_senders": 4,
    "max_replication_slots": 4,
    "wal_level": "replica",
    "dynamic_shared_memory_type": "mmap",  # a killed server leaves nothing in /dev/shm
    "log_line_prefix": "%m [%p] %a ",
    "log_checkpoints": False,
    "timezone": "UTC",
    "log_timezone": "UTC",
}
FAST: Final[Mapping[str, Setting]] = {"fsync": False, "synchronous_commit": False, "full_page_writes": False}
"""For tests of what the store does, not of what it keeps: such a server may lose everything when the machine dies."""

_STOPS: Final[Mapping[str, signal.Signals]] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
Stop = Literal["smart", "fast", "immediate"]


class Server:
    """One server. It runs from `start` to `stop` or `kill`, as often as wished, on the same port and the same data."""

    alive: ClassVar["weakref.WeakSet[Server]"] = weakref.WeakSet()
    """Every server of this process that is not closed yet: whose logs belong to a failure."""

    def __init__(
        self,
        *,
        fast: bool = False,
        in_memory: bool | None = None,
        binaries: Binaries | None = None,
        name: str = "primary",
        **settings: Setting,
    ) -> None:
        self.name = name
        self.home = Home(binaries or found(), in_memory=fast if in_memory is None else in_memory)
        self.settings: dict[str, Setting] = {
            **_ALWAYS,
            **(FAST if fast else {}),
            **settings,
        }
        self.port = 0
        self.password = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[psutil.Process] = []
        self._admin = Admin(str(self.home.path))
        self._generation = 0
        self._numbers = itertools.count(1)
        self._templates: set[str] = set()
        Server.alive.add(self)

    def __enter__(self) -> Self:
        try:
            self.initialise()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- where it is --------------------------------------------------------------------------------------------------

    def dsn(
        self, database: str, *, port: int | None = None, superuser: bool = False, **parameters: str
    ) -> str:
        """Return the address of one database; `port` is for a proxy before it, `parameters` go after the `?`."""
        user = SUPERUSER if superuser else USER
        return dsn([port or self.port], user, self.password, database, **parameters)

    @property
    def version(self) -> int:
        """The major version."""
        return self.home.binaries.major

    def log_text(self, since: int = 0) -> str:
        """Return what the server has logged, from this byte on."""
        with self.home.log.open("rb") as log:
            log.seek(since)
            return log.read().decode("utf-8", "replace")

    # -- its life -----------------------------------------------------------------------------------------------------

    def initialise(self, *options: str) -> None:
        """Make the data; `options` are initdb's. Nothing is synchronised for it: it is not what a test counts on to last."""
        secret = self.home.write("password", self.password)
        self.home.run(
            "initdb",
            *("--pgdata", str(self.home.data), "--username", SUPERUSER, "--pwfile", str(secret)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            *("--no-sync", "--no-instructions", "--wal-segsize", "1"),
            *options,
        )
        secret.unlink()

    def start(self, timeout_s: float = 30.0) -> None:
        """Start it and return when it takes connections, after whatever recovery its last end calls for."""
        is_first = self.port == 0
        for tries_left in reversed(range(5)):
            if is_first:
                self.port = free_port()
            try:
                self._start(timeout_s)
            except ServerError:
                if not is_first or not tries_left or "could not bind" not in self.log_text():
                    raise
            else:
                break
        if is_first and not self.is_standby:
            self.ask(f"CREATE ROLE {USER} LOGIN PASSWORD '{self.password}'")

    def _start(self, timeout_s: float) -> None:
        assert self._process is None, "it runs already"
        self.write_settings()
        self._process = self.home.spawn("postgres", "-D", str(self.home.data))
        self._until(self._takes_connections, timeout_s, "start")

    def _takes_connections(self) -> bool:
        """What `pg_ctl --wait` looks at: the server writes its state into its lock file."""
        assert self._process is not None
        if (status := self._process.poll()) is not None:
            self._ended()
            raise ServerError(f"{self.name} ended with {status} while it started:\n{self.log_text()[-4000:]}")
        with contextlib.suppress(OSError):
            lines = (self.home.data / "postmaster.pid").read_text("utf-8").splitlines()
            return (
                len(lines) > 7
                and int(lines[0]) == self._process.pid
                and lines[7].strip() in {"ready", "standby"}
            )
        return False

    def stop(self, how: Stop = "fast", timeout_s: float = 30.0) -> None:
        """Stop it: *smart* waits for its clients to leave, *fast* sends them away, *immediate* is a crash without a kill."""
        if self._process is None:
            return
        self._admin.leave()
        self.thaw()
        self._process.send_signal(_STOPS[how])
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f"{self.name} did not stop:\n{self.log_text()[-4000:]}") from None
        self._ended()

    def restart(self, how: Stop = "fast") -> None:
        """Stop it and start it again."""
        self.stop(how)
        self.start()

    def kill(self) -> None:
        """Kill every process of it at once, as a machine's end does (what the kernel holds is still written)."""
        if self._process is not None:
            self.freeze()
            for process in self._frozen:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._bury(self._frozen)

    def kill_postmaster(self) -> None:
        """Kill the first process alone; the backends notice and leave by themselves, each in its time."""
        if self._process is not None:
            all_of_it = self._processes()
            self._process.kill()
            self._bury(all_of_it)

    def _bury(self, processes: Sequence[psutil.Process]) -> None:
        assert self._process is not None
        self._process.wait(10.0)
        self._frozen = []
        self._ended()
        self._admin.leave()
        self._until(lambda: all_gone(processes), 10.0, "end")

    def _ended(self) -> None:
        self._process = None
        self.home.has_ended()

    def _processes(self) -> list[psutil.Process]:
        """Every process of it: each works in the data's folder, even one whose parent is dead."""
        here = str(self.home.data)
        return [it for it in psutil.process_iter(["cwd"]) if it.info["cwd"] == here]

    @property
    def is_running(self) -> bool:
        """Whether its first process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of its first process."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def is_standby(self) -> bool:
        """Whether its data say that it follows another server."""
        return (self.home.data / "standby.signal").exists()

    # -- standing still -----------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Have every process of it stand still: connections stay open, new ones are taken by the kernel, nobody answers."""
        assert self._process is not None, "it does not run"
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._process.pid)
            first.suspend()
            self._until(lambda: all_still([first]), 10.0, "stand still")  # no new child from here on
        self._frozen = self._processes()
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        self._until(lambda: all_still(self._frozen), 10.0, "stand still")

    def thaw(self) -> None:
        """Have it go on where it stood."""
        for process in reversed(self._frozen):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        self._frozen = []

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it for the length of a `with`."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    # -- what a superuser does ----------------------------------------------------------------------------------------

    def ask(self, sql: str, *arguments: object) -> Any:
        """Run one statement as the superuser, past every proxy, and return the first row's first value."""
        return self._admin.ask(self.port, self.password, sql, arguments)

    def terminate_backends(self, application_name: str) -> int:
        """End every session of this application name, and return how many there were; they are gone then."""
        count: int = self.ask(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1",
            application_name,
        )
        self._until(
            lambda: not self.sessions(application_name), 10.0, f"end the sessions of {application_name}"
        )
        return count

    def sessions(self, application_name: str) -> int:
        """Return how many sessions have this application name."""
        count: int = self.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", application_name
        )
        return count

    def configure(self, **settings: Setting) -> None:
        """Change settings that need no restart, and return when they hold; without a running server, for its next start."""
        self.settings |= settings
        self._generation += 1
        self.write_settings()
        if self._process is None:
            return
        self._process.send_signal(signal.SIGHUP)
        self._until(
            lambda: self.ask("SELECT current_setting('homing.generation', true)") == str(self._generation),
            10.0,
            "reload",
        )
        if refused := self.ask("SELECT string_agg(name || ': ' || error, ', ') FROM pg_file_settings"):
            raise ServerError(f"{self.name} does not take {settings}: {refused}")

    def write_settings(self) -> None:
        """Write the settings as they shall be at the next start or reload; these are all there are."""
        here: dict[str, Setting] = {"port": self.port, "unix_socket_directories": str(self.home.path)}
        whole = {**self.settings, **here, "homing.generation": self._generation}
        lines = [f"{name} = {_spelt(value)}\n" for name, value in whole.items()]
        self.home.write("postgresql.conf", "".join(lines)).replace(self.home.data / "postgresql.conf")

    # -- databases ----------------------------------------------------------------------------------------------------

    def create(self, template: str = "template1") -> str:
        """Make a fresh database, a copy of `template`, owned by `USER`, and return its name."""
        name = f"{self.name}_{next(self._numbers)}"
        self._create(name, template)
        return name

    def template(self, name: str, fill: Callable[[str], None]) -> str:
        """Make a database to copy from, once: `fill` is given its DSN and must leave no connection to it. Return its name."""
        if name not in self._templates:
            self._create(name, "template1")
            fill(self.dsn(name))
            self._templates.add(name)
        return name

    def _create(self, name: str, template: str) -> None:
        # Copying files is three times as fast as copying through the log, unless each of the 300 must be synchronised.
        strategy = "wal_log" if self.settings.get("fsync", True) else "file_copy"
        self.ask(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER {USER} STRATEGY {strategy}')

    def drop(self, name: str) -> None:
        """Remove a database, and end every session in it."""
        self.ask(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the server and remove everything of it."""
        try:
            self.stop("immediate")
        finally:
            Server.alive.discard(self)
            self._admin.close()
            self.home.close()

    def wipe(self) -> None:
        """Forget the data; it must not run."""
        assert self._process is None, "it still runs"
        forget_shared_memory(self.home.data)
        shutil.rmtree(self.home.data, ignore_errors=True)

    def become_copy_of(self, other: "Server") -> None:
        """Know what a copy of another's data brings: its passwords and its databases."""
        self.password = other.password
        self._templates = set(other._templates)

    def _until(self, fact: Callable[[], object], timeout_s: float, what: str) -> None:
        until(fact, timeout_s, lambda: f"{self.name} did not {what}:\n{self.log_text()[-4000:]}")


def _spelt(value: Setting) -> str:
    text = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    return "'" + text.replace("'", "''") + "'"
