"""`sign`, `verify`, `play`, and the live feed: what the developer of a receiver sees."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from homing.callbacks.guard import parse_url
from homing.callbacks.job import Done, EndpointView, Phases
from homing.callbacks.request import build
from homing.callbacks.verdict import Outcome
from homing.cli.feed import what_was_tried
from homing.contract.forms import Form, encode
from homing.contract.notification import IncomingNotification, Notification, StatusNotification
from homing.contract.signature import Signer, secret_from_bytes
from homing.contract.status import Status

SECRET = secret_from_bytes(bytes(range(32)))
OTHER = secret_from_bytes(bytes(32))
READ = StatusNotification(1_800_000_000_000, "1", "01a20a40-2e17-7789-b370-863d4faa74d0", "ann", Status.READ)
BODY = encode(READ, Form.JSON).payload


def signed(homing: Any, tmp_path: Path, body: bytes = BODY) -> Path:
    """A capture of one callback as it came."""
    file = tmp_path / "body"
    file.write_bytes(body)
    ended = homing("sign", "--secret", SECRET, "--body", str(file))
    assert ended.code == 0
    capture = tmp_path / "request"
    head = "POST /h HTTP/1.1\r\nContent-Type: application/json\r\n" + ended.out.replace("\n", "\r\n") + "\r\n"
    capture.write_bytes(head.encode() + body)
    return capture


def test_what_is_signed_here_verifies_here(homing: Any, tmp_path: Path) -> None:
    """sign prints three headers; verify takes the request with them, and tells its form and its keys."""
    ended = homing("verify", "--secret", SECRET, "--request", str(signed(homing, tmp_path)), "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["verified"] is True
    assert (found["form"], found["keys"]["status"]) == ("json", "read")


def test_a_get_is_signed_over_its_query(homing: Any, tmp_path: Path) -> None:
    """--query is what a GET signs, without the question mark."""
    query = "type=MessageStatus&status=read"
    headers = tmp_path / "headers"
    headers.write_text(homing("sign", "--secret", SECRET, "--query", query).out)
    common = ["verify", "--secret", SECRET, "--headers", str(headers), "--query"]
    assert homing(*common, query).code == 0
    assert homing(*common, query + "&x=1").code == 1


@pytest.mark.parametrize(
    ("spoil", "mutation"),
    [
        (lambda body: body + b"\n", "trailing_newline"),
        (lambda body: json.dumps(json.loads(body)).encode(), "json_reserialised"),
        (lambda _body: b"", "empty_payload"),
    ],
)
def test_verify_names_what_happened_on_the_way(
    spoil: Any, mutation: str, homing: Any, tmp_path: Path
) -> None:
    """Exit 1, and the change that explains it with where it usually comes from."""
    capture = signed(homing, tmp_path)
    head, _, body = capture.read_bytes().partition(b"\r\n\r\n")
    capture.write_bytes(head + b"\r\n\r\n" + spoil(body))
    ended = homing("verify", "--secret", SECRET, "--request", str(capture), "--json")
    assert ended.code == 1
    found = json.loads(ended.out)
    assert (found["verified"], found["mutation"]) == (False, mutation)
    assert found["usualCause"]
    assert len(ended.err.splitlines()) == 1


def test_a_previous_secret_is_recognised(homing: Any, tmp_path: Path) -> None:
    """Signed with the secret before the rotation: that is said, not merely that it does not fit."""
    before = tmp_path / "before"
    before.write_text(SECRET + "\n")
    capture = signed(homing, tmp_path)
    common = ["verify", "--secret", OTHER, "--request", str(capture), "--json"]
    assert "mutation" not in json.loads(homing(*common).out)
    ended = homing(*common, "--previous-secret-file", str(before))
    assert json.loads(ended.out)["mutation"] == "previous_secret"


def test_an_old_capture_is_fine_when_age_does_not_matter(homing: Any, tmp_path: Path) -> None:
    """Too old is a no; with --any-age it verifies."""
    file, headers = tmp_path / "body", tmp_path / "headers"
    file.write_bytes(BODY)
    headers.write_text(
        homing("sign", "--secret", SECRET, "--body", str(file), "--timestamp", "1000000000").out
    )
    common = ["verify", "--secret", SECRET, "--headers", str(headers), "--body", str(file)]
    assert homing(*common).code == 1
    assert homing(*common, "--any-age").code == 0


def test_headers_that_are_none_are_a_no(homing: Any, tmp_path: Path) -> None:
    """A request without signature is not verified, and the missing headers are named."""
    capture = tmp_path / "request"
    capture.write_bytes(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n{}")
    ended = homing("verify", "--secret", SECRET, "--request", str(capture))
    assert ended.code == 1
    assert "webhook-id" in ended.err


def test_play_shows_what_came_and_answers_as_told(tmp_path: Path) -> None:
    """Each request is shown decoded and raw with its answer; a wrong signature is called wrong; SIGTERM ends it well."""
    command = [sys.executable, "-m", "homing.cli", "play", "--port", "0", "--secret", OTHER]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [*command, "--behaviour", "answers:201,204"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stderr.readline().split()[2]
        headers = {
            "content-type": "application/json",
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(time.time())),
        }
        headers["webhook-signature"] = Signer(SECRET).sign("msg_1", int(headers["webhook-timestamp"]), BODY)
        with urllib.request.urlopen(urllib.request.Request(url, BODY, headers), timeout=10) as answer:
            assert answer.status == 201
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "ann  read  → 201" in out
    assert BODY.decode() in out
    assert "WRONG: signature" in out
    assert "law 2" in err


def done(said: Notification, form: Form, *, attempt: int = 1, status: int = 204, **more: Any) -> Done:
    view = EndpointView(
        id=1, url=parse_url("http://localhost:8000/h?own=1"), form=form, signers=(Signer(SECRET),)
    )
    job = build(view, said, "msg_1", 1_800_000_000, 4, attempt)
    values: dict[str, Any] = {
        "error": None,
        "error_text": "",
        "retry_after": None,
        "answer": b"",
        "address": None,
    }
    return Done(job=job, status=status, phases=Phases(0, 0, 0, 0, 14), **(values | more))


@pytest.mark.parametrize("form", list(Form))
def test_the_feed_tells_each_try_in_every_form(form: Form) -> None:
    """When, the id's end, for whom, what, the answer and how long: read from the request as it was sent."""
    told = what_was_tried(done(READ, form), [1, 3])
    assert told is not None
    line = told.line(1_800_000_000_204)
    assert line.split() == ["08:00:00.204", "…74d0", "ann", "read", "→", "204", "14", "ms"]


