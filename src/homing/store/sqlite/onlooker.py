"""A store's file seen from beside: what another process may ask of it, whether a server has it open or not.

It takes no lock of the directory and writes nothing into the store; each question is one short look, so that the log of a
running server can always be copied back.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import apsw

from homing.errors import Unavailable
from homing.model import Endpoint
from homing.store.nouns import to_endpoint
from homing.store.sql import load
from homing.store.sqlite.rows import Row, fetch

_SQL: Final = load("sqlite", "onlooker")
_META: Final = load("sqlite", "meta")
_CLAIMS: Final = load("sqlite", "claims")
_REGISTRY: Final = load("sqlite", "registry")

MOVED: Final = "moved"
"""Name in ``meta`` under which a store that was copied elsewhere says where to (`homing migrate --to`)."""
SQLITE: Final = apsw.sqlite_lib_version()
"""The version of SQLite that this program brings."""
_READONLY: Final = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
_STEPS: Final = 10_000
"""Of SQLite's machine, between two looks at the time."""
_HEADER_BYTES: Final = 100
_FORMAT: Final = slice(18, 20)
"""Where the file says which journal its writer and its readers use (https://sqlite.org/fileformat.html §1.3.3)."""


class Onlooker:
    """One look at a store's file; to be used as a context. Every question raises `Unavailable` if it cannot be read."""

    def __init__(self, path: Path) -> None:
        # Without a log nobody has the file open, and a reader would leave an empty log behind: so it is read as what
        # cannot change. With one, a reader joins those who have it, or recovers the log's index after a crash.
        has_log = Path(f"{path}-wal").exists()
        self._uri = f"file:{quote(str(path.absolute()))}{'' if has_log else '?immutable=1'}"
        self._connection: apsw.Connection

    def __enter__(self) -> Self:
        with _reading():
            self._connection = apsw.Connection(self._uri, flags=_READONLY)
        self._connection.set_busy_timeout(2_000)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def has_log(self) -> bool:
        """Say whether the file is in WAL mode, as a store is from its first start on."""
        self._rows("PRAGMA schema_version")  # the file itself is opened by the first question
        with _reading():
            _, header = self._connection.read("main", 0, 0, _HEADER_BYTES)
        return header[_FORMAT] == b"\x02\x02"

    def schema(self) -> int | None:
        """Return the version of the store's schema; None for a file that holds no store."""
        if not self._rows(_META["has_meta"]):
            return None
        found = self._meta("schema")
        return found if isinstance(found, int) else None

    def key_id(self) -> str:
        """Return the id of the master key that seals the store's secrets; empty where nothing does."""
        return str(self._meta("key_id") or "")

    def moved(self) -> str | None:
        """Return where the store was moved to; None for one that can be served."""
        found = self._meta(MOVED)
        return None if found is None else str(found)

    def rows(self, table: str) -> int:
        """Return how many rows a table has; its name is a statement's of ours."""
        ((count,),) = self._rows(f"SELECT count(*) FROM {table}")  # noqa: S608 - no name from outside
        return int(count)

    def damage(self, within_s: float) -> str | None:
        """Return what is wrong with the file's structure, None if nothing is; `TimeoutError` when it takes too long."""
        until_s = time.monotonic() + within_s
        self._connection.set_progress_handler(lambda: time.monotonic() > until_s, _STEPS)
        try:
            with _reading():
                found = [str(row[0]) for row in fetch(self._connection, "PRAGMA quick_check(1)", ())]
        finally:
            self._connection.set_progress_handler(None)
        return None if found == ["ok"] else " ".join(found)

    def newest_ms(self) -> int | None:
        """Return when the newest event happened; None without any. Only of a store with today's schema."""
        ((newest,),) = self._rows(_SQL["newest"])
        return None if newest is None else int(newest)

    def endpoints(self) -> list[Endpoint]:
        """Return all endpoints. Only of a store with today's schema."""
        return [to_endpoint(row) for row in self._rows(_REGISTRY["endpoints"])]

    def first_due_ms(self, endpoint: int) -> int | None:
        """Return when the first of an endpoint's lanes that wait in the store falls due, None if none waits."""
        found = self._rows(_CLAIMS["next_lane"], (endpoint,))
        return int(found[0][0]) if found else None

    def dead(self, endpoint: int, limit: int) -> int:
        """Return how many callbacks were given up at an endpoint, counted up to ``limit``."""
        ((count,),) = self._rows(_SQL["dead_count"], (endpoint, limit))
        return int(count)

    def _meta(self, name: str) -> object:
        found = self._rows(_META["get"], (name,))
        return found[0][0] if found else None

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        with _reading():
            return fetch(self._connection, sql, values)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except apsw.InterruptError as error:
        raise TimeoutError from error
    except apsw.Error as error:
        raise Unavailable(f"the store cannot be read: {error}") from error
