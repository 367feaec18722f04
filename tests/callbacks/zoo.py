"""A zoo of receivers on loopback, chosen by path, and an outbox that sends to them and waits for what was told."""

import asyncio
import datetime as dt
import gzip
import ipaddress
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import parse_url
from homing.callbacks.job import Done, EndpointView, Job
from homing.callbacks.limits import Limits
from homing.callbacks.sender import Sender
from homing.contract.forms import Form
from homing.contract.signature import Signer

LOOPBACK = AddressPolicy(["127.0.0.0/8"])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
QUICK = Limits(connect_s=0.4)


class Request(NamedTuple):
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


class Zoo:
    """A receiver whose behaviour is the path's first part; counts what reaches it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.open_now = 0
        self.open_most = 0
        self.held: list[asyncio.StreamWriter] = []
        self.serving: dict[Any, asyncio.StreamWriter] = {}
        self.written_bytes = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving[asyncio.current_task()] = writer
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            while await self._one(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            self.open_now -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Request(head[0], headers, body))
        behaviour = head[0].split(" ")[1].split("?")[0].strip("/").split("/")[0]
        if behaviour in FIXED:
            writer.write(FIXED[behaviour])
            return behaviour not in HANG_UP
        keep_open: bool = await getattr(self, f"_{behaviour}")(reader, writer)
        return keep_open

    async def _slow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.read()
        return False

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.held.append(writer)
        await reader.read()
        return False

    async def _close(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        return False

    async def _reset(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False

    async def _endless(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await self._pour(writer, b"x" * 16_384)
        return False

    async def _endless500(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n")
        await self._pour(writer, b"x" * 16_384)
        return False

    async def _extensions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
        await self._pour(writer, b"a=b;" * 4_096)
        return False

    async def _headers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await self._pour(writer, b"x: y\r\n" * 1_000)
        return False

    async def _long_header(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nx: ")
        await self._pour(writer, b"y" * 16_384)
        return False

    async def _flood(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await self._pour(writer, b"HTTP/1.1 102 Processing\r\n\r\n" * 100)
        return False

    async def _drip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        await self._trickle(writer)
        return False

    async def _drip_head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nx: ")
        await self._trickle(writer)
        return False

    async def _pour(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        while not writer.is_closing():
            writer.write(piece)
            self.written_bytes += len(piece)
            await writer.drain()

    async def _trickle(self, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.01)

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}/{path}"


def _answer(line: str, headers: str = "", body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {line}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


FIXED = {
    "ok": OK,
    "empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "last": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "bye": OK,  # says nothing and hangs up behind its answer
    "cookie": _answer("200 OK", "Set-Cookie: a=b; Path=/\r\n"),
    "moved": _answer("301 Moved", "Location: /ok\r\n"),
    "elsewhere": _answer("307 Elsewhere", "Location: file:///etc/passwd\r\n"),
    "bad": _answer("400 Bad", body=b"no such thing"),
    "gone": _answer("410 Gone"),
    "busy": _answer("429 Busy", "RETRY-AFTER:  17 \r\n"),
    "broken": _answer("500 Broken", body=b"oh"),
    "down": _answer("503 Down", "Retry-After: Fri, 31 Dec 2027 23:59:59 GMT\r\n"),
    "gzip": _answer("200 OK", "Content-Encoding: gzip\r\n", gzip.compress(b"z" * 100_000)),
    "limit": _answer("200 OK", body=b"abcd" * 16_384),
    "informed": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 8 + OK,
    "hinted": b"HTTP/1.1 103 Early Hints\r\nRetry-After: 99\r\n\r\n" + OK,
    "garbage": b"\x00\xff\x17 what?\r\n\r\n" + b"z" * 100,
    "smtp": b"220 mail.example ESMTP\r\n",
    "old": b"<html>HTTP/0.9</html>",
    "nostatus": b"HTTP/1.1 OK\r\n\r\n",
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    "badchunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "hugechunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello",
    "negative": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nhello",
    "switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "until_close": b"HTTP/1.1 200 OK\r\n\r\nall of it",
}
HANG_UP = {
    *(
        "last",
        "bye",
        "garbage",
        "smtp",
        "old",
        "nostatus",
        "short",
        "badchunk",
        "hugechunk",
        "negative",
        "twice",
    ),
    *("switch", "until_close"),
}


@asynccontextmanager
async def zoo(tls: ssl.SSLContext | None = None) -> AsyncIterator[Zoo]:
    """A receiver on 127.0.0.1."""
    receiver = Zoo()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls, backlog=4096)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for writer in receiver.serving.values():
            writer.transport.abort()
        await asyncio.gather(*receiver.serving)
        await server.wait_closed()


class Outbox:
    """A sender, and what it told; `send` gives the endings in the order of the jobs."""

    def __init__(self, policy: AddressPolicy = LOOPBACK, limits: Limits = QUICK) -> None:
        self.calls: list[list[Done]] = []
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self.sender = Sender(asyncio.get_running_loop(), policy, limits, self._on_done)

    def _on_done(self, ended: list[Done]) -> None:
        self.calls.append(ended)
        for done in ended:
            self._waiting.pop(id(done.job)).set_result(done)

    async def send(self, *jobs: Job) -> list[Done]:
        futures = [asyncio.get_running_loop().create_future() for _ in jobs]
        self._waiting.update({id(job): future for job, future in zip(jobs, futures, strict=True)})
        self.sender.submit(jobs)
        return list(await asyncio.gather(*futures))


@asynccontextmanager
async def outbox(policy: AddressPolicy = LOOPBACK, limits: Limits = QUICK) -> AsyncIterator[Outbox]:
    """An outbox that is closed at the end."""
    box = Outbox(policy, limits)
    try:
        yield box
    finally:
        box.sender.close()


def endpoint(url: str, number: int = 1, timeout_s: float = 5.0, form: Form = Form.JSON) -> EndpointView:
    """An endpoint as the sender sees it."""
    return EndpointView(
        id=number, url=parse_url(url), form=form, signers=(Signer(bytes(32)),), timeout_s=timeout_s
    )


def post(view: EndpointView, body: bytes = b"{}") -> Job:
    """A POST to an endpoint's own URL."""
    return Job(view, ["content-type: application/json", "webhook-id: msg_1"], body)


