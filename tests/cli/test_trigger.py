"""`trigger`: every status for real against `homing dev`, whole lives sent on, and what is refused."""

import json
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import run, running
from tests.cli.triggered import KINDS, SECRET, Customer, statuses

from homing.contract.notification import IncomingNotification, keys
from homing.contract.status import Status
from homing.lifecycle import laws
from homing.simulator.lives import SHORTEST


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
