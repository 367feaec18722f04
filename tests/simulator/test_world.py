"""The world around a real node: its people, its hand on the clock, and its door for other languages."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from homing.clock import RealClock
from homing.device import ReadElsewhere
from homing.simulator.backend import Backend, Refused
from homing.simulator.clock import SkipClock, VirtualClock
from homing.simulator.home import open_home
from homing.simulator.world import Application, World

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Town:
    """A node, its world, application 1, and one receiver called orders."""

    def __init__(self, world: World, app: Application) -> None:
        self.world, self.app = world, app

    @property
    def backend(self) -> Backend:
        return self.world.backend

    def said(self, recipient: str) -> list[str]:
        """The statuses that orders got about somebody."""
        caught = self.world.receivers["orders"].caught
        told = [one.notification for one in caught if one.notification is not None]
        return [str(it.status) for it in told if it.recipient == recipient]  # type: ignore[union-attr]

    async def advance(self, **how: str) -> str:
        """Push the clock through the door, as other languages do."""
        return str((await self.backend.ask("POST", "/sim/1/clock/advance", how))["now"])


@asynccontextmanager
async def town(clock: Any = None) -> AsyncIterator[Town]:
    """Open a node in memory with its world; closes both."""
    world = World(clock or VirtualClock(1_800_000_000_000))
    async with open_home(world) as home:
        world.attach(home.host, home.port, home.token, {"node": home.is_quiet})
        try:
            app = await world.application(1, "demo")
            await world.connect_receiver(app, await world.receiver("orders"), "json")
            yield Town(world, app)
        finally:
            await world.close()


def test_the_people_of_dev_do_as_promised(run: Run) -> None:
    """ann reads, bob comes out of his tunnel after 40 min, carol's token is dead; two days pass in a blink."""

    async def story() -> None:
        async with town() as it:
            await it.world.people(it.app)
            for name in ("ann", "bob", "carol"):
                await it.backend.send(1, name, "hello")
            await it.advance(by="1m")
            assert it.said("ann") == ["enqueued", "PushSent", "delivered", "read"]
            assert it.said("bob") == ["enqueued", "PushSent"]
            assert it.said("carol") == ["enqueued", "iOSErrorInvalidToken"]
            await it.advance(by="40m")
            assert it.said("bob") == ["enqueued", "PushSent", "delivered", "read"]
            await it.advance(by="2d")
            assert it.said("carol") == ["enqueued", "iOSErrorInvalidToken", "expired"]

    run(story())


def test_making_the_same_world_again_finds_what_is_there(run: Run) -> None:
    """Application, users and endpoint of an earlier run are found; a known secret stays, an unknown one is replaced."""

    async def story() -> None:
        async with town() as it:
            world = it.world
            assert await world.application(1, "demo") == it.app
            await world.people(it.app)
            await world.people(it.app)
            first = await world.endpoint(it.app, "http://127.0.0.1:9999/a", "json", description="mine")
            same = await world.endpoint(
                it.app, "http://127.0.0.1:9999/b", "form", description="mine", secret=first.secret
            )
            other = await world.endpoint(it.app, "http://127.0.0.1:9999/c", "get", description="mine")
            items = (await it.backend.ask("GET", "/1/apps/1/endpoints"))["items"]
            mine = [(one["id"], one["url"], one["form"]) for one in items if one.get("description") == "mine"]
            assert same == first
            assert other.secret != first.secret
            assert mine == [(other.id, "http://127.0.0.1:9999/c", "get")]

    run(story())


def test_a_read_on_one_device_reaches_the_other(run: Run) -> None:
    """Phone and tablet of one person: the tablet hears that the phone's owner has read."""

    async def story() -> None:
        async with town() as it:
            phone, tablet = await it.world.person(it.app, "eve", "two-devices")
            for one in (phone, tablet):
                await one.do("online")
            await it.backend.send(1, "eve", "hello")
            await it.advance(by="10s")
            assert len(phone.stored) == len(tablet.stored) == 1
            assert [type(event) for event in tablet.told] == [ReadElsewhere]
            assert phone.told == []
            assert it.said("eve").count("read") == 1

    run(story())


def test_a_phone_does_by_hand_what_it_is_told(run: Run) -> None:
    """online, read, send, offline through the door; anything else and nobody's phone are refused."""

    async def story() -> None:
        async with town() as it:
            await it.world.person(it.app, "dan", "prompt")
            await it.backend.send(1, "dan", "hello")
            await it.advance(until="delivered")
            assert it.said("dan")[-1] == "delivered"
            answer = await it.backend.ask("POST", "/sim/1/phones/dan", {"do": "read"})
            assert answer["read"] == answer["stored"] != []
            await it.advance(by="0s")
            assert it.said("dan")[-1] == "read"
            await it.backend.ask("POST", "/sim/1/phones/dan", {"do": "send", "text": "thanks"})
            await it.backend.ask("POST", "/sim/1/phones/dan", {"do": "offline"})
            (shown,) = (await it.backend.ask("GET", "/sim/1/phones"))["items"]
            assert (shown["name"], len(shown["stored"])) == ("dan", 1)
            for path, order, status in (
                ("/sim/1/phones/dan", {"do": "dance"}, 422),
                ("/sim/1/phones/dan", {"make": 1}, 400),
                ("/sim/1/phones/nobody", {"do": "read"}, 404),
            ):
                with pytest.raises(Refused) as refused:
                    await it.backend.ask("POST", path, order)
                assert refused.value.status == status

    run(story())


