"""The sender against a zoo of receivers: what it sends, what it tells, and what it keeps open."""

import asyncio
import select
import socket

import pytest
from tests.callbacks.zoo import (
    LIMITS,
    LOOPBACK,
    Run,
    endpoint,
    open_descriptors,
    outbox,
    post,
    zoo,
)
from tests.engine.fakes import until

from homing.callbacks.job import Done, Job
from homing.callbacks.limits import Limits
from homing.callbacks.sender import Sender
from homing.callbacks.verdict import Outcome
from homing.contract.forms import Form


def test_a_post_arrives_as_it_was_made(run: Run) -> None:
    """Method, target, headers and body are the job's; beside them only Host, User-Agent, Accept and the length."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            job = Job(endpoint(receiver.url("ok?k=v")), ["content-type: a/b", "webhook-id: x"], b'{"a":1}')
            (done,) = await box.send(job)
            assert (done.job, done.status, done.error, done.answer) == (job, 200, None, b"ok")
            assert (done.error_text, done.retry_after, done.address) == ("", None, "127.0.0.1")
            (request,) = receiver.requests
            assert request.line == "POST /ok?k=v HTTP/1.1"
            assert request.body == b'{"a":1}'
            assert request.headers == {
                "host": f"127.0.0.1:{receiver.port}",
                "user-agent": "Catapush",
                "accept": "*/*",
                "content-type": "a/b",
                "webhook-id": "x",
                "content-length": "7",
            }

    run(main())


def test_a_get_goes_to_its_own_url_byte_for_byte(run: Run) -> None:
    """The request target is exactly the path and query given, odd as they may be, for that is what was signed."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            view = endpoint(receiver.url("ok/%2e/?%2e"), form=Form.GET)
            target = "/ok/../ok/%2e%2E//x?a[]=1|2&b=%2e%2E&&c=%20~!$'()*;@:/?"
            (done,) = await box.send(Job(view, ["webhook-id: x"], None, target))
            assert done.status == 200
            assert receiver.requests[0].line == f"GET {target} HTTP/1.1"
            assert "content-type" not in receiver.requests[0].headers
            await box.send(post(view))
            assert receiver.requests[1].line == "POST /ok/%2e/?%2e HTTP/1.1"

    run(main())


def test_one_handle_serves_gets_and_posts_in_any_order(run: Run) -> None:
    """Nothing of one try is left in the next: not its method, its URL, its body nor its headers."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            view = endpoint(receiver.url("ok"))
            for number in range(12):
                if number % 3 == 2:
                    await box.send(Job(view, [f"webhook-id: {number}"], b"p%d" % number))
                else:
                    target = f"/ok?n={number}" if number % 3 else None
                    await box.send(Job(view, [f"webhook-id: {number}"], None, target))
            lines = ["GET /ok HTTP/1.1", "GET /ok?n={} HTTP/1.1", "POST /ok HTTP/1.1"]
            for number, request in enumerate(receiver.requests):
                assert request.line == lines[number % 3].format(number)
                assert request.headers["webhook-id"] == str(number)
                assert request.body == (b"p%d" % number if number % 3 == 2 else b"")
            assert receiver.connections == 1

    run(main())


@pytest.mark.parametrize(
    "path,status,answer",
    [
        ("ok", 200, b"ok"),
        ("empty", 204, b""),
        ("last", 200, b"ok"),
        ("bye", 200, b"ok"),
        ("until_close", 200, b"all of it"),
        ("moved", 301, b""),
        ("elsewhere", 307, b""),
        ("bad", 400, b"no such thing"),
        ("gone", 410, b""),
        ("broken", 500, b"oh"),
        ("informed", 200, b"ok"),
    ],
)
def test_an_answer_is_told_as_it_came(run: Run, path: str, status: int, answer: bytes) -> None:
    """Status and body are the receiver's; a redirect is an answer like any other and is not followed."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            (done,) = await box.send(post(endpoint(receiver.url(path))))
            assert (done.status, done.error, done.answer) == (status, None, answer)
            assert len(receiver.requests) == 1

    run(main())


def test_a_large_body_goes_out_whole_and_without_asking(run: Run) -> None:
    """Several MiB, more than a socket takes at once, arrive as they are, with no Expect header."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            body = bytes(range(256)) * 32_768
            (done,) = await box.send(post(endpoint(receiver.url("ok")), body))
            assert done.status == 200
            assert receiver.requests[0].body == body
            assert "expect" not in receiver.requests[0].headers

    run(main())


def test_an_error_in_on_done_does_not_stop_the_sender(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A caller's mistake is the loop's to report; deadlines still ring and other tries still end."""

    async def main() -> None:
        async with zoo() as receiver:
            told: list[Done] = []

            def on_done(ended: list[Done]) -> None:
                told.extend(ended)
                raise RuntimeError("the caller's mistake")

            sender = Sender(asyncio.get_running_loop(), LOOPBACK, LIMITS, on_done)
            slow, quick = endpoint(receiver.url("slow"), 1, timeout_s=0.3), endpoint(receiver.url("ok"), 2)
            sender.submit([post(slow), post(quick)])
            await until(lambda: len(told) == 2)
            assert {done.status for done in told} == {0, 200}
            sender.close()

    run(main())
    assert "the caller's mistake" in caplog.text


