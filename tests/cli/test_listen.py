"""`homing listen` against real servers and real receivers: what it brings, in which order, and what no kill can lose."""

import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.customer import customer
from tests.cli.processes import Process, run, running

from homing.cli.captured import from_curl, from_request
from homing.cli.client import Client
from homing.cli.target import Target
from homing.contract.notification import IncomingNotification
from homing.contract.signature import verify

ADMIN = "served-admin-token-of-more-than-32-characters"


class Served:
    """A production node's address, which stays the same when it is started again in the same place."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.port}"
        self.words = ("serve", "--listen", f"127.0.0.1:{self.port}", "--data", "data")
        self.where = ("--url", self.url, "--token", ADMIN)

    def start(self) -> Any:
        """Run it for as long as the block lasts."""
        return running(self.folder, *self.words, HOMING_ADMIN_TOKEN=ADMIN)

    def call(self, method: str, where: str, body: dict[str, Any] | None = None) -> Any:
        client = Client(Target(self.url, ADMIN))
        try:
            return client.call(method, where, body)
        finally:
            client.close()

    def people(self) -> None:
        """Make application 1 with ann."""
        self.call("POST", "/1/apps", {"name": "demo"})
        self.call("POST", "/1/apps/1/users", {"identifier": "ann", "password": "pw"})

    def send(self, *names: str) -> str:
        recipients = [{"identifier": name} for name in names]
        body = {"mobileAppId": 1, "text": "hi", "recipients": recipients}
        return str(self.call("POST", "/1/messages", body)["messageId"])

    def write(self, text: str) -> str:
        """Let ann's phone send a message to application 1; return its id."""
        app_key = self.call("GET", "/1/apps/1")["appKey"]
        login = {"appKey": app_key, "identifier": "ann", "password": "pw"}
        phone = Client(Target(self.url, self.call("POST", "/device/1/sessions", login)["token"]))
        try:
            sent = phone.call("POST", "/device/1/messages", {"type": "send", "text": text, "channel": "c"})
        finally:
            phone.close()
        return str(sent["messageId"])

    def listen(self, *words: str) -> Any:
        """Run `homing listen` under the name of this test, off a terminal."""
        return running(self.folder, "listen", *self.where, "--name", "it", *words)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A node of its own, with application 1 and ann."""
    it = Served(tmp_path)
    with it.start() as node:
        node.until(r"^http://")
        it.people()
        yield it


def ready(listener: Process) -> str:
    """Wait until it listens; return the secret it says."""
    return listener.heard(r"listening as it .* signed with (whsec_\S+)")[1]


def test_a_killed_listener_goes_on_where_it_stopped(served: Served) -> None:
    """kill -9, events meanwhile, started again: all of them come once and in order, the first line says how many; every
    signature verifies over the bytes that came, with a secret that stayed the same.
    """
    with customer() as mine:
        with served.listen("--forward-to", mine.url) as first:
            secret = ready(first)
            served.send("ann", "nobody")
            mine.wait(2)
            # What was dealt with is saved within a second: kill it when the server knows.
            while served.call("GET", "/1/listeners")["items"][0]["cursor"] != "0000000000000002":
                pass
            first.process.kill()
            first.process.wait()
        for _ in range(7):
            served.send("ann", "nobody")
        with served.listen("--forward-to", mine.url) as second:
            assert second.heard("resumed")[0] == "resumed"
            assert second.said == ["resumed: 14 events caught up, 0 lost\n"]
            assert ready(second) == secret
            came = mine.wait(16)
            served.send("ann")
            came = mine.wait(17)
            assert second.end(signal.SIGINT)[0] == 130
    assert [one.status for one in came] == [*["enqueued", "IdentifierNotFound"] * 8, "enqueued"]
    ids = [one.proves(secret) for one in came]
    assert len(set(ids)) == 17
    assert all(re.fullmatch(r"msg_[0-9a-f]{48}_1_it", one) for one in ids)
    heads = came[0].headers
    assert (heads["user-agent"], heads["homing-sequence"], heads["homing-attempt"]) == ("Catapush", "1", "1")
    assert not {"accept-encoding", "homing-test", "homing-replay"} & set(heads)
    assert came[0].body.startswith(b'{"type":"MessageStatus","timestamp":"')


def test_a_name_has_one_listener(served: Served) -> None:
    """A second is refused with the host of the first (6); with --takeover it goes on, and the first ends with 6 too."""
    with served.listen() as first:
        ready(first)
        again = run(served.folder, "listen", *served.where, "--name", "it", "--once", "1")
        assert again.returncode == 6
        assert again.stdout == ""
        assert f"@{socket.gethostname()} (process {first.process.pid})" in again.stderr
        assert "--takeover" in again.stderr
        with served.listen("--takeover") as second:
            ready(second)
            served.send("ann")
            second.until("enqueued")
            assert first.process.wait(30) == 6
            assert "taken over" in first.end(signal.SIGTERM)[1]
            code, said = second.end(signal.SIGTERM)
            assert (code, said) == (0, "1 shown\n")
    with served.listen() as third:
        assert third.heard("resumed")[0]
        assert third.said == ["resumed: 0 events caught up, 0 lost\n"]
        served.send("ann")
        third.until("enqueued")
        assert third.end(signal.SIGTERM)[0] == 0


def test_a_local_server_that_is_down_is_waited_for(served: Served) -> None:
    """It says so once and holds: nothing is passed over and no try spent; when it is back all comes, in order."""
    with customer() as mine:
        pass
    with served.listen("--forward-to", mine.url) as listener:
        secret = ready(listener)
        for _ in range(3):
            served.send("ann", "nobody")
        assert "holding" in listener.heard("is down")[0] or "holding" in listener.said[-1]
        with customer(known=mine):
            came = mine.wait(6)
            listener.heard("is back")
            for _ in came:
                listener.until(r"enqueued|IdentifierNotFound")  # it is dealt with, not only sent
        assert [one.status for one in came] == ["enqueued", "IdentifierNotFound"] * 3
        assert {one.headers["homing-attempt"] for one in came} == {"1"}
        assert len({one.proves(secret) for one in came}) == 6
        code, said = listener.end(signal.SIGTERM)
    assert (code, said) == (0, "6 taken\n")
    assert sum("is down" in line for line in listener.said) == 1


def test_what_was_held_is_not_lost_by_a_kill(served: Served) -> None:
    """An event that came here but was not dealt with is not counted as that: it comes to whoever listens next."""
    with customer() as mine:
        pass
    with served.listen("--forward-to", mine.url) as first:
        ready(first)
        served.send("ann", "nobody")
        first.heard("is down")
        first.process.kill()
        first.process.wait()
    with customer(known=mine), served.listen("--forward-to", mine.url, "--once", "2") as second:
        second.heard("resumed: 2 events caught up, 0 lost")
        assert [one.status for one in mine.wait(2)] == ["enqueued", "IdentifierNotFound"]
        assert second.process.wait(30) == 0


def test_a_handler_that_fails_does_not_stop_the_feed(served: Served) -> None:
    """A failure is tried again under the same id; one that stays is passed over and counted, and the end is 7."""
    with customer() as mine:
        mine.answers = [(500, b"KeyError: 'x'\nmore"), (204, b""), *[(404, b"")] * 4]
        words = ("--forward-to", mine.url, "--once", "3", "--since", "beginning")
        for _ in range(3):
            served.send("ann")
        with served.listen(*words) as listener:
            secret = ready(listener)
            came = mine.wait(7)
            assert listener.process.wait(30) == 7
            said = listener.end(signal.SIGTERM)[1]
    ids = [one.proves(secret) for one in came]
    assert [ids.count(one) for one in dict.fromkeys(ids)] == [2, 4, 1]
    assert [one.headers["homing-attempt"] for one in came] == ["1", "2", "1", "2", "3", "4", "1"]
    rows = [line.split("\t")[-3:-1] for line in listener.lines]
    assert rows == [
        ["1", "500"], ["2", "204"], ["1", "404"], ["2", "404"], ["3", "404"], ["4", "404"], ["1", "204"],
    ]  # fmt: skip
    assert said == "2 taken, 1 passed over: the local server did not take them\n"


def test_what_is_not_wanted_is_counted(served: Served) -> None:
    """Filtered events are passed by and told in the footer; the place moves on over them."""
    served.send("ann", "nobody", "none")
    words = ("--since", "beginning", "--to", "ANN", "--statuses", "enqueued,read", "--once", "2", "--jsonl")
    with served.listen(*words) as listener:
        ready(listener)
        listener.until('"recipient":"ann"')
        served.send("nobody", "ann")
        assert listener.process.wait(30) == 0
        assert listener.end(signal.SIGTERM)[1] == "2 shown, 3 filtered out\n"
    events = [json.loads(line) for line in listener.lines]
    assert [(event["recipient"], event["status"]) for event in events] == [("ann", "enqueued")] * 2
    assert set(events[0]) >= {"kind", "cursor", "seq", "messageId", "timestamp", "mobileAppId"}
    with served.listen("--once", "1") as again:
        again.heard("resumed: 0 events caught up, 0 lost")
        assert again.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("form", ["json", "form", "get", "as-configured"])
def test_each_form_is_signed_over_what_was_sent(served: Served, form: str) -> None:
    """The address keeps its own query; as-configured is what the application's endpoint has, in its precision."""
    endpoint = {"url": "https://a.example/", "form": "form", "timestampPrecision": "ms"}
    served.call("POST", "/1/apps/1/endpoints", endpoint)
    served.send("ann")
    with customer() as mine:
        words = ("--forward-to", f"{mine.url}?k=v", "--form", form, "--since", "beginning", "--once", "1")
        with served.listen(*words) as listener:
            secret = ready(listener)
            (came,) = mine.wait(1)
            assert listener.process.wait(30) == 0
    assert came.proves(secret)
    assert came.status == "enqueued"
    assert came.method == ("GET" if form == "get" else "POST")
    assert came.query.startswith("k=v&type=" if form == "get" else "k=v")
    if form == "as-configured":
        assert re.search(rb"timestamp=[0-9-]+T[0-9%A]+\.[0-9]{3}Z&", came.body)


