"""Where receivers live: places that a callback is sent to, and what must be known of them to judge what came of it."""

import asyncio
import socket
import ssl
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.callbacks.certificates import TlsDoor, certificates
from tests.callbacks.zoo import LOOPBACK, OK, Act, Zoo, says, zoo

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import ParsedUrl, parse_url


class Place(NamedTuple):
    """Where a callback goes."""

    url: ParsedUrl
    zoo: Zoo | None = None
    """The receiver, where it is one that can be asked again and looked at."""
    door: TlsDoor | None = None
    ca: bytes | None = None
    policy: AddressPolicy = LOOPBACK
    can_be_asked_again: bool = True
    """It behaves at other paths; whoever does not read a request knows no paths."""


Habitat = Callable[[], AbstractAsyncContextManager[Place]]


def answers(act: Act | bytes, *, path: str = "hook", hangs_up: bool = False) -> Habitat:
    """A receiver that reads a request and then does this."""
    does = says(act, hangs_up=hangs_up) if isinstance(act, bytes) else act

    @asynccontextmanager
    async def habitat() -> AsyncIterator[Place]:
        async with zoo(act=does) as receiver:
            yield Place(parse_url(receiver.url(path)), receiver)

    return habitat


def greets(act: Act) -> Habitat:
    """A receiver that does this to every connection, without reading from it."""

    @asynccontextmanager
    async def habitat() -> AsyncIterator[Place]:
        async with zoo(greeting=act) as receiver:
            yield Place(parse_url(receiver.url("")), receiver, can_be_asked_again=False)

    return habitat


def dials(url: str | ParsedUrl, policy: AddressPolicy = LOOPBACK) -> Habitat:
    """Nobody's place."""

    @asynccontextmanager
    async def habitat() -> AsyncIterator[Place]:
        yield Place(parse_url(url) if isinstance(url, str) else url, policy=policy)

    return habitat


@asynccontextmanager
async def closed_port() -> AsyncIterator[Place]:
    """A port that is taken, so that nobody else opens it, and closed."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Place(parse_url(f"http://127.0.0.1:{bound.getsockname()[1]}/"))


@asynccontextmanager
async def closed_port_beside_a_refused_address() -> AsyncIterator[Place]:
    """A name with two addresses: one that the policy refuses, and one where nobody listens."""
    async with closed_port() as place:
        yield place._replace(url=place.url._replace(host="localhost", literal=False))


@asynccontextmanager
async def full_backlog() -> AsyncIterator[Place]:
    """A server that accepts nothing, with as many waiting as the system holds for it: more are not heard."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(busy.getsockname())
        try:
            yield Place(parse_url(f"http://127.0.0.1:{busy.getsockname()[1]}/"))
        finally:
            for one in waiting:
                one.close()


@asynccontextmanager
async def silent_tls() -> AsyncIterator[Place]:
    """It is connected to, and says nothing to a TLS client's hello."""
    async with zoo(greeting=_listen) as receiver:
        yield Place(parse_url(receiver.url("", scheme="https")), receiver, can_be_asked_again=False)


async def _listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bool:
    await reader.read()
    return False


def greets_tls(act: Act) -> Habitat:
    """A receiver where TLS is expected, that does this to every connection."""

    @asynccontextmanager
    async def habitat() -> AsyncIterator[Place]:
        async with greets(act)() as place:
            yield place._replace(url=place.url._replace(scheme="https"))

    return habitat


@asynccontextmanager
async def good_tls() -> AsyncIterator[Place]:
    """All is well behind TLS."""
    with tempfile.TemporaryDirectory() as folder:
        made = certificates(Path(folder), ["localhost"])
        async with zoo(made.server, act=says(OK)) as receiver:
            url = parse_url(receiver.url("hook", "localhost", "https"))
            yield Place(url, receiver, ca=Path(made.ca_file).read_bytes())


def tls(
    change: Callable[[ssl.SSLContext, str], None] = lambda _, __: None,
    *,
    name: str = "localhost",
    answer: bytes = OK,
    scheme: str = "https",
    expired: bool = False,
    signs_itself: bool = False,
    is_trusted: bool = True,
    says_goodbye: bool = True,
) -> Habitat:
    """A TLS server; ``change`` gets its context and the file of its authority."""

    @asynccontextmanager
    async def habitat() -> AsyncIterator[Place]:
        with tempfile.TemporaryDirectory() as folder:
            made = certificates(Path(folder), [name], expired=expired, signs_itself=signs_itself)
            change(made.server, made.ca_file)
            ca = Path(made.ca_file).read_bytes() if is_trusted else None
            door = TlsDoor(made.server, answer, says_goodbye=says_goodbye)
            try:
                url = parse_url(f"{scheme}://localhost:{door.port}/hook")
                yield Place(url, door=door, ca=ca)
            finally:
                await asyncio.to_thread(door.close)

    return habitat


def of_2006(context: ssl.SSLContext, _: str) -> None:
    """Speak TLS 1.0 and 1.1 only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def without_a_shared_cipher(context: ssl.SSLContext, _: str) -> None:
    """Offer only what no client should take."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES128-SHA:@SECLEVEL=0")


def demanding_a_certificate(version: ssl.TLSVersion) -> Callable[[ssl.SSLContext, str], None]:
    """Refuse clients without a certificate."""

    def change(context: ssl.SSLContext, ca_file: str) -> None:
        context.minimum_version = context.maximum_version = version
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca_file)

    return change
