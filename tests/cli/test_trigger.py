"""`trigger`: every status for real against `homing dev`, whole lives sent on, and one made-up callback byte for byte."""

import json
import re
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.cli.processes import run, running

from homing.cli.exits import CliError
from homing.cli.sample import sample, settable
from homing.cli.times import span
from homing.contract.decode import decode
from homing.contract.notification import IncomingNotification, Notification, StatusNotification, keys
from homing.contract.signature import secret_from_bytes, verify
from homing.contract.status import FAMILY, STATUSES, Family, Status
from homing.lifecycle import laws
from homing.simulator.lives import SHORTEST

SECRET = secret_from_bytes(bytes(range(32)))
MESSAGE = "01a20a40-2e17-7789-b370-863d4faa74d0"
KINDS = [*STATUSES, "incoming"]


class Got(NamedTuple):
    """One request as a customer's receiver saw it; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> bytes:
        """What is signed."""
        return self.path.partition("?")[2].encode() if self.method == "GET" else self.body

    @property
    def said(self) -> Notification:
        """What it tells."""
        query = self.path.partition("?")[2]
        return decode(self.method, query, self.headers.get("content-type"), self.body)

    def verifies(self, *secrets: str) -> bool:
        """Say whether one of the secrets signed it, just now."""
        verify(self.headers, self.payload, secrets, time.time())
        return True


class Customer:
    """A receiver of somebody else's making on loopback; answers as it is told, the last for ever."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = [(204, {}, b"")]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._take()

            def do_POST(self) -> None:
                self._take()

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, more, answer = outer.answers[min(len(outer.got), len(outer.answers) - 1)]
                outer.got.append(Got(self.command, self.path, headers, body))
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/h"

    def of(self, message_id: str) -> list[Got]:
        """What came about one message."""
        return [one for one in self.got if one.said.message_id == message_id]


@pytest.fixture
def customer() -> Iterator[Customer]:
    """One customer, listening until the test is over."""
    one = Customer()
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


def callbacks(live: Any) -> list[Any]:
    """What the live server's own receiver got."""
    with urllib.request.urlopen(f"{live.url}/sim/1/callbacks", timeout=10) as answer:
        items: list[Any] = json.load(answer)["items"]
    return items


def statuses(got: list[Got]) -> list[str]:
    return [one.said.status for one in got if isinstance(one.said, StatusNotification)]


def test_every_status_comes_from_a_running_dev(tmp_path: Path, homing: Any, customer: Customer) -> None:
    """All 18 and incoming: stdout is the messageId, stderr the timeline, and the customer got that life, signed, lawful."""
    with running(tmp_path, "dev", "--listen", "127.0.0.1:0", "--quiet", "--forward-to", customer.url) as dev:
        dev.until(r"^http://")
        held = json.loads((tmp_path / ".homing" / "dev.json").read_text())
        for status, life in SHORTEST.items():
            ended = homing("trigger", status)
            assert ended.code == 0, ended
            heard = customer.of(ended.out.strip())
            assert statuses(heard) == list(life.says)
            assert [line.split()[-1] for line in ended.err.splitlines()[-len(life.says) :]] == list(life.says)
            assert laws.check([(it.status, it.timestamp_ms) for it in (one.said for one in heard)]) == []  # type: ignore[union-attr]
            assert all(one.verifies(held["secret"]) for one in heard)
        ended = homing("trigger", "incoming", "--set", "text=two minutes!")
        assert ended.code == 0
        (got,) = customer.of(ended.out.strip())
        assert isinstance(got.said, IncomingNotification)
        assert got.said.text == "two minutes!"
        assert got.verifies(held["inboxSecret"])
        assert dev.end(signal.SIGTERM)[0] == 0


def test_somebody_can_be_named_and_the_message_told_apart(tmp_path: Path, homing: Any) -> None:
    """--to ann reads as she does, --set reaches the callbacks, --count makes several, and the feed shows them."""
    with running(tmp_path, "dev", "--listen", "127.0.0.1:0") as dev:
        dev.until(r"trigger fallbackDelivered")
        ended = homing("trigger", "read", "--to", "ann", "--set", "messageRef=A1", "--set", "text=hi")
        assert ended.code == 0
        assert [line.split()[-1] for line in ended.err.splitlines()][1:] == [
            "enqueued",
            "PushSent",
            "delivered",
            "read",
        ]
        shown = json.loads(homing("messages", "show", ended.out.strip(), "--json").out)
        assert (shown["messageRef"], shown["text"]) == ("A1", "hi")
        several = homing("trigger", "IdentifierNotFound", "--count", "3", "--jsonl")
        items = json.loads(several.out)["items"]
        assert len({item["identifier"] for item in items}) == 3
        assert several.code == 0
        refused = homing("trigger", "delivered", "--to", "ann")
        assert (refused.code, refused.out, len(refused.err.splitlines())) == (2, "", 1)
        dev.until(rf"…{items[-1]['messageId'][-4:]}  trigger-\d+ IdentifierNotFound +→ 204")
        assert dev.end(signal.SIGTERM)[0] == 0


