"""One reading of a URL: the host judged is the host dialled, in the Host header and in the TLS handshake."""

import asyncio
import hashlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pycurl
import uvloop
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.callbacks.certificates import certificates
from tests.callbacks.dials import Reply, WatchedTransfer, Witness, bench
from tests.callbacks.ranges import number

from homing.callbacks.guard import BAD_PORTS, ParsedUrl, UrlRefused, parse_url
from homing.callbacks.job import EndpointView


class Seen(NamedTuple):
    """What a receiver saw of one request."""

    line: str
    host: str
    server_name: str | None


class Receiver:
    """Two servers on loopback, one behind TLS, that note who was meant, answer, and hang up."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._server_name: str | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        (host,) = (line[6:] for line in head if line.lower().startswith("host: "))
        self.seen.append(Seen(head[0], host, self._server_name))
        self._server_name = None
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    def shook_hands(self, _socket: object, name: str | None, _context: ssl.SSLContext) -> None:
        self._server_name = name


class AllowsAll(Witness):
    """Lets every address pass, and notes which host it was asked about."""

    def refuses(self, ip: str | bytes, host: str = "") -> str | None:
        self.verdicts.append((ip, host, None))
        return None

    def opens(self, ip: str | bytes, host: str = "") -> bool:
        return True


class PluggedTransfer(WatchedTransfer):
    """libcurl gets sockets that are connected already: to the receiver, whatever the address was."""

    __slots__ = ()

    def __init__(self, view: EndpointView, *rest: Any) -> None:
        super().__init__(view, *rest)
        self.curl.setopt(pycurl.SOCKOPTFUNCTION, lambda *_: pycurl.SOCKOPT_ALREADY_CONNECTED)


def address_of(name: str) -> str:
    """The one address of a name, each name having another."""
    return ".".join(map(str, hashlib.sha256(name.encode()).digest()[:4]))


@asynccontextmanager
async def receiver(folder: Path) -> AsyncIterator[tuple[Receiver, dict[str, int]]]:
    """A receiver, and its port for each scheme."""
    one = Receiver()
    made = certificates(folder, ["127.0.0.1"])
    made.server.sni_callback = one.shook_hands
    async with (
        await asyncio.start_server(one.serve, "127.0.0.1", 0) as plain,
        await asyncio.start_server(one.serve, "127.0.0.1", 0, ssl=made.server) as shy,
    ):
        yield (
            one,
            {"http": plain.sockets[0].getsockname()[1], "https": shy.sockets[0].getsockname()[1]},
        )


_LABELS = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,12}[A-Za-z0-9])?", fullmatch=True) | st.text(
    "äöüßéñабвгдеёαβγδς例文字テスト漢ภาษาहिन्दीعربעברת한국어ŁÅÇ·-1", min_size=1, max_size=10
)
_NAMES = st.lists(_LABELS, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "example"]))
_HOSTS = _NAMES | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda v6: f"[{v6}]".upper())
_PORTS = st.just("") | st.integers(1, 65_535).filter(lambda n: n not in BAD_PORTS).map(":{}".format)
_TARGETS = st.from_regex(r"(/[A-Za-z0-9._~@:!,;=%2E-]*){0,3}(\?[A-Za-z0-9/?@&=+,.-]*)?", fullmatch=True)


def _read(url: str) -> ParsedUrl | None:
    try:
        return parse_url(url)
    except UrlRefused:
        return None


_URLS = st.builds(
    "{}://{}{}{}".format, st.sampled_from(["http", "https", "HTTP", "hTTpS"]), _HOSTS, _PORTS, _TARGETS
).map(_read)


# Not shrunk: what fails names its URL, and each run opens servers.
@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(_URLS, min_size=20, max_size=40))
def test_judged_dialled_host_header_and_server_name_agree(read: list[ParsedUrl | None]) -> None:
    """Whatever the grammar accepts, in whatever case or script: four places, one host, and the path and query as given."""
    urls = [url for url in read if url is not None]
    assert len(urls) > len(read) // 4
    policy = AllowsAll()

    async def main(folder: Path) -> None:
        scheme = ""

        def plug(*_: int) -> socket.socket:
            one = socket.create_connection(("127.0.0.1", ports[scheme]))
            one.setblocking(False)
            return one

        async with (
            receiver(folder) as (far, ports),
            bench(
                folder,
                lambda name, _: Reply([address_of(name)]),
                policy,
                transfer=PluggedTransfer,
                plug=plug,
            ) as at,
        ):
            for url in urls:
                scheme = url.scheme
                policy.verdicts.clear()
                at.journal.dials.clear()
                (done,) = await at.send([(0, url)])
                assert (done.status, done.error) == (204, None), (url, done.error_text)
                address = url.host if url.literal else address_of(url.host)
                assert [number(dial.address) for dial in at.journal.dials] == [number(address)]
                assert [host for _ip, host, _reason in policy.verdicts] == ["" if url.literal else url.host]
                meant_by_name = url.scheme == "https" and not url.literal
                assert far.seen.pop() == Seen(
                    f"POST {url.target} HTTP/1.1",
                    url.origin.partition("://")[2],
                    url.host if meant_by_name else None,
                )

    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(main(Path(folder)))
