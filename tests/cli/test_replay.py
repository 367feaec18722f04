"""`homing replay`, `homing jobs` and `homing send --callback` against a real server and a real receiver."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import LONG_S, environment
from tests.cli.receivers import Receiver, status

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture
def orders(told: Any, shop: str, there: Receiver) -> str:
    """Its application, with an endpoint called orders that gives up after two tries."""
    made = told(
        "endpoints", "create", there.url("/x"), "--app", shop, "--description", "orders", "--retry-delays", "100ms"
    )  # fmt: skip
    assert made.code == 0
    return shop


def send(told: Any, shop: str, count: int = 1) -> list[str]:
    ids = [told("send", str(n), "--to", "eve", "--app", shop).out.strip() for n in range(count)]
    assert told("clock", "+1m").code == 0
    return ids


def replay(told: Any, shop: str, *words: str) -> Any:
    return told("replay", "--endpoint", "orders", "--app", shop, *words)


def test_what_was_given_up_is_counted_and_told_again(told: Any, orders: str, there: Receiver) -> None:
    """The count is told on stderr, the job's id is alone on stdout; with --watch it ends with 0 when all was taken."""
    there.answers["/x"] = status(404)
    sent = send(told, orders, 3)
    first = {(one.told.message_id, one.headers["webhook-id"]) for one in there.at("/x")}
    assert len(first) == 3
    counted = replay(told, orders, "--dead", "--dry-run")
    assert (counted.code, counted.out) == (0, "3\n")
    assert json.loads(replay(told, orders, "--failed", "--dry-run", "--json").out) == {
        "total": 3,
        "isExact": True,
    }
    there.answers["/x"] = status(204)
    there.came.clear()
    ended = replay(told, orders, "--dead", "--rate", "50/s", "--yes", "--watch")
    assert ended.code == 0, ended
    assert UUID.fullmatch(ended.out.strip())
    told_first, *progress = ended.err.splitlines()
    assert told_first.startswith(
        "3 callbacks to “orders” match: given up. At 50/s this takes less than a second."
    )
    assert "Receivers see the same webhook-id as before" in told_first
    assert progress[-1] == f"job …{ended.out.strip()[-4:]}  3/3  0 failed  done"
    assert {one.told.message_id for one in there.at("/x")} == set(sent)
    assert {(one.told.message_id, one.headers["webhook-id"]) for one in there.at("/x")} == first
    none_left = replay(told, orders, "--dead", "--yes")
    assert (none_left.code, none_left.out) == (0, "")
    assert none_left.err == "0 callbacks to “orders” match: given up.\n"


def test_what_fails_again_is_exit_7(told: Any, orders: str, there: Receiver) -> None:
    """Partly done: some were taken, the rest is dead once more; the job's document says so."""
    there.answers["/x"] = status(404)
    send(told, orders, 2)
    ended = replay(told, orders, "--dead", "--yes", "--watch", "--json")
    assert ended.code == 7
    job = json.loads(ended.out)
    assert (job["state"], job["done"], job["failed"], job["total"]) == ("done", 0, 2, 2)
    assert "2 of them failed again" in ended.err
    assert told("jobs", "show", job["id"], "--watch").code == 7
    assert told("jobs", "show", job["id"]).code == 0
    assert replay(told, orders, "--dead", "--dry-run").out == "2\n"


def test_times_and_statuses_narrow_it(told: Any, orders: str) -> None:
    """--since, --until and --statuses are the API's; moments are by the server's clock, which was pushed here."""
    send(told, orders, 2)
    assert replay(told, orders, "--all", "--dry-run").out == "2\n"
    assert replay(told, orders, "--all", "--since", "5m", "--dry-run").out == "2\n"
    told("clock", "+10m")
    assert replay(told, orders, "--all", "--since", "5m", "--dry-run").out == "0\n"
    assert replay(told, orders, "--all", "--until", "5m", "--dry-run").out == "2\n"
    assert replay(told, orders, "--all", "--statuses", "read", "--dry-run").out == "0\n"
    some = replay(told, orders, "--all", "--statuses", "read,enqueued", "--dry-run")
    assert some.out == "2\n"
    assert "told already or not, read or enqueued" in some.err
    assert replay(told, orders, "--missed", "--since", "1h", "--dry-run").out == "0\n"


def test_a_script_must_say_yes(told: Any, orders: str, there: Receiver) -> None:
    """Where nobody can be asked it is one line with the count that names the flag, and nothing is told."""
    send(told, orders)
    came = len(there.came)
    for flags in ((), ("--no-input",)):
        ended = replay(told, orders, "--all", *flags)
        assert (ended.code, ended.out) == (2, "")
        assert len(ended.err.splitlines()) == 1
        assert "1 callback to “orders” match" in ended.err
        assert ended.err.endswith("Give --yes.\n")
    told("clock", "+1m")
    assert len(there.came) == came
    assert json.loads(told("jobs", "list", "--app", orders, "--json").out)["items"] == []