def test_a_real_clock_is_waited_for_or_refused(tmp_path: Path, homing: Any) -> None:
    """Nothing is pushed: what takes a second is waited for, what takes a day is refused with the way out, or only begun."""
    with running(tmp_path, "dev", "--listen", "127.0.0.1:0", "--clock", "real", "--quiet") as dev:
        dev.until(r"^http://")
        ended = homing("trigger", "fallbackOnUndelivered", "--timeout", "30s")
        assert ended.code == 0
        assert ended.err.splitlines()[0] == "the clock is real: this takes 1s"
        assert ended.err.splitlines()[-1].split()[-1] == "fallbackOnUndelivered"
        refused = homing("trigger", "fallbackExpired")
        assert (refused.code, refused.out) == (6, "")
        assert "--clock skip" in refused.err
        begun = homing("trigger", "fallbackExpired", "--no-wait")
        assert (begun.code, begun.err) == (0, "")
        assert "enqueued" in homing("messages", "show", begun.out.strip()).out
        assert homing("trigger", "incoming").code == 0
        assert dev.end(signal.SIGTERM)[0] == 0


def test_a_virtual_clock_is_pushed_no_further_than_it_takes(tmp_path: Path, homing: Any) -> None:
    """With --clock virtual a day passes and no more; only begun, nothing passes."""
    with running(tmp_path, "dev", "--listen", "127.0.0.1:0", "--clock", "virtual", "--quiet") as dev:
        dev.until(r"^http://")
        before = homing("clock", "+0s").out
        begun = homing("trigger", "read", "--to", "ann", "--no-wait").out.strip()
        assert homing("clock", "+0s").out == before
        assert "\tread\t" not in homing("messages", "show", begun).out
        assert homing("trigger", "fallbackExpired").code == 0
        after = homing("clock", "+0s").out
        passed_s = (iso(after) - iso(before)).total_seconds()
        assert passed_s * 1000 == SHORTEST[Status.FALLBACK_EXPIRED].takes_ms
        assert "\tread\t" in homing("messages", "show", begun).out
        assert dev.end(signal.SIGTERM)[0] == 0


def iso(text: str) -> datetime:
    return datetime.fromisoformat(text.strip())


def test_a_server_without_a_simulator_says_so(tmp_path: Path, homing: Any) -> None:
    """Under `homing serve` it is no such thing (3), and --only is named as what exists."""
    with running(tmp_path, "serve", "--data", "data", "--listen", "127.0.0.1:0") as served:
        url = served.until(r"(http://127\.0\.0\.1:\d+)")[1]
        token = (tmp_path / "data" / "admin-token").read_text().strip()
        common = ("--url", url, "--token", token, "--app", "1")
        run(tmp_path, "apps", "create", "one", "--id", "1", "--url", url, "--token", token)
        ended = homing("trigger", "read", *common)
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (3, "", 1)
        assert "--only" in ended.err
        assert homing("trigger", "read", "--only", *common).code == 3  # there is no endpoint
        assert served.end(signal.SIGTERM)[0] == 0


def test_an_application_that_does_not_exist_is_not_taken_for_a_server_without_simulator(told: Any) -> None:
    """404 has two causes, and each gets its own line."""
    ended = told("trigger", "read", "--app", "77")
    assert ended.code == 3
    assert "simulator" not in ended.err


