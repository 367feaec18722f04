"""A node's place on disk, as `homing serve` leaves it: a data directory with a real store, its key and a lock to hold."""

import fcntl
import http.server
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import uvloop
from tests.store.fakes import StillClock

from homing.checkup.case import Case
from homing.checkup.examination import examine
from homing.checkup.item import Item
from homing.config import load
from homing.store.sqlite import SqliteStore
from homing.vault import Vault

NOBODY = "127.0.0.1:1"
"""Where no server ever listens."""


class Site:
    """One data directory; ``flags`` are settings over the defaults."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.db = self.data / "homing.db"
        self.key = self.data / "master.key"
        self.flags: dict[str, object] = {"store.url": f"sqlite:///{self.db}", "server.listen": NOBODY}
        self.clock = StillClock()

    def fill(self, story: Callable[[SqliteStore], Coroutine[Any, Any, None]] | None = None) -> None:
        """Make the store and its key, as a first start does, let a story happen to it, and close it."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        key_id = Vault.load_or_create(self.key).key_id

        async def whole() -> None:
            store = await SqliteStore.open(str(self.db), clock=self.clock, key_id=key_id)
            try:
                if story is not None:
                    await story(store)
            finally:
                await store.close()

        uvloop.run(whole())

    def sql(self, *statements: str) -> None:
        """Change the closed store's file behind Homing's back."""
        connection = apsw.Connection(str(self.db))
        for statement in statements:
            connection.execute(statement)
        connection.close()

    def case(self) -> Case:
        return Case(load(Path(os.devnull), {}, self.flags), None)

    def check(self, name: str) -> dict[str, Item]:
        """Run one check; its items by name."""
        return {item.name: item for item in examine(self.case(), [name])}

    def one(self, name: str) -> Item:
        return self.check(name)[name]

    def files(self) -> dict[str, tuple[int, int, bytes]]:
        """Everything in the data directory: size, time of change, content."""
        return {
            file.name: (file.stat().st_size, file.stat().st_mtime_ns, file.read_bytes())
            for file in self.data.iterdir()
        }

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory's lock, as a running server does."""
        with (self.data / "homing.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


Answer = tuple[int, Mapping[str, str], bytes]
WELL: dict[str, Answer] = {
    "/healthz": (200, {}, b'{"status":"ok"}'),
    "/readyz": (200, {}, b'{"ready":true,"reasons":[]}'),
}


@contextmanager
def answering(answers: Mapping[str, Answer]) -> Iterator[str]:
    """Serve fixed answers on loopback, 404 for anything else; gives host:port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = answers.get(self.path, (404, {}, b"{}"))
            self.send_response_only(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
