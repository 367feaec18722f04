"""The item endpoints: what the store says of each, and where its name leads, without sending it anything."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.checkup.site import Site
from tests.cli.processes import LONG_S, environment
from tests.store.fakes import add_app, add_user, new_endpoint, send
from tests.store.ledger import ATTEMPT, add_endpoint, settle, settled

from homing.checkup import endpoints, names
from homing.checkup.item import Item, State
from homing.checkup.names import Resolved, resolve
from homing.model import Endpoint, EndpointOptions, dispatch_key
from homing.store.batch import Verdict
from homing.store.changes import DisableEndpoint, SetEndpointHealth
from homing.store.sqlite import SqliteStore

PUBLIC, PRIVATE, MULTICAST, METADATA = "93.184.216.34", "10.1.2.3", "224.0.0.1", "169.254.169.254"
URL = "https://hooks.example/homing?key=of-the-receiver"

Zone = dict[str, list[str] | int]
"""Name → its addresses, or the resolver's error."""


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Zone:
    """What names resolve to; any other is unknown."""
    known: Zone = {"hooks.example": [PUBLIC]}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **given: Any) -> list[Any]:
        if host == "127.0.0.1":
            return real(host, *rest, **given)
        found = known.get(host, socket.EAI_NONAME)
        if isinstance(found, int):
            raise socket.gaierror(found, "as told")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def filled(site: Site, *changes: Callable[[SqliteStore, Endpoint], Any], **given: object) -> Endpoint:
    """Make a store with one endpoint, to which these changes happen."""
    made: list[Endpoint] = []

    async def story(store: SqliteStore) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "Ann")
        fields = {"url": URL, "description": "orders", "uid": "0198b2c4-1111-7000-8000-0000cafe0001", **given}
        made.append(await add_endpoint(store, app.id, **fields))
        for change in changes:
            await change(store, made[0])

    site.fill(story)
    return made[0]


def orders(site: Site) -> Item | None:
    return site.check("endpoints").get("endpoint orders")


def disabled(store: SqliteStore, endpoint: Endpoint) -> Any:
    return store.apply(DisableEndpoint(endpoint.id, "it answered 410"))


def resting(store: SqliteStore, endpoint: Endpoint) -> Any:
    return store.apply(SetEndpointHealth(endpoint.id, "resting", "10 failures: 500", store.now_ms()))


def test_endpoints_that_are_well_are_only_counted(site: Site, zone: Zone) -> None:
    """One line for all of them; without any it says so, before there is a store too."""
    assert site.one("endpoints").found == "no store yet"
    filled(site)
    (only,) = site.check("endpoints").values()
    assert (only.state, only.found) == (State.OK, "1 active")
    site.sql("DELETE FROM endpoint")
    assert site.one("endpoints").found == "none"


def test_a_disabled_endpoint_fails_with_reason_and_day(site: Site, zone: Zone) -> None:
    """Nobody tells it anything any more; where its name leads is no matter then."""
    zone["hooks.example"] = [PRIVATE]
    filled(site, disabled)
    found = orders(site)
    assert found is not None
    assert found.state is State.FAIL
    assert found.found.startswith("disabled since 2023-11-14T22:13:20Z (")
    assert ": it answered 410" in found.found
    assert "enable" in found.hint
    assert PRIVATE not in found.found
    assert site.one("endpoints").found == "1 disabled"


def test_a_resting_endpoint_is_worth_a_word(site: Site, zone: Zone) -> None:
    """Since when it fails, and how."""
    filled(site, resting)
    found = orders(site)
    assert found is not None
    assert found.state is State.WARN
    assert found.found.startswith("resting since 2023-11-14T22:13:20Z (")
    assert ": 10 failures: 500" in found.found


def test_a_paused_endpoint_is_worth_a_word(site: Site, zone: Zone) -> None:
    """Also when it rests: the owner's word goes before."""
    filled(site, resting, paused=True)
    found = orders(site)
    assert found is not None
    assert (found.state, found.found.split(",")[0]) == (State.WARN, "paused by its owner")
    assert site.one("endpoints").found == "1 paused"


