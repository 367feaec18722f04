"""Push commands: every answer becomes its status, each device is pushed once, and nothing is pushed for nothing."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.channels.fakes import ScriptedPush, device
from tests.channels.town import town

from homing.channels.push import PushOutcome, PushVerdict
from homing.lifecycle.dispatch import Read, Recalled, Received

Run = Callable[[Coroutine[Any, Any, Any]], Any]
LATER = PushOutcome(PushVerdict.TRY_LATER, "ServiceUnavailable")


@pytest.mark.parametrize(
    "platform, verdict, status",
    [
        ("ios", PushVerdict.ACCEPTED, "PushSent"),
        ("ios", PushVerdict.REFUSED, "iOSError"),
        ("ios", PushVerdict.TOKEN_INVALID, "iOSErrorInvalidToken"),
        ("android", PushVerdict.ACCEPTED, "PushSent"),
        ("android", PushVerdict.REFUSED, "AndroidError"),
        ("android", PushVerdict.TOKEN_INVALID, "AndroidErrorInvalidToken"),
        ("web", PushVerdict.ACCEPTED, "PushSent"),
        ("web", PushVerdict.REFUSED, None),
        ("web", PushVerdict.TOKEN_INVALID, None),
    ],
)
def test_each_answer_is_its_status(run: Run, platform: str, verdict: PushVerdict, status: str | None) -> None:
    """A platform's answer is said once, in its own words; Web Push errors have none but leave a note."""

    async def story() -> None:
        service = ScriptedPush(PushOutcome(verdict, "why"))
        async with town({platform: service}) as it:  # type: ignore[dict-item]
            key = it.house.message(device("d1", platform))
            await it.after()
            assert it.house.said[key] == ["enqueued", *([status] if status else [])]
            assert not it.house.commands
            retired = [("d1", "token-d1")] if verdict is PushVerdict.TOKEN_INVALID else []
            assert it.house.retired == retired
            assert status or it.house.notes

    run(story())


def test_every_device_is_pushed_once_and_each_status_said_once(run: Run) -> None:
    """Three devices with three answers: both kinds of status come, the accepted one only once."""

    async def story() -> None:
        ios, android = ScriptedPush(), ScriptedPush(PushOutcome(PushVerdict.TOKEN_INVALID))
        async with town({"ios": ios, "android": android}) as it:
            key = it.house.message(device("a"), device("b"), device("c", "android"))
            await it.after()
            assert sorted(it.house.said[key]) == ["AndroidErrorInvalidToken", "PushSent", "enqueued"]
            assert [one.device.id for one in ios.asked] == ["a", "b"]
            assert ios.asked[0].token == "token-a"

    run(story())


def test_what_is_put_off_is_tried_again_for_those_devices_only(run: Run) -> None:
    """A device that was answered is not pushed a second time while another waits for its service."""

    async def story() -> None:
        ios, android = ScriptedPush(), ScriptedPush(LATER, LATER)
        async with town({"ios": ios, "android": android}) as it:
            key = it.house.message(device("a"), device("b", "android"))
            await it.after()
            assert it.house.said[key] == ["enqueued", "PushSent"]
            await it.after(60)
            assert len(ios.asked) == 1
            assert len(android.asked) == 3
            assert not it.house.commands
            assert it.house.notes[0][0] == "push_put_off"

    run(story())


def test_the_services_own_wish_for_a_retry_counts(run: Run) -> None:
    """Retry-After goes before our own schedule."""

    async def story() -> None:
        service = ScriptedPush(PushOutcome(PushVerdict.TRY_LATER, "429", 90_000))
        async with town({"ios": service}) as it:
            it.house.message(device("a"))
            await it.after(89)
            assert len(service.asked) == 1
            await it.after(1)
            assert len(service.asked) == 2

    run(story())


def test_patience_ends_in_the_platforms_error(run: Run) -> None:
    """Apple down for a quarter of an hour is an iOSError; the message itself still waits."""

    async def story() -> None:
        service = ScriptedPush(*[LATER] * 100)
        async with town({"ios": service}) as it:
            key = it.house.message(device("a"))
            await it.after(800)
            assert it.house.said[key] == ["enqueued"]
            await it.after(101)
            assert it.house.said[key] == ["enqueued", "iOSError"]
            assert not it.house.commands

    run(story())


@pytest.mark.parametrize("what", [Received(), Read(), Recalled()])
def test_nothing_is_pushed_for_a_message_that_no_longer_waits(run: Run, what: Any) -> None:
    """A retry that falls due after the message was delivered, read or recalled is dropped."""

    async def story() -> None:
        service = ScriptedPush(LATER)
        async with town({"ios": service}) as it:
            key = it.house.message(device("a"))
            await it.after()
            it.house.happens(key, what)
            await it.after(60)
            assert len(service.asked) == 1
            assert "PushSent" not in it.house.said[key]
            assert not it.house.commands

    run(story())


def test_an_application_without_a_service_gets_a_note(run: Run) -> None:
    """No credential: no push, no status, and the history says why."""

    async def story() -> None:
        async with town({}) as it:
            key = it.house.message(device("a"), device("b", "android"))
            await it.after()
            assert it.house.said[key] == ["enqueued"]
            assert it.house.notes == [("push_not_configured", '{"platforms":["android","ios"]}')]
            assert not it.house.commands

    run(story())


def test_a_service_that_raises_is_a_service_that_is_down(run: Run) -> None:
    """A bug of an adapter costs a retry, not the message."""

    async def story() -> None:
        service = ScriptedPush(RuntimeError("bug"))
        async with town({"ios": service}) as it:
            key = it.house.message(device("a"))
            await it.after(5)
            assert it.house.said[key] == ["enqueued", "PushSent"]

    run(story())
