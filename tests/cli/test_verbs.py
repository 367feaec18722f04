"""The verbs against a real server: what they print, where, and how they end."""

import importlib
import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from homing.cli.render import Out, Style
from homing.cli.session import Session
from homing.cli.verbs import VERBS

ROOT = Path(__file__).parent.parent.parent
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def all_commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for verb in VERBS.values():
        commands = importlib.import_module(f"homing.cli.{verb.module}").COMMANDS[verb.name]
        found += [(verb.name,)] if callable(commands) else [(verb.name, name) for name in commands]
    return found


COMMANDS = all_commands()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_verb_explains_itself(words: tuple[str, ...], homing: Any) -> None:
    """--help prints usage and a promise on stdout, and ends with 0."""
    ended = homing(*words, "--help")
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: homing {' '.join(words)}")
    assert len(ended.out.splitlines()[2].strip()) > 10
    assert ended.err == ""


def test_the_document_names_every_verb_and_no_other() -> None:
    """docs/cli.md has a heading for every command, and none for what does not exist."""
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    named: set[tuple[str, ...]] = set()
    for heading in re.findall(r"^### (.*)$", text, re.M):
        for verb, rest in re.findall(r"`homing (\w+)([^`]*)`", heading):
            names = re.match(r" ([a-z]+(?:\|[a-z]+)*)(?: |$)", rest)
            is_group = not any(words == (verb,) for words in COMMANDS)
            if is_group and names is not None:
                named |= {(verb, name) for name in names[1].split("|")}
            else:
                named.add((verb,))
    assert named == set(COMMANDS)


def test_every_flag_of_a_verb_is_in_the_document(homing: Any) -> None:
    """What --help names, docs/cli.md names too."""
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for words in COMMANDS:
        for flag in re.findall(r"(--[a-z-]+)", homing(*words, "--help").out):
            if flag != "--help":
                assert flag in text, (words, flag)


def test_the_readme_names_only_what_exists(homing: Any) -> None:
    """Every `homing …` line of README.md is a verb with flags that it has."""
    text = (ROOT / "README.md").read_text("utf-8")
    lines = re.findall(r"(?:^    |`|&& )homing ([a-z][^`#&\n]*)", text, re.M)
    assert len(lines) > 5
    for line in lines:
        verb, *rest = line.split()
        group: list[str] = next((rest[:1] for words in COMMANDS if len(words) == 2 and words[0] == verb), [])
        ended = homing(verb, *group, "--help")
        assert ended.code == 0, line
        for flag in re.findall(r"--[a-z-]+", line):
            assert flag in ended.out, line