def test_an_item_says_which_endpoint_without_its_secrets(site: Site, zone: Zone) -> None:
    """The end of its id, its application and origin; never path or query. Without a description the id is its name."""
    endpoint = filled(site, disabled, description=None)
    items = site.check("endpoints")
    found = items["endpoint …cafe0001"]
    assert found.found.endswith(f"status …cafe0001 of application {endpoint.app} at https://hooks.example")
    assert "of-the-receiver" not in found.found


async def _late(store: SqliteStore, endpoint: Endpoint) -> None:
    key = dispatch_key(await send(store, endpoint.app, "Ann"), 0)
    await settle(store, settled(key, endpoint.id, 1, Verdict.RETRY, retry_at_ms=store.now_ms() + 5_000))


async def _dead(store: SqliteStore, endpoint: Endpoint) -> None:
    message = await send(store, endpoint.app, "Ann")
    key = dispatch_key(message, 0)
    await settle(store, settled(key, endpoint.id, 1, Verdict.DEAD, reason="4xx", attempt=ATTEMPT))


def test_callbacks_that_wait_are_told(site: Site, zone: Zone) -> None:
    """The first of them fell due long ago; without a server that is why."""
    filled(site, _late)
    found = orders(site)
    assert found is not None
    assert found.state is State.WARN
    assert found.found.startswith("callbacks wait since 2023-11-14T22:13:25Z (")
    assert found.hint == "start the server"
    with site.held():
        held = orders(site)
    assert held is not None
    assert "answers slowly" in held.hint


def test_what_waits_for_an_endpoint_that_rests_is_no_second_advice(site: Site, zone: Zone) -> None:
    """It is told, but the hint is that of the rest."""
    filled(site, _late, resting)
    found = orders(site)
    assert found is not None
    assert "callbacks wait" in found.found
    assert "start the server" not in found.hint


