"""Connections that are kept: what may go wrong between two requests costs no try, and settles nothing."""

import asyncio
import os
import select
from pathlib import Path

import pytest
from tests.callbacks.certificates import certificates
from tests.callbacks.misdeeds import at_first, half_closes, hangs_up, takes_a_byte, then, waits
from tests.callbacks.rows import GONE
from tests.callbacks.zoo import OK, Act, Run, Zoo, endpoint, hang, lag, outbox, post, reset, says, zoo
from tests.engine.fakes import until

from homing.callbacks.job import Reached
from homing.callbacks.limits import Limits
from homing.callbacks.verdict import Outcome


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "act,requests",
    [
        (at_first(says(OK), hangs_up), 3),
        (at_first(says(OK), reset), 3),
        (at_first(says(OK), half_closes()), 3),
        (at_first(says(OK), then(says(b"HTTP/1.1 2"), hangs_up)), 3),
        (then(says(OK), takes_a_byte, hangs_up), 2),
        (then(says(OK), takes_a_byte, reset), 2),
    ],
    ids=[
        "hangs up",
        "resets",
        "half closes",
        "hangs up in the status line",
        "hangs up unread",
        "resets unread",
    ],
)
def test_a_kept_connection_that_dies_under_a_request_fails_no_try(
    run: Run, scheme: str, act: Act, requests: int, tmp_path: Path
) -> None:
    """The receiver closes what was idle just when it is used again: the request goes out anew, over a new connection."""

    async def main() -> None:
        made = certificates(tmp_path, ["localhost"])
        tls = made.server if scheme == "https" else None
        async with zoo(tls, act) as receiver, outbox(limits=Limits(ca_file=made.ca_file)) as box:
            view = endpoint(receiver.url("hook", "localhost", scheme))
            for _ in range(2):
                (done,) = await box.send(post(view))
                assert (done.status, done.error, done.answer) == (200, None, b"ok")
            assert receiver.connections == 2
            assert len(receiver.requests) == requests

    run(main())


def test_a_kept_connection_that_falls_silent_is_told_as_connected(run: Run) -> None:
    """Nothing was looked up, dialled or shaken, and yet it was there: the receiver did not answer in time."""

    async def main() -> None:
        async with zoo(act=at_first(says(OK), hang)) as receiver, outbox() as box:
            (done,) = await box.send(post(endpoint(receiver.url("hook"))))
            assert done.reached is Reached.ANSWER
            (done,) = await box.send(post(endpoint(receiver.url("hook"), 2, timeout_s=0.5)))
            assert (done.error, done.reached, done.address) == (Outcome.TIMEOUT, Reached.READY, "127.0.0.1")
            assert done.phases[:4] == (0, 0, 0, 0)
            assert receiver.connections == 1
            assert len(receiver.requests) == 2

    run(main())


@pytest.mark.parametrize("ends", ["in silence", "with a reset"])
def test_a_receiver_that_restarts_fails_no_try(run: Run, ends: str) -> None:
    """All its kept connections die at once, far more than libcurl would try one after the other."""

    async def answer_all(receiver: Zoo) -> None:
        await until(lambda: len(receiver.held) == 60)
        for writer in receiver.held:
            writer.write(OK)

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            view = endpoint(receiver.url("hold"))
            await asyncio.gather(box.send(*(post(view) for _ in range(60))), answer_all(receiver))
            for writer in receiver.held:
                if ends == "in silence":
                    writer.close()
                else:
                    writer.transport.abort()
            for _ in range(2):
                ended = await box.send(*(post(endpoint(receiver.url("ok"), 2)) for _ in range(10)))
                assert {(done.status, done.error) for done in ended} == {(200, None)}

    run(main())


def test_a_try_that_begins_anew_ends_with_its_own_deadline(run: Run) -> None:
    """What dead connections cost is part of the try's time."""
    connections = 20

    async def main() -> None:
        async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            if receiver.connections > connections:
                return await hang(reader, writer)
            if receiver.open_now == connections:
                together.set()
            await together.wait()
            return await says(OK)(reader, writer)

        together = asyncio.Event()
        async with zoo(act=at_first(first, waits(0.1))) as receiver, outbox() as box, lag() as late:
            view = endpoint(receiver.url("hook"), timeout_s=1.0)
            await box.send(*(post(endpoint(receiver.url("hook"), 2)) for _ in range(connections)))
            (done,) = await box.send(post(view))
            assert (done.error, done.reached) == (Outcome.TIMEOUT, Reached.READY)
            assert 1_000 <= done.phases.total_ms <= 1_400 + late.worst_ms
            assert receiver.connections == connections + 1
            await until(lambda: receiver.open_now < connections)
            (done,) = await box.send(post(endpoint(receiver.url("ok"), 3)))
            assert done.status == 200

    run(main())


def test_what_dies_on_a_new_connection_is_not_sent_again(run: Run) -> None:
    """One try is one request: libcurl begins anew only where a kept connection may have been dead already."""

    async def main() -> None:
        async with zoo(act=at_first(hangs_up, hangs_up)) as receiver, outbox() as box:
            for number in range(3):
                (done,) = await box.send(post(endpoint(receiver.url("hook"))))
                assert done.error is Outcome.CONNECT
                assert len(receiver.requests) == number + 1

    run(main())


@pytest.mark.parametrize("waits", [True, False], ids=["the loop looks", "at once"])
@pytest.mark.parametrize(
    "surplus", [GONE, GONE[:9], b"\r\n", b"x" * 100_000], ids=["answer", "part", "line", "much"]
)
def test_what_comes_behind_an_answer_is_never_the_next_one(run: Run, surplus: bytes, waits: bool) -> None:
    """What a receiver says while nobody asks costs its connection, and answers nothing."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            asking = asyncio.create_task(box.send(post(endpoint(receiver.url("hold")))))
            await until(lambda: receiver.held)
            receiver.held[0].write(OK)
            ((first),) = await asking
            assert first.status == 200
            os.write(receiver.held[0].get_extra_info("socket").fileno(), surplus)
            # It has arrived before the loop has turned.
            assert select.select([box.sender._poller._epoll], [], [], 10)[0]
            if waits:
                await asyncio.sleep(0)
            (second,) = await box.send(post(endpoint(receiver.url("ok"), 2)))
            assert (second.status, second.answer) == (200, b"ok")
            assert receiver.connections == 2

    run(main())
