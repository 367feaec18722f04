"""A pooler before a PostgreSQL, as PgBouncer is one: by session, or giving a server's process to whoever asks next.

Each client logs in through a connection of its own, which then belongs to all of them; only the process number that the
server says hello with is replaced, as every pooler does, for it must know who wants to cancel what.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_KEY, _READY, _IDLE = b"K", b"Z", b"I"
_ASKS = b"QS"
"""What a client sends last before it waits until the server is ready again."""
_FLUSH, _DESCRIBED = b"H", (b"T", b"n", b"E")
"""A client that describes a statement waits for no more than its columns, that there are none, or an error."""
_WANTS_A_WORD = {10, 11}
"""Of the requests of a log-in, those that a client answers: SASL, and its second round."""
_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return one message's kind and the whole of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)


class _Pool:
    def __init__(self, port: int, *, by_transaction: bool) -> None:
        self._port = port
        self._by_transaction = by_transaction
        self._free: list[_Ends] = []
        self._all: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._all.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            own = await self._log_in(reader, writer)
            self._free.append(own)
            while True:
                first = await _message(reader)
                server = self._take(own)
                await self._transaction(first, reader, writer, server)
                self._free.append(server)

    def _take(self, own: _Ends) -> _Ends:
        if self._by_transaction:
            return self._free.pop()
        self._free.remove(own)
        return own

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Ends:
        """Pass on everything up to the server's first word that it is ready."""
        server = await asyncio.open_connection("127.0.0.1", self._port)
        self._all.append(server[1])
        size = await reader.readexactly(4)
        rest = await reader.readexactly(int.from_bytes(size, "big") - 4)
        if len(rest) == 4:  # would rather speak TLS
            writer.write(b"N")
            size = await reader.readexactly(4)
            rest = await reader.readexactly(int.from_bytes(size, "big") - 4)
        server[1].write(size + rest)
        while True:
            kind, message = await _message(server[0])
            writer.write(message[:5] + bytes(8) if kind == _KEY else message)
            if kind == _READY:
                return server
            if kind == b"R" and int.from_bytes(message[5:9], "big") in _WANTS_A_WORD:
                server[1].write((await _message(reader))[1])

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: tuple[bytes, ...] = ()
    ) -> bool:
        """Pass on what the server says until it is ready; say whether no transaction is open then."""
        while True:
            kind, message = await _message(reader)
            writer.write(message)
            if kind == _READY or kind in until:
                return message[5:6] == _IDLE

    async def _transaction(
        self,
        first: tuple[bytes, bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: _Ends,
    ) -> None:
        kind, message = first
        while True:
            server[1].write(message)
            if kind in _ASKS and await self._answers(server[0], writer):
                return
            if kind == _FLUSH:
                await self._answers(server[0], writer, _DESCRIBED)
            kind, message = await _message(reader)

    def close(self) -> None:
        for writer in self._all:
            writer.transport.abort()


@contextmanager
def pooler(port: int, *, by_transaction: bool) -> Iterator[int]:
    """Stand before the server at a port for the length of a `with`; gives the port to connect to."""
    loop = asyncio.new_event_loop()
    pool = _Pool(port, by_transaction=by_transaction)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> asyncio.Server:
        return await asyncio.start_server(pool.serve, "127.0.0.1", 0)

    async def end(server: asyncio.Server) -> None:
        server.close()
        pool.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
