"""The one place that reads a callback's URL: strictly, once, into parts from which the URL to dial is rebuilt.

Pure: no name look-ups, no sockets. What a name resolves to is judged at the dial, by `addresses.AddressPolicy`.
Parsers disagree about odd URLs, and each disagreement is a way past a check; so what is odd is refused, and libcurl
only ever sees what this module wrote.
"""

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

import idna

from homing.callbacks.addresses import AddressPolicy
from homing.contract.forms import holds_contract_key
from homing.errors import UrlNotAllowed

MAX_URL_CHARS = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}

# https://fetch.spec.whatwg.org/#port-blocking: ports where a server of another protocol might listen.
_BAD_PORTS = (
    "1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 "
    "123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 "
    "990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080"
)
BAD_PORTS = frozenset(map(int, _BAD_PORTS.split()))

# Names that mean this machine, or a network that is not the public internet (RFC 6761, 6762, 7686, 8375, 9476).
# The last two are /etc/hosts' localhost.localdomain and what a Kubernetes resolver completes (api.default.svc).
SPECIAL_NAMES = (
    *("localhost", "local", "internal", "home.arpa", "onion", "alt", "metadata"),
    *("localdomain", "svc"),
)

# ASCII: to IGNORECASE alone, ſ would be an s.
_SHAPE = re.compile(r"(https?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE | re.ASCII)
_OPEN = "the operator may open it (callbacks.allow)"
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]|]|%[0-9A-Fa-f]{2})*")


class UrlRefused(UrlNotAllowed):
    """The guard refuses this callback URL.

    ``reason`` is a stable word: ``length``, ``characters``, ``scheme``, ``shape``, ``userinfo``, ``fragment``,
    ``host``, ``port``, ``path``, ``query``, ``address``, ``name`` or ``keys``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class ParsedUrl(NamedTuple):
    """A URL's canonical parts; host in lower case, names in A-labels, IPv6 compressed and without brackets."""

    scheme: str
    host: str
    port: int
    path: str
    query: str | None
    """Without its question mark; None without a question mark; kept as it was given."""
    literal: bool
    """True when the host is an address, not a name."""

    @property
    def origin(self) -> str:
        """Scheme, host and port; the default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def target(self) -> str:
        """Path and query, as the request line carries them."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def rebuilt(self) -> str:
        """The URL written again from its parts: the only spelling that is ever dialled."""
        return self.origin + self.target


def parse_url(url: str) -> ParsedUrl:
    """Read a callback URL by a grammar narrower than RFC 3986, or raise `UrlRefused`; `ParsedUrl.rebuilt` reads back.

    http and https only; no userinfo, fragment, backslash, space, control or (outside the host) non-ASCII character;
    IPv4 only as four decimal numbers; IPv6 in brackets without a zone; names by IDNA 2008; no port that the WHATWG
    blocks.
    """
    if len(url) > MAX_URL_CHARS:
        raise UrlRefused("length", f"the URL is longer than {MAX_URL_CHARS} characters")
    if any(char <= " " or char in "\\\x7f" or (char > "\x7f" and not char.isprintable()) for char in url):
        raise UrlRefused("characters", "spaces, backslashes and control characters are not allowed in a URL")
    if "#" in url:
        raise UrlRefused("fragment", "a fragment (#…) is never sent; leave it out")
    shape = _SHAPE.fullmatch(url)
    if shape is None:
        if not url.lower().startswith(("http:", "https:")):
            raise UrlRefused("scheme", "the URL must begin with https:// or http://")
        raise UrlRefused("shape", "the URL must look like https://host/path")
    scheme, authority, path, query = shape[1].lower(), shape[2], shape[3] or "/", shape[4]
    if "@" in authority:
        raise UrlRefused("userinfo", "a user name or password in the URL is not allowed: set auth instead")
    host, literal, port = _authority(authority, DEFAULT_PORTS[scheme])
    if _PATH.fullmatch(path) is None:
        raise UrlRefused("path", "the path holds a character that must be percent-encoded")
    if query is not None and _QUERY.fullmatch(query) is None:
        raise UrlRefused("query", "the query holds a character that must be percent-encoded")
    return ParsedUrl(scheme, host, port, path, query, literal)