BAD: list[tuple[int, list[str]]] = [
    (2, ["sned"]),
    (2, ["--wrong"]),
    (2, ["listen", "--form", "xml"]),
    (2, ["messages"]),
    (2, ["messages", "wrong"]),
    (2, ["send", "--wrong"]),
    (2, ["send", "hi"]),
    (2, ["send", "hi", "--to", ","]),
    (2, ["send", "hi", "--to", "ann", "--wait", "raed"]),
    (2, ["send", "hi", "--to", "ann", "--timeout", "soon"]),
    (2, ["send", "hi", "--to", "ann", "--idempotency-key", "é"]),
    (2, ["send", "hi", "--to", "ann", "--expire", "1s"]),
    (2, ["send", "x" * 8193, "--to", "ann"]),
    (2, ["send", "hi", "--to", "ann,ann"]),
    (3, ["send", "hi", "--to", "ann", "--app", "77"]),
    (2, ["send", "hi", "--to", "ann", "--app", "x"]),
    (4, ["apps", "list", "--token", "wrong"]),
    (4, ["apps", "list", "--token", "wröng"]),
    (5, ["apps", "list", "--url", "http://127.0.0.1:1"]),
    (2, ["apps", "list", "--url", "ftp://127.0.0.1"]),
    (2, ["apps", "list", "--url", "127.0.0.1:8480"]),
    (2, ["apps", "list", "--url", "http://127.0.0.1:port"]),
    (2, ["apps", "list", "--limit", "0"]),
    (2, ["apps", "create", ""]),
    (2, ["apps", "create", "x", "--mode", "wrong"]),
    (6, ["apps", "create", "again", "--id", "1"]),
    (2, ["apps", "update", "1"]),
    (3, ["apps", "show", "77"]),
    (2, ["apps", "delete", "1"]),
    (2, ["apps", "delete", "1", "--no-input"]),
    (2, ["users", "create", "dora"]),
    (6, ["users", "create", "ANN", "--password", "x"]),
    (2, ["users", "create", "dora", "--password", "x", "--attributes", "[1]"]),
    (2, ["users", "create", "dora", "--password", "x", "--attributes", "{"]),
    (3, ["users", "show", "nobody"]),
    (2, ["endpoints", "create", "http://10.0.0.1/x"]),
    (2, ["endpoints", "create", "nonsense"]),
    (2, ["endpoints", "create", "http://127.0.0.1:9999/x", "--statuses", "raed"]),
    (3, ["endpoints", "show", "dead"]),
    (2, ["tokens", "create", "t", "--apps", "x"]),
    (2, ["tokens", "create", "t", "--scopes", "all"]),
    (3, ["tokens", "delete", "zzzz", "--yes"]),
    (3, ["messages", "show", "zzzz"]),
    (3, ["messages", "show", "00000000-0000-7000-8000-000000000000"]),
    (2, ["messages", "list", "--since", "whenever"]),
    (2, ["messages", "list", "--status", "raed"]),
    (3, ["explain", "00000000-0000-7000-8000-000000000000"]),
    (2, ["clock", "backwards"]),
    (2, ["clock", "until", "dawn"]),
    (2, ["dev", "--form", "xml"]),
    (2, ["dev", "--clock", "sun"]),
    (2, ["dev", "--listen", "0.0.0.0:8480"]),
    (2, ["dev", "--forward-to", "nonsense"]),
    (2, ["dev", "--forward-to", "ftp://localhost/x"]),
    (2, ["demo", "--break-law", "all"]),
    (2, ["serve", "--config", "missing.toml"]),
    (2, ["serve", "--listen", "nonsense"]),
    (2, ["serve", "--roles", "king"]),
    (2, ["serve", "--roles", ""]),
    (2, ["serve", "--processes", "2"]),
    (2, ["serve", "--processes", "many"]),
    (2, ["serve", "--roles", "api"]),
    (2, ["config"]),
    (2, ["config", "show", "--config", "missing.toml"]),
    (3, ["help", "nonsense"]),
    (2, ["verify"]),
    (2, ["sign"]),
    (2, ["sign", "--query", "a=1", "--secret", "short"]),
    (2, ["sign", "--query", "a=1"]),
    (2, ["play", "--behaviour", "wrong"]),
    (2, ["play", "--port", "0", "--secret", "short"]),
    (2, ["play", "--port", "70000"]),
]


@pytest.mark.parametrize(
    ("code", "words"), BAD, ids=lambda value: None if isinstance(value, int) else " ".join(value)[:60]
)
def test_bad_input_is_one_line_and_the_documented_code(
    code: int, words: list[str], told: Any, live: Any
) -> None:
    """Whatever is wrong: one line on stderr that begins with the verb, nothing on stdout, no traceback."""
    if words[0] in {"send", "users", "endpoints"} and "--app" not in words:
        words = [*words, "--app", str(live.app)]
    ended = told(*words)
    assert ended.code == code, ended
    assert ended.out == ""
    assert ended.err.startswith("homing")
    assert len(ended.err.splitlines()) == 1, ended.err
    assert "Traceback" not in ended.err


def test_a_message_is_sent_and_followed_to_its_end(told: Any, live: Any) -> None:
    """stdout is the messageId alone, the timeline runs on stderr, and the read of a simulated phone ends it with 0."""
    ended = told("send", "Your parcel is here", "--to", "ann", "--app", "1", "--wait", "read")
    assert ended.code == 0
    assert UUID.fullmatch(ended.out.strip())
    assert [line.split()[-1] for line in ended.err.splitlines()] == [
        "enqueued",
        "PushSent",
        "delivered",
        "read",
    ]


def test_waiting_for_what_cannot_come_is_no(told: Any) -> None:
    """An unknown recipient never reads: exit 1, at once."""
    began_s = time.monotonic()
    ended = told("send", "hi", "--to", "nobody", "--app", "1", "--wait", "read")
    assert ended.code == 1
    assert "nobody is no user" in ended.err
    assert time.monotonic() - began_s < 5


