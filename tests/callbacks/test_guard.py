"""The URL grammar: one reading of each URL, or a refusal with its reason."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import BAD_PORTS, UrlRefused, check_saved_url, parse_url
from homing.contract.notification import CONTRACT_KEYS
from homing.errors import UrlNotAllowed

ACCEPTED = {
    "https://example.com": "https://example.com/",
    "HTTPS://Example.COM/Path": "https://example.com/Path",
    "http://example.com:80/": "http://example.com/",
    "https://example.com:443": "https://example.com/",
    "http://example.com:443/": "http://example.com:443/",
    "https://example.com?x=1": "https://example.com/?x=1",
    "https://example.com/?": "https://example.com/?",
    "https://example.com/a/../b//c;d=%2e%2E@:!$&'()*+,=~": "https://example.com/a/../b//c;d=%2e%2E@:!$&'()*+,=~",
    "https://example.com/?q=a%20b&c[]=1|2?/": "https://example.com/?q=a%20b&c[]=1|2?/",
    "http://8.8.8.8:8080/x": "http://8.8.8.8:8080/x",
    "http://127.0.0.1/": "http://127.0.0.1/",
    "http://[2606:4700:4700:0:0:0:0:1111]:65535/": "http://[2606:4700:4700::1111]:65535/",
    "https://bücher.example/": "https://xn--bcher-kva.example/",
    "https://BÜCHER.example/": "https://xn--bcher-kva.example/",
    "https://xn--bcher-kva.example/": "https://xn--bcher-kva.example/",
    "https://faß.example/": "https://xn--fa-hia.example/",
    "https://r3---sn-abc.example/": "https://r3---sn-abc.example/",
    "https://my_service.example/": "https://my_service.example/",
    "https://1and1.example/": "https://1and1.example/",
    "https://1.2.3.example/": "https://1.2.3.example/",
    "https://a.b-c.example/": "https://a.b-c.example/",
    f"https://{'a' * 63}.example/": f"https://{'a' * 63}.example/",
    f"https://{'a.' * 126}b/": f"https://{'a.' * 126}b/",
}
REFUSED = {
    "": "scheme",
    "example.com": "scheme",
    "//example.com/": "scheme",
    "ftp://example.com/": "scheme",
    "file:///etc/passwd": "scheme",
    "gopher://example.com/": "scheme",
    "jar:http://example.com!/": "scheme",
    "unix:/run/x": "scheme",
    "javascript:alert(1)": "scheme",
    "httpſ://example.com/": "scheme",
    "http:/example.com/": "shape",
    "http:example.com": "shape",
    "https:": "shape",
    "http:///path": "host",
    "http://": "host",
    "http://?x": "host",
    "http://user@example.com/": "userinfo",
    "http://a:b@c@example.com/": "userinfo",
    "http://@example.com/": "userinfo",
    "http://example.com/#": "fragment",
    "http://evil.example#@example.com/": "fragment",
    "http://example.com\\@evil.example/": "characters",
    "http://exam ple.com/": "characters",
    " http://example.com/": "characters",
    "http://example.com/\r\nX: y": "characters",
    "http://exam\tple.com/": "characters",
    "http://example.com/\x00": "characters",
    "http://example.com/\x7f": "characters",
    "http://example.com/\u200b": "characters",
    "http://exa\xadmple.com/": "characters",
    "http://example.com/\xa0": "characters",
    "http://example.com/\u202e": "characters",
    "http://2130706433/": "host",
    "http://0x7f000001/": "host",
    "http://0x7f.1/": "host",
    "http://0X7F.0.0.1/": "host",
    "http://127.1/": "host",
    "http://0/": "host",
    "http://0x/": "host",
    "http://017700000001/": "host",
    "http://0177.0.0.1/": "host",
    "http://127.0.0.01/": "host",
    "http://127.0.0.1./": "host",
    "http://127.0.0.256/": "host",
    "http://1.2.3.4.5/": "host",
    "http://foo.1/": "host",
    "http://foo.0x7f/": "host",
    "http://①②⑦.0.0.1/": "host",
    "http://１２７.0.0.1/": "host",
    "http://127。0。0。1/": "host",
    "http://example。com/": "host",
    "http://\u212a.example/": "host",
    "http://İ.example/": "host",
    "http://ex%61mple.com/": "host",
    "http://%31%32%37.0.0.1/": "host",
    "http://example.com./": "host",
    "http://.example.com/": "host",
    "http://example..com/": "host",
    "http://-a.example/": "host",
    "http://a-.example/": "host",
    "http://a!b.example/": "host",
    f"http://{'a' * 64}.example/": "host",
    f"http://{'ü' * 64}.example/": "host",
    f"http://{'a.' * 127}b/": "host",
    "http://xn--a.example/": "host",
    "http://xn--zzzzzzzz99999.example/": "host",
    "http://XN--MGBA3A4F16A--.example/": "host",
    "http://☃.example/": "host",
    "http://[::1/": "host",
    "http://[::1]x/": "host",
    "http://[127.0.0.1]/": "host",
    "http://[v1.x]/": "host",
    "http://[]/": "host",
    "http://[::ffff:1.2.3.4]/": "host",
    "http://[::FFFF:102:304]/": "host",
    "http://[2606::1.2.3.4]/": "host",
    "http://[fe80::1%25lo]/": "host",
    "http://[fe80::1%lo]/": "host",
    "http://[::1]]/": "host",
    "http://::1/": "host",
    "http://a:b:80/": "port",
    "http://example.com:/": "port",
    "http://[::1]:/": "port",
    "http://example.com:0/": "port",
    "http://example.com:080/": "port",
    "http://example.com:65536/": "port",
    "http://example.com:99999999999/": "port",
    "http://example.com:0x50/": "port",
    "http://example.com:８０/": "port",
    "http://example.com:+80/": "port",
    "http://example.com:22/": "port",
    "http://example.com:10080/": "port",
    "http://example.com/é": "path",
    "http://example.com/%": "path",
    "http://example.com/%zz": "path",
    "http://example.com/{id}": "path",
    "http://example.com/<b>": "path",
    'http://example.com/"': "path",
    "http://example.com/?é": "query",
    "http://example.com/?%4": "query",
    "http://example.com/?{}": "query",
    "http://example.com/" + "a" * 2048: "length",
}


@pytest.mark.parametrize("url", ACCEPTED)
def test_what_is_accepted_is_rebuilt_canonically(url: str) -> None:
    """An acceptable URL has one canonical spelling, and reading that gives the same parts again."""
    parsed = parse_url(url)
    assert parsed.rebuilt == ACCEPTED[url]
    assert parse_url(parsed.rebuilt) == parsed


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_odd_is_refused_with_its_reason(url: str) -> None:
    """Each trick is refused, and the reason is the one for it, as an error the API maps to 422."""
    with pytest.raises(UrlRefused) as caught:
        parse_url(url)
    assert caught.value.reason == REFUSED[url]
    assert isinstance(caught.value, UrlNotAllowed)
    assert caught.value.http_status == 422


def test_every_bad_port_is_refused() -> None:
    """The WHATWG's list has 82 ports above zero, and none may be used; neighbours may."""
    assert len(BAD_PORTS) == 82
    for port in BAD_PORTS:
        with pytest.raises(UrlRefused, match="refused"):
            parse_url(f"http://example.com:{port}/")
    assert parse_url("http://example.com:8480/").port == 8480


