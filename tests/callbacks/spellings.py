"""How one address, name or URL can be written so that two readers of it disagree: spellings of hosts, wrappers of URLs."""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Final

Spelling = Callable[[str], str]
Wrapper = Callable[[str], str]

PUBLIC_NAME: Final = "public.example"
"""Resolves to public addresses only; a decoy beside the host that is meant, or the other way round."""


def _octets(v4: str) -> list[int]:
    return list(ipaddress.IPv4Address(v4).packed)


def _number(v4: str) -> int:
    return int(ipaddress.IPv4Address(v4))


def _each(form: str) -> Spelling:
    """Every octet in this form: "{:#x}" gives 0x7f.0x0.0x0.0x1."""
    return lambda v4: ".".join(form.format(octet) for octet in _octets(v4))


def _short(head: int, form: str = "{}") -> Spelling:
    """The first octets apart and the rest as one number, as inet_aton reads 127.1."""

    def spelled(v4: str) -> str:
        octets = _octets(v4)
        rest = int.from_bytes(bytes(octets[head:]))
        return ".".join(form.format(part) for part in (*octets[:head], rest))

    return spelled


def _digits(zero: str) -> Spelling:
    """Decimal digits of another script."""
    table = {ord("0") + n: chr(ord(zero) + n) for n in range(10)}
    return lambda v4: v4.translate(table)


def _dots(dot: str) -> Spelling:
    return lambda host: host.replace(".", dot)


def _mixed(v4: str) -> str:
    first, second, third, fourth = _octets(v4)
    return f"{first:#x}.{second}.0{third:o}.{fourth:#X}"


_CIRCLED: Final = {ord(str(n)): "⓪①②③④⑤⑥⑦⑧⑨"[n] for n in range(10)}


def escaped(host: str) -> str:
    """Every character as its percent-encoded bytes."""
    return "".join(f"%{byte:02x}" for byte in host.encode())


