"""The receivers: they remember every byte, check every signature, and misbehave exactly as told."""

import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from homing.contract.forms import Form, encode
from homing.contract.notification import StatusNotification
from homing.contract.signature import Signer, secret_from_bytes
from homing.contract.status import Status
from homing.simulator.answers import NAMED, behaviour
from homing.simulator.backend import Reply, request
from homing.simulator.receivers import Receiver

Run = Callable[[Coroutine[Any, Any, Any]], Any]
SECRET = secret_from_bytes(bytes(range(32)))
EVENT = StatusNotification(1_800_000_000_000, "1", "0190a5c4-0000-7000-8000-000000000001", "ann", Status.READ)


async def call(receiver: Receiver, form: Form = Form.JSON, *, age_s: int = 0, spoil: bool = False) -> Reply:
    """One callback as Homing would make it; `spoil` changes a byte after signing."""
    encoded = encode(EVENT, form, "s")
    payload = encoded.payload.replace(b"ann", b"bob") if spoil else encoded.payload
    stamp = int(time.time()) - age_s
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": Signer(SECRET).sign("msg_1", stamp, encoded.payload),
    }
    if encoded.content_type:
        headers["content-type"] = encoded.content_type
    if encoded.query is not None:
        return await request(
            "127.0.0.1", receiver.port, "GET", f"/orders?{payload.decode()}", headers=headers
        )
    return await request("127.0.0.1", receiver.port, "POST", "/orders", headers=headers, body=payload)


@pytest.mark.parametrize("form", list(Form))
def test_a_callback_is_kept_as_it_came_and_decoded(run: Run, form: Form) -> None:
    """Method, query, headers and body are remembered to the byte, in all three forms, and the signature holds."""

    async def story() -> None:
        receiver = Receiver("orders", secret=SECRET)
        await receiver.start()
        assert receiver.url == f"http://127.0.0.1:{receiver.port}/orders"
        reply = await call(receiver, form)
        (caught,) = receiver.caught
        assert reply.status == 204
        assert caught.notification == EVENT
        assert caught.faults == ()
        assert caught.payload == encode(EVENT, form, "s").payload
        assert caught.method == ("GET" if form is Form.GET else "POST")
        assert caught.answered == 204
        await receiver.close()

    run(story())


@pytest.mark.parametrize("wrong", [{"spoil": True}, {"age_s": 3_600}, {"age_s": -3_600}])
def test_a_wrong_signature_is_a_fault(run: Run, wrong: dict[str, Any]) -> None:
    """A changed body and a timestamp of another hour are both seen."""

    async def story() -> None:
        receiver = Receiver("orders", secret=SECRET)
        await receiver.start()
        await call(receiver, **wrong)
        (fault,) = receiver.caught[0].faults
        assert fault.startswith("signature")
        await receiver.close()

    run(story())


def test_what_is_no_callback_is_a_fault(run: Run) -> None:
    """Anything may be posted; it is remembered and said to be no callback."""

    async def story() -> None:
        receiver = Receiver("orders")
        await receiver.start()
        await request("127.0.0.1", receiver.port, "POST", "/", body=b"hello")
        assert receiver.caught[0].faults[0].startswith("not a callback")
        await receiver.close()

    run(story())


@pytest.mark.parametrize(
    "told, statuses",
    [
        ("ok", [204, 204]),
        ("answers:500,500,204", [500, 500, 204, 204]),
        ("gone", [410, 410]),
        ("limited:2", [429, 204, 429]),
        ("redirects", [307]),
        ("unauthorised", [401]),
        ("liar", [200]),
        ("slow:1ms", [204]),
    ],
)
def test_each_behaviour_answers_as_promised(run: Run, told: str, statuses: list[int]) -> None:
    """The named behaviours give these statuses, one after the other."""

    async def story() -> None:
        receiver = Receiver("orders", is_told=told)
        await receiver.start()
        assert [(await call(receiver)).status for _ in statuses] == statuses
        assert [one.answered for one in receiver.caught] == statuses
        assert receiver.is_quiet()
        await receiver.close()

    run(story())


def test_flaky_fails_as_often_as_told_and_the_same_way_each_time(run: Run) -> None:
    """The share is kept, and the same seed gives the same answers."""

    async def story() -> None:
        runs = []
        for _ in range(2):
            receiver = Receiver("orders", is_told="flaky:50", seed=3)
            await receiver.start()
            runs.append([(await call(receiver)).status for _ in range(40)])
            await receiver.close()
        assert runs[0] == runs[1]
        assert 10 <= runs[0].count(500) <= 30

    run(story())


def test_a_connection_can_be_cut(run: Run) -> None:
    """No answer comes, the request is remembered as unanswered."""

    async def story() -> None:
        receiver = Receiver("orders", is_told="cuts")
        await receiver.start()
        with pytest.raises(OSError):
            await call(receiver)
        assert receiver.caught[0].answered is None
        await receiver.close()

    run(story())


def test_down_refuses_connections_and_comes_back_on_the_same_port(run: Run) -> None:
    """A receiver that is down is not reachable; afterwards it is where it was."""

    async def story() -> None:
        receiver = Receiver("orders")
        await receiver.start()
        port = receiver.port
        await receiver.becomes("down")
        with pytest.raises(OSError):
            await call(receiver)
        await receiver.becomes("ok")
        assert receiver.port == port
        assert (await call(receiver)).status == 204
        await receiver.close()

    run(story())


def test_listeners_hear_of_each_request_after_its_answer(run: Run) -> None:
    """The live feed gets the request with what was answered."""

    async def story() -> None:
        heard = []
        receiver = Receiver("orders", is_told="answers:500,204")
        receiver.on_caught.append(lambda one: heard.append(one.answered))
        await receiver.start()
        await call(receiver)
        await call(receiver)
        assert heard == [500, 204]
        await receiver.close()

    run(story())


@pytest.mark.parametrize("told", ["angry", "flaky:many", "answers:", "slow:soon"])
def test_an_unknown_behaviour_is_refused(told: str) -> None:
    """A misspelt behaviour is an error at once, not a receiver that behaves by accident."""
    with pytest.raises(ValueError):
        behaviour(told)


def test_every_named_behaviour_has_a_promise() -> None:
    """What is listed for people says what it does."""
    assert all(promise for promise, _ in NAMED.values())