def test_the_parts_say_what_was_read() -> None:
    """Parts are given apart, with the query as it was and None where there is none."""
    parsed = parse_url("https://Example.com:8443/p?a=1")
    assert parsed == ("https", "example.com", 8443, "/p", "a=1", False)
    assert parse_url("https://example.com/").query is None
    assert parse_url("https://example.com/?").query == ""
    assert parse_url("http://[::1]/").host == "::1"
    assert parse_url("http://[::1]/").literal
    assert parse_url("http://1.2.3.4/").literal


@given(st.text(max_size=60) | st.text(alphabet=string.printable, max_size=60).map("http://".__add__))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No input raises anything but UrlRefused, and what is accepted is printable ASCII and stable."""
    try:
        parsed = parse_url(text)
    except UrlRefused:
        return
    assert parsed.rebuilt.isascii()
    assert parsed.rebuilt.isprintable()
    assert " " not in parsed.rebuilt
    assert parse_url(parsed.rebuilt) == parsed


@pytest.mark.parametrize("key", sorted(CONTRACT_KEYS))
@pytest.mark.parametrize("query", ["{}=x", "a=1&{}", "a&{}=&b", "%{:02X}{}"])
def test_a_contract_key_in_the_query_is_refused_when_saved(key: str, query: str) -> None:
    """A saved URL may hold no key of the contract, percent-encoded or not, with or without a value."""
    written = query.format(ord(key[0]), key[1:]) if "%" in query else query.format(key)
    with pytest.raises(UrlRefused) as caught:
        check_saved_url(f"https://example.com/?{written}", AddressPolicy())
    assert caught.value.reason == "keys"


def test_other_keys_are_kept() -> None:
    """Keys compare exactly and by name only: another case, or a contract word as a value, is no conflict."""
    parsed = check_saved_url("https://example.com/?Type=1&x=status&my+type=2", AddressPolicy())
    assert parsed.query == "Type=1&x=status&my+type=2"
    assert check_saved_url("https://example.com/", AddressPolicy()).query is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://[::7f00:1]/",
        "http://224.0.0.1/",
    ],
)
def test_a_literal_address_is_judged_when_saved(url: str) -> None:
    """A literal goes through the same table as every dial; the text says no more than that it is refused."""
    with pytest.raises(UrlRefused) as caught:
        check_saved_url(url, AddressPolicy())
    assert caught.value.reason == "address"


def test_an_opened_literal_is_saved() -> None:
    """What the operator opened may be saved."""
    assert check_saved_url("http://127.0.0.1:9000/", AddressPolicy(["127.0.0.1/32"])).port == 9000
    assert check_saved_url("http://10.0.0.1/", AddressPolicy(["10.0.0.0/8"])).host == "10.0.0.1"


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "a.localhost",
            "printer.local",
            "metadata.google.internal",
            "nas.home.arpa",
            "x.onion",
        ),
        *("intranet", "metadata", "host.docker.internal", "localhost.localdomain", "kubernetes.default.svc"),
    ],
)
def test_special_names_need_the_operator(host: str) -> None:
    """Names that mean this machine or a local network are refused unless the operator named them."""
    with pytest.raises(UrlRefused) as caught:
        check_saved_url(f"http://{host}/", AddressPolicy())
    assert caught.value.reason == "name"
    assert check_saved_url(f"http://{host}/", AddressPolicy([host])).host == host


def test_localhost_follows_loopback_and_local_names_the_private_switch() -> None:
    """Where loopback is open its name is too; dangerous_allow_private lets local names be saved, not localhost."""
    for address in ("127.0.0.1/32", "::1"):
        policy = AddressPolicy([address])
        assert check_saved_url("http://localhost:9000/", policy).host == "localhost"
        assert check_saved_url("http://app.localhost/", policy).host == "app.localhost"
    private = AddressPolicy(dangerous_allow_private=True)
    assert check_saved_url("http://intranet/", private).host == "intranet"
    with pytest.raises(UrlRefused):
        check_saved_url("http://localhost/", private)