def test_messages_from_devices_come_as_callbacks_too(served: Served) -> None:
    """In their order among the statuses, as an inbox gets them; `incoming` is a word for --statuses."""
    first = served.send("ann")
    message = served.write("hi there")
    with customer() as mine:
        with served.listen("--forward-to", mine.url, "--since", "beginning", "--once", "2") as listener:
            secret = ready(listener)
            status, incoming = mine.wait(2)
            assert listener.process.wait(30) == 0
            listener.end(signal.SIGTERM)
        assert status.status == "enqueued"
        assert incoming.proves(secret).endswith("_1_it")
        said = incoming.said
        assert isinstance(said, IncomingNotification)
        assert (said.sender, said.text, said.channel, said.message_id) == ("ann", "hi there", "c", message)
        rows = [line.split("\t")[:5] for line in listener.lines]
        assert [(row[0], row[2], row[4]) for row in rows] == [
            (first, "ann", "enqueued"),
            (message, "ann", "incoming"),
        ]
        only = ("--since", "beginning", "--once", "1", "--statuses", "incoming", "--json")
        with served.listen(*only) as listener:
            ready(listener)
            assert listener.process.wait(30) == 0
            assert listener.end(signal.SIGTERM)[1] == "1 shown, 1 filtered out\n"
        (event,) = map(json.loads, listener.lines)
        assert (event["kind"], event["sender"], event["text"]) == ("incoming", "ann", "hi there")