def test_waiting_too_long_is_no(told: Any) -> None:
    """When the time is over the line says where it still is."""
    ended = told("send", "hi", "--to", "carol", "--app", "1", "--wait", "delivered", "--timeout", "1s")
    assert ended.code == 1
    assert "carol: still" in ended.err


def test_the_same_idempotency_key_is_one_message(told: Any) -> None:
    """Sent again it is the first message; another one under the key is a conflict."""
    first = told("send", "once", "--to", "carol", "--app", "1", "--idempotency-key", "k1")
    again = told("send", "once", "--to", "carol", "--app", "1", "--idempotency-key", "k1")
    assert first.out == again.out
    assert told("send", "other", "--to", "carol", "--app", "1", "--idempotency-key", "k1").code == 6


def test_the_clock_is_pushed_and_the_sms_goes_out(told: Any) -> None:
    """The story of the README: bob is in a tunnel, 16 minutes later the SMS has arrived."""
    sent = told("send", "code 4711", "--to", "bob", "--app", "1", "--fallback-after", "15m").out.strip()
    assert told("clock", "+16m").code == 0
    shown = told("messages", "show", sent).out.splitlines()
    statuses = [line.split("\t")[2] for line in shown]
    assert statuses[-3:] == ["fallbackOnUndelivered", "fallbackSent", "fallbackDelivered"]


def test_times_are_told_by_the_clock_that_was_pushed(told: Any, live: Any) -> None:
    """What was sent before a push of an hour is an hour old, and `--since 10m` no longer finds it."""
    sent = told("send", "old", "--to", "carol", "--app", "1").out.strip()
    assert sent in told("messages", "list", "--since", "10m").out
    assert told("clock", "+1h").code == 0
    assert sent not in told("messages", "list", "--since", "10m").out
    assert sent in told("messages", "list", "--since", "2h").out
    session = Session(live.url, live.token, Out(Style.HUMAN))
    assert session.now() - datetime.now(UTC) > timedelta(minutes=59)
    session.close()


def test_a_clock_is_never_put_back(told: Any) -> None:
    """A time that has passed moves nothing, and that is said."""
    before = told("clock", "+1s").out
    ended = told("clock", "to", "2020-01-01")
    assert ended.code == 0
    assert ended.out >= before
    assert "has passed" in ended.err


def test_a_message_is_found_by_the_end_of_its_id(told: Any) -> None:
    """show and explain take the end of an id, and explain says each sentence with its stable key."""
    sent = told("send", "hi", "--to", "carol", "--app", "1", "--ref", "R-1").out.strip()
    found = json.loads(told("messages", "show", sent[-8:], "--json").out)
    assert found["messageId"] == sent
    lines = told("explain", sent[-8:]).out.splitlines()
    assert lines
    assert all(line.split("\t")[:2][1].startswith("explain.") for line in lines)
    listed = told("messages", "list", "--ref", "R-1", "--json")
    assert [one["messageId"] for one in json.loads(listed.out)["items"]] == [sent]


def test_lists_go_over_pages_and_say_when_there_is_more(told: Any) -> None:
    """--limit is a limit, not a page: more than one page is gathered."""
    for number in range(3):
        told("send", f"page {number}", "--to", "carol", "--app", "1")
    ended = told("messages", "list", "--limit", "2")
    assert len(ended.out.splitlines()) == 2
    assert "there are more" in ended.err
    assert len(told("messages", "list", "--jsonl", "--limit", "3").out.splitlines()) == 3


def test_an_application_lives_and_dies(told: Any) -> None:
    """create, show, update, list, delete; what was not given stays as it was."""
    made = json.loads(told("--json", "apps", "create", "bank", "--mode", "test", "--fallback", "sms").out)
    app = str(made["id"])
    changed = json.loads(
        told("apps", "update", app, "--expire", "2h", "--undelivered-after", "15m", "--json").out
    )
    assert changed["ttlSeconds"] == 7200
    assert changed["fallback"] == {"mode": "sms", "onUndeliveredSeconds": 900}
    assert changed["name"] == "bank"
    assert any(line.startswith(f"{app}\tbank\ttest\t") for line in told("apps", "list").out.splitlines())
    assert told("apps", "delete", app, "--yes") == (0, "", "")
    assert told("apps", "show", app).code == 3