V4: Final[Mapping[str, Spelling]] = {
    "dotted": str,
    "decimal": lambda v4: str(_number(v4)),
    "decimal, trailing dot": lambda v4: f"{_number(v4)}.",
    "decimal, one turn further": lambda v4: str(_number(v4) + 2**32),
    "hex": lambda v4: f"{_number(v4):#x}",
    "hex, upper case": lambda v4: f"{_number(v4):#X}",
    "hex, padded": lambda v4: f"0x{_number(v4):024x}",
    "octal": lambda v4: f"0{_number(v4):o}",
    "octal, padded": lambda v4: f"0{_number(v4):024o}",
    "dotted hex": _each("{:#x}"),
    "dotted hex, padded": _each("0x{:04x}"),
    "dotted octal": _each("0{:o}"),
    "dotted octal, padded": _each("0{:06o}"),
    "mixed": _mixed,
    "two parts": _short(1),
    "two parts, hex": _short(1, "{:#x}"),
    "two parts, octal": _short(1, "0{:o}"),
    "three parts": _short(2),
    "three parts, hex": _short(2, "{:#x}"),
    "leading zeros": _each("{:03d}"),
    "octets one turn further": lambda v4: ".".join(str(octet + 256) for octet in _octets(v4)),
    "five parts": "{}.1".format,
    "trailing dot": "{}.".format,
    "trailing dots": "{}..".format,
    "leading dot": ".{}".format,
    "full-width digits": _digits("０"),
    "full-width all": lambda v4: _digits("０")(v4).replace(".", "．"),
    "circled digits": lambda v4: v4.translate(_CIRCLED),
    "mathematical digits": _digits("𝟎"),
    "Arabic digits": _digits("٠"),
    "ideographic dots": _dots("。"),
    "half-width ideographic dots": _dots("｡"),
    "full-width dots": _dots("．"),
    "one-dot leader": _dots("․"),
    "soft hyphen": lambda v4: v4[0] + "\u00ad" + v4[1:],
    "zero-width space": lambda v4: v4.replace(".", "\u200b.", 1),
    "zero-width joiner": "\u200d{}".format,
    "byte order mark": "\ufeff{}".format,
    "percent-encoded": escaped,
    "percent-encoded dots": _dots("%2e"),
    "percent-encoded first": lambda v4: escaped(v4[0]) + v4[1:],
    "percent-encoded twice": lambda v4: escaped(v4).replace("%", "%25"),
    "bracketed": "[{}]".format,
    "bracketed, mapped": "[::ffff:{}]".format,
    "bracketed, mapped, padded": "[0:0:0:0:0:ffff:{}]".format,
    "bracketed, compatible": "[::{}]".format,
    "bracketed, NAT64": "[64:ff9b::{}]".format,
    "bracketed, IPvFuture": "[v4.{}]".format,
    "with a zone": "{}%lo".format,
    "as a wildcard name": "{}.wild.example".format,
    "as a wildcard name, dashes": lambda v4: f"app-{v4.replace('.', '-')}.wild.example",
    "as a wildcard name, hex": lambda v4: f"{_number(v4):08x}.wild.example",
}
V6: Final[Mapping[str, Spelling]] = {
    "compressed": "[{}]".format,
    "exploded": lambda v6: f"[{ipaddress.IPv6Address(v6).exploded}]",
    "upper case": lambda v6: f"[{v6.upper()}]",
    "last groups as IPv4": lambda v6: f"[{_dotted_tail(v6)}]",
    "zone": "[{}%25lo]".format,
    "zone, raw": "[{}%lo]".format,
    "zone, number": "[{}%251]".format,
    "zone, empty": "[{}%25]".format,
    "unbracketed": str,
    "double brackets": "[[{}]]".format,
    "bracket left open": "[{}".format,
    "IPvFuture": "[v6.{}]".format,
    "padded beyond four": lambda v6: f"[{ipaddress.IPv6Address(v6).exploded.replace(':', ':0')}]",
    "trailing dot": "[{}].".format,
    "trailing dot inside": "[{}.]".format,
    "percent-encoded": lambda v6: f"[{escaped(v6)}]",
    "percent-encoded brackets": "%5B{}%5D".format,
    "full-width colons": lambda v6: f"[{v6.replace(':', '：')}]",
    "prefix length": "[{}/128]".format,
    "space inside": "[ {} ]".format,
    "soft hyphen": lambda v6: f"[{v6[0]}\u00ad{v6[1:]}]",
    "as a wildcard name, dashes": lambda v6: f"{v6.replace(':', '-')}.wild.example",
}


def _dotted_tail(v6: str) -> str:
    packed = ipaddress.IPv6Address(v6).packed
    head = ":".join(f"{packed[n]:02x}{packed[n + 1]:02x}" for n in range(0, 12, 2))
    return f"{head}:{'.'.join(map(str, packed[12:]))}"


def _as_form(form: str) -> Wrapper:
    return lambda host: form.replace("HOST", host)