async def until(holds: Callable[[], object]) -> None:
    """Return when a fact holds, looking again at every turn of the loop."""
    while not holds():
        await asyncio.sleep(0)


Run = Callable[[Awaitable[Any]], Any]


class Certificates(NamedTuple):
    """Where a test authority and a server certificate signed by it lie."""

    ca_file: str
    server: ssl.SSLContext


def certificates(folder: Path, names: Iterable[str], *, expired: bool = False) -> Certificates:
    """Make an authority and a server certificate for these names and addresses."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    start = now - 9 * day

    def builder(subject: x509.Name, public_key: Any, end: dt.datetime) -> x509.CertificateBuilder:
        unsigned = x509.CertificateBuilder(
            ca_name, subject, public_key, x509.random_serial_number(), start, end
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        return unsigned.add_extension(authority, critical=False)

    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    ca = (
        builder(ca_name, ca_key.public_key(), now + day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    leaf = (
        builder(x509.Name([]), key.public_key(), now - day if expired else now + day)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + leaf.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return Certificates(str(folder / "ca.pem"), context)


def dialler_is(make_socket: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the open-socket callback, and nobody else, make its sockets so."""
    fake = SimpleNamespace(AF_INET=socket.AF_INET, AF_INET6=socket.AF_INET6, socket=make_socket)
    monkeypatch.setattr("homing.callbacks.transfer.socket", fake)


def open_descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/dev/fd").iterdir()))