def test_the_ends_can_be_told_to_misbehave_through_the_door(run: Run) -> None:
    """A receiver that is down, a carrier that is down, a push service that refuses: the story follows."""

    async def story() -> None:
        async with town() as it:
            await it.world.person(it.app, "fay", "off", number="+447700900000")
            await it.backend.ask("POST", "/sim/1/receivers/orders", {"is": "down"})
            await it.backend.ask("POST", "/sim/1/carrier", {"is": "down"})
            await it.backend.ask("POST", "/sim/1/push/ios", {"is": "bad-key"})
            fallback = {"mode": "sms", "onUndeliveredSeconds": 60}
            await it.backend.send(1, "fay", "hello", fallback=fallback)
            await it.advance(by="2m")
            assert it.said("fay") == []
            await it.backend.ask("POST", "/sim/1/receivers/orders", {"is": "ok"})
            await it.advance(by="25h")
            assert it.said("fay") == [
                "enqueued",
                "iOSError",
                "fallbackOnUndelivered",
                "fallbackOperatorError",
            ]
            assert not it.world.carrier.asked
            for path in ("/sim/1/receivers/orders", "/sim/1/carrier", "/sim/1/push/ios"):
                with pytest.raises(Refused, match="422"):
                    await it.backend.ask("POST", path, {"is": "moody"})
            with pytest.raises(Refused, match="404"):
                await it.backend.ask("POST", "/sim/1/push/huawei", {"is": "good"})

    run(story())


def test_the_callbacks_can_be_asked_for(run: Run) -> None:
    """Every request is shown with what it says, what was answered and what is wrong with it."""

    async def story() -> None:
        async with town() as it:
            await it.backend.send(1, "nobody", "hello")
            await it.advance(by="1s")
            (shown,) = (await it.backend.ask("GET", "/sim/1/callbacks?endpoint=orders"))["items"]
            assert shown["callback"]["status"] == "IdentifierNotFound"
            assert (shown["answered"], shown["faults"]) == (204, [])
            assert (await it.backend.ask("GET", "/sim/1/callbacks?endpoint=other"))["items"] == []

    run(story())


@pytest.mark.parametrize(
    "wish, status",
    [
        ({}, 422),
        ({"by": "1m", "until": "quiet"}, 422),
        ({"by": "soon"}, 422),
        ({"to": "tomorrow"}, 422),
        ({"to": "2030-01-01T00:00:00"}, 422),
        ({"until": "lunch"}, 422),
        ({"by": 5}, 400),
    ],
)
def test_a_wish_for_the_clock_that_makes_no_sense_is_refused(
    run: Run, wish: dict[str, Any], status: int
) -> None:
    """Exactly one of by, to and until, each in its grammar."""

    async def story() -> None:
        async with town() as it:
            with pytest.raises(Refused) as refused:
                await it.backend.ask("POST", "/sim/1/clock/advance", wish)
            assert refused.value.status == status

    run(story())


def test_the_clock_can_be_pushed_to_an_instant_and_until_all_is_over(run: Run) -> None:
    """`to` gives exactly that instant; `until quiet` ends when no deadline is left."""

    async def story() -> None:
        async with town() as it:
            assert await it.advance(to="2027-01-15T09:00:00Z") == "2027-01-15T09:00:00.000Z"
            await it.world.person(it.app, "ann", "off")
            await it.backend.send(1, "ann", "hello", ttlSeconds=3_600)
            await it.advance(until="quiet")
            assert it.said("ann")[-1] == "expired"
            assert (await it.backend.ask("GET", "/sim/1/clock"))["now"] >= "2027-01-15T10:00:00.000Z"

    run(story())


def test_a_skip_clock_runs_by_itself_and_can_be_pushed(run: Run) -> None:
    """Without a push time passes as usual; a push over the tunnel is immediate."""

    async def story() -> None:
        async with town(SkipClock()) as it:
            await it.world.person(it.app, "bob", "tunnel")
            await it.backend.send(1, "bob", "hello")
            await it.advance(by="41m")
            assert it.said("bob") == ["enqueued", "PushSent", "delivered", "read"]

    run(story())


def test_a_real_clock_cannot_be_pushed(run: Run) -> None:
    """The door says so, with a conflict."""

    async def story() -> None:
        async with town(RealClock()) as it:
            with pytest.raises(Refused) as refused:
                await it.advance(by="1m")
            assert refused.value.status == 409

    run(story())
