"""The address table: what may be dialled, and what an operator must write to open more."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.callbacks.ranges import METADATA, beside, inside, lies_inside

from homing.callbacks.addresses import TABLE, Address, AddressPolicy, Opens

PUBLIC = [
    *(
        "1.1.1.1",
        "8.8.8.8",
        "9.9.9.9",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
    ),
    *(
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
    ),
    *("192.169.0.0", "198.17.255.255", "198.20.0.0", "203.0.112.255", "203.0.114.0", "223.255.255.255"),
    *(
        "168.63.129.15",
        "168.63.129.17",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2a00:1450:4001:81b::200e",
    ),
    *("2001:200::1", "2003::1", "2620:4f:8001::1", "3ffe::1", "2400:cb00::1"),
]
REFUSED = [
    *(
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "169.254.0.1",
    ),
    *(
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.0.1",
        "192.0.2.1",
        "192.31.196.1",
        "192.52.193.1",
    ),
    *(
        "192.88.99.1",
        "192.168.1.1",
        "192.175.48.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
    ),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16", "100.100.100.200"),
    *("::", "::1", "::127.0.0.1", "::a00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "100:0:0:1::1"),
    *("2001::1", "2001:0:1:2::3", "2001:10::1", "2001:20::1", "2001:2::1", "2001:db8::1", "2002:7f00:1::"),
    *("2002:a9fe:a9fe::", "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd12::1"),
    *("fe80::1", "fec0::1", "ff02::1", "4000::1", "8000::1", "200::1", "1::1"),
    *("2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1"),
]
OPENABLE = st.sampled_from([row for row in TABLE if row.opens in {Opens.RANGE, Opens.PRIVATE}])


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    """Addresses just beside each refused range, and well-known public ones, may be dialled."""
    assert AddressPolicy().refuses(address) is None


@pytest.mark.parametrize("address", REFUSED)
def test_everything_else_is_refused_in_text_and_binary(address: str) -> None:
    """Each range of the list is refused, with a reason, also as the bytes a socket would get."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert AddressPolicy().refuses(address)
    assert AddressPolicy().refuses(socket.inet_pton(family, address))


@pytest.mark.parametrize(
    "junk", ["", "localhost", "127.1", "0x7f.0.0.1", "1.2.3.4.5", "::1::", b"abc", "8.8.8.8 "]
)
def test_what_is_no_address_is_refused(junk: str | bytes) -> None:
    """The policy judges canonical addresses only; other spellings are no address."""
    assert AddressPolicy().refuses(junk) == "not an address"


def test_a_scope_on_a_public_address_is_refused() -> None:
    """A zone id makes no sense outside link-local and is refused; link-local is refused anyway."""
    assert AddressPolicy().refuses("2606:4700::1%eth0") == "scoped"
    assert AddressPolicy().refuses("fe80::1%eth0") == "link-local"


@given(st.integers(0, 2**128 - 1))
def test_ipv6_outside_the_global_range_is_always_refused(number: int) -> None:
    """Whatever lies outside 2000::/3 is refused."""
    address = ipaddress.IPv6Address(number)
    if address not in ipaddress.IPv6Network("2000::/3"):
        assert AddressPolicy().refuses(str(address))


@given(OPENABLE, st.data())
def test_a_range_opens_what_lies_in_it(row: object, data: st.DataObject) -> None:
    """A CIDR in the allow-list opens its addresses, unless a stricter row holds them too."""
    network = row.network  # type: ignore[attr-defined]
    address = network[data.draw(st.integers(0, network.num_addresses - 1))]
    first = next(candidate for candidate in TABLE if address in candidate.network)
    opened = AddressPolicy([str(network)]).refuses(str(address))
    if first.opens in {Opens.RANGE, Opens.PRIVATE} and opened is not None:
        assert opened == "ISATAP"
    if first.opens in {Opens.NEVER, Opens.EXACTLY} and network.num_addresses > 1:
        assert opened is not None


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "::1", "fe80::1"],
)
def test_wide_ranges_never_open_loopback_or_metadata(address: str) -> None:
    """0.0.0.0/0 and friends leave the sealed addresses shut; naming the address opens it."""
    wide = [
        "0.0.0.0/0",
        "::/0",
        "126.0.0.0/7",
        "169.254.0.0/16",
        "168.63.129.0/24",
        "100.64.0.0/10",
        "fe80::/10",
    ]
    assert AddressPolicy(wide, dangerous_allow_private=True).refuses(address)
    assert AddressPolicy([address]).refuses(address) is None
    assert AddressPolicy([f"{address}/{128 if ':' in address else 32}"]).refuses(address) is None