_FORMS: Final = (
    # What a name of a server, a path, a port or a query around it changes nothing about.
    *("http://HOST/", "https://HOST/", "http://HOST", "https://HOST?x=1", "HTTP://HOST/", "hTtPs://HOST/a"),
    *("http://HOST/latest/meta-data/", "http://HOST:80/", "https://HOST:443/", "http://HOST:8080/a/../b"),
    *("http://HOST/?url=http://public.example/", "http://HOST/%2e%2e/%00", "http://HOST:65535/;x=y"),
    # Userinfo.
    *("http://public.example@HOST/", "http://user:word@HOST/", "http://@HOST/", "http://:@HOST/"),
    *("http://a@b@HOST/", "http://public.example:80@HOST/", "http://public.example%40HOST/"),
    *("http://public.example%20@HOST/", "http://[::]@HOST/", "http://public.example;@HOST/"),
    *("http://HOST@public.example/", "http://HOST:80@public.example/", "http://public.example&@HOST/"),
    # Backslash, number sign, question mark before an @.
    *("http://HOST\\@public.example/", "http://public.example\\@HOST/", "http:\\\\HOST\\", "http://HOST\\.public.example/"),
    *("http://public.example#@HOST/", "http://HOST#@public.example/", "http://HOST/#", "http://HOST?@public.example/"),
    # Spaces and control characters.
    *(" http://HOST/", "http://HOST /", "http:// HOST/", "http://HOST/ ", "http://\tHOST/", "ht\ntp://HOST/"),
    *("http://HOST\r\nHost: public.example/", "http://HOST/\r\nX: y", "http://HOST\x00.public.example/"),
    *("\x01http://HOST/", "http://HOST\x7f/", "http://HOST%00.public.example/", "http://HOST%0d%0a/", "http://HOST\u2028/"),
    # Slashes and schemes.
    *("http:///HOST/", "http:/HOST/", "http:HOST/", "http:////HOST/", "//HOST/", "/\\HOST/", "HOST/", "://HOST/"),
    *("http//HOST/", "http:\u2044\u2044HOST/", "http://http://HOST/", "url:http://HOST/", "feed:http://HOST/"),
    *("view-source:http://HOST/", "jar:http://HOST!/", "netdoc://HOST/", "file://HOST/etc/passwd", "blob:http://HOST/"),
    *("gopher://HOST:70/_x", "dict://HOST:11211/stat", "ftp://HOST/", "ftps://HOST/", "tftp://HOST:69/x", "telnet://HOST/"),
    *("ldap://HOST/", "sftp://HOST/", "scp://HOST/x", "smb://HOST/x", "ws://HOST/", "wss://HOST/", "rtsp://HOST/"),
    *("imap://HOST/", "pop3://HOST/", "smtp://HOST/", "mqtt://HOST/x", "http+unix://HOST/x", "httpſ://HOST/", "httрs://HOST/"),
    # Ports.
    *("http://HOST:/", "http://HOST:0/", "http://HOST:00080/", "http://HOST:65536/", "http://HOST:99999999999/"),
    *("http://HOST:0x50/", "http://HOST:+80/", "http://HOST:-1/", "http://HOST:８０/", "http://HOST:80:443/", "http://HOST:22/"),
    *("http://HOST:6379/", "http://HOST: 80/", "http://HOST:80@public.example/", "http://HOST:http/"),
    # Two hosts in one.
    *("http://HOST,public.example/", "http://HOST;public.example/", "http://HOST&public.example/", "http://HOST|public.example/"),
    *("http://HOST'public.example/", "http://<HOST>/", 'http://"HOST"/', "http://HOST\u3002/", "http://{HOST}/", "http://HOST$/"),
)  # fmt: skip
WRAPPERS: Final[Mapping[str, Wrapper]] = {form: _as_form(form) for form in _FORMS}

NAMES: Final[tuple[str, ...]] = (
    *("localhost", "LOCALHOST", "LocalHost", "localhost.", "localhost..", "app.localhost", "a.b.localhost", "localhost6"),
    *("localhost.localdomain", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback", "loopback", "broadcasthost"),
    *("ｌｏｃａｌｈｏｓｔ", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "localhoſt", "lo\u00adcalhost", "local\u200bhost", "lοcalhost", "ʟocalhost", "localhost。"),
    *("loc%61lhost", "%6c%6f%63%61%6c%68%6f%73%74", "xn--localhost-", "xn--lcalhost-0zd"),
    *("metadata", "metadata.google.internal", "METADATA.GOOGLE.INTERNAL.", "metadata。google。internal", "x.metadata"),
    *("instance-data", "instance-data.ec2.internal", "kubernetes", "kubernetes.default", "kubernetes.default.svc"),
    *("kubernetes.default.svc.cluster.local", "api.team.svc", "host.docker.internal", "gateway.docker.internal"),
    *("host.containers.internal", "printer.local", "_http._tcp.local", "nas.home.arpa", "service.onion", "service.alt"),
    *("intranet", "wpad", "router", "db", "a", "internal", "local", "onion", "home.arpa"),
    *("private.example", "mixed.example", "six.example", "alias.example", "many.example", "hidden.example", "own.example"),
)  # fmt: skip
"""Names that mean this machine or a network inside, and names outside that somebody lets point there."""
