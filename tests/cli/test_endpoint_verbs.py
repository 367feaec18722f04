"""`homing endpoints` and `homing inboxes` against a real server and a real receiver: options, tests, secrets, health."""

import datetime as dt
import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.cli.receivers import Receiver, moved, status

from homing.contract.signature import verify


def shown(told: Any, shop: str, endpoint: str, verb: str = "endpoints") -> Any:
    return json.loads(told(verb, "show", endpoint, "--app", shop, "--json").out)


def authority() -> str:
    """A certificate in PEM, made on the spot."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test authority")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1)
    ).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_every_option_is_a_flag_and_none_takes_it_back(told: Any, shop: str, tmp_path: Path) -> None:
    """Each flag of create becomes its property, and `none` or its opposite brings the default back."""
    ca = tmp_path / "ca.pem"
    ca.write_text(authority())
    made = told(
        "endpoints", "create", "http://127.0.0.1:9998/x", "--app", shop, "--description", "orders",
        "--timestamp-precision", "ms", "--header", "X-Shop: one", "--header", "X-Area: two", "--unordered",
        "--max-in-flight", "3", "--rate", "30/min", "--retry-delays", "5s,500ms,2m", "--timeout", "5s",
        "--ca", str(ca), "--dangerous-skip-verify", "--paused", "--statuses", "read,expired",
    )  # fmt: skip
    assert made.code == 0, made
    one = shown(told, shop, "orders")
    kept = {
        "timestampPrecision": "ms", "headers": {"X-Shop": "[hidden]", "X-Area": "[hidden]"}, "ordered": False,
        "maxInFlight": 3, "ratePerSecond": 0.5, "retryDelaysSeconds": [5, 0.5, 120], "timeoutSeconds": 5,
        "tls": {"ca": ca.read_text(), "dangerousSkipVerify": True}, "state": "paused", "statuses": ["read", "expired"],
    }  # fmt: skip
    assert {name: one[name] for name in kept} == kept
    plain = dict(
        line.split("\t", 1) for line in told("endpoints", "show", "orders", "--app", shop).out.splitlines()
    )
    assert plain["headers"] == "X-Shop,X-Area"
    assert plain["retryDelaysSeconds"] == "5,0.5,120"
    assert plain["tls"] == "anybody (dangerousSkipVerify)"
    assert plain["stateReason"] == "paused by its owner"
    told(
        "endpoints", "update", "orders", "--app", shop, "--header", "x-shop:", "--rate", "none", "--verify",
        "--retry-delays", "none", "--timeout", "none", "--max-in-flight", "none", "--ordered", "--not-paused",
        "--statuses", "none", "--timestamp-precision", "none",
    )  # fmt: skip
    one = shown(told, shop, "orders")
    assert (one["ordered"], one["state"], one["timestampPrecision"]) == (True, "active", "s")
    assert one["headers"] == {"X-Area": "[hidden]"}
    assert one["tls"] == {"ca": ca.read_text(), "dangerousSkipVerify": False}, "what was not given stays"
    assert not set(one) & {"ratePerSecond", "retryDelaysSeconds", "timeoutSeconds", "maxInFlight", "statuses"}
    told("endpoints", "update", "orders", "--app", shop, "--header", "none", "--ca", "none")
    assert not set(shown(told, shop, "orders")) & {"headers", "tls"}


def test_secrets_come_from_files_and_reach_the_receiver_alone(
    told: Any, shop: str, tmp_path: Path, there: Receiver
) -> None:
    """A log-in and secret headers travel with a callback, and no output ever shows them."""
    headers, basic, bearer = tmp_path / "headers", tmp_path / "basic", tmp_path / "bearer"
    headers.write_text("# for the gateway\n\nX-Key: canary:1\n")
    basic.write_text("me:canary 2:3\n")
    bearer.write_text("canary-4\n")
    url = there.url("/x")
    made = told(
        "endpoints", "create", url, "--app", shop, "--description", "in", "--header-file", str(headers),
        "--basic-file", str(basic),
    )  # fmt: skip
    assert made.code == 0, made
    tested = told("endpoints", "test", "in", "--app", shop, "--json")
    changed = told("endpoints", "update", "in", "--app", shop, "--bearer-file", str(bearer))
    assert "auth\tbearer" in changed.out
    again = told("endpoints", "test", "in", "--app", shop)
    first, second = there.at("/x")
    assert first.headers["x-key"] == second.headers["x-key"] == "canary:1"
    assert first.headers["authorization"] == "Basic bWU6Y2FuYXJ5IDI6Mw=="
    assert second.headers["authorization"] == "Bearer canary-4"
    output = [made, tested, changed, again, told("endpoints", "show", "in", "--app", shop, "--json")]
    assert not any("canary" in one.out + one.err for one in output)
    dropped = told("endpoints", "update", "in", "--app", shop, "--bearer-file", "none", "--json")
    assert "auth" not in json.loads(dropped.out)


def test_a_secret_may_come_from_stdin(
    told: Any, shop: str, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` reads it there, so that it can be piped out of a vault."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("token-5\n"))
    told("endpoints", "create", there.url("/x"), "--app", shop, "--description", "in", "--bearer-file", "-")
    assert told("endpoints", "test", "in", "--app", shop).code == 0
    (came,) = there.at("/x")
    assert came.headers["authorization"] == "Bearer token-5"


def test_an_operations_endpoint_is_made_and_listed_beside_the_others(told: Any, shop: str) -> None:
    """--kind operations is listed by `endpoints`, not by `inboxes`; its form can only be JSON."""
    where = ("http://127.0.0.1:9998/ops", "--app", shop, "--kind", "operations")
    assert told("endpoints", "create", *where, "--form", "get").code == 2
    made = told("endpoints", "create", *where, "--description", "ops")
    assert made.code == 0
    (line,) = told("endpoints", "list", "--app", shop).out.splitlines()
    assert line.split("\t")[5:7] == ["ops", "operations"]
    assert told("inboxes", "list", "--app", shop).out == ""
    nothing = told("replay", "--endpoint", "ops", "--all", "--app", shop, "--yes")
    assert (nothing.code, nothing.out) == (0, "")
    assert nothing.err.startswith("0 callbacks to “ops” match")


def test_a_test_prints_each_step_and_ends_as_it_went(told: Any, shop: str, there: Receiver) -> None:
    """Off a terminal: name, detail, ms, ok or FAIL on each line, the verdict last; exit 0 if it was taken, else 1."""
    there.answers["/login"] = status(401)
    for path, code, word in (("/ok", 0, "ok"), ("/login", 1, "FAIL")):
        told("endpoints", "create", there.url(path), "--app", shop, "--description", path)
        ended = told("endpoints", "test", path, "--app", shop, "--status", "read")
        assert ended.code == code
        lines = [line.split("\t") for line in ended.out.splitlines()]
        assert [line[0] for line in lines] == ["address", "connect", "answer", "verdict"]
        assert {len(line) for line in lines} == {4}
        assert lines[2][3] == lines[3][3] == word
        assert ended.err == ""
        (came,) = there.at(path)
        assert came.headers["homing-test"] == "true"
        assert b'"status":"read"' in came.body
        document = json.loads(told("endpoints", "test", path, "--app", shop, "--json").out)
        assert document["ok"] is (code == 0)
        assert [step["name"] for step in document["steps"]] == ["address", "connect", "answer"]
    assert "credentials" in told("endpoints", "test", "/login", "--app", shop).out


def test_apply_sets_the_url_that_a_redirect_shows(told: Any, shop: str, there: Receiver) -> None:
    """Without it the better URL is told; with it the endpoint has it, was tested again, and the exit code is that test's."""
    there.answers["/h"] = moved("/h/")
    told("endpoints", "create", there.url("/h"), "--app", shop, "--description", "slash")
    first = told("endpoints", "test", "slash", "--app", shop)
    assert first.code == 1
    assert f"--apply sets the URL to {there.url('/h/')}" in first.err
    assert shown(told, shop, "slash")["url"] == there.url("/h")
    again = told("endpoints", "test", "slash", "--app", shop, "--apply")
    assert again.code == 0
    assert again.out.splitlines()[-1].endswith("\tok")
    assert shown(told, shop, "slash")["url"] == there.url("/h/")
    there.answers["/h/"] = status(500)
    assert told("endpoints", "test", "slash", "--app", shop, "--apply").code == 1