ALL_KEYS = {
    "timestamp": "2026-11-23T20:07:07Z",
    "applicationId": "7",
    "messageId": MESSAGE,
    "recipient": "anna å",
    "messageRef": "A1/ü",
    "recipientRef": "r&1",
    "fallbackRef": "+39 333",
}
ESCAPED = (
    f"type=MessageStatus&timestamp=2026-11-23T20%3A07%3A07Z&applicationId=7&messageId={MESSAGE}&recipient="
)
IN_JSON = f'{{"type":"MessageStatus","timestamp":"2026-11-23T20:07:07Z","applicationId":"7","messageId":"{MESSAGE}",'
REFS_IN_JSON = '"messageRef":"A1/ü","recipientRef":"r&1","fallbackRef":"+39 333"}'
REFS = "status=fallbackSent&messageRef=A1%2F%C3%BC&recipientRef=r%261&fallbackRef=%2B39"
BYTES = {
    "json": ("POST", "/h?own=1", f'{IN_JSON}"recipient":"anna å","status":"fallbackSent",{REFS_IN_JSON}'),
    "form": ("POST", "/h?own=1", f"{ESCAPED}anna+%C3%A5&{REFS}+333"),
    "get": ("GET", f"/h?own=1&{ESCAPED}anna%20%C3%A5&{REFS}%20333", ""),
}


@pytest.mark.parametrize("form", BYTES)
def test_a_made_up_callback_is_the_contracts_to_the_byte(
    form: str, homing: Any, customer: Customer, tmp_path: Path
) -> None:
    """--only --forward-to, no server anywhere: method, target and body exactly, a signature that fits, homing-test: true."""
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    sets = [word for key, value in ALL_KEYS.items() for word in ("--set", f"{key}={value}")]
    common = ("--form", form, "--secret-file", str(file), "--forward-to", f"{customer.url}?own=1")
    ended = homing("trigger", "fallbackSent", "--only", *common, *sets)
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(r"204\t\d+\t\n", ended.out)
    (got,) = customer.got
    assert (got.method, got.path, got.body.decode()) == BYTES[form]
    assert got.verifies(SECRET)
    assert got.headers["homing-test"] == "true"
    assert got.headers["user-agent"] == "Catapush"
    assert not {"accept-encoding", "expect", "transfer-encoding"} & set(got.headers)


def test_a_made_up_callback_has_the_headers_of_a_real_one(
    told: Any, live: Any, customer: Customer, tmp_path: Path
) -> None:
    """The same headers in the same spelling as the server's own, and homing-test beside them."""
    file = tmp_path / "secret"
    file.write_text(live.secret)
    sent = told("trigger", "read", "--app", "1").out.strip()
    assert (
        told("trigger", "read", "--only", "--forward-to", customer.url, "--secret-file", str(file)).code == 0
    )
    caught = callbacks(live)
    real = next(one for one in reversed(caught) if one["callback"]["messageId"] == sent)
    (got,) = customer.got
    assert list(got.headers) == [
        name if name != "content-length" else "homing-test" for name in real["headers"]
    ] + ["content-length"]
    assert got.headers["homing-sequence"] == real["headers"]["homing-sequence"] == "3"


@pytest.mark.parametrize("what", KINDS)
def test_each_made_up_callback_is_plausible(what: str, homing: Any, customer: Customer) -> None:
    """Every status and incoming, with nothing set: it decodes, has its references, and a number where an SMS is about."""
    ended = homing("trigger", what, "--only", "--forward-to", customer.url, "--secret", SECRET, "--to", "zoe")
    assert ended.code == 0
    (got,) = customer.got
    said = got.said
    if isinstance(said, StatusNotification):
        assert (said.status, said.recipient, said.application_id) == (what, "zoe", "1")
        assert said.message_ref
        assert said.recipient_ref
        assert (said.fallback_ref is not None) == (FAMILY[Status(what)] is Family.FALLBACK)
    else:
        assert (what, said.sender) == ("incoming", "zoe")
        assert said.text


@pytest.mark.parametrize(
    ("answer", "code", "out", "meaning"),
    [
        ((200, {}, b"thanks\nmore"), 0, "200\tN\tthanks\n", ""),
        (
            (500, {}, b"KeyError: 'recipientRef'\n..."),
            1,
            "500\tN\tKeyError: 'recipientRef'\n",
            "failed while",
        ),
        ((307, {"location": "/h/"}, b""), 1, "307\tN\t\n", "/h/"),
        ((401, {}, b"\x1b[31mno"), 1, "401\tN\t\x1b[31mno\n", "wants credentials"),
        ((410, {}, b""), 1, "410\tN\t\n", "gone for good"),
    ],
)
def test_what_the_receiver_answered_is_told(
    answer: Any, code: int, out: str, meaning: str, homing: Any, customer: Customer
) -> None:
    """Status, milliseconds and the first line on stdout; what a failure means on stderr; a redirect is not followed."""
    customer.answers = [answer]
    ended = homing("trigger", "read", "--only", "--forward-to", customer.url, "--secret", SECRET)
    assert ended.code == code
    assert re.sub(r"\t\d+\t", "\tN\t", ended.out) == out
    assert meaning in ended.err
    assert len(customer.got) == 1
    told = homing("trigger", "read", "--only", "--forward-to", customer.url, "--secret", SECRET, "--json")
    shown = json.loads(told.out)
    assert (shown["status"], shown["webhookId"]) == (answer[0], customer.got[1].headers["webhook-id"])


