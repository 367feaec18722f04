"""The sender against a zoo of receivers: what it sends, what it tells, what it refuses, and what it keeps open."""

import asyncio
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pycurl
import pytest
from tests.callbacks.zoo import LOOPBACK, QUICK, Run, certificates, endpoint, outbox, post, until, zoo

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import ParsedUrl
from homing.callbacks.job import Done, EndpointView, Job
from homing.callbacks.limits import Limits, raise_open_files, system_ca_file
from homing.callbacks.poller import Poller
from homing.callbacks.sender import Sender
from homing.callbacks.transfer import Transfer
from homing.callbacks.verdict import Outcome, outcome
from homing.contract.forms import Form


def dialler_is(make_socket: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the open-socket callback, and nobody else, make its sockets so."""
    fake = SimpleNamespace(AF_INET=socket.AF_INET, AF_INET6=socket.AF_INET6, socket=make_socket)
    monkeypatch.setattr("homing.callbacks.transfer.socket", fake)


def open_descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


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

            sender = Sender(asyncio.get_running_loop(), LOOPBACK, QUICK, on_done)
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


@pytest.mark.parametrize(
    "path,error",
    [
        ("slow", Outcome.TIMEOUT),
        ("drip", Outcome.TIMEOUT),
        ("drip_head", Outcome.TIMEOUT),
        ("extensions", Outcome.MALFORMED),
        ("close", Outcome.CONNECT),
        ("reset", Outcome.CONNECT),
        ("headers", Outcome.MALFORMED),
        ("long_header", Outcome.MALFORMED),
        ("flood", Outcome.MALFORMED),
        ("garbage", Outcome.MALFORMED),
        ("smtp", Outcome.MALFORMED),
        ("old", Outcome.MALFORMED),
        ("nostatus", Outcome.MALFORMED),
        ("short", Outcome.MALFORMED),
        ("badchunk", Outcome.MALFORMED),
        ("hugechunk", Outcome.MALFORMED),
        ("negative", Outcome.MALFORMED),
        ("twice", Outcome.MALFORMED),
        ("switch", Outcome.MALFORMED),
    ],
)
def test_what_is_no_whole_answer_has_its_own_kind(run: Run, path: str, error: Outcome) -> None:
    """Each way to misbehave ends in bounded time with its kind, and the next try at a good path works."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            started = time.monotonic()
            (done,) = await box.send(post(endpoint(receiver.url(path), timeout_s=0.4)))
            assert outcome(done.status, done.error) is error
            assert time.monotonic() - started < 2
            assert receiver.written_bytes < 16_000_000
            (done,) = await box.send(post(endpoint(receiver.url("ok"), 2)))
            assert done.status == 200

    run(main())


def test_a_longer_answer_than_allowed_is_cut_and_counts_by_its_status(run: Run) -> None:
    """64 KiB are read, then the connection is closed; the status decides; 1 KiB is kept."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            endless, broken, limit = await box.send(
                *(
                    post(endpoint(receiver.url(path), n))
                    for n, path in enumerate(("endless", "endless500", "limit"))
                )
            )
            assert (endless.status, endless.error, len(endless.answer)) == (200, None, 1024)
            assert (broken.status, broken.error) == (500, None)
            assert (limit.status, limit.error, limit.answer) == (200, None, b"abcd" * 256)
            await until(lambda: receiver.open_now == 1)  # the one that kept to the limit stays open

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


def test_endings_come_together_and_may_start_more(run: Run) -> None:
    """What ended in one wake-up comes in one call, and submitting from inside that call works."""

    async def main() -> None:
        async with zoo() as receiver:
            view = endpoint(receiver.url("ok"))
            finished, calls, sent = asyncio.Event(), [0], [64]

            def on_done(ended: list[Done]) -> None:
                calls[0] += 1
                more = [post(view) for _ in ended][: 1_000 - sent[0]]
                sent[0] += len(more)
                if more:
                    sender.submit(more)
                elif sender.in_flight == 0:
                    finished.set()

            sender = Sender(asyncio.get_running_loop(), LOOPBACK, QUICK, on_done)
            sender.submit([post(view) for _ in range(64)])
            await finished.wait()
            assert len(receiver.requests) == 1_000
            assert calls[0] < 500
            sender.close()

    run(main())


def test_an_ending_is_never_told_inside_submit(run: Run) -> None:
    """A try that fails at once, here a refused one, is told after submit has returned."""

    async def main() -> None:
        told: list[Done] = []
        sender = Sender(asyncio.get_running_loop(), AddressPolicy(), QUICK, told.extend)
        sender.submit([post(endpoint("http://127.0.0.1:1999/"))])
        assert told == []
        await until(lambda: told)
        assert told[0].error is Outcome.REFUSED_BY_GUARD
        sender.close()

    run(main())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0",
        "0177.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
    ],
)
def test_a_refused_address_is_never_dialled(run: Run, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever spelling reached libcurl, the dial sees the address, and no socket is made for it."""

    def no_socket(*_: object) -> None:
        raise AssertionError("a socket was made for a refused address")

    async def main() -> None:
        async with zoo() as receiver, outbox(AddressPolicy()) as box:
            url = ParsedUrl("http", host, receiver.port, "/ok", None, literal=False)
            view = EndpointView(id=1, url=url, form=Form.JSON, signers=(), timeout_s=5)
            monkeypatch.setattr("homing.callbacks.transfer.socket.socket", no_socket)
            (done,) = await box.send(post(view))
            assert (done.status, done.error) == (0, Outcome.REFUSED_BY_GUARD)
            assert done.error_text.startswith("refused: ")
            monkeypatch.undo()
            assert receiver.connections == 0

    run(main())


def test_a_name_with_a_refused_and_an_allowed_address_reaches_the_allowed_one(run: Run) -> None:
    """Of the addresses of a name, only those that pass are dialled; localhost is ::1 and 127.0.0.1."""

    async def main() -> None:
        async with zoo() as receiver, outbox(AddressPolicy(["127.0.0.1/32"])) as box:
            (done,) = await box.send(post(endpoint(receiver.url("ok", "localhost"))))
            assert (done.status, done.address) == (200, "127.0.0.1")
            assert receiver.requests[0].headers["host"] == f"localhost:{receiver.port}"

    run(main())


def test_a_name_that_does_not_exist_is_told_as_such(run: Run) -> None:
    """Without an address there is no dial; libcurl itself never looks up .onion, so this asks no network."""

    async def main() -> None:
        async with outbox() as box:
            (done,) = await box.send(post(endpoint("http://nothing.onion/")))
            assert (done.status, done.error, done.address) == (0, Outcome.DNS, None)
            assert done.error_text

    run(main())


def test_only_ip_addresses_are_dialled() -> None:
    """A socket of another family, as for unix paths, is refused before it is made."""
    view, opened = endpoint("http://127.0.0.1/"), list[socket.socket]()
    transfer = Transfer(view, LOOPBACK, QUICK, opened, None)
    assert transfer._dial(0, (socket.AF_UNIX, socket.SOCK_STREAM, 0, "/run/x")) == pycurl.SOCKET_BAD
    assert opened == []
    transfer.close()


def test_the_flood_guard_leaves_alone_what_is_no_tcp_connection(run: Run) -> None:
    """libcurl also watches sockets of its own, for name look-ups; looking at one neither fails nor closes it."""

    async def main() -> None:
        poller = Poller(asyncio.get_running_loop(), lambda _: None, lambda: None)
        left, right = socket.socketpair()
        with left, right:
            poller._cut_floods(left.fileno())
            left.send(b"x")
            assert right.recv(1) == b"x"
        poller.close()

    run(main())


def test_nobody_listening_is_a_connection_error(run: Run) -> None:
    """A closed port is no guard's refusal."""

    async def main() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            async with outbox() as box:
                (done,) = await box.send(post(endpoint(f"http://127.0.0.1:{bound.getsockname()[1]}/")))
                assert (done.status, done.error) == (0, Outcome.CONNECT)

    run(main())


def test_a_proxy_in_the_environment_is_ignored(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """http_proxy and friends do not redirect callbacks."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            (done,) = await box.send(post(endpoint(receiver.url("ok"))))
            assert done.status == 200

    run(main())


def test_no_descriptor_left_is_our_fault(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no socket can be had here, the endpoint is not blamed."""

    def no_socket(*_: object) -> None:
        raise OSError(24, "Too many open files")

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            dialler_is(no_socket, monkeypatch)
            (done,) = await box.send(post(endpoint(receiver.url("ok"))))
            assert done.error is Outcome.OURS
            assert "Too many open files" in done.error_text

    run(main())


def test_a_request_that_cannot_be_made_does_not_stop_the_others(run: Run) -> None:
    """One bad job in a batch ends by itself, as our fault; the rest is sent."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            view = endpoint(receiver.url("ok"))
            bad = Job(view, ["webhook-id: é"], b"{}")
            ended = await box.send(post(view), bad, post(view))
            assert [done.error for done in ended] == [None, Outcome.OURS, None]
            assert box.sender.in_flight == 0
            (alone,) = await box.send(bad)
            assert alone.error is Outcome.OURS
            assert len(receiver.requests) == 2

    run(main())


def test_a_changed_endpoint_is_sent_to_where_it_now_is(run: Run) -> None:
    """A new view under the same id replaces the old one, also while the old one has a try in flight."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            old, new = endpoint(receiver.url("hold")), endpoint(receiver.url("ok"))
            waiting = asyncio.create_task(box.send(post(old)))
            await until(lambda: receiver.held)
            (done,) = await box.send(post(new))
            assert done.job.endpoint is new
            receiver.held[0].write(b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            ((late),) = await waiting
            assert late.status == 201
            (done,) = await box.send(post(new))
            assert [request.line.split()[1] for request in receiver.requests] == ["/hold", "/ok", "/ok"]

    run(main())


def test_handles_are_freed_with_their_endpoint_and_above_the_limit(run: Run) -> None:
    """A forgotten endpoint keeps nothing, many idle ones keep a bounded number, and all can be used again."""

    async def main() -> None:
        async with zoo() as receiver, outbox(limits=QUICK._replace(idle_handles=20)) as box:
            views = [endpoint(receiver.url("ok"), n) for n in range(60)]
            for start in range(0, 60, 6):
                await box.send(*map(post, views[start : start + 6]))
                kept = sum(len(pool.free) for pool in box.sender._pools.values())
                assert kept == box.sender._idle_handles <= 20
            box.sender.forget(59)
            box.sender.forget(59)
            assert 59 not in box.sender._pools
            kept = sum(len(pool.free) for pool in box.sender._pools.values())
            assert kept == box.sender._idle_handles
            assert all(done.status == 200 for done in await box.send(*map(post, views)))

    run(main())


def test_close_cancels_and_returns_what_had_not_ended(run: Run) -> None:
    """After close nothing is told, the jobs come back, connections are cut, and closing again is harmless."""

    async def main() -> None:
        async with zoo() as receiver:
            told: list[Done] = []
            sender = Sender(asyncio.get_running_loop(), LOOPBACK, QUICK, told.extend)
            jobs = [post(endpoint(receiver.url("hold"), n)) for n in range(5)]
            sender.submit(jobs)
            await until(lambda: len(receiver.held) == 5)
            bad = Job(jobs[0].endpoint, ["webhook-id: é"], b"{}")
            sender.submit([bad])
            assert {id(job) for job in sender.close()} == {id(job) for job in [*jobs, bad]}
            assert sender.close() == []
            assert sender.in_flight == 0
            await until(lambda: receiver.open_now == 0)
            assert told == []

    run(main())


def test_closing_inside_on_done_is_harmless(run: Run) -> None:
    """A caller that stops at the first ending gets the others back."""

    async def main() -> None:
        async with zoo() as receiver:
            left: list[Job] = []
            told: list[Done] = []

            def on_done(ended: list[Done]) -> None:
                told.extend(ended)
                left.extend(sender.close())

            sender = Sender(asyncio.get_running_loop(), LOOPBACK, QUICK, on_done)
            sender.submit(
                [post(endpoint(receiver.url(path), n)) for n, path in enumerate(("ok", "hold", "hold"))]
            )
            await until(lambda: told)
            assert len(told) + len(left) == 3
            await until(lambda: receiver.open_now == 0)

    run(main())


def test_a_certificate_of_a_trusted_authority_is_accepted_and_the_connection_kept(
    run: Run, tmp_path: Path
) -> None:
    """Over TLS: name checked against the certificate, one handshake for several requests, its time told."""
    made = certificates(tmp_path, ["localhost", "127.0.0.1"])

    async def main() -> None:
        limits = Limits(ca_file=made.ca_file)
        async with zoo(made.server) as receiver, outbox(limits=limits) as box:
            for host in ("localhost", "127.0.0.1"):
                view = endpoint(receiver.url("ok", host, "https"), len(host))
                (first,) = await box.send(post(view))
                assert (first.status, first.error) == (200, None)
                assert first.phases.tls_ms > 0
                (second,) = await box.send(post(view))
                assert (second.status, second.phases.tls_ms) == (200, 0)
            assert receiver.connections == 2

    run(main())


@pytest.mark.parametrize("fault", ["unknown authority", "other name", "expired"])
def test_a_certificate_that_proves_nothing_is_refused(run: Run, tmp_path: Path, fault: str) -> None:
    """Unknown authority, another name, or a passed date: a TLS error, and no byte of the callback is sent."""
    name = "other.example" if fault == "other name" else "localhost"
    made = certificates(tmp_path, [name], expired=fault == "expired")

    async def main() -> None:
        limits = QUICK if fault == "unknown authority" else Limits(ca_file=made.ca_file)
        async with zoo(made.server) as receiver, outbox(limits=limits) as box:
            (done,) = await box.send(post(endpoint(receiver.url("ok", "localhost", "https"))))
            assert (done.status, done.error) == (0, Outcome.TLS)
            assert receiver.requests == []

    run(main())


def test_no_tls_behind_https_is_told_as_tls(run: Run) -> None:
    """A server that answers a handshake with something else is a TLS error."""

    async def main() -> None:
        async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        server = await asyncio.start_server(hello, "127.0.0.1", 0)
        async with outbox() as box:
            (done,) = await box.send(
                post(endpoint(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
            )
            assert (done.status, done.error) == (0, Outcome.TLS)
        server.close()

    run(main())


def test_a_handshake_that_stalls_ends_with_the_connect_deadline(run: Run) -> None:
    """Name, connection and TLS share the connect deadline, however long the whole exchange may take."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with outbox(limits=Limits(connect_s=0.3)) as box:
                started = time.monotonic()
                view = endpoint(f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=15)
                (done,) = await box.send(post(view))
                assert (done.status, done.error) == (0, Outcome.TIMEOUT)
                assert 0.2 < time.monotonic() - started < 3

    run(main())


def test_a_deadline_may_be_shorter_than_the_one_for_connecting(run: Run) -> None:
    """The endpoint's whole deadline holds while connecting too, and different deadlines ring in their order."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
            async with outbox(limits=Limits(connect_s=5)) as box:
                late = asyncio.create_task(box.send(post(endpoint(url, 1, timeout_s=0.5))))
                await asyncio.sleep(0)
                (early,) = await box.send(post(endpoint(url, 2, timeout_s=0.2)))
                assert early.error is Outcome.TIMEOUT
                assert not late.done()
                assert (await late)[0].error is Outcome.TIMEOUT

    run(main())


def test_the_systems_authorities_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSL_CERT_FILE names the bundle; where it names nothing, the usual places are looked at."""
    bundle = tmp_path / "own.pem"
    bundle.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert system_ca_file() == str(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setattr("homing.callbacks.limits._CA_FILES", ())
    assert system_ca_file() is None


def test_the_limit_of_open_files_is_raised_as_far_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised to what is wanted or to the hard limit, never lowered."""
    limits = [100, 500]
    monkeypatch.setattr("resource.getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr("resource.setrlimit", lambda _, pair: limits.__setitem__(slice(0, 2), pair))
    assert raise_open_files(50) == 100
    assert raise_open_files(300) == 300
    assert raise_open_files(9_999) == 500
    assert limits == [500, 500]
    limits[1] = -1
    assert raise_open_files(9_999) == 9_999
    limits[0] = -1
    assert raise_open_files(9_999) == -1