def test_one_message_is_told_again(told: Any, orders: str, there: Receiver) -> None:
    """By the end of its id, to everybody or to one endpoint, or one callback by its webhook-id."""
    there.answers["/other"] = status(204)
    told("endpoints", "create", there.url("/other"), "--app", orders, "--description", "other")
    sent, _ = send(told, orders, 2)
    there.came.clear()
    assert told("replay", sent[-8:], "--dry-run").out == "2\n"
    ended = told("replay", sent[-8:], "--yes", "--watch")
    assert ended.code == 0, ended
    assert sorted(one.path for one in there.came) == ["/other", "/x"]
    assert {one.told.message_id for one in there.came} == {sent}
    only = told("replay", sent, "--endpoint", "other", "--app", orders, "--yes", "--watch")
    assert only.code == 0
    assert len(there.at("/other")) == 2
    (before,) = there.at("/x")
    one = told("replay", "--webhook-id", before.headers["webhook-id"], "--yes", "--watch")
    assert one.code == 0
    assert [came.headers["webhook-id"] for came in there.at("/x")] == [before.headers["webhook-id"]] * 2
    assert len(there.at("/other")) == 2


def test_a_job_is_listed_paused_resumed_and_cancelled(told: Any, orders: str) -> None:
    """A slow one waits, goes on at another pace, and ends; an ended one changes no more: exit 6."""
    send(told, orders, 5)
    begun = replay(told, orders, "--all", "--rate", "0.1/s", "--yes", "--json")
    job = json.loads(begun.out)["jobId"]
    (line,) = told("jobs", "list", "--app", orders).out.splitlines()
    assert line.split("\t")[:2] == [job, "running"]
    assert json.loads(told("jobs", "pause", job[-8:], "--json").out)["state"] == "paused"
    resumed = json.loads(told("jobs", "resume", job, "--rate", "12/min", "--json").out)
    assert (resumed["state"], resumed["ratePerSecond"]) == ("running", 0.2)
    cancelled = told("jobs", "cancel", job)
    assert cancelled.code == 0
    assert "state\tcancelled" in cancelled.out.splitlines()
    assert told("jobs", "resume", job).code == 6
    watched = told("jobs", "show", job, "--watch")
    assert watched.code == 1
    assert "cancelled before it was through" in watched.err
    other = told("jobs", "list", "--app", "1", "--json")
    assert job not in other.out
    assert job in told("jobs", "list", "--jsonl").out


def test_who_stops_watching_does_not_stop_the_job(told: Any, live: Any, orders: str, tmp_path: Path) -> None:
    """Ctrl-C while watching is exit 130 and says how to go on watching; the job runs on."""
    send(told, orders, 3)
    begun = replay(told, orders, "--all", "--rate", "0.1/s", "--yes").out.strip()
    words = ["jobs", "show", begun, "--watch"]
    command = [sys.executable, "-m", "homing.cli", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env=environment(HOMING_URL=live.url, HOMING_TOKEN=live.token),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline().startswith(f"job …{begun[-4:]}")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG_S)
    assert (process.returncode, out) == (130, "")
    assert f"the job goes on: homing jobs show {begun[-8:]} --watch" in err
    assert "state\trunning" in told("jobs", "show", begun).out
    assert told("jobs", "cancel", begun).code == 0


def test_a_message_may_bring_its_own_callback(told: Any, shop: str, there: Receiver) -> None:
    """--callback takes this message's callbacks there, in the way that --callback-method says; JSON otherwise."""
    for path, flags, method in (
        ("/json", (), "POST"),
        ("/post", ("--callback-method", "post"), "POST"),
        ("/get", ("--callback-method", "GET"), "GET"),
    ):
        ended = told("send", "hi", "--to", "eve", "--app", shop, "--callback", there.url(path), *flags)
        assert ended.code == 0, ended
        told("clock", "+1m")
        (came,) = there.at(path)
        assert came.method == method
        assert came.told.message_id == ended.out.strip()
    assert there.at("/json")[0].headers["content-type"] == "application/json"
    assert there.at("/post")[0].headers["content-type"] == "application/x-www-form-urlencoded"
    dry = told("send", "hi", "--to", "eve", "--app", shop, "--callback", "https://example.org/x", "--dry-run")
    assert '"notifyCallback":{"method":"JSON","url":"https://example.org/x"}' in dry.out


