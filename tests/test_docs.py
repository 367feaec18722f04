"""The user's pages in docs/ say what the code does: every name, default and example in them is compared with it."""

import ast
import json
import re
import runpy
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest
from starlette.routing import Route

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
from homing.callbacks.verdict import Outcome, Verdict
from homing.checkup.examination import CHECKS
from homing.cli.dev import RETRY_DELAYS_S
from homing.cli.exits import ExitCode
from homing.cli.forwarding import RETRY_DELAYS_S as RETRY_DELAYS_OF_LISTEN_S
from homing.cli.posting import TIMEOUT_S
from homing.cli.times import span
from homing.cli.verbs import VERBS
from homing.clock import RealClock
from homing.config import KEYS, LATER, Settings
from homing.contract.notification import STATUS_KEYS
from homing.contract.status import STATUSES
from homing.gateway import connection, frames, hub
from homing.gateway.frames import SUBPROTOCOL, FromDevice, ToDevice
from homing.simulator import api
from homing.simulator.answers import NAMED
from homing.simulator.carriers import CONDUCTS, NUMBERS
from homing.simulator.habits import HABITS
from homing.simulator.home import open_home
from homing.simulator.lives import LIVES, SHORTEST
from homing.simulator.stories import STORIES
from homing.simulator.world import PEOPLE, World
from homing.telemetry import LogEvent

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
VECTORS = json.loads((ROOT / "tests/vectors/callbacks.json").read_text("utf-8"))
MOMENT_S = 1795464427.0
"""When the golden vectors were signed."""


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text("utf-8")