def test_dead_letters_are_counted(site: Site, zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly, up to a limit."""
    filled(site, _dead)
    found = orders(site)
    assert found is not None
    assert (found.state, found.found.split(", ")[0]) == (State.WARN, "1 dead letter")
    filled_again = site.data.parent / "more"
    more = Site(filled_again)
    filled_again.mkdir()
    filled(more, _dead, _dead, _dead)
    told = orders(more)
    assert told is not None
    assert told.found.startswith("3 dead letters, ")
    monkeypatch.setattr(endpoints, "MOST_DEAD", 2)
    told = orders(more)
    assert told is not None
    assert told.found.startswith("2 or more dead letters, ")
    assert "replay" in told.hint


@pytest.mark.parametrize(
    ("address", "why", "hint"),
    [
        (PRIVATE, "private", "callbacks.allow or fix DNS"),
        (METADATA, "link-local and metadata", "callbacks.allow or fix DNS"),
        (MULTICAST, "multicast", "fix DNS: nothing opens this address"),
    ],
)
def test_a_name_that_leads_inside_fails(address: str, why: str, hint: str, site: Site, zone: Zone) -> None:
    """One refused address among several is enough; the operator sees it, and what would open it."""
    zone["hooks.example"] = [PUBLIC, address]
    filled(site)
    found = orders(site)
    assert found is not None
    assert found.state is State.FAIL
    assert found.found.startswith(f"hooks.example resolves to {address}, {why}, ")
    assert found.hint == hint


@pytest.mark.parametrize("allow", ["hooks.example", "10.1.0.0/16"])
def test_what_the_operator_opened_is_well(allow: str, site: Site, zone: Zone) -> None:
    """By name or by range, as at the dial."""
    zone["hooks.example"] = [PRIVATE]
    site.flags["callbacks.allow"] = [allow]
    filled(site)
    assert orders(site) is None


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://127.0.0.1:8000/", "callbacks.allow or another URL"),
        ("http://localhost/", "callbacks.allow or another URL"),
        ("http://hooks.example:25/", "another URL"),
    ],
)
def test_a_url_that_todays_rules_refuse_fails(url: str, hint: str, site: Site, zone: Zone) -> None:
    """It was saved under others."""
    filled(site, url=url)
    found = orders(site)
    assert found is not None
    assert found.state is State.FAIL
    assert found.found.startswith("the guard refuses its URL: ")
    assert found.hint == hint


def test_an_address_needs_no_name(site: Site, zone: Zone) -> None:
    """The guard has judged it."""
    filled(site, url=f"http://{PUBLIC}/")
    assert orders(site) is None


@pytest.mark.parametrize(
    ("answer", "state"), [(socket.EAI_NONAME, "FAIL"), (socket.EAI_AGAIN, "warn"), ([], "ok")]
)
def test_a_name_that_leads_nowhere_is_told(
    answer: list[str] | int, state: str, site: Site, zone: Zone
) -> None:
    """A name that does not exist FAILs; a resolver in trouble may be well again soon."""
    zone["hooks.example"] = answer
    filled(site)
    found = orders(site)
    assert (found.state if found is not None else "ok") == state


def test_an_endpoint_that_believes_any_certificate_is_worth_a_word(site: Site, zone: Zone) -> None:
    """The dangerous option is named."""
    filled(site, options=EndpointOptions(dangerous_skip_verify=True))
    found = orders(site)
    assert found is not None
    assert found.state is State.WARN
    assert "dangerousSkipVerify" in found.hint


def test_each_endpoint_has_its_own_item(site: Site, zone: Zone) -> None:
    """Those in trouble, in the order of their making; the well ones stay in the count."""

    async def another(store: SqliteStore, endpoint: Endpoint) -> None:
        await store.apply(new_endpoint(endpoint.app, url="http://other.example/", description="second"))
        await store.apply(new_endpoint(endpoint.app, url=URL, description="third"))

    filled(site, another, disabled)
    items = site.check("endpoints")
    assert list(items) == ["endpoints", "endpoint orders", "endpoint second"]
    assert items["endpoints"].found == "2 active, 1 disabled"


def test_many_names_are_resolved_once_each(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are looked up at once; a name that is asked for twice is looked up once."""
    monkeypatch.setattr(names, "AT_ONCE", 3)
    wanted = {f"h{number}.example": [f"198.51.100.{number}"] for number in range(10)}
    zone.update(wanted)
    found = resolve([*wanted, *wanted])
    assert found == {name: Resolved((addresses[0],)) for name, addresses in wanted.items()}


def test_a_resolver_that_hangs_holds_nobody_up(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is given up after a while, the others are told; when all took too long, the rest is not begun."""
    is_over = threading.Event()
    quick = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **given: Any) -> list[Any]:
        if host == "hangs.example":
            is_over.wait()
        return quick(host, *rest, **given)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        found = resolve(["hangs.example", "hooks.example"], each_s=0.2)
        assert found["hangs.example"] == Resolved(fault="the name was not resolved within 0.2 s")
        assert found["hooks.example"] == Resolved((PUBLIC,))
        assert resolve(["hooks.example"], all_s=0)["hooks.example"].fault.startswith("not looked up")
    finally:
        is_over.set()


def test_a_look_up_that_never_ends_does_not_keep_the_process() -> None:
    """A check is over when it has told what it found."""
    code = (
        "import socket, threading; socket.getaddrinfo = lambda *_, **__: threading.Event().wait();"
        "from homing.checkup.names import resolve; print(resolve(['x.example'], each_s=0.05)['x.example'].fault)"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=LONG_S, check=True
    )
    assert ended.stdout == "the name was not resolved within 0.05 s\n"


def test_a_name_that_no_resolver_takes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python itself refuses some."""

    def refused(*_: object, **__: object) -> None:
        raise UnicodeError("label too long")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    assert resolve(["x.example"])["x.example"].fault == "the name could not be resolved (label too long)"
