"""docs/callbacks.md says what the contract and the sender do: every name, default and example is compared with them."""

import json
import re
import runpy
import time
from pathlib import Path

import msgspec
import pytest
from tests.pages import ROOT, coded, page, rows, section

from homing.api.feed import COUNTED
from homing.api.feed_schema import (
    EventList,
    FeedEvent,
    FeedIncoming,
    FeedItems,
    ListenerOpen,
    ListenerProgress,
    OpenedListener,
)
from homing.api.routes_listeners import LEASE_MS
from homing.callbacks import verdict
from homing.callbacks.limits import Limits
from homing.callbacks.verdict import Verdict
from homing.config import KEYS
from homing.contract.notification import STATUS_KEYS
from homing.contract.status import STATUSES

VECTORS = json.loads((ROOT / "tests/vectors/callbacks.json").read_text("utf-8"))
MOMENT_S = 1795464427.0
"""When the golden vectors were signed."""


def blocks(text: str) -> dict[str, str]:
    """Name of the golden vector → the block that quotes it."""
    return dict(re.findall(r"<!-- vector (\S+) -->\n```\n(.*?)\n```", text, re.DOTALL))


def test_callbacks_tells_all_statuses_in_order() -> None:
    """The table of statuses holds the 18 and no other, in the contract's order."""
    table = rows(section(page("callbacks"), "The 18 statuses"))[1:]
    assert [coded(row[:1])[0] for row in table] == [str(status) for status in STATUSES]


def test_callbacks_tells_all_keys_in_order() -> None:
    """The table of keys is the wire's order."""
    table = rows(section(page("callbacks"), "Keys of `type=MessageStatus`"))[1:]
    assert [coded(row[:1])[0] for row in table] == list(STATUS_KEYS)


def test_callbacks_quotes_the_golden_vectors() -> None:
    """One example for each form, byte for byte as the vector has it, with its signature beside it."""
    text = page("callbacks")
    vectors = {vector["name"]: vector for vector in VECTORS["vectors"]}
    quoted = blocks(text)
    assert {vectors[name]["form"] for name in quoted} == {"get", "form", "json"}
    assert VECTORS["secret"] in text
    for name, block in quoted.items():
        assert block == (vectors[name]["query"] or vectors[name]["body"])
        assert f"`webhook-signature: {vectors[name]['headers']['webhook-signature']}`" in text


def test_the_ten_lines_verify_the_golden_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that receivers copy accepts what Homing signs, and refuses what was changed or is old."""
    (code,) = re.findall(r"```python\n(.*?)```", page("callbacks"), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 10
    (tmp_path / "verify.py").write_text(code, "utf-8")
    verify = runpy.run_path(str(tmp_path / "verify.py"))["verify"]
    secret = VECTORS["secret"]
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: MOMENT_S)
        for vector in VECTORS["vectors"]:
            payload = (vector["query"] or vector["body"]).encode()
            headers = vector["headers"]
            assert verify(secret, headers, payload), vector["name"]
            assert not verify(secret, headers, payload + b"\n")
            two = f"v1,AAAA {headers['webhook-signature']}"
            assert verify(secret, {**headers, "webhook-signature": two}, payload)
        patched.setattr(time, "time", lambda: MOMENT_S + 301)
        for vector in VECTORS["vectors"]:
            payload = (vector["query"] or vector["body"]).encode()
            assert not verify(secret, vector["headers"], payload), "five minutes and a second later"


def test_callbacks_tells_the_default_schedule() -> None:
    """The pauses between tries are the default's, and so is their number."""
    text = section(page("callbacks"), "When it is tried again")
    units = {"s": 1, "min": 60, "h": 3_600}
    told = re.search(r"after (5 s.*?),\s+each", text)
    assert told
    pauses = tuple(int(n) * units[unit] for n, unit in re.findall(r"(\d+) (s|min|h)\b", told[1]))
    assert pauses == KEYS["callbacks.retry_delays_seconds"].default
    assert f"{len(pauses) + 1} tries" in text


def test_callbacks_tells_all_of_the_pull_feed() -> None:
    """Its parameters are the table's, its keys and those of listeners are all named."""
    text = section(page("callbacks"), "Pull feed")
    fields = {field.encode_name: field for field in msgspec.structs.fields(EventList)}
    assert {coded(row[:1])[0] for row in rows(text)[1:]} == set(fields)
    for shape in (FeedEvent, FeedIncoming, FeedItems, ListenerOpen, ListenerProgress, OpenedListener):
        for key in {field.encode_name for field in msgspec.structs.fields(shape)} - {"heldUntil"}:
            assert re.search(rf"[`\"]{key}[`\"]", text), (shape, key)
    assert f"{COUNTED:,}" in text
    assert f"{LEASE_MS // 1000} s" in text


FOLLOWS = {Verdict.SETTLED: "settled", Verdict.RETRY: "tried again", Verdict.DISABLE: "disabled"}
YES_OR_NO = {True: "yes", False: "no"}


def test_callbacks_tells_what_every_answer_does() -> None:
    """The table of answers is the table of verdicts, row by row."""
    table = rows(section(page("callbacks"), "What your answer does"))[1:]
    assert [coded(row[1:2]) for row in table] == [[str(ended)] for ended in verdict.TABLE]
    for row, meaning in zip(table, verdict.TABLE.values(), strict=True):
        assert re.split(r"[;:,]", row[2])[0] == FOLLOWS[meaning.verdict], row
        assert row[3] == YES_OR_NO[meaning.counts_against_endpoint], row
        assert row[4] == ("503 only" if row[0] == "5xx" else YES_OR_NO[meaning.overloaded]), row
        assert ("pauses the whole endpoint" in row[2]) == (row[0] in {"429", "5xx"}), row
    for status in range(200, 600):
        is_special = status in {429, 503}
        assert (
            verdict.pauses_endpoint(status)
            is verdict.overloaded(status, verdict.outcome(status))
            is is_special
        )


def test_callbacks_tells_the_limits_of_answers() -> None:
    """Sizes and times are the sender's."""
    text, limits = " ".join(section(page("callbacks"), "What your answer does").split()), Limits()
    assert (
        f"may take {limits.connect_s:g} s, the whole exchange {KEYS['callbacks.timeout_seconds'].default:g} s"
        in text
    )
    assert f"at most {limits.answer_read_bytes // 1024} KiB are read" in text
    assert f"At most {limits.answer_kept_bytes // 1024} KiB is kept" in text
    assert f"{limits.header_bytes // 1024} KiB and {limits.header_lines} lines" in text
    assert f"at most {limits.informational} answers with 1xx" in text
    assert f"up to {verdict.MAX_RETRY_AFTER_MS // 3_600_000} h" in text
