"""Where no callback may go, written down a second time: what tests compare the guard with must not come from the guard.

The list is that of the IANA registries of special-purpose addresses and of the clouds' own documents. Membership is
counted in whole numbers here, so that no opinion of Python's ``ipaddress`` comes in.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final

V4: Final[dict[str, tuple[str, ...]]] = {
    "this network": ("0.0.0.0/8",),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    "carrier NAT": ("100.64.0.0/10",),
    "loopback": ("127.0.0.0/8",),
    "link-local": ("169.254.0.0/16",),
    "protocol assignments": ("192.0.0.0/24",),
    "documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    "AS112": ("192.31.196.0/24", "192.175.48.0/24"),
    "AMT": ("192.52.193.0/24",),
    "6to4 relay": ("192.88.99.0/24",),
    "benchmarking": ("198.18.0.0/15",),
    "multicast": ("224.0.0.0/4",),
    "reserved": ("240.0.0.0/4",),
    "Azure's host": ("168.63.129.16/32",),
}
V6: Final[dict[str, tuple[str, ...]]] = {
    "IPv4-compatible": ("::/96",),
    "IPv4-mapped": ("::ffff:0:0/96",),
    "IPv4-translated": ("::ffff:0:0:0/96",),
    "NAT64": ("64:ff9b::/96", "64:ff9b:1::/48"),
    "discard": ("100::/64", "100:0:0:1::/64"),
    "protocol assignments, IPv6": ("2001::/23",),
    "documentation, IPv6": ("2001:db8::/32", "3fff::/20"),
    "6to4": ("2002::/16",),
    "AS112, IPv6": ("2620:4f:8000::/48",),
    "segment routing": ("5f00::/16",),
    "unique local": ("fc00::/7",),
    "link-local, IPv6": ("fe80::/10",),
    "site-local": ("fec0::/10",),
    "multicast, IPv6": ("ff00::/8",),
    "not handed out": ("200::/7", "400::/6", "800::/5", "1000::/4", "4000::/3", "8000::/1"),
}
METADATA: Final = (
    *("169.254.169.254", "169.254.170.2", "169.254.42.42", "169.254.0.23", "100.100.100.200", "100.96.0.96"),
    *("192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42"),
    *("fd00:c1::a9fe:a9fe", "fd00:a9fe:a9fe::1", "fd00:100::100:200", "fe80::a9fe:a9fe"),
)
_GLOBAL_V6: Final = 0b001  # 2000::/3
_TEREDO: Final = 0x20010000  # 2001::/32
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


def number(address: str) -> int:
    """An address as a whole number."""
    return int(ipaddress.ip_address(address))


def text(value: int, *, is_v6: bool) -> str:
    """The address of a whole number, as Python writes it."""
    return str(ipaddress.IPv6Address(value) if is_v6 else ipaddress.IPv4Address(value))


def _span(network: str) -> tuple[int, int]:
    start, _, bits = network.partition("/")
    size = 1 << ((128 if ":" in start else 32) - int(bits))
    return number(start), number(start) + size - 1


_SPANS: Final[Mapping[str, list[tuple[int, int]]]] = {
    family: [_span(network) for network in networks] for family, networks in (V4 | V6).items()
}
_SPANS_V4: Final = [span for family in V4 for span in _SPANS[family]] + [
    _span(f"{address}/32") for address in METADATA if ":" not in address
]
_SPANS_V6: Final = [span for family in V6 for span in _SPANS[family]]
# What no range and no switch opens: only its own address does, or nothing at all.
_SEALED: Final = (
    *("loopback", "link-local", "Azure's host", "link-local, IPv6", "this network", "6to4 relay", "multicast"),
    *("IPv4-compatible", "IPv4-mapped", "IPv4-translated", "NAT64", "6to4", "multicast, IPv6"),
)  # fmt: skip


def lies_inside(address: str) -> bool:
    """True for an address that no callback may reach unless an operator opened it."""
    value = number(address)
    if ":" not in address:
        return any(first <= value <= last for first, last in _SPANS_V4)
    if value >> 125 != _GLOBAL_V6 or value >> 32 & 0xFFFFFFFF in _ISATAP:
        return True
    return any(first <= value <= last for first, last in _SPANS_V6)


def is_sealed(address: str) -> bool:
    """True for an address that even the widest range and `dangerous_allow_private` must leave shut."""
    value, is_v6 = number(address), ":" in address
    is_hiding = is_v6 and (value >> 96 == _TEREDO or value >> 32 & 0xFFFFFFFF in _ISATAP)
    spans = [span for family in _SEALED if family in (V6 if is_v6 else V4) for span in _SPANS[family]]
    return address in METADATA or is_hiding or any(first <= value <= last for first, last in spans)


def inside() -> Iterator[tuple[str, str]]:
    """(family, address): of each range its edges, their inner neighbours and its middle, and all metadata services."""
    for families, is_v6 in ((V4, False), (V6, True)):
        for family, networks in families.items():
            for network in networks:
                first, last = _span(network)
                for value in dict.fromkeys((first, first + 1, (first + last) // 2, last - 1, last)):
                    if first <= value <= last:
                        yield family, text(value, is_v6=is_v6)
    for address in METADATA:
        yield "metadata", address


def beside() -> Iterator[str]:
    """The public addresses just outside each range."""
    for spans, is_v6 in ((_SPANS_V4, False), (_SPANS_V6, True)):
        for first, last in spans:
            for value in (first - 1, last + 1):
                if 0 <= value < 1 << (128 if is_v6 else 32):
                    address = text(value, is_v6=is_v6)
                    if not lies_inside(address):
                        yield address


def embedding(v4: str) -> Iterator[tuple[str, str]]:
    """(family, IPv6 address) of each way to hide an IPv4 address in one."""
    value = number(v4)
    for family, start, shift in (
        ("IPv4-compatible", "::", 0),
        ("IPv4-mapped", "::ffff:0:0", 0),
        ("IPv4-translated", "::ffff:0:0:0", 0),
        ("NAT64", "64:ff9b::", 0),
        ("NAT64", "64:ff9b:1::", 0),
        ("NAT64", "64:ff9b:1:fffe::", 0),
        ("6to4", "2002::", 80),
        ("ISATAP", "2606:4700::5efe:0:0", 0),
        ("ISATAP", "2a00:1450:4001:81b:200:5efe::", 0),
    ):
        yield family, text(number(start) | value << shift, is_v6=True)
    # Teredo: the server plain, the client with all its bits turned round.
    yield "Teredo", text(number("2001::") | value << 64, is_v6=True)
    yield "Teredo", text(number("2001::") | number("8.8.8.8") << 64 | value ^ 0xFFFFFFFF, is_v6=True)