def test_retry_after_is_told_raw_and_only_the_final_answers(run: Run) -> None:
    """The header's text comes back whatever its case; one in a 1xx answer is not the answer's."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            views = [
                endpoint(receiver.url(path), number) for number, path in enumerate(("busy", "down", "hinted"))
            ]
            busy, down, hinted = await box.send(*map(post, views))
            assert (busy.status, busy.retry_after) == (429, "17")
            assert (down.status, down.retry_after) == (503, "Fri, 31 Dec 2027 23:59:59 GMT")
            assert (hinted.status, hinted.retry_after) == (200, None)

    run(main())


def test_nothing_is_unpacked_and_no_cookie_is_kept(run: Run) -> None:
    """A compressed answer is kept as the bytes it is; a cookie set by one answer is not in the next request."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            (packed,) = await box.send(post(endpoint(receiver.url("gzip"))))
            assert packed.answer.startswith(b"\x1f\x8b")
            view = endpoint(receiver.url("cookie"), 2)
            await box.send(post(view))
            await box.send(post(view))
            assert all("cookie" not in request.headers for request in receiver.requests)
            assert all("accept-encoding" not in request.headers for request in receiver.requests)

    run(main())


def test_connections_are_kept_and_their_phases_told(run: Run) -> None:
    """One after the other, requests share a connection; a reused one has no connect phase."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            view = endpoint(receiver.url("ok"))
            for _ in range(20):
                (done,) = await box.send(post(view))
                phases = done.phases
                assert (
                    0 <= phases.dns_ms <= phases.connect_ms <= phases.first_byte_ms <= phases.total_ms < 5000
                )
                assert phases.tls_ms == 0
            assert receiver.connections == 1
            await box.send(post(endpoint(receiver.url("broken"), 2)))
            assert receiver.connections == 1

    run(main())


def test_a_connection_that_the_peer_closed_idle_is_replaced(run: Run) -> None:
    """A receiver that hangs up between requests costs a new connection, no failed try, and no busy loop."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            view = endpoint(receiver.url("bye"))
            for number in range(30):
                (done,) = await box.send(post(view))
                assert (done.status, done.error) == (200, None)
                await until(lambda: receiver.open_now == 0)
                await until(lambda: not select.select([box.sender._poller._epoll], [], [], 0)[0])
                assert receiver.connections == number + 1
            assert len(receiver.requests) == 30

    run(main())


def test_descriptors_are_reused_without_a_lost_event(run: Run) -> None:
    """Under churn, with other sockets taking the numbers meanwhile, every transfer ends, none by its deadline."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            paths = ("last", "bye", "ok", "reset", "until_close", "broken")
            hosts = ("127.0.0.1", "localhost")
            views = [
                endpoint(receiver.url(paths[n % 6], hosts[n // 6 % 2]), n, timeout_s=30) for n in range(48)
            ]
            before = open_descriptors()
            for _ in range(25):
                strangers = [socket.socketpair() for _ in range(5)]
                ended = await asyncio.wait_for(box.send(*map(post, views)), 20)
                for pair in strangers:
                    for one in pair:
                        one.close()
                kinds = {done.job.endpoint.id % 6: (done.status, done.error) for done in ended}
                assert kinds.pop(3) == (0, Outcome.CONNECT)
                assert kinds.pop(5) == (500, None)
                assert set(kinds.values()) == {(200, None)}
            # libcurl itself sends again what a kept connection lost before any answer: more is possible, less is not.
            assert len(receiver.requests) >= 25 * 48
            assert open_descriptors() < before + 2 * 48 + 16

    run(main())


def test_thousands_of_connections_at_once(run: Run) -> None:
    """As many connections as descriptors allow (up to 2,000) are open together and each gets its answer."""

    async def main() -> None:
        async with zoo() as receiver, outbox(limits=Limits(connections=5_000)) as box:
            many = min(2_000, (box.sender.open_files - 256) // 2)
            views = [endpoint(receiver.url("hold"), n, timeout_s=40) for n in range(100)]
            sending = asyncio.create_task(box.send(*(post(views[n % 100], b"%d" % n) for n in range(many))))
            await until(lambda: len(receiver.held) == many)
            assert box.sender.in_flight == many
            assert receiver.open_now == many
            for writer in receiver.held:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            ended = await sending
            assert all((done.status, done.error) == (200, None) for done in ended)
            assert {request.body for request in receiver.requests} == {b"%d" % n for n in range(many)}
            assert box.sender.in_flight == 0

    run(main())
