"""What a receiver may do to a request beyond answering it: stalls, drips, floods, breaks."""

import asyncio

from tests.callbacks.zoo import Act, hang, reset

DRIP_S = 0.05
"""A byte a second, twenty times as fast, because the tests' deadlines are so much shorter."""
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def then(*acts: Act) -> Act:
    """One after the other, each seen by the other side before the next."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        stays_open = True
        for one in acts:
            stays_open = await one(reader, writer)
            await writer.drain()
            await asyncio.sleep(0)
        return stays_open

    return act


def pours(piece: bytes, begin: bytes = b"") -> Act:
    """Say this again and again, as fast as it is taken."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(begin)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
        return False

    return act


def drips(begin: bytes, drops: bytes = b"x") -> Act:
    """Say a byte now and then, for ever."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(begin)
        turn = 0
        while not writer.is_closing():
            writer.write(drops[turn % len(drops) :][:1])
            turn += 1
            await asyncio.sleep(DRIP_S)
        return False

    return act


def spells(data: bytes) -> Act:
    """Say this byte by byte, and to its end."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        for number in range(len(data)):
            writer.write(data[number : number + 1])
            await asyncio.sleep(0)
        return True

    return act


def stalls(begin: bytes) -> Act:
    """Say this much, and no more."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(begin)
        return await hang(reader, writer)

    return act


def breaks(begin: bytes) -> Act:
    """Say this much, and reset the connection."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.transport.set_write_buffer_limits(0)
        writer.write(begin)
        await writer.drain()  # what is unsent when a connection is reset is never sent
        return await reset(reader, writer)

    return act


def half_closes(begin: bytes = b"") -> Act:
    """Say this much, say that there is no more, and go on listening."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(begin)
        writer.write_eof()
        return await hang(reader, writer)

    return act


def waits(wait_s: float) -> Act:
    """Say nothing for so long of real time, which is what libcurl's deadlines are of, and close the connection."""

    async def act(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(wait_s)
        return False

    return act


async def hangs_up(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> bool:
    """Close the connection."""
    return False


def at_first(first: Act, later: Act) -> Act:
    """Do one thing to a connection's first request, and another to the next."""
    known: set[asyncio.StreamWriter] = set()

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        does = later if writer in known else first
        known.add(writer)
        return await does(reader, writer)

    return act


async def takes_a_byte(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bool:
    """Read the first byte of a request, and leave the rest unread."""
    await reader.readexactly(1)
    return True
