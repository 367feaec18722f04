"""The real sender and the real libcurl, with the world taken away: a resolver of our own, and a journal in place of sockets.

Names are looked up by DNS over HTTPS, for which libcurl asks a server on loopback that answers what a test says; so each
dial is one look-up, and no name ever leaves the machine. What libcurl wants to dial it asks `Transfer._dial` for; where
that would make a socket, the journal notes the address, and no packet is sent. (libcurl's own connection to the resolver
does not come by there.)
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import pycurl
import pytest
from tests.callbacks.certificates import certificates
from tests.callbacks.ranges import lies_inside, number, text
from tests.callbacks.zoo import Outbox, dialler_is

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import ParsedUrl
from homing.callbacks.job import Done, EndpointView, Job
from homing.callbacks.limits import Limits
from homing.callbacks.transfer import Transfer
from homing.contract.forms import Form

RECORDS: Final = 24
"""libcurl keeps no more addresses of an answer that came by DNS over HTTPS."""
HAS_IPV6: Final = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()
"""Without it libcurl asks for no IPv6 address of a name."""
_A, _CNAME, _AAAA = 1, 5, 28
_FAMILY: Final = {_A: socket.AF_INET, _AAAA: socket.AF_INET6}
_AT_ONCE: Final = 64


class Reply(NamedTuple):
    """What the resolver says about a name: its addresses, behind these aliases."""

    addresses: Sequence[str] = ()
    aliases: Sequence[str] = ()
    exists: bool = True


Plug = Callable[..., socket.socket]
"""What makes the sockets of a test that lets something be dialled."""
Answers = Callable[[str, int], Reply]
"""What is known about a name (in lower case) the n-th time it is looked up, from 0."""


class Resolver:
    """A name server over HTTPS."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._asked: dict[tuple[str, int], int] = {}
        self.look_ups = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the questions of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split()[0])
                told = self._answer(await reader.readexactly(length))
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(told), told)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, question: bytes) -> bytes:
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]])
            at += 1 + question[at]
        (kind,) = struct.unpack_from(">H", question, at + 1)
        name = b".".join(labels).decode("utf-8", "replace").lower()
        time = self._asked.get((name, kind), 0)
        self._asked[name, kind] = time + 1
        self.look_ups += 1
        reply = self._answers(name, time)
        owners = [name, *reply.aliases]
        records = [
            _record(owner, _CNAME, _encoded(alias))
            for owner, alias in zip(owners, reply.aliases, strict=False)
        ]
        if (family := _FAMILY.get(kind)) is not None:
            fitting = [address for address in reply.addresses if (":" in address) == (kind == _AAAA)]
            records += [_record(owners[-1], kind, socket.inet_pton(family, one)) for one in fitting]
        flags = 0x8180 if reply.exists else 0x8183
        head = question[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
        return head + question[12 : at + 5] + b"".join(records)


def _encoded(name: str) -> bytes:
    labels = [label.encode() for label in name.split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _record(owner: str, kind: int, data: bytes) -> bytes:
    return _encoded(owner) + struct.pack(">HHIH", kind, 1, 0, len(data)) + data  # a time to live of 0


class Witness(AddressPolicy):
    """A policy that notes each verdict it gives."""

    def __init__(self, allow: Sequence[str] = (), *, dangerous_allow_private: bool = False) -> None:
        super().__init__(allow, dangerous_allow_private=dangerous_allow_private)
        self.verdicts: list[tuple[str | bytes, str, str | None]] = []

    def refuses(self, ip: str | bytes, host: str = "") -> str | None:
        """As the policy does."""
        reason = super().refuses(ip, host)
        self.verdicts.append((ip, host, reason))
        return reason


class Dial(NamedTuple):
    """One address that libcurl wanted to dial for an endpoint, and what became of it."""

    endpoint: int
    address: str
    is_dialled: bool
    was_judged: bool
    """True when the policy was asked about this very address, here and now, and let it pass."""


class Journal:
    """What libcurl wanted to dial."""

    def __init__(self, policy: Witness, plug: Plug | None = None) -> None:
        self.policy = policy
        self._plug = plug
        self.dials: list[Dial] = []
        self._at = "", 0

    def wanted(self, endpoint: int, address: str) -> None:
        """The open-socket callback was called."""
        # As Python writes it: libcurl and Python disagree about ::ffff:127.0.0.1.
        plain = text(number(address), is_v6=":" in address)
        self.dials.append(Dial(endpoint, plain, is_dialled=False, was_judged=False))
        self._at = address, len(self.policy.verdicts)

    def make_socket(self, *kind: int) -> socket.socket:
        """A socket is asked for: this address is dialled now. Raises OSError where nothing is plugged in."""
        address, since = self._at
        judged = any((ip, reason) == (address, None) for ip, _host, reason in self.policy.verdicts[since:])
        self.dials[-1] = self.dials[-1]._replace(is_dialled=True, was_judged=judged)
        if self._plug is None:
            raise OSError("noted, not dialled")
        return self._plug(*kind)

    def told(self) -> tuple[dict[int, set[str]], dict[int, set[str]]]:
        """By endpoint: the addresses that libcurl came with, and those that were dialled."""
        wanted: dict[int, set[str]] = {}
        dialled: dict[int, set[str]] = {}
        for dial in self.dials:
            wanted.setdefault(dial.endpoint, set()).add(dial.address)
            if dial.is_dialled:
                dialled.setdefault(dial.endpoint, set()).add(dial.address)
        return wanted, dialled


def faults(journal: Journal) -> list[Dial]:
    """The dials that must not have been: to a place inside, or to one that nobody judged."""
    return [
        dial
        for dial in journal.dials
        if dial.is_dialled and (lies_inside(dial.address) or not dial.was_judged)
    ]


class RawUrl:
    """A URL that no grammar has read, just as it came, for libcurl to make of it what it will."""

    literal = False
    host = "raw.example"
    target = "/"

    def __init__(self, url: str) -> None:
        self.origin = url.partition("\0")[0].encode("utf-8", "surrogatepass")


class WatchedTransfer(Transfer):
    """As in production, but that names come from our resolver, every scheme is spoken, and the journal is told."""

    __slots__ = ()
    doh_url = ""
    journal: Journal
    resolve: Sequence[str] = ()
    """What libcurl is told beforehand, for answers longer than it takes from a resolver."""

    def __init__(self, view: EndpointView, *rest: Any) -> None:
        super().__init__(view, *rest)
        self.curl.setopt(pycurl.DOH_URL, self.doh_url)
        self.curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_ALL & ~pycurl.PROTO_FILE)
        if self.resolve:
            self.curl.setopt(pycurl.RESOLVE, self.resolve)

    def _dial(self, purpose: int, target: Any) -> Any:
        self.journal.wanted(self.view.id, target[3][0])
        return super()._dial(purpose, target)


class CarelessTransfer(WatchedTransfer):
    """The planted fault: whoever asks for a socket gets one, for a check before the look-up was thought to be enough."""

    __slots__ = ()

    def _dial(self, purpose: int, target: Any) -> Any:
        self.journal.wanted(self.view.id, target[3][0])
        try:
            return self.journal.make_socket()
        except OSError:
            return pycurl.SOCKET_BAD


class Bench:
    """A sender that dials nobody."""

    def __init__(self, box: Outbox, journal: Journal, resolver: Resolver) -> None:
        self._box = box
        self.journal = journal
        self.resolver = resolver

    async def send(self, urls: Iterable[tuple[int, ParsedUrl | RawUrl]]) -> list[Done]:
        """Send one callback to each (endpoint, URL); a few at once."""
        jobs = [Job(_view(number, url), ["webhook-id: msg_1"], b"{}") for number, url in urls]
        ended: list[Done] = []
        for start in range(0, len(jobs), _AT_ONCE):
            ended += await self._box.send(*jobs[start : start + _AT_ONCE])
            for job in jobs[start : start + _AT_ONCE]:
                self._box.sender.forget(job.endpoint.id)
        return ended


def _view(number: int, url: ParsedUrl | RawUrl) -> EndpointView:
    return EndpointView(
        id=number,
        url=cast("ParsedUrl", url),
        form=Form.JSON,
        signers=(),
        timeout_s=10,
        dangerous_skip_verify=True,
    )


@asynccontextmanager
async def bench(
    folder: Path,
    answers: Answers,
    policy: Witness | None = None,
    *,
    transfer: type[WatchedTransfer] = WatchedTransfer,
    plug: Plug | None = None,
    names_kept_s: int = 0,
) -> AsyncIterator[Bench]:
    """Open a bench; its certificates are made in a folder."""
    policy = policy or Witness()
    journal, resolver = Journal(policy, plug), Resolver(answers)
    made = certificates(folder, ["127.0.0.1"])
    server = await asyncio.start_server(resolver.serve, "127.0.0.1", 0, ssl=made.server, backlog=1024)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/dns-query"
    watched = type("Watched", (transfer,), {"__slots__": (), "doh_url": url, "journal": journal})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("homing.callbacks.sender.Transfer", watched)
        dialler_is(journal.make_socket, patch)
        box = Outbox(policy, Limits(ca_file=made.ca_file, names_kept_s=names_kept_s))
        try:
            yield Bench(box, journal, resolver)
        finally:
            box.sender.close()
            server.close()