def test_a_server_that_restarts_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """While it is away the listener and the follower wait and say so; then both have every event once."""
    served = Served(tmp_path)
    with customer() as mine, served.start() as node:
        node.until(r"^http://")
        served.people()
        with (
            served.listen("--forward-to", mine.url, "--app", "1") as listener,
            running(tmp_path, "events", *served.where, "--follow", "--since", "beginning") as follower,
        ):
            secret = ready(listener)
            served.send("ann", "nobody")
            mine.wait(2)
            follower.until("IdentifierNotFound")
            assert node.end(signal.SIGTERM)[0] == 0
            listener.heard("trying again")
            follower.heard("trying again")
            with served.start() as again:
                again.until(r"^http://")
                served.send("ann")
                listener.heard(r"resumed: [01] events? caught up, 0 lost")
                follower.heard("the server is back")
                served.send("nobody")
                came = mine.wait(4)
                follower.until("IdentifierNotFound")
                assert listener.end(signal.SIGTERM)[0] == 0
                assert follower.end(signal.SIGINT) == (130, "")
                assert again.end(signal.SIGTERM)[0] == 0
    told = ["enqueued", "IdentifierNotFound"] * 2
    assert [one.status for one in came] == told
    assert len({one.proves(secret) for one in came}) == 4
    assert [line.split("\t")[4] for line in follower.lines] == told