def test_a_rotated_secret_is_alone_on_stdout_and_signs(
    told: Any, shop: str, there: Receiver, tmp_path: Path
) -> None:
    """Both sign during the grace, the new one alone without; with a file stdout has the id and nothing secret."""
    made = told("endpoints", "create", there.url("/x"), "--app", shop, "--description", "in")
    old = made.out.strip()
    rotated = told("endpoints", "rotate", "in", "--app", shop)
    new = rotated.out.strip()
    assert re.fullmatch(r"whsec_\S+", new)
    assert new != old
    assert "signs too until" in rotated.err
    told("endpoints", "test", "in", "--app", shop)
    (came,) = there.at("/x")
    for secret in (old, new):
        verify(came.headers, came.body, [secret], time.time())
    file = tmp_path / "secret"
    ended = told("endpoints", "rotate", "in", "--app", shop, "--grace", "none", "--secret-file", str(file))
    assert ended.out.strip() == shown(told, shop, "in")["id"]
    assert "signs no more" in ended.err
    assert file.stat().st_mode & 0o777 == 0o600
    told("endpoints", "test", "in", "--app", shop)
    came = there.at("/x")[-1]
    verify(came.headers, came.body, [file.read_text().strip()], time.time())
    assert len(came.headers["webhook-signature"].split()) == 1
    document = json.loads(told("endpoints", "rotate", "in", "--app", shop, "--json").out)
    assert set(document) == {"secret", "previousValidUntil"}


