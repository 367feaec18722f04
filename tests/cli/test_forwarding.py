"""What becomes of an event on its way to a local server, without a server of Homing: bytes, tries, and who is alive."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from tests.cli.customer import customer

from homing.callbacks.guard import parse_url
from homing.callbacks.job import EndpointView, Job
from homing.callbacks.request import build
from homing.cli.event_words import app_ids, line_of, wanted
from homing.cli.exits import CliError
from homing.cli.forwarding import (
    RETRY_DELAYS_S,
    Answered,
    Forwarder,
    How,
    Maker,
    notification,
    send,
    webhook_id,
)
from homing.cli.listen import curl
from homing.cli.listening import holder, is_gone, usual_name
from homing.contract.forms import Form
from homing.contract.signature import Signer, secret_from_bytes

SECRET = secret_from_bytes(bytes(range(32)))
EVENT = {
    "kind": "status", "cursor": "000000000000002a", "seq": 3, "messageId": "0190b4a0-0000-7000-8000-000000000001",
    "recipient": "Zoë & co", "status": "read", "timestamp": "2016-05-24T13:57:07.042Z", "mobileAppId": 12,
    "messageRef": "a b", "fallbackRef": "+39333",
}  # fmt: skip
LETTER = {
    "kind": "incoming", "cursor": "000000000000002b", "messageId": "0190b4a0-0000-7000-8000-000000000002",
    "sender": "ann", "text": "hi\nthere", "timestamp": "2016-05-24T13:57:08.000Z", "mobileAppId": 12,
    "inReplyTo": "0190b4a0-0000-7000-8000-000000000001",
}  # fmt: skip


def maker(
    form: Form = Form.JSON, url: str = "http://localhost:8000/h?k=v", name: str = "ann-laptop"
) -> Maker:
    return Maker(url, SECRET, name, lambda _app: How(form, "ms"))


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("event", [EVENT, LETTER], ids=["status", "incoming"])
def test_a_forwarded_callback_is_what_production_sends(form: Form, event: Mapping[str, Any]) -> None:
    """Target, body and headers are those of the endpoint's own request, but for the id."""
    made = maker(form).make(event, 2)
    url = parse_url("http://localhost:8000/h?k=v")
    view = EndpointView(id=1, url=url, form=form, signers=(Signer(SECRET),), precision="ms")
    now_s = int(headers(made)["webhook-timestamp"])
    job = build(view, notification(event), webhook_id(event, "ann-laptop"), now_s, event.get("seq", 1), 2)
    assert (made.headers, made.body, made.target) == (job.headers, job.body, job.target)
    assert abs(now_s - time.time()) < 60
    assert made.endpoint.user_agent == "Catapush"


def test_an_id_is_an_events_own_at_a_listener() -> None:
    """Stable, other for another event, recipient or listener, and without a full stop."""
    first = webhook_id(EVENT, "ann")
    assert first == "msg_0190b4a0000070008000000000000001000000000000002a_3_ann"
    others = [{**EVENT, "cursor": "000000000000002b"}, {**EVENT, "seq": 4}, LETTER]
    ids = {webhook_id(event, name) for event in (EVENT, *others) for name in ("ann", "bob")}
    assert len(ids) == 8
    assert all("." not in one for one in ids)
    assert "." not in usual_name()


def headers(job: Job) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in job.headers)


class Local:
    """A local server that answers as it is told, and a clock that notes each pause."""

    def __init__(self, *answers: Answered) -> None:
        self.answers = list(answers)
        self.attempts: list[str] = []
        self.pauses: list[float] = []
        self.tried: list[tuple[int | None, int, float | None]] = []
        self.forwarder = Forwarder(maker(), self.pauses.append, self.hear, self.send)

    def send(self, job: Job) -> Answered:
        self.attempts.append(headers(job)["homing-attempt"])
        return self.answers.pop(0)

    def hear(
        self, _event: object, _job: object, answered: Answered, number: int, next_s: float | None
    ) -> None:
        self.tried.append((answered.status, number, next_s))


DOWN = Answered(None, 1, "connection refused", is_down=True)


def test_a_server_that_is_down_costs_no_try(capsys: pytest.CaptureFixture[str]) -> None:
    """However long: pauses grow to five seconds, each try is the first, and it is said once that it is down, and back."""
    local = Local(*[DOWN] * 9, Answered(204, 1))
    assert local.forwarder.deliver(EVENT)
    assert local.pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]
    assert set(local.attempts) == {"1"}
    assert local.tried == [(204, 1, None)]
    first, second = capsys.readouterr().err.splitlines()
    assert first == "http://localhost:8000 is down (connection refused): holding events until it is back"
    assert second == "http://localhost:8000 is back"