def rows(text: str) -> list[list[str]]:
    """Every line of every table, as its cells."""
    lines = (line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---"))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next of its depth or above."""
    found = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert found, f"there is no heading {title!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def coded(cells: list[str]) -> list[str]:
    """What the cells hold in backticks."""
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


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


def test_cli_tells_how_listening_goes() -> None:
    """The number of tries of a handler that fails, and after how long another process may listen."""
    text = section(page("cli"), "`homing listen`")
    assert (RETRY_DELAYS_OF_LISTEN_S, sum(RETRY_DELAYS_OF_LISTEN_S)) == ((0.5, 1.0, 2.0), 3.5)
    assert "three times more within four seconds" in text
    assert f"until {LEASE_MS // 1000} s after" in text
    assert f"within {TIMEOUT_S:.0f} s" in text


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


def tags(union: Any) -> set[str]:
    """The frame types of a union of structs."""
    return {str(one.__struct_config__.tag) for one in get_args(union)}


def wire_keys(shape: Any) -> set[str]:
    """The keys of a frame beside its type."""
    return {field.encode_name for field in msgspec.structs.fields(shape)}


FROM_SERVER = {
    **{str(one.__struct_config__.tag): wire_keys(one) for one in get_args(ToDevice)},
    "msg": {"seq"} | wire_keys(frames._Letter),
}


def test_devices_tells_every_frame_with_every_key() -> None:
    """Each type has a row, in the table of its direction, that names all its keys."""
    text = page("devices")
    to_server = {coded(row[:1])[0]: coded(row[1:]) for row in rows(section(text, "Device → server"))[1:]}
    to_device = {coded(row[:1])[0]: coded(row[1:]) for row in rows(section(text, "Server → device"))[1:]}
    assert set(to_server) == tags(FromDevice)
    assert set(to_device) == set(FROM_SERVER)
    for kind, keys in FROM_SERVER.items():
        assert keys <= set(to_device[kind]), kind
    later = {"inReplyTo", "attachmentId"}
    for shape in get_args(FromDevice):
        kind = str(shape.__struct_config__.tag)
        assert wire_keys(shape) - later <= set(to_server[kind]), kind
    assert later <= set(coded([text]))
    assert f"`{SUBPROTOCOL}`" in text


def test_devices_tells_every_close_code() -> None:
    """The table of close codes holds those the gateway sends, and no other."""
    table = rows(section(page("devices"), "Close codes"))[1:]
    codes = {connection.BAD_FRAME, hub.BAD_TOKEN, hub.REPLACED, connection.TOO_FAST, connection.GOING_AWAY}
    assert {int(row[0]) for row in table} == codes


def test_the_transcript_is_of_this_protocol() -> None:
    """What the device says in it decodes; what the server says has the types and keys that the gateway sends."""
    text = section(page("devices"), "A transcript")
    said = re.findall(r"^→ (.*)$", text, re.MULTILINE)
    heard = [json.loads(line) for line in re.findall(r"^← (.*)$", text, re.MULTILINE)]
    assert {type(frames.decode(line)) for line in said} == set(get_args(FromDevice))
    assert {"welcome", "msg", "sent", "bye"} <= {frame["type"] for frame in heard}
    for frame in heard:
        assert set(frame) - {"type"} <= FROM_SERVER[frame["type"]]


def wording(annotation: object) -> str:
    """Say a setting's type and bounds as the page does."""
    plain, *marks = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    meta = next((mark for mark in marks if isinstance(mark, msgspec.Meta)), msgspec.Meta())
    names = {str: "text", bool: "true or false", int: "whole number", float: "number"}
    if get_origin(plain) is tuple:
        inner = wording(get_args(plain)[0])
        count = "" if meta.max_length is None else f"{meta.min_length}–{meta.max_length} values, "
        return f"list: {count}each {inner}"
    if isinstance(plain, type):
        bounds = "" if meta.ge is None else f", {meta.ge:,} to {meta.le:,}"
        return names[plain] + bounds
    return " or ".join(f"`{choice}`" for choice in get_args(plain))


def configuration() -> list[str]:
    """The page's table of settings, made from their declarations."""
    lines = []
    for group in msgspec.structs.fields(Settings):
        for field in msgspec.structs.fields(group.type):
            name = f"{group.name}.{field.name}"
            default = msgspec.json.encode(KEYS[name].default).decode().replace(",", ", ")
            lines.append(f"| `{name}` | {wording(field.type)} | `{default}` | {KEYS[name].reason} |")
    return lines


def test_configuration_tells_every_key_with_type_default_and_reason() -> None:
    """The table is what the declarations say, line for line."""
    told = section(page("configuration"), "Every key")
    assert [line for line in told.splitlines() if line.startswith("| `")] == configuration()


def test_configuration_tells_what_comes_later() -> None:
    """The keys that are refused as not yet known are all named, with what holds until then."""
    told = rows(section(page("configuration"), "Later"))[1:]
    assert {coded(row[:1])[0]: row[1] for row in told} == LATER


def logged() -> set[str]:
    """The events that some line of the code logs."""
    found = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id="LogEvent"), attr=name):
                    found.add(LogEvent[name].value)
                case _:
                    pass
    return found


def test_operate_tells_every_log_event() -> None:
    """What is logged has a row; the other names are told to be for later."""
    text = section(page("operate"), "Logs")
    table, _, later = text.partition("Names that are kept")
    assert {name for row in rows(table)[1:] for name in coded(row[:1])} == logged()
    assert set(coded([later])) == {event.value for event in LogEvent} - logged()