def test_a_paused_endpoint_is_told_nothing_until_it_is_resumed(told: Any, shop: str, there: Receiver) -> None:
    """What happened meanwhile comes then, and no try was spent."""
    told("endpoints", "create", there.url("/x"), "--app", shop, "--description", "in")
    paused = told("endpoints", "pause", "in", "--app", shop)
    assert paused.code == 0
    assert "state\tpaused" in paused.out
    sent = told("send", "hi", "--to", "eve", "--app", shop).out.strip()
    told("clock", "+1m")
    assert there.came == []
    assert json.loads(told("endpoints", "resume", "in", "--app", shop, "--json").out)["state"] == "active"
    told("clock", "+1m")
    (came,) = there.at("/x")
    assert (came.told.message_id, came.headers["homing-attempt"]) == (sent, "1")


def test_a_disabled_endpoint_is_enabled_and_told_what_it_missed(
    told: Any, shop: str, there: Receiver
) -> None:
    """410 disables; `list` says why, `enable` says what was missed, and --replay-missed tells it."""
    there.answers["/x"] = status(410)
    told("endpoints", "create", there.url("/x"), "--app", shop, "--description", "in")
    told("send", "first", "--to", "eve", "--app", shop)
    told("clock", "+1m")
    (line,) = told("endpoints", "list", "--app", shop).out.splitlines()
    cells = line.split("\t")
    assert cells[2] == "disabled"
    assert "410" in cells[7]
    assert cells[9].endswith("Z"), "when it was disabled"
    resumed = told("endpoints", "resume", "in", "--app", shop)
    assert "disabled all the same" in resumed.err
    refused = told("replay", "--endpoint", "in", "--dead", "--app", shop, "--yes")
    assert refused.code == 6
    assert "is disabled and takes no callbacks: homing endpoints enable" in refused.err
    told("send", "second", "--to", "eve", "--app", shop)
    there.answers["/x"] = status(204)
    enabled = told("endpoints", "enable", "in", "--app", shop)
    assert enabled.code == 0
    assert "1 callbacks were given up" in enabled.err
    assert "homing replay --endpoint" in enabled.err
    assert told("endpoints", "enable", "in", "--app", shop).err == "it was not disabled\n"
    missed = told("replay", "--endpoint", "in", "--missed", "--app", shop, "--dry-run")
    assert missed.out == "2\n"
    ended = told("replay", "--endpoint", "in", "--missed", "--app", shop, "--yes", "--watch")
    assert ended.code == 0, ended
    assert len(there.at("/x")) == 3


