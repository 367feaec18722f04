"""Which headers, log-ins and certificates an owner may set: nothing passes that ends a line or takes a meaning."""

import datetime as dt
import sys
import unicodedata
from pathlib import Path

import pytest
from tests.callbacks.certificates import certificates
from tests.callbacks.naughty import NAUGHTY, of_category_c

from homing.callbacks.headers import (
    MAX_HEADERS,
    MAX_VALUE_CHARS,
    RESERVED,
    check_ca,
    check_headers,
    check_user,
    check_value,
)
from homing.errors import NotAcceptable

PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def is_taken(name: str = "x", value: str = "y") -> bool:
    """Say whether a header may be set."""
    try:
        check_headers({name: value}, has_auth=False)
    except NotAcceptable:
        return False
    return True


def refusal(headers: dict[str, str], *, has_auth: bool = False) -> tuple[str, str]:
    """Return place and reason of a refusal."""
    with pytest.raises(NotAcceptable) as caught:
        check_headers(headers, has_auth=has_auth)
    ((place, reason),) = caught.value.errors
    assert str(caught.value) == f"{place}: {reason}"
    return place, reason


def test_what_owners_set_is_taken() -> None:
    """Keys, tokens, tabs and spaces inside; as many and as long as allowed."""
    check_headers({}, has_auth=True)
    check_headers({"X-Api-Key": "s3cr3t", "Authorization": "Bearer a.b.c", "x_y": "a \t b"}, has_auth=False)
    check_headers({TOKEN[:15]: PRINTABLE, "x" * 128: "y" * MAX_VALUE_CHARS}, has_auth=True)
    check_headers({f"x-{n}": "y" for n in range(MAX_HEADERS)}, has_auth=False)


def test_one_header_too_many_is_refused() -> None:
    """All together."""
    assert refusal({f"x-{n}": "y" for n in range(MAX_HEADERS + 1)}) == ("$.headers", "at most 20 headers")


@pytest.mark.parametrize(
    "name",
    [
        *RESERVED,
        *map(str.upper, RESERVED),
        *(
            "webhook-id",
            "Webhook-Signature",
            "webhook-",
            "homing-test",
            "HOMING-X",
            "Proxy-Authorization",
            "proxy-",
        ),
    ],
)
def test_a_header_that_is_ours_or_frames_the_request_is_refused(name: str) -> None:
    """Whatever its case."""
    place, reason = refusal({name: "y"})
    assert place == f"$.headers.{name}"
    assert "set by Homing" in reason


def test_authorization_is_refused_beside_auth_only() -> None:
    """There is one log-in."""
    check_headers({"AUTHORIZATION": "x"}, has_auth=False)
    assert refusal({"AUTHORIZATION": "x"}, has_auth=True)[1] == "auth sets this header already"


def test_the_same_name_in_another_case_is_refused() -> None:
    """A header stands there once."""
    assert refusal({"X-Key": "a", "x-kEY": "b"}) == ("$.headers.x-kEY", "this header stands there twice")


def test_a_long_name_is_not_repeated_whole() -> None:
    """Where something is refused is told in 40 characters of it."""
    assert refusal({"webhook-" + "x" * 120: "y"})[0] == "$.headers.webhook-" + "x" * 32


def test_names_are_tokens_of_rfc_9110() -> None:
    """Of all characters there are, exactly these may be in a name, and a name has one at least."""
    assert "".join(c for c in map(chr, range(0x3000)) if is_taken(name=f"x{c}")) == "".join(sorted(TOKEN))
    assert not is_taken(name="")
    assert not is_taken(name="x" * 129)
    for c in map(chr, range(0x3000, sys.maxunicode + 1)):
        if unicodedata.category(c)[0] in "NL" and unicodedata.normalize("NFKC", c).isascii():
            assert not is_taken(name=f"x{c}"), f"a look-alike: {ord(c):x}"


def test_values_are_printable_ascii() -> None:
    """Of all characters, exactly these stand at a value's ends, and tab and space besides inside it."""
    points = [chr(point) for point in range(0x3000)]
    assert "".join(c for c in points if is_taken(value=c)) == PRINTABLE
    assert "".join(c for c in points if is_taken(value=f"x{c}")) == PRINTABLE
    assert "".join(c for c in points if is_taken(value=f"{c}x")) == PRINTABLE
    assert "".join(c for c in points if is_taken(value=f"x{c}x")) == "\t " + PRINTABLE
    assert not is_taken(value="")
    assert not is_taken(value="y" * (MAX_VALUE_CHARS + 1))


def test_nothing_of_unicodes_category_c_passes_but_a_tab_inside() -> None:
    """Controls, formats, surrogates, private and unassigned ones: in no name, no value, no password of a log-in."""
    for c in of_category_c(every=97):
        assert not is_taken(name=f"x{c}x")
        assert not is_taken(value=f"x{c}x") or c == "\t"
        with pytest.raises(NotAcceptable):
            check_user("ann", f"x{c}x")
        with pytest.raises(NotAcceptable):
            check_user(f"x{c}x", "")


@pytest.mark.parametrize("text", NAUGHTY)
def test_what_is_taken_of_naughty_strings_is_one_line_of_ascii(text: str) -> None:
    """As a value, a name and a bearer's token: taken or refused, and what is taken is harmless."""
    if is_taken(value=text):
        assert text.isascii()
        assert text.replace("\t", " ").isprintable()
        assert text == text.strip()
    assert not is_taken(name=text) or set(text) <= set(TOKEN)
    try:
        check_value("auth.bearer", text)
    except NotAcceptable as error:
        assert error.errors[0][0] == "$.auth.bearer"
    else:
        assert is_taken(value=text)


def test_a_log_in_is_what_basic_authentication_can_carry() -> None:
    """A colon may be in the password only; letters of all scripts may be in both."""
    check_user("Zoë", "a:b ☃")
    check_user("", "")
    with pytest.raises(NotAcceptable, match=r"\$\.auth\.basic\.username: must not hold a colon"):
        check_user("a:b", "c")
    with pytest.raises(NotAcceptable, match=r"\$\.auth\.basic: must not hold control characters"):
        check_user("a", "b\n")


def test_authorities_are_certificates_in_pem(tmp_path: Path) -> None:
    """One or more; not a key, not text, not ASCII-like."""
    pem = Path(certificates(tmp_path, ["localhost"]).ca_file).read_text("ascii")
    check_ca(pem)
    check_ca(f"# ours, since {dt.date.min}\n{pem}\n{pem}")
    key = (tmp_path / "server.pem").read_text("ascii").partition("-----BEGIN CERTIFICATE")[0]
    for bad in (
        "",
        "x",
        key,
        pem[:200],
        pem.replace("M", "*"),
        f"é{pem}",
        pem.replace("CERTIFICATE", "NOTHING"),
    ):
        with pytest.raises(NotAcceptable, match=r"\$\.tls\.ca: must be one or more certificates in PEM"):
            check_ca(bad)