def test_a_receiver_that_is_not_there_is_unreachable(homing: Any, customer: Customer) -> None:
    """Exit 5 and one line; the same for what speaks no TLS where TLS was wanted."""
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}/h"
        unreachable(homing, closed)
    unreachable(homing, "https" + customer.url.removeprefix("http"))


def unreachable(homing: Any, url: str) -> None:
    ended = homing("trigger", "read", "--only", "--forward-to", url, "--secret", SECRET)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (5, "", 1)


def test_without_a_url_the_server_sends_it(told: Any, live: Any) -> None:
    """--only beside a server: its endpoint got one marked callback of that status, and no message came of it."""
    before = told("messages", "list", "--limit", "1", "--json").out
    ended = told("trigger", "expired", "--only", "--app", "1")
    assert ended.code == 0
    assert ended.out.startswith("204\t")
    marked = [one for one in callbacks(live) if one["headers"].get("homing-test") == "true"]
    assert marked[-1]["callback"]["status"] == "expired"
    assert marked[-1]["faults"] == []
    assert told("messages", "list", "--limit", "1", "--json").out == before
    assert told("trigger", "incoming", "--only", "--app", "1").code == 3  # there is no inbox


def test_a_whole_life_is_sent_on(told: Any, customer: Customer) -> None:
    """--forward-to without --only: what was said, in order, with the refs and the number, signed with what was given."""
    words = ("--app", "1", "--forward-to", customer.url, "--secret", SECRET, "--form", "get")
    ended = told("trigger", "fallbackDelivered", *words, "--set", "messageRef=A1")
    assert ended.code == 0
    assert statuses(customer.got) == list(SHORTEST[Status.FALLBACK_DELIVERED].says)
    assert {one.said.message_id for one in customer.got} == {ended.out.strip()}
    assert all(one.verifies(SECRET) for one in customer.got)
    assert len({one.headers["webhook-id"] for one in customer.got}) == 4
    assert [one.headers["homing-sequence"] for one in customer.got] == ["1", "2", "3", "4"]
    assert {dict(keys(one.said)).get("fallbackRef") for one in customer.got} == {"+447700900000"}
    assert {dict(keys(one.said)).get("messageRef") for one in customer.got} == {"A1"}
    assert not any("homing-test" in one.headers for one in customer.got)


def test_a_life_that_is_refused_is_not_sent_further(told: Any, customer: Customer) -> None:
    """The second event is answered 500: the third is not sent, and the answer is no."""
    customer.answers = [(204, {}, b""), (500, {}, b"")]
    ended = told("trigger", "read", "--app", "1", "--forward-to", customer.url, "--secret", SECRET)
    assert ended.code == 1
    assert statuses(customer.got) == ["enqueued", "delivered"]
    assert "delivered → 500" in ended.err


def test_an_incoming_message_is_sent_on_and_nothing_is_sent_twice(told: Any, customer: Customer) -> None:
    """With an inbox there; a URL that the application's callbacks go to already gets each of them once."""
    made = told("inboxes", "create", customer.url, "--app", "1")
    assert made.code == 0
    words = ("--app", "1", "--secret", SECRET, "--set", "text=hello", "--set", "channel=c1")
    ended = told("trigger", "incoming", *words, "--forward-to", customer.url + "/2")
    assert ended.code == 0
    assert [(one.path, one.said.message_id) for one in customer.got] == [
        ("/h", ended.out.strip()),
        ("/h/2", ended.out.strip()),
    ]
    first, second = (dict(keys(one.said)) for one in customer.got)
    assert first | {"timestamp": ""} == second | {"timestamp": ""}
    ended = told("trigger", "incoming", *words, "--forward-to", customer.url)
    assert ended.code == 0
    assert "not sent twice" in ended.err
    assert len(customer.got) == 3
    inbox = told("inboxes", "list", "--app", "1").out.split("\t")[0]
    assert told("inboxes", "delete", inbox, "--app", "1", "--yes").code == 0