def test_enabling_with_replay_missed_names_the_job(told: Any, shop: str, there: Receiver) -> None:
    """The job is in the answer and on stderr, and tells what was given up."""
    there.answers["/x"] = status(410)
    told("endpoints", "create", there.url("/x"), "--app", shop, "--description", "in")
    told("send", "first", "--to", "eve", "--app", shop)
    told("clock", "+1m")
    there.answers["/x"] = status(204)
    enabled = told("endpoints", "enable", "in", "--replay-missed", "--app", shop)
    (job,) = (line.split("\t")[1] for line in enabled.out.splitlines() if line.startswith("jobId\t"))
    assert f"job {job} tells it what it missed" in enabled.err
    assert told("jobs", "show", job[-8:], "--watch").code == 0
    assert len(there.at("/x")) == 2


def test_dead_callbacks_and_attempts_are_listed(told: Any, shop: str, there: Receiver) -> None:
    """What was given up with its reason, one by one and counted; each try with what it means, the newest first."""
    there.answers["/x"] = status(404)
    told("endpoints", "create", there.url("/x"), "--app", shop, "--description", "in", "--retry-delays", "1s")
    sent = [told("send", str(n), "--to", "eve", "--app", shop).out.strip() for n in range(2)]
    told("clock", "+1m")
    lines = [line.split("\t") for line in told("endpoints", "dead", "in", "--app", shop).out.splitlines()]
    assert [line[0] for line in lines] == sent[::-1]
    assert {(line[1], line[3], line[5]) for line in lines} == {("eve", "enqueued", "tries_spent")}
    (group,) = told("endpoints", "dead", "in", "--groups", "--app", shop).out.splitlines()
    assert group.split("\t")[:3] == ["tries_spent", "enqueued", "2"]
    tries = [line.split("\t") for line in told("endpoints", "attempts", "in", "--app", shop).out.splitlines()]
    assert len(tries) == 4
    assert {line[0] for line in tries} == set(sent)
    assert [line[1] for line in tries] == sorted((line[1] for line in tries), reverse=True)
    assert {(line[2], line[4]) for line in tries} == {("enqueued", "404")}
    assert all("nothing is served at this path" in line[6] for line in tries)
    assert sorted(line[3] for line in tries) == ["1", "1", "2", "2"]
    few = told("endpoints", "attempts", "in", "--limit", "1", "--app", shop)
    assert len(few.out.splitlines()) == 1
    assert "there are more" in few.err


def test_two_endpoints_of_one_description_need_their_ids(told: Any, shop: str) -> None:
    """A description names an endpoint only while it is the only one of that name."""
    for _ in range(2):
        told("endpoints", "create", "http://127.0.0.1:9998/x", "--app", shop, "--description", "twin")
    ended = told("endpoints", "show", "twin", "--app", shop)
    assert ended.code == 2
    assert "2 endpoints are called" in ended.err


def test_an_inbox_is_tested_and_has_options(told: Any, shop: str, there: Receiver) -> None:
    """The sample is an incoming message; what only callbacks about messages have is no flag of inboxes."""
    made = told(
        "inboxes", "create", there.url("/in"), "--app", shop, "--form", "get", "--description", "in", "--timeout", "3s"
    )  # fmt: skip
    assert made.code == 0
    assert told("inboxes", "test", "in", "--app", shop).code == 0
    (came,) = there.at("/in")
    assert came.method == "GET"
    assert "type=IncomingMessage" in came.query
    assert shown(told, shop, "in", "inboxes")["timeoutSeconds"] == 3
    assert told("inboxes", "update", "in", "--app", shop, "--statuses", "read").code == 2


