"""A URL is judged when it is saved: what is refused, what is only warned of, and that nobody waits for a name."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from homing.api import urls
from homing.api.urls import SavedUrls
from homing.callbacks.addresses import AddressPolicy
from homing.errors import UrlNotAllowed

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str, error: Exception | None = None) -> None:
    """Let every name resolve to these addresses."""

    async def resolved(_loop: object, _host: str, port: int, **_named: object) -> Any:
        if error is not None:
            raise error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr("uvloop.Loop.getaddrinfo", resolved)


async def judged(url: str, *allow: str) -> list[str]:
    return await SavedUrls(AddressPolicy(allow))(url, "json")


def test_a_name_with_public_addresses_passes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to warn of."""
    names(monkeypatch, "93.184.216.34")
    assert run(judged("https://shop.example.com/cb")) == []


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1"])
def test_a_name_with_an_address_inside_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """One refused address is enough, and the refusal does not tell which it was."""
    names(monkeypatch, "93.184.216.34", address)
    with pytest.raises(UrlNotAllowed) as caught:
        run(judged("https://shop.example.com/cb"))
    assert address not in str(caught.value)


def test_a_name_that_the_operator_opened_passes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host named in `callbacks.allow` may have a private address."""
    names(monkeypatch, "10.0.0.1")
    assert run(judged("https://shop.example.com/cb", "shop.example.com")) == []


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), OSError("down"), UnicodeError("label")])
def test_a_name_that_does_not_resolve_is_a_warning(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It may resolve tomorrow: saved, with a warning."""
    names(monkeypatch, error=error)
    (warning,) = run(judged("https://shop.example.com/cb"))
    assert "shop.example.com" in warning


def test_a_slow_name_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the limit it is a warning too."""

    async def forever(*_given: object, **_named: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr("uvloop.Loop.getaddrinfo", forever)
    monkeypatch.setattr(urls, "LOOK_UP_S", 0.01)
    assert len(run(judged("https://shop.example.com/cb"))) == 1
    assert urls.LOOK_UP_S == 0.01


def test_an_address_is_not_looked_up(run: Run) -> None:
    """A literal address is judged by the guard alone."""
    assert run(judged("https://93.184.216.34/cb")) == []
    with pytest.raises(UrlNotAllowed):
        run(judged("https://127.0.0.1/cb"))