def check_saved_url(url: str, policy: AddressPolicy) -> ParsedUrl:
    """Judge a URL when an endpoint is saved, whatever its form; raise `UrlRefused` if it must not be.

    Beyond the grammar: a literal address must pass the policy, a name must not be a special one unless the operator
    named it, and the query must not hold a key of the contract. A name's addresses are judged later, at each dial.
    """
    parsed = parse_url(url)
    if parsed.literal:
        if policy.refuses(parsed.host) is not None:
            raise UrlRefused("address", f"callbacks to this address are refused: it is not public; {_OPEN}")
    elif _is_special(parsed.host) and not _may_name(parsed.host, policy):
        raise UrlRefused("name", f"callbacks to this name are refused: it is not public; {_OPEN}")
    if key := holds_contract_key(parsed.query or ""):
        raise UrlRefused("keys", f"the query may not hold the contract's own key {key}")
    return parsed


def _authority(authority: str, default_port: int) -> tuple[str, bool, int]:
    """Return host, whether it is a literal address, and port."""
    if authority.startswith("["):
        inside, closed, port_text = authority[1:].partition("]")
        if not closed or (port_text and not port_text.startswith(":")):
            raise UrlRefused("host", "an IPv6 address is written [2001:db8::1]")
        host, literal = _ipv6(inside), True
        port_text, has_port = port_text[1:], bool(port_text)
    else:
        name, colon, port_text = authority.partition(":")
        host, literal = _host(name)
        has_port = bool(colon)
    if not has_port:
        return host, literal, default_port
    if _PORT.fullmatch(port_text) is None or int(port_text) > 65535:
        raise UrlRefused("port", "the port must be a number from 1 to 65535")
    port = int(port_text)
    if port in BAD_PORTS:
        raise UrlRefused("port", f"port {port} belongs to another protocol and is refused")
    return host, literal, port


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise UrlRefused("host", "this is no IPv6 address") from None
    # A zone is refused; and an IPv4 address inside has two spellings, and Pythons disagree which is canonical.
    if "%" in text or "." in text or address.ipv4_mapped is not None:
        raise UrlRefused("host", "an IPv6 zone, or an IPv4 address inside an IPv6 address, is not allowed")
    return address.compressed


def _host(name: str) -> tuple[str, bool]:
    labels = [_label(label) for label in name.split(".")]
    host = ".".join(labels)
    if len(host) > 253:
        raise UrlRefused("host", "the host name is longer than 253 characters")
    if _NUMERIC.fullmatch(labels[-1]) is None:
        return host, False
    # What ends in a number is an address to every resolver (127.1, 0x7f000001, 2130706433): one spelling is enough.
    try:
        return str(IPv4Address(host)), True
    except AddressValueError:
        raise UrlRefused("host", "an IPv4 address is written as four decimal numbers") from None


def _label(label: str) -> str:
    """Return one label in lower case ASCII, or raise; each label alone, for IDNA knows more dots than DNS does."""
    try:
        if not label.isascii():
            label = idna.alabel(_folded(label)).decode("ascii")
        else:
            label = label.lower()
            if label.startswith("xn--"):
                label = idna.alabel(idna.ulabel(label)).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise UrlRefused("host", "the host name is not a valid international name") from None
    if _LABEL.fullmatch(label) is None:
        raise UrlRefused("host", "the host is not a valid name")
    return label


def _folded(label: str) -> str:
    """Lower case and NFC (RFC 5895), but nothing that would turn a look-alike into an ASCII letter (K, İ, ；)."""
    folded = unicodedata.normalize("NFC", label.lower())
    if sum(char.isascii() for char in folded) > sum(char.isascii() for char in label):
        raise idna.IDNAError("look-alike")
    return folded


def _is_special(host: str) -> bool:
    return "." not in host or any(host == name or host.endswith(f".{name}") for name in SPECIAL_NAMES)


def _may_name(host: str, policy: AddressPolicy) -> bool:
    if host in policy.hosts:
        return True
    if host == "localhost" or host.endswith(".localhost"):
        return policy.refuses("127.0.0.1") is None or policy.refuses("::1") is None
    return policy.dangerous_allow_private
