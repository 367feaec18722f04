"""The SQLite file, its two threads and its one lock: who may touch it, when it is synced, when it is checkpointed.

One thread owns the only writing connection and the checkpoints; one owns a read-only connection. A failed write or
sync of the file is never retried: what is on disk is then unknown to this process, so the process ends and the next
start recovers. It must not know any table.
"""

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import apsw

from homing.clock import Clock
from homing.errors import Unavailable
from homing.store.sqlite.directory import hold
from homing.telemetry import LogEvent, logger

T = TypeVar("T")
Outcome = tuple[Any, BaseException | None]
"""What became of a piece of work: what it returned, or why it failed."""

TOGETHER: Final = 16
"""So many works that wait for the writer are one transaction: syncing costs as much as several of them, and where hundreds
of endpoints claim lanes at a time, nobody waits for hundreds of syncs.
"""
_MOST_FAILED: Final = 4
"""When so many of them have failed, each is done in a transaction of its own."""
CHECKPOINT_BYTES: Final = 16 * 2**20
"""Above this the write-ahead log is copied back, as far as no reader is in the way."""
EARLY_BYTES: Final = 4 * 2**20
"""Above this it is copied back already, as long as that takes the writer little of its time: everybody waits meanwhile,
and in a store of millions it is pages from everywhere.
"""
_EARLY_REST: Final = 20
"""After so many times as long as the last copying took, the next may be an early one: copying seldom is less work."""
TRUNCATE_BYTES: Final = 256 * 2**20
"""Above this readers are interrupted so that the log can be copied whole and truncated."""
_BUSY_MS: Final = 5_000
_TRUNCATE_WAIT_MS: Final = 250
"""How long for readers: ours are gone by then, and for another process's (a backup) no commit should wait longer."""
_PAGE_BYTES: Final = 4096

_FULL_AGAIN_S: Final = 30
_PASSING: Final = (apsw.BusyError, apsw.LockedError, apsw.InterruptError, apsw.NoMemError)
"""What says nothing about the file and will pass."""
_UNWRITABLE: Final = (*_PASSING, apsw.ReadOnlyError, apsw.CantOpenError, apsw.ProtocolError)
"""For a write also what the operator must put right: nothing was written, and nothing is the item's fault."""
_FATAL: Final = (apsw.IOError, apsw.CorruptError, apsw.NotADBError)
"""After these nobody knows what is on disk."""

SYNCHRONOUS: Final = "FULL"
"""How connections that write are synced: an answer that something is stored is true after a power cut too."""
_CORRUPTING: Final = ((3, 7, 0), (3, 51, 2))
"""SQLite versions whose WAL reset can corrupt a file that is written and checkpointed at once."""


def can_corrupt(version: str) -> bool:
    """Say whether this version of SQLite is one of those that may corrupt a file in WAL mode."""
    return _CORRUPTING[0] <= tuple(int(part) for part in version.split(".")) <= _CORRUPTING[1]


def die(error: BaseException) -> None:
    """End the process at once, because what is on disk is no longer known to it."""
    logger().critical(LogEvent.STORE_FAILED, error=repr(error))
    os._exit(70)


class _Item(NamedTuple):
    """A piece of work that waits for a lane; one that writes may be done together with others that do."""

    work: Callable[[apsw.Connection], Any]
    future: "asyncio.Future[Any]"
    is_write: bool


class _Group:
    """Works that are one transaction, but for those that have failed in it, which are not done again."""

    def __init__(self, items: Sequence[_Item]) -> None:
        self._items = items
        self._at: int | None = None
        self.failed: dict[int, Outcome] = {}

    def run(self, connection: apsw.Connection) -> list[Outcome]:
        """Do all that have not failed; return what became of each."""
        outcomes: list[Outcome] = []
        for at, item in enumerate(self._items):
            self._at = at
            outcomes.append(self.failed.get(at) or (item.work(connection), None))
        self._at = None
        return outcomes

    def blame(self, error: Exception) -> bool:
        """Note that the one under way failed; False: none was."""
        if self._at is None:
            return False
        self.failed[self._at] = None, error
        self._at = None
        return True


