"""Triggers: each of the 18 statuses and an incoming message, brought about for real and judged by what a receiver got."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from homing.clock import Clock, RealClock
from homing.contract.notification import IncomingNotification, StatusNotification
from homing.contract.status import STATUSES, Status
from homing.lifecycle import laws
from homing.simulator.backend import Refused
from homing.simulator.carriers import NUMBERS
from homing.simulator.clock import SkipClock, VirtualClock
from homing.simulator.habits import HABITS
from homing.simulator.home import open_home
from homing.simulator.judge import judge
from homing.simulator.lives import LIVES, SHORTEST, lived_by
from homing.simulator.receivers import Receiver
from homing.simulator.world import World

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Town:
    """A node and its world; application 1 with an endpoint and an inbox at one receiver, and perhaps ann, bob and carol."""

    def __init__(self, world: World, receiver: Receiver) -> None:
        self.world, self.receiver = world, receiver

    async def trigger(self, status: str, **more: Any) -> dict[str, Any]:
        """Through the door, as other languages do."""
        wish = {"status": status, **more}
        answer: dict[str, Any] = await self.world.backend.ask("POST", "/sim/1/trigger", wish)
        return answer

    async def refusal(self, status: str, **more: Any) -> tuple[int, str]:
        """What is answered to a wish that cannot be granted."""
        with pytest.raises(Refused) as refused:
            await self.trigger(status, **more)
        return refused.value.status, refused.value.detail

    def heard(self, message_id: str) -> list[StatusNotification]:
        """What the receiver was told of a message."""
        told = [caught.notification for caught in self.receiver.caught]
        return [it for it in told if isinstance(it, StatusNotification) and it.message_id == message_id]

    def incoming(self) -> list[IncomingNotification]:
        """The incoming messages it got."""
        told = [caught.notification for caught in self.receiver.caught]
        return [it for it in told if isinstance(it, IncomingNotification)]


@asynccontextmanager
async def town(clock: Clock | None = None, *, is_peopled: bool = False) -> AsyncIterator[Town]:
    """Open a node in memory with its world; closes both."""
    world = World(clock or VirtualClock(1_800_000_000_000))
    async with open_home(world) as home:
        world.attach(home.host, home.port, home.token, {"node": home.is_quiet})
        try:
            app = await world.application(1, "demo")
            receiver = await world.receiver("receiver")
            made = await world.endpoint(app, receiver.url, "json", description="statuses")
            inbox = await world.endpoint(app, receiver.url, "form", description="inbox", kind="inbox")
            receiver.trust(made.secret, inbox.secret)
            if is_peopled:
                await world.people(app)
            yield Town(world, receiver)
        finally:
            await world.close()


def test_every_status_is_reached_for_real_by_its_shortest_life(run: Run) -> None:
    """18 triggers and one incoming: the receiver got each life as the table says it, in order, signed, and no more."""

    async def story() -> None:
        async with town() as it:
            for status in STATUSES:
                answer = await it.trigger(status)
                (item,) = answer["items"]
                heard = [str(one.status) for one in it.heard(item["messageId"])]
                assert heard == answer["says"] == item["said"] == list(SHORTEST[status].says), status
                assert heard[-1] == status
                assert (answer["pushed"], item["reached"]) == (True, True)
            (item,) = (await it.trigger("incoming", set={"text": "two minutes!"}))["items"]
            (got,) = it.incoming()
            assert (got.message_id, got.sender, got.text) == (
                item["messageId"],
                item["identifier"],
                "two minutes!",
            )
            assert judge(list(it.receiver.caught)) == []

    run(story())


def test_every_life_takes_as_long_as_the_table_says(run: Run) -> None:
    """A millisecond before its time the last status has not been said; at its time it has, and nothing after it."""

    async def story() -> None:
        async with town() as it:
            app = await it.world.application(1, "demo")
            conductor = it.world.conductor
            assert conductor is not None
            for number, life in enumerate(LIVES):
                more: dict[str, Any] = {}
                if life is not SHORTEST[life.ends_in]:
                    assert life.habit is not None
                    more["to"] = f"zoe-{number}"
                    await it.world.person(app, more["to"], life.habit, platform=life.platform)
                (item,) = (await it.trigger(life.ends_in, push=False, **more))["items"]
                if life.takes_ms:
                    await conductor.advance(by_ms=life.takes_ms - 1)
                    early = [one.status for one in it.heard(item["messageId"])]
                    assert early == list(life.says[: len(early)])
                    assert life.ends_in not in early
                await conductor.advance(by_ms=min(life.takes_ms, 1))
                assert [one.status for one in it.heard(item["messageId"])] == list(life.says)

    run(story())


def test_the_table_is_lawful_and_complete() -> None:
    """Each life breaks no law, reaches its status once, and is of habits and numbers that exist; the 18 are all there."""
    assert list(SHORTEST) == list(STATUSES)
    for life in LIVES:
        assert laws.check([(status, 0) for status in life.says]) == []
        assert {life.habit, *life.others} <= {*HABITS, None}
        assert life.number is None or life.number in NUMBERS
    for status, life in SHORTEST.items():
        assert life.ends_in == status
        assert all(len(life.says) <= len(other.says) for other in LIVES if other.ends_in == status)


def test_other_habits_live_just_so(run: Run) -> None:
    """Whoever has one of the other habits says the same, by the same time."""

    async def story() -> None:
        async with town() as it:
            app = await it.world.application(1, "demo")
            for number, life in enumerate(LIVES):
                for habit in life.others:
                    name = f"zoe-{number}-{habit}"
                    await it.world.person(app, name, habit, platform="android")
                    answer = await it.trigger(life.ends_in, to=name)
                    assert answer["items"][0]["said"] == list(life.says), name
                    assert answer["takesSeconds"] * 1000 == life.takes_ms

    run(story())


SOMEBODY = [
    ("ann", "read", ["enqueued", "PushSent", "delivered", "read"]),
    ("ANN", "read", ["enqueued", "PushSent", "delivered", "read"]),
    ("bob", "PushSent", ["enqueued", "PushSent"]),
    (
        "bob",
        "fallbackDelivered",
        ["enqueued", "PushSent", "fallbackOnUndelivered", "fallbackSent", "fallbackDelivered"],
    ),
    ("bob", "read", ["enqueued", "PushSent", "delivered", "read"]),
    ("carol", "iOSErrorInvalidToken", ["enqueued", "iOSErrorInvalidToken"]),
    ("nobody", "IdentifierNotFound", ["IdentifierNotFound"]),
    ("zoë/1", "delivered", ["enqueued", "delivered"]),
    ("zoe", "enqueued", ["enqueued"]),
]


def test_somebody_may_be_named_again_and_again(run: Run) -> None:
    """Whose phone can do it does it, and as often as it is asked; whoever does not exist is made."""

    async def story() -> None:
        async with town(is_peopled=True) as it:
            for to, status, said in SOMEBODY:
                for item in (await it.trigger(status, to=to, count=2))["items"]:
                    assert item["said"] == said
                    assert {one.recipient.lower() for one in it.heard(item["messageId"])} == {to.lower()}
                (item,) = (await it.trigger(status, to=to))["items"]
                assert item["said"] == said
            senders = [one.sender for one in it.incoming()]
            assert senders == []
            for to in ("ann", "zoe-2"):
                await it.trigger("incoming", to=to, count=2)
            assert [one.sender for one in it.incoming()] == ["ann", "ann", "zoe-2", "zoe-2"]

    run(story())


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("raed", {}, 422, "neither incoming nor one of the 18"),
    ("read", {"count": 0}, 422, "from 1 to 100"),
    ("read", {"count": 101}, 422, "from 1 to 100"),
    ("read", {"set": {"mesageRef": "x"}}, 422, "'mesageRef' is none of messageRef, recipientRef, text"),
    ("incoming", {"set": {"messageRef": "x"}}, 422, "none of text, channel"),
    ("read", {"app": 77}, 404, ""),
    ("read", {"to": "carol"}, 422, "carol has an ios phone of kind uninstalled"),
    ("AndroidErrorInvalidToken", {"to": "carol"}, 422, "no message ends in AndroidErrorInvalidToken"),
    ("IdentifierNotFound", {"to": "ann"}, 422, "no message ends in IdentifierNotFound"),
    ("IdentifierNotFound", {"to": "own"}, 422, "own exists"),
    ("enqueued", {"to": "own"}, 422, "own exists"),
    ("read", {"to": "own"}, 422, "own exists"),
    ("incoming", {"to": "own"}, 422, "own exists"),
    ("incoming", {"set": {"text": "x" * 9_000}}, 422, "text"),
    ("incoming", {"app": 2}, 422, "application 2 has no inbox"),
    ("read", {"app": 2, "to": "ann"}, 422, "ann has a phone in another application"),
    ("read", {"set": {"messageRef": "x" * 256}}, 422, "messageRef"),
    ("read", {"to": "x" * 256}, 422, ""),
    ("read", {"within": "soon"}, 422, "no duration"),
]


def test_what_cannot_be_brought_about_says_why(run: Run) -> None:
    """A wish that makes no sense is refused with the way out, and no message comes of it."""

    async def story() -> None:
        async with town(is_peopled=True) as it:
            own = {"identifier": "own", "password": "mine"}
            await it.world.backend.ask("POST", "/1/apps/1/users", own)
            await it.world.application(2, "other")
            for status, more, code, words in REFUSED:
                found, detail = await it.refusal(status, **more)
                assert found == code, detail
                assert words in detail
            assert (await it.world.backend.ask("GET", "/1/messages"))["items"] == []

    run(story())


def test_several_lives_take_the_time_of_one(run: Run) -> None:
    """``count`` makes that many people, and pushes the clock once; what is said of the message can be set."""

    async def story() -> None:
        async with town() as it:
            before_ms = it.world.clock.now_ms()
            refs = {"messageRef": "A1", "recipientRef": "R1", "text": "hello"}
            answer = await it.trigger("fallbackExpired", count=3, set=refs)
            assert it.world.clock.now_ms() - before_ms == SHORTEST[Status.FALLBACK_EXPIRED].takes_ms
            assert len({item["identifier"] for item in answer["items"]}) == 3
            for item in answer["items"]:
                last = it.heard(item["messageId"])[-1]
                assert last.status == "fallbackExpired"
                assert (last.message_ref, last.recipient_ref) == ("A1", "R1")
                assert last.fallback_ref == item["fallbackRef"] == "+447700900002"

    run(story())


def test_a_name_that_an_earlier_process_took_is_passed_over(run: Run) -> None:
    """New people get names that nobody has."""

    async def story() -> None:
        async with town() as it:
            for number in (1, 2):
                user = {"identifier": f"trigger-{number}", "password": "x"}
                await it.world.backend.ask("POST", "/1/apps/1/users", user)
            (item,) = (await it.trigger("read"))["items"]
            assert item["identifier"] == "trigger-3"
            assert item["said"][-1] == "read"

    run(story())


def test_an_open_app_is_put_away_when_its_life_is_told(run: Run) -> None:
    """Nobody who was made stays connected, and can be told by hand what to do next."""

    async def story() -> None:
        async with town() as it:
            (item,) = (await it.trigger("delivered"))["items"]
            phone = it.world.phones[item["identifier"]]
            assert not phone._link.is_open
            await phone.do("read")
            assert it.world.conductor is not None
            await it.world.conductor.advance(by_ms=0)
            assert it.heard(item["messageId"])[-1].status == "read"

    run(story())


def test_a_carrier_that_misbehaves_is_not_outwitted(run: Run) -> None:
    """What the world was told before holds: the status is not reached within its grace, and the answer says so."""

    async def story() -> None:
        async with town() as it:
            it.world.carrier.becomes("down")
            answer = await it.trigger("fallbackDelivered")
            (item,) = answer["items"]
            assert (item["reached"], item["said"]) == (False, ["enqueued", "fallbackOnUndelivered"])

    run(story())


def test_a_clock_that_runs_is_pushed_far_enough(run: Run) -> None:
    """With the clock of `homing dev` the receiver has heard the last status when the answer comes."""

    async def story() -> None:
        async with town(SkipClock()) as it:
            for status in ("fallbackDelivered", "expired", "read"):
                (item,) = (await it.trigger(status))["items"]
                assert it.heard(item["messageId"])[-1].status == status

    run(story())


def test_a_clock_that_cannot_be_pushed_is_waited_for_or_refused(run: Run) -> None:
    """With a real clock what takes longer than one would wait is refused before anything is sent; the rest just begins."""

    async def story() -> None:
        async with town(RealClock()) as it:
            status, detail = await it.refusal("expired", within="60s")
            assert status == 409
            assert "expired takes 60 s" in detail
            assert (await it.world.backend.ask("GET", "/1/messages"))["items"] == []
            for more in ({"within": "2m"}, {}, {"push": False, "within": "10s"}):
                answer = await it.trigger("expired", **more)
                assert (answer["pushed"], answer["items"][0]["reached"]) == (False, False)
            assert not (await it.trigger("incoming"))["pushed"]

    run(story())


def test_nobody_lives_what_is_not_in_the_table() -> None:
    """A reader never leaves a message unread, and an iPhone's token is no Android's."""
    assert lived_by(Status.DELIVERED, "reader", "ios") is None
    assert lived_by(Status.IOS_ERROR, "refused", "android") is None
    life = lived_by(Status.ANDROID_ERROR, "refused", "android")
    assert life is SHORTEST[Status.ANDROID_ERROR]
