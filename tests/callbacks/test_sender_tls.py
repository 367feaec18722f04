"""The sender behind TLS, its deadlines, and the system's limits."""

import asyncio
import socket
from pathlib import Path

import pytest
from tests.callbacks.certificates import certificates
from tests.callbacks.zoo import LIMITS, Run, endpoint, outbox, post, zoo

from homing.callbacks.limits import Limits, raise_open_files, system_ca_file
from homing.callbacks.verdict import Outcome


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
        limits = LIMITS if fault == "unknown authority" else Limits(ca_file=made.ca_file)
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
                view = endpoint(f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=15)
                (done,) = await box.send(post(view))
                assert (done.status, done.error) == (0, Outcome.TIMEOUT)
                assert 200 < done.phases.total_ms < 15_000

    run(main())


def test_a_deadline_may_be_shorter_than_the_one_for_connecting(run: Run) -> None:
    """The endpoint's whole deadline holds while connecting too, and different deadlines ring in their order."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
            async with outbox(limits=Limits(connect_s=5)) as box:
                late, early = endpoint(url, 1, timeout_s=0.5), endpoint(url, 2, timeout_s=0.2)
                await box.send(post(late), post(early))
                told = [(done.job.endpoint, done.error) for ended in box.calls for done in ended]
                assert told == [(early, Outcome.TIMEOUT), (late, Outcome.TIMEOUT)]

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