def test_an_applications_callback_secret_is_rotated(told: Any, shop: str, tmp_path: Path) -> None:
    """The secret is alone on stdout, or in a file with the application's id on stdout."""
    first = told("apps", "rotate", shop)
    assert re.fullmatch(r"whsec_\S+\n", first.out)
    second = told("apps", "rotate", shop, "--grace", "1h")
    assert "signs too until" in second.err
    file = tmp_path / "secret"
    third = told("apps", "rotate", shop, "--grace", "none", "--secret-file", str(file))
    assert third.out == f"{shop}\n"
    assert file.read_text().startswith("whsec_")
    assert len({first.out, second.out, file.read_text()}) == 3


BAD: list[tuple[int, list[str]]] = [
    (2, ["create", "http://127.0.0.1:9998/x", "--header", "none", "--header", "X-A: 1"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--header", "no colon"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--header", ": value"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--header", "X-A: 1", "--header", "x-a: 2"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--header", "Host: evil"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--header", "X-A: a\r\nX-B: b"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--header", "X-A:"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--header-file", "missing"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--header-file", "-", "--ca", "-"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--bearer-file", "."]),
    (2, ["create", "http://127.0.0.1:9998/x", "--basic-file", "plain"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--basic-file", "login", "--bearer-file", "plain"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--ca", "plain"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--max-in-flight", "many"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--max-in-flight", "0"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--rate", "fast"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--rate", "0/s"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--retry-delays", "5s,soon"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--retry-delays", ""]),
    (2, ["create", "http://127.0.0.1:9998/x", "--retry-delays", "9" * 400 + "s"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--timeout", "1h"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--kind", "secret"]),
    (2, ["create", "http://127.0.0.1:9998/x", "--kind", "inbox", "--wrong"]),
    (2, ["update", "known"]),
    (3, ["update", "unknown", "--paused"]),
    (3, ["test", "unknown"]),
    (2, ["test", "known", "--status", "raed"]),
    (2, ["rotate", "known", "--grace", "soon"]),
    (2, ["rotate", "known", "--grace", "30d"]),
    (2, ["rotate", "known", "--secret-file", "plain"]),
    (3, ["rotate", "unknown"]),
    (3, ["pause", "unknown"]),
    (3, ["resume", "unknown"]),
    (3, ["enable", "unknown"]),
    (3, ["dead", "unknown"]),
    (3, ["attempts", "unknown"]),
    (2, ["dead", "known", "--limit", "0"]),
    (4, ["test", "known", "--token", "wrong"]),
]


@pytest.mark.parametrize(
    ("code", "words"), BAD, ids=lambda value: None if isinstance(value, int) else " ".join(value)[:60]
)
def test_bad_flags_are_one_line_and_the_documented_code(
    code: int, words: list[str], told: Any, known: str, tmp_path: Path
) -> None:
    """Whatever is wrong: one line on stderr that begins with the verb, nothing on stdout, nothing made."""
    (tmp_path / "plain").write_text("no colon, no certificate\n")
    (tmp_path / "login").write_text("me:secret\n")
    before = told("endpoints", "list", "--app", known, "--json").out
    ended = told("endpoints", *words, "--app", known)
    assert ended.code == code, ended
    assert ended.out == ""
    assert ended.err.startswith("homing endpoints: ")
    assert len(ended.err.splitlines()) == 1, ended.err
    assert "secret" not in ended.err or "secret" in " ".join(words)
    assert told("endpoints", "list", "--app", known, "--json").out == before


@pytest.fixture
def known(told: Any, shop: str) -> str:
    """An application with an endpoint called known."""
    told("endpoints", "create", "http://127.0.0.1:9998/x", "--app", shop, "--description", "known")
    return shop
