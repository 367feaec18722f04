"""`trigger --only`: one made-up callback, byte for byte, and what the receiver answered."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.cli.triggered import KINDS, SECRET, Customer, callbacks

from homing.cli.exits import CliError
from homing.cli.sample import sample, settable
from homing.contract.notification import StatusNotification, keys
from homing.contract.status import FAMILY, Family, Status

MESSAGE = "01a20a40-2e17-7789-b370-863d4faa74d0"
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