class Lane:
    """A thread with a connection, doing one piece of work after the other; ``transact`` runs one in a transaction."""

    together = TOGETHER

    def __init__(
        self,
        name: str,
        open_connection: Callable[[], apsw.Connection],
        transact: Callable[[Callable[[apsw.Connection], Any]], Any],
    ) -> None:
        self._work: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._waiting: deque[_Item | None] = deque()
        self._open = open_connection
        self._transact = transact
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_stopping = False
        self.connection: apsw.Connection

    async def start(self) -> None:
        """Open the connection in the thread that will own it."""
        self._thread.start()
        await self._started

    def do(self, work: Callable[[apsw.Connection], T], *, is_write: bool = False) -> asyncio.Future[T]:
        """Queue a piece of work; the future is settled on the loop, at once with `Unavailable` after `stop`.

        One that writes is run in a transaction, perhaps in one with others, and again where one of those fails.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self._is_stopping:
            future.set_exception(Unavailable("the store is closed"))
        else:
            self._work.put(_Item(work, future, is_write))
        return future

    async def stop(self) -> None:
        """Finish what is queued and close the connection."""
        if self._thread.is_alive():
            self._is_stopping = True
            self._work.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        try:
            self.connection = self._open()
        except BaseException as error:  # noqa: BLE001 - told to the one who starts the thread
            self._tell([self._started], [(None, error)])
            return
        self._tell([self._started], [(None, None)])
        while items := self._next():
            self._tell([item.future for item in items], self._do(items))
            del items
        self.connection.close()

    def _next(self) -> list[_Item]:
        """Wait for work: one piece, or several in a row that write; none when there will be no more."""
        waiting = self._waiting
        while not waiting or (len(waiting) < self.together and not self._work.empty()):
            waiting.append(self._work.get())
        items: list[_Item] = []
        while waiting and (item := waiting[0]) is not None and (item.is_write or not items):
            items.append(item)
            waiting.popleft()
            if not item.is_write:
                break
        return items

    def _do(self, items: Sequence[_Item]) -> list[Outcome]:
        """Do what writes in one transaction; where one of several fails, do the others once more in one.

        Refusals are everyday: one may not cost all that wait beside it a sync of their own.
        """
        if len(items) == 1:
            return [self._outcome(items[0])]
        group = _Group(items)
        while len(group.failed) < _MOST_FAILED:
            try:
                outcomes: list[Outcome] = self._transact(group.run)
            except (Unavailable, *_FATAL) as error:  # it is the file's fault, and no work's
                return [(None, error)] * len(items)
            except Exception as error:  # noqa: BLE001 - told to the one who waits
                if not group.blame(error):
                    break
            else:
                return outcomes
        return [self._outcome(item) for item in items]

    def _outcome(self, item: _Item) -> Outcome:
        try:
            return (self._transact(item.work) if item.is_write else item.work(self.connection)), None
        except Exception as error:  # noqa: BLE001 - told to the one who waits
            return None, error

    def _tell(self, futures: "Sequence[asyncio.Future[Any]]", outcomes: Sequence[Outcome]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is left to be told
            self._loop.call_soon_threadsafe(_settle, futures, outcomes)


def _settle(futures: "Sequence[asyncio.Future[Any]]", outcomes: Sequence[Outcome]) -> None:
    for future, (value, error) in zip(futures, outcomes, strict=True):
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


class Database:
    """A SQLite file (or ``:memory:``, or a file under a given VFS) with one writer and one reader."""

    def __init__(
        self,
        path: str,
        clock: Clock,
        *,
        vfs: str | None = None,
        synchronous: str = SYNCHRONOUS,
        on_failure: Callable[[BaseException], None] = die,
    ) -> None:
        self.clock = clock
        self._path = path
        self._vfs = vfs
        self._synchronous = synchronous
        self._on_failure = on_failure
        # A memory database is its connection's own, and a VFS in Python has no shared memory for a second one.
        self._single = path == ":memory:" or vfs is not None
        self._wal_pages = 0
        self._early_from_s = 0.0
        self._checkpoint_at_pages = 0
        self._lock_fd: int | None = None
        self._writer: Lane
        self._reader: Lane

    async def open(self) -> None:
        """Take the directory's lock and open the connections; raises `StoreLocked`."""
        if can_corrupt(apsw.sqlite_lib_version()):
            raise Unavailable(
                f"SQLite {apsw.sqlite_lib_version()} can corrupt a file in WAL mode; install a newer apsw"
            )
        if self._path != ":memory:":
            self._lock_fd = hold(Path(self._path).parent)
        try:
            self._writer = Lane("homing-writer", self._open_writer, self._transact)
            await self._writer.start()
            self._reader = (
                self._writer if self._single else Lane("homing-reader", self._open_reader, self._look)
            )
            if not self._single:
                await self._reader.start()
        except BaseException:
            await self._writer.stop()
            self._unlock()
            raise

    async def close(self) -> None:
        """Finish queued work, checkpoint and let go of the file."""
        if not self._single:
            await self._reader.stop()
        await self._writer.stop()
        self._unlock()

    def write(self, work: Callable[[apsw.Connection], T]) -> "asyncio.Future[T]":
        """Run ``work`` in one transaction of the writer; when the future is done, it is on disk, or nothing of it is.

        Others that wait may be in that transaction; where one fails, ``work`` is run again, so it may change nothing but rows.
        """
        return self._writer.do(work, is_write=True)

    def read(self, work: Callable[[apsw.Connection], T]) -> "asyncio.Future[T]":
        """Run ``work`` on one state of the store, without writing."""
        return self._reader.do(lambda _connection: self._look(work))

    def free_bytes(self) -> int | None:
        """Room left on the store's file system; None for one that is not on a disk of ours."""
        if self._path == ":memory:":
            return None
        room = os.statvfs(Path(self._path).parent)
        return room.f_bavail * room.f_frsize

    def size_bytes(self) -> int | None:
        """Size of the file and its write-ahead log; None for one that is in memory."""
        if self._path == ":memory:":
            return None
        files = (Path(self._path), Path(f"{self._path}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def _transact(self, work: Callable[[apsw.Connection], T]) -> T:
        connection = self._writer.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                value = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if not connection.get_autocommit():
                    connection.execute("ROLLBACK")
                raise
        except apsw.FullError as error:
            raise Unavailable("the disk is full", retry_after_s=_FULL_AGAIN_S) from error
        except _UNWRITABLE as error:
            raise Unavailable(f"the store is busy: {error}") from error
        except _FATAL as error:
            self._on_failure(error)
            raise
        log_bytes = self._wal_pages * _PAGE_BYTES
        is_large = log_bytes > CHECKPOINT_BYTES
        is_early = log_bytes > EARLY_BYTES and time.monotonic() >= self._early_from_s
        if (is_large or is_early) and self._wal_pages >= self._checkpoint_at_pages:
            self._checkpoint(connection)
        return value

    def _look(self, work: Callable[[apsw.Connection], T]) -> T:
        connection = self._reader.connection
        try:
            if self._single:
                return work(connection)
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("COMMIT")
        except (*_PASSING, apsw.IOError) as error:
            # An interrupted question made room for a checkpoint; a failed read says nothing about what was written.
            raise Unavailable(f"the store could not be read: {error}") from error

    def _checkpoint(self, connection: apsw.Connection) -> None:
        mode = apsw.SQLITE_CHECKPOINT_PASSIVE
        if self._wal_pages * _PAGE_BYTES > TRUNCATE_BYTES and not self._single:
            with contextlib.suppress(apsw.ConnectionClosedError):  # it ends before the last works are written
                self._reader.connection.interrupt()
            mode = apsw.SQLITE_CHECKPOINT_TRUNCATE
            connection.set_busy_timeout(_TRUNCATE_WAIT_MS)
        # If it does not come through, it is tried again when the log has grown by as much: whoever holds an old state
        # (another process's backup, for minutes) must not slow each commit.
        self._checkpoint_at_pages = self._wal_pages + CHECKPOINT_BYTES // _PAGE_BYTES
        began_s = time.monotonic()
        try:
            in_log, copied = connection.wal_checkpoint(mode=mode)
        except _FATAL as error:
            self._on_failure(error)
            raise
        except apsw.Error:
            return  # no room, or a reader holds an old state; the commit itself is safe in the log, and a later one tries again
        finally:
            connection.set_busy_timeout(_BUSY_MS)
            ended_s = time.monotonic()
            self._early_from_s = ended_s + _EARLY_REST * (ended_s - began_s)
        if in_log == copied:
            self._wal_pages = self._checkpoint_at_pages = 0

    def _open_writer(self) -> apsw.Connection:
        connection = apsw.Connection(self._path, vfs=self._vfs, statementcachesize=100)
        if self._vfs is not None:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.set_busy_timeout(_BUSY_MS)
        connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA cache_size=-65536")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.wal_autocheckpoint(0)
        connection.set_wal_hook(self._committed)
        return connection

    def _open_reader(self) -> apsw.Connection:
        connection = apsw.Connection(self._path, flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(_BUSY_MS)
        connection.execute("PRAGMA query_only=1")
        connection.execute("PRAGMA cache_size=-16384")
        return connection

    def _committed(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None