def test_loopback_is_opened_by_a_part_of_its_network_and_only_that_part() -> None:
    """127.0.0.1/32 opens one address; 127.0.0.0/8 names the loopback network; ::1 is another."""
    one = AddressPolicy(["127.0.0.1/32"])
    assert one.refuses("127.0.0.1") is None
    assert one.refuses(b"\x7f\x00\x00\x01") is None
    assert one.refuses("127.0.0.2") == "loopback"
    assert one.refuses("::1") == "loopback"
    assert AddressPolicy(["127.0.0.0/8"]).refuses("127.3.2.1") is None


@pytest.mark.parametrize("address", METADATA)
def test_a_metadata_service_is_opened_by_its_own_address_alone(address: str) -> None:
    """Also those that lie in a private range: neither that range, nor the switch, nor a host's name opens them."""
    wide = ["10.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "fc00::/7", "fd00::/8", "h.example"]
    policy = AddressPolicy(wide, dangerous_allow_private=True)
    assert policy.refuses(address)
    assert policy.refuses(address, "h.example")
    assert AddressPolicy([address]).refuses(address) is None


def test_the_table_and_the_list_of_the_tests_agree() -> None:
    """Two lists, written down apart, give the same verdict on every edge and beside it."""
    policy = AddressPolicy()
    assert [address for _family, address in inside() if policy.refuses(address) is None] == []
    assert [address for address in beside() if policy.refuses(address)] == []


@given(st.ip_addresses())
def test_the_table_and_the_list_of_the_tests_agree_everywhere(address: Address) -> None:
    """So they do on any address; both leave most of IPv4 and of 2000::/3 open."""
    assert (AddressPolicy().refuses(str(address)) is not None) is lies_inside(str(address))


def test_what_the_operator_opened_is_told_from_what_is_public() -> None:
    """Only what a range, a host or the switch names is opened; a refused or simply public address is not."""
    policy = AddressPolicy(["8.8.8.0/24", "10.0.0.0/8", "h.example"], dangerous_allow_private=True)
    opened = ["8.8.8.8", "10.1.1.1", "192.168.1.1"]
    assert all(policy.opens(address) for address in opened)
    assert not any(policy.opens(address) for address in ("1.1.1.1", "127.0.0.1", "::ffff:8.8.8.8", "junk"))
    assert policy.opens("1.1.1.1", "h.example")
    assert not policy.opens("1.1.1.1", "other.example")


def test_a_host_is_opened_however_it_is_written() -> None:
    """The operator may write a name in upper case or in its own script; the guard asks by A-labels."""
    policy = AddressPolicy(["Bücher.Example", "LOCALHOST"])
    assert policy.hosts == {"xn--bcher-kva.example", "localhost"}
    assert policy.refuses("10.0.0.1", "xn--bcher-kva.example") is None


@pytest.mark.parametrize(
    "address",
    ["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::7f00:1", "224.0.0.1", "0.0.0.0", "2001::1"],
)
def test_embedded_ipv4_and_nonsense_are_never_opened(address: str) -> None:
    """No entry, not even the exact one, opens what carries another address inside or is no place to dial."""
    policy = AddressPolicy([address, "0.0.0.0/0", "::/0", "h.example"], dangerous_allow_private=True)
    assert policy.refuses(address)
    assert policy.refuses(address, "h.example")


def test_dangerous_allow_private_opens_the_private_ranges_only() -> None:
    """The switch opens 10/8, 172.16/12, 192.168/16, 100.64/10 and fc00::/7, and nothing else."""
    policy = AddressPolicy(dangerous_allow_private=True)
    opened = {address for address in REFUSED if policy.refuses(address) is None}
    assert opened == {
        "10.0.0.1",
        "100.64.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "fc00::1",
        "fd12::1",
    }


def test_a_named_host_opens_its_addresses_for_itself_alone() -> None:
    """A host in the allow-list may live in a private range; others may not, and it may not live on loopback."""
    policy = AddressPolicy(["Hooks.Example", "localhost"])
    assert policy.refuses("10.1.2.3", "hooks.example") is None
    assert policy.refuses("10.1.2.3", "other.example") == "private"
    assert policy.refuses("10.1.2.3") == "private"
    assert policy.refuses("127.0.0.1", "hooks.example") == "loopback"
    assert policy.refuses("169.254.169.254", "localhost")
    assert policy.refuses("127.0.0.1", "localhost") is None
    assert policy.refuses("::1", "localhost") is None


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "127.0.0.1/64", "", "example.com/24", "☃.example"])
def test_a_wrong_range_is_an_error_at_start(entry: str) -> None:
    """A range that cannot be read, or has bits behind its prefix, is a ValueError and not silently a name."""
    with pytest.raises(ValueError):
        AddressPolicy([entry])


def test_what_was_judged_is_remembered_within_bounds() -> None:
    """Verdicts stay right when the memory of verdicts is full and starts again."""
    policy = AddressPolicy()
    for number in range(10_050):
        policy.refuses(bytes([10, 0, number >> 8, number & 255]))
    assert policy.refuses("10.0.0.1") == "private"
    assert policy.refuses("8.8.8.8") is None
