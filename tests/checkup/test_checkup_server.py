"""The item server and the live check: what is heard at the address, whoever answers there."""

import socket
import threading

import pytest
from tests.checkup.site import NOBODY, WELL, Answer, Site, answering

from homing.checkup import answers
from homing.checkup.answers import address_of, ask
from homing.checkup.item import State
from homing.checkup.live import live

STOPPING: dict[str, Answer] = {**WELL, "/readyz": (503, {}, b'{"ready":false,"reasons":["stopping"]}')}
FULL: dict[str, Answer] = {**WELL, "/readyz": (503, {}, b'{"ready":false,"reasons":[]}')}
STRANGE: dict[str, Answer] = {"/healthz": (200, {}, b"<html>")}
OTHER: dict[str, Answer] = {"/healthz": (200, {}, b'{"status":"up"}')}
HALF: dict[str, Answer] = {"/healthz": WELL["/healthz"]}


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8480", "127.0.0.1:8480"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("[::]:80", "[::1]:80"),
        ("[::1]:80", "[::1]:80"),
        ("homing.local:80", "homing.local:80"),
        ("127.0.0.1:0", None),
    ],
)
def test_a_server_is_asked_where_it_listens(listen: str, address: str | None) -> None:
    """One that listens everywhere is found on loopback, one on any free port is not."""
    assert address_of(listen) == address


@pytest.mark.parametrize(
    ("answers_", "state", "told"),
    [
        (WELL, "ok", "lives and is ready"),
        (STOPPING, "FAIL", "lives, not ready: stopping"),
        (FULL, "FAIL", "lives, not ready: no reason given"),
        (STRANGE, "FAIL", "something answers there that is no Homing"),
        (OTHER, "FAIL", "something answers there that is no Homing"),
        (HALF, "FAIL", "/readyz tells nothing"),
        ({}, "FAIL", "something answers there that is no Homing"),
    ],
)
def test_live_is_whether_the_server_takes_work(answers_: dict[str, Answer], state: str, told: str) -> None:
    """Anything but a Homing that is ready FAILs, and it is told what was heard."""
    with answering(answers_) as listen:
        found = live(listen)
    assert (found.name, found.state) == ("server", state)
    assert found.found == f"http://{listen} {told}" or found.found.startswith(f"http://{listen}: ")
    assert told in found.found


def test_nobody_at_the_address_fails() -> None:
    """Refused, unknown, silent, or of another language: each in words."""
    assert "refused" in live(NOBODY).found
    assert live("127.0.0.1:0").state is State.FAIL
    assert live("127.0.0.1:0").hint == "give server.listen a port"


def test_a_name_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's answer is no."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "the name in server.listen is not known" in live("homing.invalid:80").found


def heard(said: bytes | None) -> str:
    """What is told of a listener that takes one connection and says this, or nothing, to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_over = threading.Event()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                if said is not None:
                    connection.recv(10_000)
                    connection.sendall(said)
                else:
                    is_over.wait()

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            found = ask(f"127.0.0.1:{listener.getsockname()[1]}")
        finally:
            is_over.set()
            thread.join()
    assert found is not None
    return found.fault


def test_what_speaks_no_http_is_told() -> None:
    """Another protocol's server, or one that hangs up."""
    assert heard(b"220 smtp ready\r\n") == "something answers there that does not speak HTTP"
    assert heard(b"") == "remote end closed connection without response"


def test_one_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few seconds it is given up."""
    monkeypatch.setattr(answers, "PATIENCE_S", 0.05)
    assert heard(None).startswith("no answer within")


def test_a_server_that_is_down_is_no_fault(site: Site) -> None:
    """The check is of use before a start too."""
    site.fill()
    assert (site.one("server").state, site.one("server").found) == (State.OK, "not running")
    site.flags["server.listen"] = "127.0.0.1:0"
    assert (site.one("server").state, site.one("server").found) == (State.OK, "not running")


def test_a_server_that_holds_the_lock_must_answer(site: Site) -> None:
    """It is named by its process; that it does not answer FAILs; a port nobody knows is worth a word."""
    site.fill()
    with site.held():
        assert site.one("server").state is State.FAIL
        assert "running as process " in site.one("server").found
        site.flags["server.listen"] = "127.0.0.1:0"
        assert site.one("server").state is State.WARN
        with answering(WELL) as site.flags["server.listen"]:
            assert site.one("server").state is State.OK
        with answering(STOPPING) as site.flags["server.listen"]:
            assert site.one("server").state is State.FAIL


def test_another_homing_at_the_address_is_told(site: Site) -> None:
    """It answers, but has another data directory: probably the wrong settings were given."""
    site.fill()
    with answering(WELL) as site.flags["server.listen"]:
        found = site.one("server")
    assert found.state is State.WARN
    assert f"none has {site.data}" in found.found
    assert "--data" in found.hint
