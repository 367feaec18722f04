"""The user's pages in docs/ say what the code does: every name and default in them is compared with it."""

import ast
import json
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest
from tests.pages import DOCS, ROOT, coded, page, rows, section

from homing.api.routes_listeners import LEASE_MS
from homing.callbacks.verdict import Outcome
from homing.checkup.examination import CHECKS, SHARED
from homing.cli.exits import ExitCode
from homing.cli.forwarding import RETRY_DELAYS_S as RETRY_DELAYS_OF_LISTEN_S
from homing.cli.posting import TIMEOUT_S
from homing.cli.verbs import VERBS
from homing.clock import RealClock
from homing.config import KEYS, LATER, Settings
from homing.gateway import connection, frames, hub
from homing.gateway.frames import SUBPROTOCOL, FromDevice, ToDevice
from homing.simulator.home import open_home
from homing.simulator.world import World
from homing.telemetry import LogEvent


def test_cli_tells_how_listening_goes() -> None:
    """The number of tries of a handler that fails, and after how long another process may listen."""
    text = section(page("cli"), "`homing listen`")
    assert (RETRY_DELAYS_OF_LISTEN_S, sum(RETRY_DELAYS_OF_LISTEN_S)) == ((0.5, 1.0, 2.0), 3.5)
    assert "three times more within four seconds" in text
    assert f"until {LEASE_MS // 1000} s after" in text
    assert f"within {TIMEOUT_S:.0f} s" in text


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
    table = rows(section(page("operate"), "`homing check` on a PostgreSQL"))[1:]
    assert [coded(row[:1])[0] for row in table] == [name for name in SHARED if name in {"database", "clock"}]
    assert set(SHARED) - set(CHECKS) == {"database"}


def test_cli_has_a_heading_for_every_verb() -> None:
    """Whoever looks for a verb finds it, and none that does not exist."""
    headings = re.findall(r"^### (.*)$", page("cli"), re.MULTILINE)
    assert {code.split()[1] for code in coded(headings)} == set(VERBS)


def test_operate_tells_exit_codes_that_exist() -> None:
    """Each exit code in the table is one of the program's."""
    table = rows(section(page("operate"), "Signals and exit codes"))[1:]
    assert {int(row[0]) for row in table} <= set(ExitCode)


@pytest.mark.parametrize("name", ["callbacks", "cli", "devices", "configuration", "simulator", "operate"])
def test_links_lead_somewhere(name: str) -> None:
    """A link to another page of this repository names a file that is there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page(name)):
        assert (DOCS / target).is_file(), target
