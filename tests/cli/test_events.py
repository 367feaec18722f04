"""`homing events` against a real server: what it prints in each style, its filters, and how following ends."""

import json
import signal
import socket
import threading
from typing import Any

import pytest
from tests.cli.conftest import Ended, Homing, Live
from tests.cli.processes import running

from homing.cli import event_words, pulling
from homing.cli.client import Client
from homing.cli.exits import CliError, ExitCode
from homing.cli.pulling import BACK_S, Feed, until_back
from homing.cli.target import Target


def sent(told: Homing, *words: str, app: int = 1) -> str:
    ended = told("send", *words, "--app", str(app))
    assert ended.code == 0, ended
    return ended.out.strip()


def rows(ended: Ended) -> list[list[str]]:
    assert ended.code == 0, ended
    return [line.split("\t") for line in ended.out.splitlines()]


def test_events_are_listed_in_every_style(told: Homing) -> None:
    """Plain rows, the page as JSON, an item a line as JSONL: the same events, oldest first."""
    message = sent(told, "hi", "--to", "nobody", "--ref", "r1")
    last = [row for row in rows(told("events", "--limit", "100000")) if row[0] == message]
    ((_, moment, recipient, seq, status, ref),) = last
    assert (recipient, seq, status, ref) == ("nobody", "1", "IdentifierNotFound", "r1")
    document = json.loads(told("events", "--since", moment, "--to", "NOBODY", "--json").out)
    assert set(document) == {"items", "nextCursor", "cursor"}
    assert document["nextCursor"] is None
    (item,) = [it for it in document["items"] if it["messageId"] == message]
    assert (item["kind"], item["recipient"], item["timestamp"]) == ("status", "nobody", moment)
    lines = told("events", "--since", moment, "--to", "nobody", "--jsonl").out.splitlines()
    assert item in [json.loads(line) for line in lines]


def test_a_list_that_is_cut_says_so(told: Homing) -> None:
    """--limit is of what is wanted; behind the last shown it goes on; nothing wanted is told on stderr."""
    moment = told("clock", "+1s").out.strip()
    for _ in range(3):
        sent(told, "hi", "--to", "nobody,somebody")
    words = ("events", "--since", moment, "--to", "nobody", "--status", "IdentifierNotFound")
    ended = told(*words, "--limit", "2")
    assert len(rows(ended)) == 2
    assert "there are more" in ended.err
    cut = json.loads(told(*words, "--limit", "2", "--json").out)
    assert cut["nextCursor"] == cut["cursor"] == cut["items"][-1]["cursor"]
    assert len(rows(told(*words, "--limit", "3"))) == 3
    none = told("events", "--since", moment, "--to", "nobody", "--status", "read")
    assert (none.code, none.out, none.err) == (0, "", "no events\n")


def test_applications_are_named(told: Homing, live: Live) -> None:
    """One, several or all; one that is not there is exit 3."""
    number = json.loads(told("apps", "create", "other", "--json").out)["id"]
    message = sent(told, "hi", "--to", "x", app=number)
    assert [row[0] for row in rows(told("events", "--app", str(number)))] == [message]
    first = sent(told, "hi", "--to", "x")
    both = {row[0] for row in rows(told("events", "--app", f"{live.app},{number}", "--limit", "100000"))}
    everything = {row[0] for row in rows(told("events", "--app", "*", "--limit", "100000"))}
    assert {message, first} <= both <= everything
    assert told("events", "--app", "77").code == 3


BAD = [
    ["--status", "raed"], ["--since", "whenever"], ["--app", "one"], ["--limit", "0"], ["--wrong"],
]  # fmt: skip


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_wrong_words_are_wrong_usage(told: Homing, words: list[str]) -> None:
    """Each is exit 2 with one line."""
    for more in ((), ("--follow",)):
        ended = told("events", *words, *more)
        assert (ended.code, len(ended.err.splitlines())) == (2, 1)