def test_the_feed_tells_a_failure_with_what_comes_next() -> None:
    """Which try it was, when the next one is, and the first line of the receiver's answer, harmless."""
    told = what_was_tried(done(READ, Form.JSON, status=500, answer=b"KeyError: \x1b[31m'x'\nmore"), [1, 3])
    assert told is not None
    assert told.line(0).endswith("→ 500       14 ms  try 1 of 3, next in 1 s  KeyError: \ufffd[31m'x'")


def test_the_feed_tells_the_last_try_as_such() -> None:
    """After the last try nothing is next; a success after failures says which try it was."""
    last = what_was_tried(done(READ, Form.JSON, attempt=3, status=500, answer=b"no"), [1, 3])
    assert last is not None
    assert last.next_s is None
    assert last.line(0).endswith("try 3 of 3  no")
    second = what_was_tried(done(READ, Form.JSON, attempt=2), [1, 3])
    assert second is not None
    assert second.line(0).endswith("try 2")


def test_the_feed_tells_why_there_was_no_answer() -> None:
    """Without a status the kind of failure stands in its place, and its text behind."""
    told = what_was_tried(done(READ, Form.GET, status=0, error=Outcome.CONNECT, error_text="refused"), [1])
    assert told is not None
    assert told.line(0).endswith("→ connect   14 ms  try 1 of 2, next in 1 s  refused")


def test_the_feed_tells_incoming_messages_too() -> None:
    """An incoming message goes to an inbox: its sender stands where the recipient would."""
    said = IncomingNotification("bob", "hello", "1", 1_800_000_000_000, READ.message_id)
    told = what_was_tried(done(said, Form.FORM), [1])
    assert told is not None
    assert (told.recipient, told.what) == ("bob", "incoming message")