@pytest.mark.parametrize("status", [301, 404, 410, 500, None])
def test_a_failure_is_tried_again_and_then_passed_over(status: int | None) -> None:
    """Whatever it is, so often and no oftener; a success in between settles it."""
    fault = Answered(status, 1, "why")
    local = Local(*[fault] * 4)
    assert not local.forwarder.deliver(EVENT)
    assert local.pauses == [*RETRY_DELAYS_S]
    assert local.attempts == ["1", "2", "3", "4"]
    assert local.tried == [(status, 1, 0.5), (status, 2, 1.0), (status, 3, 2.0), (status, 4, None)]
    local = Local(fault, DOWN, Answered(200, 1))
    assert local.forwarder.deliver(EVENT)
    assert local.tried == [(status, 1, 0.5), (200, 2, None)]
    assert local.attempts == ["1", "2", "2"]


def test_a_try_tells_what_came_back() -> None:
    """The first line of the answer; a redirect is an answer and not followed; nobody there, and nobody who answers."""
    with customer() as mine:
        job = maker(url=mine.url).make(EVENT, 1)
        mine.answers = [(500, b" KeyError\nmore"), (302, b"")]
        assert (send(job).text, send(job).status) == ("KeyError", 302)
        assert [one.path for one in mine.requests] == ["/h", "/h"]
    gone = send(job)
    assert (gone.status, gone.is_down, gone.text) == (None, True, "connection refused")
    with socket.create_server(("127.0.0.1", 0)) as mute:

        def slam() -> None:
            connection, _ = mute.accept()
            connection.recv(1)
            connection.close()

        thread = threading.Thread(target=slam)
        thread.start()
        cut = send(maker(url=f"http://127.0.0.1:{mute.getsockname()[1]}/").make(EVENT, 1))
        thread.join()
    assert (cut.status, cut.is_down, cut.is_taken) == (None, False, False)
    assert cut.text


def test_a_server_without_tls_is_down() -> None:
    """A https address where somebody speaks something else: nothing was sent, so it is waited for, and it is said why."""
    with customer() as mine:
        answered = send(maker(url=mine.url.replace("http:", "https:")).make(EVENT, 1))
    assert (answered.status, answered.is_down) == (None, True)
    assert answered.text


def test_a_command_line_makes_the_same_request() -> None:
    """--print curl: quoted so that a shell gives curl the very body, headers and address."""
    job = maker(Form.FORM).make({**EVENT, "recipient": 'it\'s "x" $HOME'}, 1)
    line = curl(job).replace("curl ", "printf '%s\\0' ", 1)
    words = subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout.split(b"\0")[:-1]
    assert job.body in words
    assert words[-1] == b"http://localhost:8000/h?k=v"
    assert f"webhook-id: {webhook_id(EVENT, 'ann-laptop')}".encode() in words
    assert not [word for word in words if word.lower().startswith((b"host:", b"content-length:"))]


def test_only_a_process_that_is_known_to_be_dead_is_gone() -> None:
    """One of this machine that does not run; not one that runs, of another machine, or that says nothing of it."""
    host = socket.gethostname()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_gone(f"ann@{host} (process {ended.pid})")
    assert is_gone(holder()), "the process before this one in a container has the same number"
    assert not is_gone(f"ann@{host} (process {os.getppid()})")
    assert not is_gone(f"ann@elsewhere (process {ended.pid})")
    assert not is_gone(f"ann@{host} (process 9999999999)")
    assert not is_gone("somebody")


def test_a_user_without_a_name_has_a_listener_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container nobody may be called anything: the number does."""

    def nobody() -> str:
        raise KeyError(os.getuid())

    monkeypatch.setattr("getpass.getuser", nobody)
    assert usual_name().startswith(f"{os.getuid()}@")


def test_filters_name_people_and_statuses() -> None:
    """Identifiers in any spelling; `incoming` for messages from devices; an unknown word is wrong usage."""
    assert [wanted(None, None)(one) for one in (EVENT, LETTER)] == [True, True]
    assert [wanted("read,incoming", None)(one) for one in (EVENT, LETTER)] == [True, True]
    assert [wanted("incoming", "ANN")(one) for one in (EVENT, LETTER)] == [False, True]
    assert [wanted("delivered", None)(one) for one in (EVENT, LETTER)] == [False, False]
    assert [wanted(None, "ZOË & CO")(one) for one in (EVENT, LETTER)] == [True, False]
    with pytest.raises(CliError, match="'raed' is no status"):
        wanted("read,raed", None)
    assert (app_ids(None), app_ids("*"), app_ids("3"), app_ids("1, 2")) == (None, None, [3], [1, 2])
    for wrong in ("", "x", "1,", "1;2", "-1", "1" * 20):
        with pytest.raises(CliError):
            app_ids(wrong)


def test_lines_show_nothing_that_steers_a_terminal() -> None:
    """What people write is told in one line."""
    assert line_of(EVENT) == "13:57:07.042  …0001  Zoë & co read"
    assert line_of({**LETTER, "text": "a\x1b[2Jb\nc"}) == "13:57:08.000  …0002  ann   writes: a\ufffd[2Jb c"