def test_operate_tells_every_metric(run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    """The table of metrics is what a node answers, with types and labels."""

    async def scrape() -> dict[str, str]:
        async with open_home(World(RealClock())) as home:
            return dict(re.findall(r"^# TYPE (\S+) (\S+)$", home.node.counters.render().decode(), re.M))

    table = rows(section(page("operate"), "`/healthz`, `/readyz`, `/metrics`"))[1:]
    assert {coded(row[:1])[0]: row[1] for row in table} == run(scrape())


def test_operate_tells_every_outcome_of_a_try() -> None:
    """The row of tries names all outcomes."""
    row = next(row for row in rows(page("operate")) if row[0] == "`homing_callback_attempts_total`")
    assert coded(row[3:]) == [outcome.value for outcome in Outcome]


def test_operate_tells_every_item_of_check() -> None:
    """The table of items holds the checks, in their order."""
    table = rows(section(page("operate"), "`homing check`"))[1:]
    assert [coded(row[:1])[0] for row in table] == list(CHECKS)


def test_cli_has_a_heading_for_every_verb() -> None:
    """Whoever looks for a verb finds it, and none that does not exist."""
    headings = re.findall(r"^### (.*)$", page("cli"), re.MULTILINE)
    assert {code.split()[1] for code in coded(headings)} == set(VERBS)


def test_operate_tells_exit_codes_that_exist() -> None:
    """Each exit code in the table is one of the program's."""
    table = rows(section(page("operate"), "Signals and exit codes"))[1:]
    assert {int(row[0]) for row in table} <= set(ExitCode)


def test_simulator_tells_what_phones_do() -> None:
    """Every behaviour of a phone with its promise, and nobody else's."""
    told = {coded(row[:1])[0]: row[1] for row in rows(section(page("simulator"), "What phones do"))[1:]}
    assert told == {name: habit.promise for name, habit in HABITS.items()}


def test_simulator_tells_what_carriers_do() -> None:
    """Every number with its behaviour; every behaviour with its promise."""
    table = rows(section(page("simulator"), "What carriers do"))
    numbered = [row for row in table if row[0].startswith("+")]
    others = {coded(row[:1])[0]: row[1] for row in table if len(row) == 2 and row[0].startswith("`")}
    assert {row[0]: coded(row[1:2])[0] for row in numbered} == NUMBERS
    down = others.pop("down")
    promises = {coded(row[1:2])[0]: row[2] for row in numbered} | others
    assert promises == {name: conduct.promise for name, conduct in CONDUCTS.items()}
    assert down


def test_simulator_tells_what_receivers_do() -> None:
    """Every behaviour of a receiver with its promise."""
    table = rows(section(page("simulator"), "What receivers do"))[1:]
    told = {coded(row[:1])[0].partition(":")[0]: row[1] for row in table}
    assert told == {name: promise for name, (promise, _) in NAMED.items()}


def test_simulator_tells_how_each_status_is_brought_about() -> None:
    """The table of triggers holds the 18 in order, each with its life, how and how long; and who can do what."""
    lives, who = section(page("simulator"), "Triggers").split("With `to`")
    told = [(coded(row[:1])[0], coded(row[1:2]), row[2], row[3]) for row in rows(lives)[1:]]
    assert told == [
        (status, list(life.says), life.title, span(life.takes_ms / 1000)) for status, life in SHORTEST.items()
    ]
    able = {(habit, status) for row in rows(who)[1:] for habit in coded(row[:1]) for status in coded(row[1:])}
    assert able == {(habit, life.ends_in) for life in LIVES for habit in (life.habit, *life.others) if habit}


def test_simulator_tells_its_routes() -> None:
    """The table holds the paths and methods that the application serves."""
    told = {coded(row[:1])[0] for row in rows(section(page("simulator"), "`/sim/1`"))[1:]}
    served = {
        f"{method} {route.path}"
        for route in api.application(World(RealClock())).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert told == served


def test_simulator_tells_who_lives_in_dev() -> None:
    """People with their behaviours and numbers, the pauses between tries, and the number of the demo's lives."""
    text = page("simulator")
    table = rows(section(text, "`homing dev`"))[1:]
    assert [(row[0], coded(row[1:2])[0], row[2].lower(), row[3]) for row in table] == list(PEOPLE)
    assert (1, 3, 10, 10, 30, 30, *[60] * 5) == RETRY_DELAYS_S
    assert f"Plays {len(STORIES)} lives" in text


@pytest.mark.parametrize("name", ["callbacks", "cli", "devices", "configuration", "simulator", "operate"])
def test_links_lead_somewhere(name: str) -> None:
    """A link to another page of this repository names a file that is there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page(name)):
        assert (DOCS / target).is_file(), target