def test_the_list_needs_no_server(homing: Any) -> None:
    """18 statuses and incoming, each with its life, how, and how long; as JSON in the shape of lists."""
    ended = homing("trigger", "--list")
    assert ended.code == 0
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert [line[0] for line in lines] == KINDS
    assert [line[1].split(" → ")[-1] for line in lines] == KINDS
    assert {line[0]: line[3] for line in lines}["fallbackExpired"] == "24h1s"
    items = json.loads(homing("trigger", "--list", "--json").out)["items"]
    assert [item["says"][-1] for item in items] == KINDS


BAD = [
    (2, [], "incoming, or --list"),
    (2, ["raed"], "did you mean read?"),
    (2, ["Delivered"], "is no status"),
    (2, ["read", "--set", "x"], "not key=value"),
    (2, ["read", "--app", "1", "--set", "mesageRef=1"], "none of messageRef, recipientRef, text, channel"),
    (2, ["read", "--app", "1", "--set", "recipient=ann"], "none of messageRef"),
    (2, ["read", "--app", "1", "--to", "carol"], "kind uninstalled"),
    (2, ["read", "--app", "1", "--count", "0"], "--count"),
    (2, ["read", "--app", "1", "--count", "101"], "from 1 to 100"),
    (2, ["read", "--timeout", "soon", "--app", "1"], "no duration"),
    (2, ["read", "--form", "json"], "go with --forward-to"),
    (2, ["read", "--secret", SECRET, "--only"], "go with --forward-to"),
    (2, ["read", "--only", "--count", "2"], "no --count"),
    (2, ["read", "--only", "--app", "1", "--set", "messageRef=1"], "with --forward-to"),
    (2, ["read", "--no-wait", "--forward-to", "http://x.example/h", "--secret", SECRET], "--no-wait"),
    (2, ["read", "--only", "--forward-to", "http://127.0.0.1:9/h"], "which secret"),
    (2, ["read", "--only", "--forward-to", "http://127.0.0.1:9999/h", "--secret", "short"], "whsec_"),
    (2, ["read", "--only", "--forward-to", "nonsense", "--secret", SECRET], "--forward-to"),
    (2, ["read", "--only", "--forward-to", "http://x.example/h?status=1", "--secret", SECRET], "status"),
    (2, ["read", "--only", "--form", "xml", "--forward-to", "http://x.example/h"], "xml"),
    (2, ["read", "--only", "--forward-to", "http://x.example/h", "--secret", SECRET, "--set", "status=x"],
     "none of timestamp, applicationId, messageId, recipient, messageRef, recipientRef, fallbackRef"),
    (2, ["incoming", "--only", "--forward-to", "http://x.example/h", "--secret", SECRET, "--set", "recipient=x"],
     "none of sender, text, applicationId, timestamp, messageId, channel, inReplyToMessageId"),
    (2, ["read", "--only", "--forward-to", "http://x.example/h", "--secret", SECRET, "--set", "recipient="],
     "recipient must not be empty"),
    (2, ["read", "--only", "--forward-to", "http://x.example/h", "--secret", SECRET, "--set", "timestamp=now"],
     "not ISO-8601"),
    (2, ["incoming", "--app", "1"], "no inbox"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "words", "line"),
    BAD,
    ids=lambda value: " ".join(value)[:70] if isinstance(value, list) else None,
)
def test_wrong_usage_is_one_line(code: int, words: list[str], line: str, told: Any) -> None:
    """Nothing is sent, stdout is empty, and one line on stderr names what was wrong and the way out."""
    ended = told("trigger", *words)
    assert (ended.code, ended.out) == (code, "")
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("homing trigger: ")
    assert line in ended.err


def test_a_key_that_is_set_to_nothing_is_left_out() -> None:
    """An optional key goes, a mandatory one is refused; every key that may be set is a key of the wire."""
    given = {"messageRef": "", "fallbackRef": ""}
    made = dict(keys(sample("fallbackSent", 1, 0, given)))
    assert not {"messageRef", "fallbackRef"} & set(made)
    for what in KINDS:
        plausible = dict(keys(sample(what, 1, 0, {})))
        assert set(plausible) - {"type", "status"} <= set(settable(what))
    with pytest.raises(CliError):
        sample("read", 1, 0, {"messageId": ""})


@pytest.mark.parametrize(
    ("length_s", "text"),
    [(0, "0s"), (2.4, "2.4s"), (60, "1m"), (86_401, "24h1s"), (3_660, "1h1m"), (59.99, "1m")],
)
def test_a_length_of_time_is_told_as_it_is_given(length_s: float, text: str) -> None:
    """The grammar of durations, tenths of a second at most."""
    assert span(length_s) == text
