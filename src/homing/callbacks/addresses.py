"""Which IP addresses a callback may be sent to: our own table, deny by default; no sockets, no name look-ups.

Python's ``ipaddress`` only parses here, it never judges: its ``is_global`` differs between versions and is wrong for
NAT64, 6to4, multicast and 168.63.129.16, among others.

IPv4 is refused where the table names it. IPv6 is refused everywhere but in 2000::/3, and there too where the table
names it. An address that carries an IPv4 address inside (mapped, translated, NAT64, 6to4, Teredo, ISATAP) is refused
outright: it is never unwrapped and no setting opens it.
"""

from collections.abc import Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeAlias, assert_never

import idna

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class Opens(Enum):
    """What an operator must write to open a refused range."""

    NEVER = "nothing opens it"
    EXACTLY = "its own address, or a part of the loopback network; no wider range"
    RANGE = "any range that holds it, or a host by name"
    PRIVATE = "as RANGE, or dangerous_allow_private"


class Refused(NamedTuple):
    """One row of the table: a range, why it is refused, and what opens it."""

    network: Network
    reason: str
    opens: Opens


def _rows(opens: Opens, *rows: tuple[str, str]) -> list[Refused]:
    return [Refused(ip_network(network), reason, opens) for network, reason in rows]


# The first row that holds an address decides, so the narrow and strict rows come first.
TABLE: tuple[Refused, ...] = (
    *_rows(
        Opens.EXACTLY,
        ("127.0.0.0/8", "loopback"),
        ("::1/128", "loopback"),
        ("169.254.0.0/16", "link-local and metadata"),
        ("168.63.129.16/32", "metadata"),  # Azure
        ("100.100.100.200/32", "metadata"),  # Alibaba
        ("100.96.0.96/32", "metadata"),  # Volcengine
        ("192.0.0.192/32", "metadata"),  # Oracle
        ("fd00:42::42/128", "metadata"),  # Scaleway
        ("fd00:100::100:200/128", "metadata"),  # Alibaba
        ("fd00:a9fe:a9fe::1/128", "metadata"),  # Linode
        ("fd00:c1::a9fe:a9fe/128", "metadata"),  # Oracle
        ("fd00:ec2::/32", "metadata"),  # AWS
        ("fd20:ce::254/128", "metadata"),  # Google
        ("fe80::/10", "link-local"),
    ),
    *_rows(
        Opens.PRIVATE,
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared (carrier NAT)"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("fc00::/7", "private"),
    ),
    *_rows(
        Opens.NEVER,
        ("0.0.0.0/8", "this network"),
        ("192.88.99.0/24", "6to4 relay"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("::/96", "unspecified or IPv4-compatible"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("2001::/32", "Teredo"),
        ("2002::/16", "6to4"),
        ("ff00::/8", "multicast"),
    ),
    *_rows(
        Opens.RANGE,
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("240.0.0.0/4", "reserved"),
        ("100::/64", "discard"),
        ("100:0:0:1::/64", "dummy prefix"),
        ("2001::/23", "protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fec0::/10", "site-local"),
        # Everything outside the one range that is handed out for the public internet.
        ("::/3", "not global"),
        ("4000::/2", "not global"),
        ("8000::/1", "not global"),
    ),
)

_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214: the upper half of an interface identifier


class _Verdict(NamedTuple):
    """What a policy says about an address: why it is refused, or None; and whether it is the operator who opened it."""

    reason: str | None
    is_opened: bool


class AddressPolicy:
    """Says whether an address may be dialled; the operator's, one per deployment, never a tenant's.

    ``allow`` holds CIDRs, single addresses and host names. A range opens what lies in it, but loopback, link-local and
    metadata addresses only by being named exactly (127.0.0.1/32; a part of 127.0.0.0/8 counts): 0.0.0.0/0 does not
    open them. A host opens, for that host alone, whatever ranges could open; of loopback only the name ``localhost``
    does. ``dangerous_allow_private`` opens the private ranges to every tenant. Raises ValueError for a range that has
    bits set behind its prefix length, and for an international name that is none.
    """

    def __init__(self, allow: Sequence[str] = (), *, dangerous_allow_private: bool = False) -> None:
        self._networks: list[Network] = []
        hosts: set[str] = set()
        for entry in allow:
            try:
                self._networks.append(ip_network(entry))
            except ValueError:
                if "/" in entry or not entry:
                    raise
                hosts.add(_canonical(entry))
        self.hosts = frozenset(hosts)
        self.dangerous_allow_private = dangerous_allow_private
        self._known: dict[tuple[str | bytes, bool, bool], _Verdict] = {}

    def refuses(self, ip: str | bytes, host: str = "") -> str | None:
        """Return why ``ip`` must not be dialled, in a word or two, or None when it may.

        ``ip`` is text as inet_ntop writes it, or 4 or 16 bytes; ``host`` is the canonical name being looked up, empty
        for a literal address. Anything that is no address is refused.
        """
        return self._verdict(ip, host).reason

    def opens(self, ip: str | bytes, host: str = "") -> bool:
        """Say whether ``ip`` may be dialled because the operator said so, and not only because it is public."""
        return self._verdict(ip, host).is_opened

    def _verdict(self, ip: str | bytes, host: str) -> _Verdict:
        named = host in self.hosts
        key = (ip, named, named and host == "localhost")
        if key not in self._known:
            if len(self._known) >= 10_000:  # hostile names could fill it
                self._known.clear()
            self._known[key] = self._judge(ip, named=named, localhost=key[2])
        return self._known[key]

    def _judge(self, ip: str | bytes, *, named: bool, localhost: bool) -> _Verdict:
        try:
            address = ip_address(ip)
        except ValueError:
            return _Verdict("not an address", is_opened=False)
        if isinstance(address, IPv6Address):
            if address.scope_id is not None and not address.is_link_local:
                return _Verdict("scoped", is_opened=False)
            if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
                return _Verdict("ISATAP", is_opened=False)
        row = next((row for row in TABLE if address in row.network), None)
        covering = [network for network in self._networks if address in network]
        if row is None:
            return _Verdict(None, is_opened=named or bool(covering))
        if self._opens(row, covering, named=named, localhost=localhost):
            return _Verdict(None, is_opened=True)
        return _Verdict(row.reason, is_opened=False)

    def _opens(self, row: Refused, covering: list[Network], *, named: bool, localhost: bool) -> bool:
        match row.opens:
            case Opens.NEVER:
                return False
            case Opens.EXACTLY:
                if localhost and row.reason == "loopback":
                    return True
                return any(network.num_addresses == 1 or _within_loopback(network) for network in covering)
            case Opens.PRIVATE:
                return self.dangerous_allow_private or named or bool(covering)
            case Opens.RANGE:
                return named or bool(covering)
            case _:
                assert_never(row.opens)


def _canonical(name: str) -> str:
    """Return a host as the guard writes it: lower case, A-labels."""
    name = name.lower()
    return name if name.isascii() else idna.encode(name).decode("ascii")


def _within_loopback(network: Network) -> bool:
    home = _LOOPBACK[0] if network.version == 4 else _LOOPBACK[1]
    return network.version == home.version and network.subnet_of(home)  # type: ignore[arg-type]