def test_following_shows_what_happens_and_ends_when_told(told: Homing, live: Live, tmp_path: Any) -> None:
    """From now on unless told otherwise; --limit ends it with 0, Ctrl-C with 130, SIGTERM with 0; nothing but events."""
    before = sent(told, "before", "--to", "nobody")
    where = ("--url", live.url, "--token", live.token)
    follow = ("events", "--follow", "--to", "nobody", *where)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
        with running(tmp_path, *follow, "--since", "beginning", "--jsonl") as follower:
            follower.until(before)
            message = sent(told, "hi", "--to", "nobody")
            follower.until(message)
            assert follower.end(number) == (code, "")
        assert all(json.loads(line)["recipient"] == "nobody" for line in follower.lines)
    with running(tmp_path, "events", "-f", "--limit", "1", *where) as follower:
        # Nothing from before: the first event it shows is one of a message sent until it ended.
        known = {row[0] for row in rows(told("events", "--limit", "100000"))}
        while follower.process.poll() is None:
            sent(told, "hi", "--to", "nobody")
        (row,) = [line.split("\t") for line in follower.process.communicate()[0].splitlines()]
    assert follower.process.returncode == 0
    assert row[0] not in known


class Server:
    """What a client of the feed sees of a server: pages, and absences."""

    def __init__(self, *answers: dict[str, Any] | CliError) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.closed = 0

    def call(self, _method: str, _where: str, *, query: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        assert timeout_s > (query["wait"] or 0)
        self.asked.append(query)
        answer = self.answers.pop(0)
        if isinstance(answer, CliError):
            raise answer
        return answer

    def close(self) -> None:
        self.closed += 1


def part(cursor: str, *items: str, more: bool = False) -> dict[str, Any]:
    return {
        "items": [{"cursor": item} for item in items], "cursor": cursor, "nextCursor": cursor if more else None,
    }  # fmt: skip


AWAY = CliError(ExitCode.UNREACHABLE, "cannot reach it")


def test_a_follower_asks_from_where_the_last_page_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """Through absences and empty pages: every event once; the pauses grow; it says so once each time."""
    server = Server(
        part("02", "01", "02"), AWAY, AWAY, AWAY, part("03", "03"), part("05"), part("06", "06"),
        CliError(ExitCode.NOT_ALLOWED, "revoked"),
    )  # fmt: skip
    pauses: list[float] = []
    feed = Feed(server, {"since": "x", "mobileAppId": None})  # type: ignore[arg-type]
    got: list[str] = []
    with pytest.raises(CliError, match="revoked"):
        got.extend(event["cursor"] for event in feed.follow(pauses.append))
    assert got == ["01", "02", "03", "06"]
    assert [query["cursor"] for query in server.asked] == [None, "02", "02", "02", "02", "03", "05", "06"]
    assert ["since" in query for query in server.asked] == [True, *[False] * 7]
    assert pauses == [0.1, 0.2, 0.4, pulling.SOON_S]
    assert server.closed == 4
    assert capsys.readouterr().err.splitlines() == [
        "cannot reach it; trying again until it is back",
        "the server is back; going on where it stopped",
    ]


def test_pauses_grow_to_a_bound() -> None:
    """A server that is away for long is asked every few seconds, for as long as it takes."""
    answers: list[object] = [*[AWAY] * 10, "here"]

    def ask() -> object:
        answer = answers.pop(0)
        if isinstance(answer, CliError):
            raise answer
        return answer

    pauses: list[float] = []
    assert until_back(Server(), ask, pauses.append) == "here"  # type: ignore[arg-type]
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert pauses[-1] == BACK_S[1] == max(pauses)


def test_a_server_that_hangs_up_is_reached_again() -> None:
    """A connection that died is not used again: the next question is asked on a new one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        client = Client(Target(url, "t"))

        def serve() -> None:
            first, _ = server.accept()
            first.recv(10_000)
            first.close()
            second, _ = server.accept()
            second.recv(10_000)
            body = json.dumps(part("01", "01")).encode()
            second.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            second.close()

        thread = threading.Thread(target=serve)
        thread.start()
        feed = Feed(client, {})
        for event in feed.follow(lambda _s: None):
            assert event == {"cursor": "01"}
            break
        thread.join()
        client.close()


def test_columns_tell_messages_from_devices() -> None:
    """Their sender stands where the recipient does, and `incoming` for a status."""
    letter = {"kind": "incoming", "messageId": "m", "sender": "ann", "timestamp": "t"}
    values = [column.value(letter) for column in event_words.COLUMNS]
    assert values == ["m", "t", "ann", None, "incoming", None]
