"""The corpus of hostile URLs: every place inside, in every spelling, in changing wrappers; and the public ones that must pass.

All of it is generated, and always the same. Nothing here is ever looked up or dialled: see `dials`.
"""

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from tests.callbacks import spellings
from tests.callbacks.ranges import beside, embedding, inside, lies_inside, text
from tests.callbacks.spellings import PUBLIC_NAME


class Payload(NamedTuple):
    """One hostile URL, and what it is made of."""

    url: str
    family: str
    spelling: str
    wrapper: str


class Control(NamedTuple):
    """One public URL, and the addresses that a callback to it dials."""

    url: str
    addresses: frozenset[str]


PUBLIC: Final = ("93.184.216.34", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
HOSTILE: Final = ("10.0.0.1", "fd00::1", "169.254.169.254", "::1", "93.184.216.35")
"""What a name that nobody knows resolves to, some of it inside: a name may be anybody's."""
RESOLVED: Final[Mapping[str, Sequence[str]]] = {
    PUBLIC_NAME: PUBLIC,
    "private.example": ("10.0.0.7",),
    "mixed.example": ("93.184.216.34", "192.168.1.1", "2606:4700::1111", "fd12::1"),
    "six.example": ("fd00:ec2::254",),
    "hidden.example": ("64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::ffff:10.0.0.1", "2606:4700::5efe:7f00:1"),
    "many.example": (*(f"93.184.217.{n}" for n in range(20)), "127.0.0.1"),
}
_WRAPPERS: Final = tuple(spellings.WRAPPERS.items())
_PLAIN: Final = _WRAPPERS[0]
IS_FULL: Final = os.environ.get("HOMING_CHAOS") == "full"
_WRAPPED: Final = 12 if IS_FULL else 2
"""In how many wrappers each spelling of each address stands."""


def resolved(name: str) -> Sequence[str]:
    """What the test's resolver knows about a name."""
    name = name.lower().rstrip(".")
    return PUBLIC if name.endswith(f".{PUBLIC_NAME}") else RESOLVED.get(name, HOSTILE)


def payloads() -> list[Payload]:
    """The whole corpus, each URL once."""
    found: dict[str, Payload] = {}
    turn = 0
    for family, spelling, host in _hosts():
        is_dotted = family == "loopback" and spelling == "dotted"
        wrapped = [_WRAPPERS[(turn + n) % len(_WRAPPERS)] for n in range(_WRAPPED - 1)]
        turn += len(wrapped)
        for form, wrap in _WRAPPERS if is_dotted else [_PLAIN, *wrapped]:
            url = wrap(host)
            found.setdefault(url, Payload(url, family, spelling, form))
    for name in spellings.NAMES:
        for form, wrap in _WRAPPERS:
            url = wrap(name)
            found.setdefault(url, Payload(url, "name", name, form))
    return list(found.values())


def _hosts() -> Iterator[tuple[str, str, str]]:
    addresses = dict.fromkeys(inside())
    for v4 in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "100.100.100.200", "8.8.8.8"):
        addresses.update(dict.fromkeys(embedding(v4)))
    for family, address in addresses:
        for spelling, spell in (spellings.V6 if ":" in address else spellings.V4).items():
            yield family, spelling, spell(address)


_IDN_NAMES: Final = (
    *("bücher", "straße", "faß", "garçon", "señor", "smörgås", "žluťoučký", "łódź", "őrült", "çay", "ðað", "œuvre"),
    *("пример", "испытание", "δοκιμή", "παράδειγμα", "例え", "テスト", "测试", "測試", "테스트", "உதாரணம்", "परीक्षा"),
    *("দৃষ্টান্ত", "ઉદાહરણ", "ตัวอย่าง", "օրինակ", "მაგალითი", "በምሳሌ", "مثال", "דוגמה", "آزمایشی", "ꦗꦮ", "ⴰⵎⴰⵣⵉⵖ"),
)  # fmt: skip
_NAMES: Final = (
    *("www", "Shop", "a.b.c.d.e", "my_service", "1and1", "1.2.3", "x--y", "r3---sn-abc", "xn--bcher-kva", "10-0-0-1"),
    *("localhost", "notlocalhost", "localhost-2", "metadata", "internal", "local", "xlocal", "onion", "svc", "home.arpa"),
    *("0x7f", "127.0.0.1", "2130706433", "a" * 63, "_acme", "kubernetes.default.svc.cluster.local"),
)  # fmt: skip
_PORTS: Final = (81, 443, 1024, 3000, 5000, 8000, 8080, 8443, 8480, 9000, 9443, 10000, 49152, 65535)
_PATHS: Final = (
    *("/", "/hooks/homing", "/a/../b", "/%2e%2e/", "//", "/a;b=c", "/@x", "/~user/", "/index.php", "/a:b", "/%E2%82%AC"),
    *("/$&'()*+,=!", "/127.0.0.1/", "/http://10.0.0.1/", "/localhost"),
)  # fmt: skip
_QUERIES: Final = (
    *("x=1", "token=abc&x", "", "a[]=1&a[]=2", "url=http://10.0.0.1/", "q=a%20b", "a=b?c=/d", "@127.0.0.1/", "x=1|2"),
    *("Type=x", "x=status", "%E2%82%AC=1"),
)  # fmt: skip
_KNOWN: Final = (
    *("1.1.1.1", "8.8.8.8", "9.9.9.9", "93.184.216.34", "151.101.1.69", "104.16.0.1", "185.199.108.153", "203.0.114.1"),
    *("2606:4700:4700::1111", "2001:4860:4860::8888", "2620:fe::fe", "2a00:1450:4001:81b::200e", "2400:cb00::1"),
    *("2a01:4f8::1", "2003::1", "2c0f:f248::1", "2800:3f0::1", "2404:6800:4004::1", "2600:1f18::1", "3ffe::1"),
)  # fmt: skip


def controls() -> list[Control]:
    """Public URLs: neighbours of all that is refused, drawn addresses, names of all scripts, ports, paths, queries."""
    drawn = random.Random(7)
    addresses = [*_KNOWN, *beside()]
    while len(addresses) < 160:
        is_v6 = len(addresses) % 2 == 0
        value = 1 << 125 | drawn.getrandbits(125) if is_v6 else drawn.getrandbits(32)
        address = text(value, is_v6=is_v6)
        if not lies_inside(address):
            addresses.append(address)
    urls = {f"http://{_bracketed(address)}/": frozenset({address}) for address in addresses}
    for name in (*_NAMES, *_IDN_NAMES):
        urls[f"https://{name}.{PUBLIC_NAME}/"] = frozenset(PUBLIC)
    for port in _PORTS:
        urls[f"http://public.example:{port}/"] = frozenset(PUBLIC)
        urls[f"https://[2606:4700:4700::1111]:{port}/"] = frozenset({"2606:4700:4700::1111"})
    for path in _PATHS:
        urls[f"https://public.example{path}"] = frozenset(PUBLIC)
        urls[f"http://8.8.8.8{path}"] = frozenset({"8.8.8.8"})
    for query in _QUERIES:
        urls[f"https://public.example/?{query}"] = frozenset(PUBLIC)
        urls[f"http://1.1.1.1?{query}"] = frozenset({"1.1.1.1"})
    return [Control(url, addresses) for url, addresses in urls.items()]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
