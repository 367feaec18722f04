"""The machine's own addresses: the kernel knows them, nothing is sent, and the operator's word goes before."""

import socket

import psutil
import pytest

from homing.callbacks import own_addresses
from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.own_addresses import is_own, refuses


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1"])
def test_the_kernel_knows_its_own(address: str) -> None:
    """What ends on this machine is its own, whoever listens there."""
    assert is_own(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "203.0.114.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
)
def test_the_rest_of_the_world_is_not(address: str) -> None:
    """With a route there or without one."""
    assert not is_own(address)


def test_every_address_of_this_machines_interfaces_is_its_own() -> None:
    """Also those of the network cards, whatever they are where this test runs."""
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    found = [
        one.address
        for name, addresses in psutil.net_if_addrs().items()
        for one in addresses
        if name in up and one.family in {socket.AF_INET, socket.AF_INET6} and "%" not in one.address
    ]
    assert found
    assert all(map(is_own, found))


def test_a_kernel_that_does_not_tell_owns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sandbox without netlink the address table still stands; callbacks go on."""

    def forbidden(*_: object) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr("homing.callbacks.own_addresses.socket.socket", forbidden)
    assert not is_own("127.0.0.1")


def test_the_verdict_is_the_policys_then_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by the table: for its reason. Public but our own: refused, unless a range or the host's name opens it."""
    monkeypatch.setattr(own_addresses, "is_own", lambda ip: ip in {"8.8.8.8", "10.0.0.1"})
    assert refuses(AddressPolicy(), "10.0.0.1") == "private"
    assert refuses(AddressPolicy(), "1.1.1.1") is None
    assert refuses(AddressPolicy(), "8.8.8.8") == "this machine's own"
    assert refuses(AddressPolicy(["8.8.8.8/32"]), "8.8.8.8") is None
    assert refuses(AddressPolicy(["8.0.0.0/8"]), "8.8.8.8") is None
    assert refuses(AddressPolicy(["h.example"]), "8.8.8.8", "h.example") is None
    assert refuses(AddressPolicy(["h.example"]), "8.8.8.8", "other.example") == "this machine's own"
    assert refuses(AddressPolicy(dangerous_allow_private=True), "10.0.0.1") is None
