"""The sender's dials and endings: what it refuses to connect to, what fails, how it stops."""

import asyncio
import socket

import msgspec
import pycurl
import pytest
from tests.callbacks.zoo import (
    LIMITS,
    LOOPBACK,
    Run,
    dialler_is,
    endpoint,
    outbox,
    post,
    zoo,
)
from tests.engine.fakes import until

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import ParsedUrl
from homing.callbacks.job import Done, EndpointView, Job
from homing.callbacks.poller import Poller
from homing.callbacks.sender import Sender
from homing.callbacks.transfer import Transfer
from homing.callbacks.verdict import Outcome
from homing.contract.forms import Form


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

            sender = Sender(asyncio.get_running_loop(), LOOPBACK, LIMITS, on_done)
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
        sender = Sender(asyncio.get_running_loop(), AddressPolicy(), LIMITS, told.extend)
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


def test_a_name_whose_allowed_address_takes_no_connection_is_not_called_refused(run: Run) -> None:
    """One address of the name is refused, the other was dialled in vain: that is what the owner must hear."""

    async def main() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            async with outbox(AddressPolicy(["127.0.0.1/32"])) as box:
                url = f"http://localhost:{bound.getsockname()[1]}/"
                (done,) = await box.send(post(endpoint(url)))
                assert (done.status, done.error, done.address) == (0, Outcome.CONNECT, "127.0.0.1")

    run(main())


def test_a_public_address_of_this_machine_is_refused_unless_the_operator_opened_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What listens on all interfaces answers there as on loopback; naming the address is consent."""

    def no_socket(*_: object) -> None:
        raise OSError("let through")

    async def main() -> None:
        monkeypatch.setattr("homing.callbacks.own_addresses.is_own", lambda ip: ip == "8.8.8.8")
        dialler_is(no_socket, monkeypatch)
        for policy, error in (
            (AddressPolicy(), Outcome.REFUSED_BY_GUARD),
            (AddressPolicy(["8.8.8.8"]), Outcome.OURS),
        ):
            async with outbox(policy) as box:
                (done,) = await box.send(post(endpoint("http://8.8.8.8/")))
                assert (done.error, done.address) == (error, None)

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
    transfer = Transfer(view, LOOPBACK, LIMITS, opened, None)
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
                assert (done.status, done.error, done.address) == (0, Outcome.CONNECT, "127.0.0.1")

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


def test_a_handle_that_cannot_be_made_does_not_stop_the_others(run: Run) -> None:
    """The same where libcurl does not take what holds for all requests of an endpoint."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            view = endpoint(receiver.url("ok"))
            bad = msgspec.structs.replace(view, id=view.id + 1, user_agent="é")
            ended = await box.send(post(view), post(bad), post(view))
            assert [done.error for done in ended] == [None, Outcome.OURS, None]
            assert box.sender.in_flight == 0

    run(main())


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\0", "\x0b", "\x1b", "\x7f", "\x85", "\u2028"])
def test_no_header_and_no_target_can_end_a_line(run: Run, end: str) -> None:
    """Whatever got past the doors before, the last one is shut: nothing is sent, and the next try is sound."""

    async def main() -> None:
        async with zoo() as receiver, outbox() as box:
            view = endpoint(receiver.url("ok"))
            ended = await box.send(
                Job(view, [f"x-key: a{end}x-injected: yes"], b"{}"),
                Job(view, [f"x-key{end}: a"], None, "/ok"),
                Job(view, [], b"{}", f"/ok{end}x"),
                Job(view, [], None, f"/ok HTTP/1.1{end}x-injected: yes{end}x: "),
            )
            assert {done.error for done in ended} == {Outcome.OURS}
            assert receiver.connections == 0
            (done,) = await box.send(Job(view, ["x-key: a\tb"], b"{}"))
            assert done.status == 200
            assert receiver.requests[0].headers["x-key"] == "a\tb"

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
        async with zoo() as receiver, outbox(limits=LIMITS._replace(idle_handles=20)) as box:
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
            sender = Sender(asyncio.get_running_loop(), LOOPBACK, LIMITS, told.extend)
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

            sender = Sender(asyncio.get_running_loop(), LOOPBACK, LIMITS, on_done)
            sender.submit(
                [post(endpoint(receiver.url(path), n)) for n, path in enumerate(("ok", "hold", "hold"))]
            )
            await until(lambda: told)
            assert len(told) + len(left) == 3
            await until(lambda: receiver.open_now == 0)

    run(main())