BAD: list[tuple[int, list[str]]] = [
    (2, ["replay"]),
    (2, ["replay", "--dead"]),
    (2, ["replay", "--endpoint", "orders"]),
    (2, ["replay", "--endpoint", "orders", "--dead", "--all"]),
    (2, ["replay", "--endpoint", "orders", "--all", "--since", "whenever"]),
    (2, ["replay", "--endpoint", "orders", "--all", "--until", "whenever"]),
    (2, ["replay", "--endpoint", "orders", "--all", "--statuses", "raed"]),
    (2, ["replay", "--endpoint", "orders", "--all", "--rate", "fast"]),
    (2, ["replay", "--endpoint", "orders", "--all", "--rate", "0/s"]),
    (2, ["replay", "--endpoint", "orders", "--missed"]),
    (3, ["replay", "--endpoint", "nobody", "--all"]),
    (3, ["replay", "--endpoint", "orders", "--all", "--app", "77"]),
    (2, ["replay", "zzzz", "--all"]),
    (2, ["replay", "zzzz", "--rate", "5/s"]),
    (3, ["replay", "zzzz"]),
    (3, ["replay", "00000000-0000-7000-8000-000000000000"]),
    (2, ["replay", "zzzz", "--webhook-id", "msg_1"]),
    (2, ["replay", "--webhook-id", "msg_1"]),
    (2, ["replay", "--webhook-id", "msg_" + "0" * 36 + "_1_1", "--endpoint", "orders"]),
    (3, ["replay", "--webhook-id", "msg_" + "0" * 36 + "_1_1"]),
    (4, ["replay", "--endpoint", "orders", "--all", "--token", "wrong"]),
    (5, ["replay", "--endpoint", "orders", "--all", "--url", "http://127.0.0.1:1"]),
    (2, ["jobs"]),
    (2, ["jobs", "wrong"]),
    (3, ["jobs", "show", "zzzz"]),
    (3, ["jobs", "show", "zzzz", "--watch"]),
    (3, ["jobs", "show", "00000000-0000-7000-8000-000000000000"]),
    (3, ["jobs", "show", "00000000-0000-7000-8000-000000000000", "--watch"]),
    (3, ["jobs", "cancel", "zzzz"]),
    (2, ["jobs", "resume", "zzzz", "--rate", "fast"]),
    (3, ["jobs", "list", "--app", "77"]),
    (2, ["send", "hi", "--to", "eve", "--callback-method", "GET"]),
    (2, ["send", "hi", "--to", "eve", "--callback", "http://10.0.0.1/x"]),
    (2, ["send", "hi", "--to", "eve", "--callback", "nonsense"]),
    (2, ["send", "hi", "--to", "eve", "--callback", "https://example.org/x", "--callback-method", "PUT"]),
]


@pytest.mark.parametrize(
    ("code", "words"), BAD, ids=lambda value: None if isinstance(value, int) else " ".join(value)[:60]
)
def test_bad_input_is_one_line_and_the_documented_code(
    code: int, words: list[str], told: Any, orders: str
) -> None:
    """Whatever is wrong: one line on stderr that begins with the verb, nothing on stdout, no job."""
    if words[0] in {"replay", "send"} and "--app" not in words:
        words = [*words, "--app", orders]
    ended = told(*words)
    assert ended.code == code, ended
    assert ended.out == ""
    assert ended.err.startswith(f"homing {words[0]}: ")
    assert len(ended.err.splitlines()) == 1, ended.err
    assert told("jobs", "list", "--app", orders).out == ""


def on_a_terminal(words: list[str], live: Any, answer: str) -> tuple[int, str, str]:
    """Run a verb whose stdin and stderr are a terminal where somebody types; give exit code, stdout, and what was seen."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "homing.cli", *words]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True,
        env=environment(HOMING_URL=live.url, HOMING_TOKEN=live.token, TERM="xterm"),
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, answer.encode())
        seen = b""
        try:
            while data := os.read(ours, 4096):
                seen += data
        except OSError:  # how Linux tells that the other end was closed
            pass
        os.close(ours)
        out, _ = process.communicate(timeout=LONG_S)
    return process.returncode, out, seen.decode()


def test_a_person_is_asked_and_sees_a_bar(told: Any, live: Any, orders: str, there: Receiver) -> None:
    """On a terminal the count comes with a question; `n` changes nothing and is exit 1, `y` begins the job."""
    send(told, orders, 2)
    came = len(there.came)
    words = ["replay", "--endpoint", "orders", "--app", orders, "--all", "--watch"]
    code, out, seen = on_a_terminal(words, live, "n\n")
    assert (code, out) == (1, "")
    assert "2 callbacks to “orders” match" in seen
    assert "Replay? [y/N]" in seen
    assert "nothing was done" in seen
    assert len(there.came) == came
    code, out, seen = on_a_terminal(words, live, "y\n")
    assert code == 0, seen
    assert UUID.fullmatch(out.strip())
    assert "█" * 15 + "  2/2  0 failed  done" in seen
    assert len(there.came) == came + 2