@pytest.mark.parametrize("form", ["json", "get"])
def test_what_is_printed_can_be_verified(served: Served, form: str) -> None:
    """--print raw is the whole request, --print curl the command, --print keys the decoded keys; `homing verify` agrees."""
    message = served.send("ann")
    secret = ""
    for print_ in ("raw", "curl", "keys"):
        words = ("--since", "beginning", "--once", "1", "--form", form, "--print", print_)
        with served.listen(*words) as listener:
            secret = ready(listener)
            assert listener.process.wait(30) == 0
            listener.end(signal.SIGTERM)
        line, *more = listener.lines
        assert re.fullmatch(rf"[0-9:.]{{12}}  …{message[-4:]}  ann +enqueued\n", line)
        text = "".join(more)
        if print_ == "keys":
            assert re.search(rf"^    messageId +{message}$", text, re.M)
            continue
        captured = from_curl(text.encode()) if print_ == "curl" else from_request(text.rstrip("\n").encode())
        assert captured.method == ("GET" if form == "get" else "POST")
        headers = captured.headers
        verify(headers, captured.payload, [secret], int(headers["webhook-timestamp"]))
        file = served.folder / print_
        file.write_text(text.rstrip("\n") + ("\n\n" if form == "get" else ""))
        flag = "--curl" if print_ == "curl" else "--request"
        ended = run(
            served.folder, "verify", "--secret", secret, flag, print_, "--url", "http://localhost:8000/"
        )
        assert ended.returncode == 0, ended


def test_a_listener_that_cannot_reach_the_server_says_so(tmp_path: Path) -> None:
    """Before it ever listened, a server that is not there is exit 5, and a wrong token 4."""
    gone = run(tmp_path, "listen", "--url", "http://127.0.0.1:1", "--token", ADMIN)
    assert (gone.returncode, len(gone.stderr.splitlines())) == (5, 1)


WRONG = [
    ["--form", "xml"], ["--statuses", "raed"], ["--app", "one"], ["--since", "whenever"], ["--once", "0"],
    ["--forward-to", "localhost:8000"], ["--forward-to", "http://localhost:8000/?status=read"],
    ["--name", "a.b"], ["--print", "everything"],
]  # fmt: skip


def test_wrong_words_are_wrong_usage(served: Served) -> None:
    """Each is exit 2 with one line, and nothing listens afterwards."""
    for words in WRONG:
        ended = run(served.folder, "listen", *served.where, *words)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), (words, ended)
    assert served.call("GET", "/1/listeners")["items"] == []
    unknown = run(served.folder, "listen", *served.where, "--app", "77")
    assert unknown.returncode == 3
