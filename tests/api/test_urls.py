"""A URL is judged when it is saved: what is refused, what is only warned of, and that nobody waits for a name."""

import asyncio
import io
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.api.world import app_with_users, world

from homing.api import urls
from homing.api.urls import ADDRESS_REFUSED, IN_ACCESS_LOGS, SavedUrls
from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import UrlRefused
from homing.errors import UrlNotAllowed

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str, error: Exception | None = None) -> None:
    """Let every name resolve to these addresses."""

    async def resolved(_loop: object, _host: str, port: int, **_named: object) -> Any:
        if error is not None:
            raise error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr("uvloop.Loop.getaddrinfo", resolved)


async def judged(url: str, *allow: str, form: str = "json") -> list[str]:
    return await SavedUrls(AddressPolicy(allow))(url, form)


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


def test_the_form_get_is_warned_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is written to would stand in access logs: said at the save, beside any other warning; never for the others."""
    names(monkeypatch, error=socket.gaierror(-2, "unknown"))
    assert run(judged("https://93.184.216.34/cb", form="get")) == [IN_ACCESS_LOGS]
    unresolved, form = sorted(run(judged("https://shop.example.com/cb", form="get")))
    assert "shop.example.com" in unresolved
    assert form == IN_ACCESS_LOGS
    for other in ("form", "json"):
        assert run(judged("https://93.184.216.34/cb", form=other)) == []


def test_an_address_of_this_machine_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public address that is the server's own, written or resolved to, is refused unless the operator opened it."""
    monkeypatch.setattr("homing.callbacks.own_addresses.is_own", lambda ip: ip == "93.184.216.34")
    names(monkeypatch, "93.184.216.34")
    for url in ("https://93.184.216.34/cb", "https://shop.example.com/cb"):
        with pytest.raises(UrlRefused) as caught:
            run(judged(url))
        assert caught.value.reason == "address"
    assert run(judged("https://93.184.216.34/cb", "93.184.216.34")) == []
    assert run(judged("https://shop.example.com/cb", "shop.example.com")) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://10.0.0.1/secret-path?q=1", "url=https://10.0.0.1 reason=address"),
        ("https://metadata.google.internal/x", "url=https://metadata.google.internal reason=name"),
        ("https://shop.example.com/cb", "url=https://shop.example.com address=10.9.8.7 reason=private"),
    ],
)
def test_the_log_tells_the_operator_what_the_owner_is_not_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, log: io.StringIO, url: str, said: str
) -> None:
    """Host, address and range, for an attempt to reach inside is worth a look; no path and no query, they may be secret."""
    names(monkeypatch, "10.9.8.7")
    with pytest.raises(UrlNotAllowed) as caught:
        run(judged(url))
    assert "10.9.8.7" not in caught.value.detail
    told = log.getvalue()
    assert f"guard.refused {said}" in told
    assert "secret" not in told


# Each reason of the guard, a URL that has it, and words that tell its owner what to do about it.
REASONS = {
    "characters": ("https://shop.example\\@10.0.0.1/", "backslashes"),
    "scheme": ("ftp://shop.example/", "https://"),
    "shape": ("https:/shop.example/", "https://host/path"),
    "userinfo": ("https://ann:word@shop.example/", "auth"),
    "fragment": ("https://shop.example/#x", "fragment"),
    "host": ("https://0x7f.1/", "four decimal numbers"),
    "port": ("https://shop.example:22/", "port 22"),
    "path": ("https://shop.example/{id}", "percent-encoded"),
    "query": ("https://shop.example/?<b>", "percent-encoded"),
    "address": ("https://10.0.0.1/", "callbacks.allow"),
    "name": ("https://localhost.localdomain/", "callbacks.allow"),
    "keys": ("https://shop.example/?a=1&%74ype=x", "type"),
}


def test_every_reason_is_answered_422_with_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the creation and at a change alike: `url_refused`, a detail that helps, and nothing is stored."""
    names(monkeypatch, "93.184.216.34")

    async def main() -> None:
        async with world() as w:
            endpoints = f"/1/apps/{await app_with_users(w.client)}/endpoints"
            made = await w.client.made(endpoints, {"url": "https://shop.example/", "form": "json"})
            for reason, (url, words) in REASONS.items():
                with pytest.raises(UrlRefused) as caught:
                    await judged(url)
                assert caught.value.reason == reason
                for answer in (
                    await w.client.post(endpoints, {"url": url, "form": "json"}),
                    await w.client.ask("PATCH", f"{endpoints}/{made['id']}", {"url": url}),
                ):
                    assert (answer.status, answer.code) == (422, "url_refused")
                    assert words in answer.json["detail"]
            too_long = "https://shop.example/" + "a" * 2_048  # the body's own shape says so already
            answer = await w.client.post(endpoints, {"url": too_long, "form": "json"})
            assert (answer.status, answer.json["errors"][0]["path"]) == (422, "$.url")
            names(monkeypatch, "10.0.0.1")
            answer = await w.client.post(endpoints, {"url": "https://shop.example/", "form": "json"})
            assert (answer.status, answer.code) == (422, "url_refused")
            assert answer.json["detail"] == ADDRESS_REFUSED
            (kept,) = (await w.client.get(endpoints)).json["items"]
            assert kept["url"] == "https://shop.example/"

    run(main())


def test_the_warning_of_the_form_get_reaches_the_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the 201, and in the 200 of a change of the URL or of the form; it is no part of the endpoint."""
    names(monkeypatch, "93.184.216.34")

    async def main() -> None:
        async with world() as w:
            endpoints = f"/1/apps/{await app_with_users(w.client)}/endpoints"
            made = await w.client.made(endpoints, {"url": "https://shop.example/", "form": "get"})
            assert made["warnings"] == [IN_ACCESS_LOGS]
            path = f"{endpoints}/{made['id']}"
            assert "warnings" not in (await w.client.get(path)).json
            for change, warnings in (
                ({"url": "https://shop.example/2"}, [IN_ACCESS_LOGS]),
                ({"form": "json"}, None),
                ({"url": "https://shop.example/3"}, None),
                ({"form": "get"}, [IN_ACCESS_LOGS]),
                ({"description": "d"}, None),
            ):
                answer = await w.client.ask("PATCH", path, change)
                assert answer.status == 200
                assert answer.json.get("warnings") == warnings

    run(main())


def test_a_messages_own_callback_is_judged_without_a_look_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its origin is told, its name is left to the dial; what is refused at sight is refused here too."""
    names(monkeypatch, error=AssertionError("looked up"))
    saved = SavedUrls(AddressPolicy())
    assert saved.origin("HTTPS://Shop.Example:443/cb?x=1") == "https://shop.example"
    for url in ("https://127.0.0.1/", "https://printer.local/", "https://shop.example/#x"):
        with pytest.raises(UrlNotAllowed):
            saved.origin(url)