def test_a_user_lives_and_dies(told: Any) -> None:
    """An identifier may hold a slash; passwords never come back."""
    made = told("users", "create", "eva/1", "--password", "s3cret", "--number", "+393331", "--app", "1")
    assert "s3cret" not in made.out + made.err
    assert told("users", "update", "eva/1", "--attributes", '{"a":1}', "--app", "1").code == 0
    shown = json.loads(told("users", "show", "eva/1", "--app", "1", "--json").out)
    assert (shown["mobileNumber"], shown["attributes"]) == ("+393331", {"a": 1})
    assert told("users", "delete", "eva/1", "--app", "1", "--yes").code == 0
    assert told("users", "show", "eva/1", "--app", "1").code == 3


def test_an_endpoints_secret_is_alone_on_stdout(told: Any) -> None:
    """create prints the secret and nothing else there, so that it can be piped; the rest is talk."""
    made = told("endpoints", "create", "http://127.0.0.1:9999/x", "--app", "1", "--statuses", "read,expired")
    assert re.fullmatch(r"whsec_\S+\n", made.out)
    end = UUID.search(made.err)
    assert end is not None
    short = end[0][-8:]
    changed = told("endpoints", "update", short, "--form", "get", "--statuses", "all", "--app", "1", "--json")
    found = json.loads(changed.out)
    assert (found["form"], found.get("statuses"), "secret" in found) == ("get", None, False)
    assert told("inboxes", "show", short, "--app", "1").code == 3
    assert told("endpoints", "delete", short, "--app", "1", "--yes").code == 0


def test_an_inbox_is_an_endpoint_of_its_kind(told: Any, tmp_path: Path) -> None:
    """Its secret may go to a file that only its owner reads; an existing file is never overwritten."""
    file = tmp_path / "secret"
    made = told("inboxes", "create", "http://127.0.0.1:9999/in", "--app", "1", "--secret-file", str(file))
    assert file.read_text().startswith("whsec_")
    assert file.stat().st_mode & 0o777 == 0o600
    inbox = made.out.strip()
    assert inbox in told("inboxes", "list", "--app", "1").out
    assert inbox not in told("endpoints", "list", "--app", "1").out
    assert told("inboxes", "delete", inbox, "--app", "1", "-y").code == 0


def test_a_token_is_told_once_and_ends_when_deleted(told: Any, live: Any) -> None:
    """The token on stdout works, shows in the list without its text, and stops working when it is deleted."""
    made = told("tokens", "create", "back end", "--scopes", "read", "--apps", "1", "--expires", "1h")
    token = made.out.strip()
    assert told("messages", "list", "--limit", "1", "--token", token).code == 0
    assert told("apps", "create", "x", "--token", token).code == 4
    end = UUID.search(made.err)
    assert end is not None
    assert token not in told("tokens", "list", "--json").out
    assert json.loads(told("tokens", "show", end[0], "--json").out)["scopes"] == ["read"]
    assert told("tokens", "delete", end[0], "--yes").code == 0
    assert told("messages", "list", "--token", token).code == 4


def test_a_client_gets_id_and_secret(told: Any) -> None:
    """An OAuth2 client is two fields on one line."""
    made = told("tokens", "create", "client", "--client")
    assert re.fullmatch(r"[0-9a-f-]{36}\thom_s_\S+\n", made.out)


def test_a_secret_file_that_exists_makes_no_endpoint(told: Any, tmp_path: Path) -> None:
    """Nothing is created whose secret could then not be kept."""
    file = tmp_path / "secret"
    file.write_text("mine")
    before = told("endpoints", "list", "--app", "1").out
    ended = told("endpoints", "create", "http://127.0.0.1:9999/x", "--app", "1", "--secret-file", str(file))
    assert ended.code == 2
    assert file.read_text() == "mine"
    assert told("endpoints", "list", "--app", "1").out == before


def test_a_dry_run_sends_nothing(told: Any) -> None:
    """It prints the request as curl, and no message comes of it."""
    ended = told("send", "hi", "--to", "ann", "--app", "1", "--ref", "dry", "--dry-run")
    assert ended.out.startswith("curl ")
    assert json.loads(told("messages", "list", "--ref", "dry", "--json").out)["items"] == []
