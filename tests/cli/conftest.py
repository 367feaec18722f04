"""A whole Homing with its simulated world, in a thread of this process, for the verbs to talk to."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop
from tests.cli.receivers import Receiver, receiver
from tests.cli.triggered import Customer

from homing.cli import main
from homing.simulator.clock import SkipClock
from homing.simulator.home import open_home
from homing.simulator.world import World
from homing.telemetry import configure

START_S = 20.0


class Live(NamedTuple):
    """Where it is, and what its demo application's endpoint signs with."""

    url: str
    token: str
    app: int
    secret: str


class Ended(NamedTuple):
    """How a verb ended."""

    code: int
    out: str
    err: str


Homing = Callable[..., Ended]


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    """One server for all tests of the command line: application 1 with ann, bob and carol, and a receiver."""
    ready = threading.Event()
    found: list[Live] = []
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        ends.append((asyncio.get_running_loop(), stop))
        world = World(SkipClock())
        async with open_home(world) as home:
            world.attach(home.host, home.port, home.token, {"node": home.is_quiet})
            app = await world.application(1, "demo")
            receiver = await world.receiver("receiver")
            made = await world.connect_receiver(app, receiver, "json")
            await world.people(app)
            found.append(Live(f"http://{home.host}:{home.port}", home.token, app.id, made.secret))
            ready.set()
            await stop.wait()
            await world.close()

    def work() -> None:
        try:
            uvloop.run(serve())
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="homing", daemon=True)
    thread.start()
    assert ready.wait(START_S)
    assert found, "the server did not start"
    yield found[0]
    loop, stop = ends[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(START_S)
    assert not thread.is_alive()


@pytest.fixture
def homing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Homing:
    """Run one verb in an empty directory, as a program off a terminal would; gives its exit code, stdout and stderr."""
    for name in ("HOMING_URL", "HOMING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Ended:
        # The server lives in this process: what it logs must not get among what the verb says, whatever test ran before.
        configure("text", "error")
        capfd.readouterr()
        code = main.run(words)
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return call


@pytest.fixture
def told(homing: Homing, live: Live, monkeypatch: pytest.MonkeyPatch) -> Homing:
    """As `homing`, with the live server in the environment."""
    monkeypatch.setenv("HOMING_URL", live.url)
    monkeypatch.setenv("HOMING_TOKEN", live.token)
    return homing


@pytest.fixture
def there() -> Iterator[Receiver]:
    """A receiver of callbacks beyond the server, on loopback."""
    with receiver() as it:
        yield it


@pytest.fixture
def shop(told: Homing) -> Iterator[str]:
    """An application with one user, whose phone nobody has switched on: each message is one callback."""
    made = json.loads(told("apps", "create", "shop", "--mode", "test", "--json").out)
    app = str(made["id"])
    assert told("users", "create", "eve", "--password", "x", "--app", app).code == 0
    yield app
    assert told("apps", "delete", app, "--yes").code == 0


@pytest.fixture
def customer() -> Iterator[Customer]:
    """One customer, listening until the test is over."""
    one = Customer()
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()
