"""What the command line decides without a server: exit codes, targets, times, output, requests, captures."""

import io
import json
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homing import errors
from homing.api.endpoint_schema import EndpointCreate
from homing.cli import endpoint_flags, exits, following, pages, render, send, times
from homing.cli.captured import from_curl, from_parts, from_request
from homing.cli.clock import advance
from homing.cli.exits import CliError, ExitCode
from homing.cli.replay import counted
from homing.cli.secrets import grace_s
from homing.cli.session import whole
from homing.cli.target import DEV_FILE, find, find_dev

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DEV = {"url": "http://127.0.0.1:8480", "token": "hom_t_x", "appId": 1, "appKey": "k", "secret": "whsec_x"}


def dev_file(folder: Path, **changes: object) -> Path:
    path = folder / DEV_FILE
    path.parent.mkdir()
    path.write_text(json.dumps(DEV | changes))
    return path


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 4), (403, 4), (404, 3), (409, 6), (418, 2), (422, 2), (429, 5), (500, 70), (503, 5)],
)
def test_each_kind_of_answer_has_its_exit_code(status: int, code: int) -> None:
    """The exit code of a refused request follows from its HTTP status alone."""
    assert exits.of_status(status) == code


def test_exit_codes_are_those_of_the_specification() -> None:
    """The ten codes and no others, each with its meaning."""
    assert {code.value for code in ExitCode} == {0, 1, 2, 3, 4, 5, 6, 7, 70, 130}
    assert set(exits.MEANING) == set(ExitCode)


def test_flags_win_over_environment_over_dev_file(tmp_path: Path) -> None:
    """The server is looked for in flags, then in the environment, then in .homing/dev.json upwards."""
    dev_file(tmp_path)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    environment = {"HOMING_URL": "http://e", "HOMING_TOKEN": "te"}
    assert find("http://f/", "tf", environment, deep) == ("http://f", "tf", None)
    assert find(None, None, environment, deep) == ("http://e", "te", None)
    assert find(None, None, {}, deep) == ("http://127.0.0.1:8480", "hom_t_x", 1)
    assert find(None, "other", {}, deep) == ("http://127.0.0.1:8480", "other", 1)


def test_a_dev_token_is_only_sent_where_it_belongs(tmp_path: Path) -> None:
    """With another address and no token of its own nothing is sent: exit 4."""
    dev_file(tmp_path)
    with pytest.raises(CliError) as caught:
        find("https://homing.example", None, {}, tmp_path)
    assert caught.value.code is ExitCode.NOT_ALLOWED


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"url": 1}'])
def test_a_damaged_dev_file_is_told(tmp_path: Path, text: str) -> None:
    """A dev.json that is not one is a usage error that names the file."""
    dev_file(tmp_path).write_text(text)
    with pytest.raises(CliError, match=r"dev\.json is damaged") as caught:
        find_dev(tmp_path)
    assert caught.value.code is ExitCode.USAGE


def test_without_any_server_the_way_out_is_told(tmp_path: Path) -> None:
    """No flag, no environment, no dev.json: the line says what to do."""
    with pytest.raises(CliError, match="homing dev"):
        find(None, None, {}, tmp_path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("45s", 45), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("2d", 172_800), ("1500ms", 1)],
)
def test_durations_are_read_as_people_write_them(text: str, wanted: int) -> None:
    """45s, 10m, 2h, 1h30m and their like become seconds."""
    assert times.seconds(text, "--x") == wanted


@pytest.mark.parametrize("text", ["", "5", "m", "-1m", "1 m", "1w", "300ms", "٣m"])
def test_what_is_no_duration_is_refused_with_its_flag(text: str) -> None:
    """A wrong duration is a usage error that names the flag."""
    with pytest.raises(CliError, match="--expire"):
        times.seconds(text, "--expire")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10m", "2026-11-23T09:50:00.000Z"),
        ("today", "2026-11-23T00:00:00.000Z"),
        ("2026-11-23T10:00Z", "2026-11-23T10:00:00.000Z"),
        ("2026-11-23T10:00:00.5+02:00", "2026-11-23T08:00:00.500Z"),
        ("2026-11-23", "2026-11-23T00:00:00.000Z"),
    ],
)
def test_moments_are_read_relative_or_as_iso(text: str, wanted: str) -> None:
    """10m is that long ago, today its midnight, anything else ISO-8601."""
    assert times.instant(text, "--since", NOW) == wanted


@pytest.mark.parametrize("text", ["yesterday", "10", "2026-13-01", "999999999d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """A wrong time is a usage error that names the flag."""
    with pytest.raises(CliError, match="--since"):
        times.instant(text, "--since", NOW)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-23T09:57:00Z", "3 min ago"),
        ("2026-11-23T12:00:00Z", "in 2 h"),
        ("2026-11-23T09:59:59.900Z", "now"),
        ("2026-11-20T10:00:00Z", "3 d ago"),
        ("never", "never"),
    ],
)
def test_moments_are_shown_relative(text: str, wanted: str) -> None:
    """People see how long ago, programs never do."""
    assert times.ago(text, NOW) == wanted


def out(style: render.Style) -> tuple[render.Out, io.StringIO]:
    stream = io.StringIO()
    return render.Out(style, stream=stream), stream


PAGE: dict[str, Any] = {
    "items": [{"id": 1, "name": "a\tb\nc\\", "none": None, "many": ["x", "y"]}],
    "nextCursor": None,
}
COLUMNS = [render.field(name) for name in ("id", "name", "none", "many")]


def test_plain_output_is_one_line_per_item() -> None:
    """Off a terminal: tab-separated, nothing cut, tabs and line ends inside values escaped."""
    made, stream = out(render.Style.PLAIN)
    made.items(PAGE, COLUMNS, "things")
    assert stream.getvalue() == "1\ta\\tb\\nc\\\\\t\tx,y\n"


def test_numbers_are_written_as_people_do() -> None:
    """A whole number has no fraction, also within a list; others keep theirs."""
    assert [render.plain(value) for value in (5.0, 0.5, [5.0, 0.5], 3)] == ["5", "0.5", "5,0.5", "3"]


def test_a_table_leaves_out_what_nothing_has() -> None:
    """People see no empty column, and of an id that is only mentioned its end; plain lines keep every field's place."""
    columns = [render.end_of_id("id"), render.field("none"), render.field("name")]
    page = {"items": [{"id": "019a0000-0000-7000-8000-00000000b41f", "name": "x"}], "nextCursor": None}
    made, stream = out(render.Style.HUMAN)
    made.items(page, columns, "things")
    assert stream.getvalue().split() == ["id", "name", "…0000b41f", "x"]
    made, stream = out(render.Style.PLAIN)
    made.items(page, columns, "things")
    assert stream.getvalue() == "019a0000-0000-7000-8000-00000000b41f\t\tx\n"


def test_json_output_is_the_shape_of_the_api() -> None:
    """--json is the page as the API gives it, --jsonl its items one a line."""
    made, stream = out(render.Style.JSON)
    made.items(PAGE, COLUMNS, "things")
    assert json.loads(stream.getvalue()) == PAGE
    made, stream = out(render.Style.JSONL)
    made.items(PAGE, COLUMNS, "things")
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == PAGE["items"]


def test_a_table_cannot_be_steered_by_what_others_wrote() -> None:
    """Control characters in a value never reach a terminal, and markup in it is only text."""
    made, stream = out(render.Style.HUMAN)
    made.items({"items": [{"name": "\x1b[31mred[/red][bold]\x07"}]}, [render.field("name")], "things")
    assert "\x1b" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()
    assert "[/red][bold]" in stream.getvalue()


def test_people_see_moments_by_the_servers_clock() -> None:
    """Relative to what `now` tells, not to this machine's clock; programs get the moment itself."""
    page = {"items": [{"createdAt": "2026-11-23T09:57:00Z"}], "nextCursor": None}
    made, stream = out(render.Style.HUMAN)
    made.now = lambda: NOW
    made.items(page, [render.moment("createdAt")], "things")
    made.thing(page["items"][0], [render.moment("createdAt")])  # type: ignore[index]
    assert stream.getvalue().count("3 min ago") == 2
    made, stream = out(render.Style.PLAIN)
    made.items(page, [render.moment("createdAt")], "things")
    assert stream.getvalue() == "2026-11-23T09:57:00Z\n"


def test_an_empty_list_is_told_beside_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing found is a note on stderr; stdout stays clean."""
    made, stream = out(render.Style.PLAIN)
    made.items({"items": [], "nextCursor": None}, COLUMNS, "things")
    assert stream.getvalue() == ""
    assert capsys.readouterr().err == "no things\n"


IDS = ["019a0000-0000-7000-8000-00000000b41f", "019a0000-0000-7000-8000-00000000c41f"]


def test_an_end_that_fits_one_id_stands_for_it() -> None:
    """Ids are shortened at their beginning: UUIDv7s all begin alike."""
    assert whole("b41f", IDS, "message", "all") == IDS[0]
    assert whole("…C41F", IDS, "message", "all") == IDS[1]


@pytest.mark.parametrize(("given", "code"), [("41f", 2), ("dead", 3), ("", 3)])
def test_an_end_that_fits_none_or_several_is_refused(given: str, code: int) -> None:
    """Ambiguous is wrong usage, unknown is no such thing."""
    with pytest.raises(CliError) as caught:
        whole(given, IDS, "message", "all")
    assert caught.value.code == code


NOTHING: dict[str, Any] = dict.fromkeys(
    ("ref", "recipient_ref", "channel", "title", "expire", "fallback", "fallback_after", "number")
)


def test_a_bare_send_holds_nothing_that_was_not_given() -> None:
    """Absent flags are absent properties."""
    assert send.request(1, "hi", ["ann"], **NOTHING, data=[]) == {
        "mobileAppId": 1,
        "text": "hi",
        "recipients": [{"identifier": "ann"}],
    }


def test_each_flag_of_send_becomes_its_property() -> None:
    """Every flag has its place in the API's request."""
    given: dict[str, Any] = {
        "ref": "A1", "recipient_ref": "R1", "channel": "c", "title": "t", "expire": "2h", "fallback": "unread",
        "fallback_after": "15m", "number": "+39333", "data": ["k=v=w", "e="],
    }  # fmt: skip
    assert send.request(7, "hi", ["ann"], **given) == {
        "mobileAppId": 7,
        "text": "hi",
        "recipients": [{"identifier": "ann", "recipientRef": "R1", "override": {"mobileNumber": "+39333"}}],
        "notificationText": "t",
        "messageRef": "A1",
        "channel": "c",
        "optionalData": {"k": "v=w", "e": ""},
        "ttlSeconds": 7200,
        "fallback": {"mode": "sms", "onUnreadSeconds": 900},
    }


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"fallback": "undelivered"}, {"mode": "sms", "onUndeliveredSeconds": 900}),
        ({"fallback_after": "1m"}, {"mode": "sms", "onUndeliveredSeconds": 60}),
        ({"fallback": "off"}, {"mode": "off"}),
    ],
)
def test_fallback_flags_stand_for_the_apis_fallback(flags: dict[str, str], wanted: object) -> None:
    """undelivered is meant where only a time is given; off is off."""
    assert send.request(1, "hi", ["ann"], **NOTHING | flags, data=[])["fallback"] == wanted


@pytest.mark.parametrize(
    ("people", "flags", "data"),
    [
        (["a", "b"], {"number": "+39"}, []),
        (["a", "b"], {"recipient_ref": "r"}, []),
        (["a"], {"fallback": "maybe"}, []),
        (["a"], {"fallback": "off", "fallback_after": "1m"}, []),
        (["a"], {}, ["novalue"]),
        (["a"], {}, ["=v"]),
        (["a"], {"expire": "soon"}, []),
    ],
)
def test_contradictions_are_wrong_usage(people: list[str], flags: dict[str, str], data: list[str]) -> None:
    """What cannot be meant is refused before anything is sent."""
    with pytest.raises(CliError) as caught:
        send.request(1, "hi", people, **NOTHING | flags, data=data)
    assert caught.value.code is ExitCode.USAGE


def test_a_dry_run_survives_the_shell() -> None:
    """The printed curl is one shell command whose data is the request, and holds no token."""
    body = {"text": 'it\'s $HOME "now"'}
    words = shlex.split(send.curl("http://127.0.0.1:1", body, "key 1"))
    assert json.loads(words[-1]) == body
    assert "Idempotency-Key: key 1" in words
    assert "Authorization: Bearer $HOMING_TOKEN" in words


def test_a_callback_of_its_own_is_json_unless_said_otherwise() -> None:
    """--callback alone is JSON; the method may be written small; a method without a place is wrong usage."""
    given = send.request(1, "hi", ["ann"], **NOTHING, data=[], callback="http://x/", callback_method=None)
    assert given["notifyCallback"] == {"method": "JSON", "url": "http://x/"}
    given = send.request(1, "hi", ["ann"], **NOTHING, data=[], callback="http://x/", callback_method="get")
    assert given["notifyCallback"]["method"] == "GET"
    with pytest.raises(CliError, match="--callback URL"):
        send.request(1, "hi", ["ann"], **NOTHING, data=[], callback_method="GET")


@pytest.mark.parametrize(
    ("text", "wanted"), [("50/s", 50), ("50", 50), ("30/min", 0.5), ("90/h", 0.025), ("2.5/s", 2.5)]
)
def test_rates_are_read_as_people_write_them(text: str, wanted: float) -> None:
    """So many a second, a minute, an hour; a bare number is a second's."""
    assert times.per_second(text, "--rate") == wanted


@pytest.mark.parametrize("text", ["", "fast", "-1/s", "50/", "50/d", "1e9", "٣/s", "50 /s", "9" * 400])
def test_what_is_no_rate_is_refused_with_its_flag(text: str) -> None:
    """A wrong rate is a usage error that names the flag."""
    with pytest.raises(CliError, match="--rate"):
        times.per_second(text, "--rate")


def test_durations_may_be_parts_of_a_second() -> None:
    """Where an API takes fractions, the flag does too, down to nothing."""
    assert [times.exact_seconds(text, "--x") for text in ("500ms", "1.5s", "0s", "2m")] == [0.5, 1.5, 0, 120]
    with pytest.raises(CliError, match="--x"):
        times.exact_seconds("9" * 400 + "s", "--x")


def test_a_grace_may_be_none() -> None:
    """`none` ends the old secret at once, and so does nothing at all of time."""
    assert [grace_s(text) for text in ("24h", "none", "0s", "90m")] == [86_400, 0, 0, 5_400]


JOB: dict[str, Any] = {"id": IDS[0], "state": "running", "done": 900, "failed": 4, "total": 1204}


@pytest.mark.parametrize(
    ("changes", "more", "wanted"),
    [
        ({}, {}, "job …b41f  904/1,204  4 failed"),
        ({}, {"speed": 50, "bar": 10}, "job …b41f  ███████░░░  904/1,204  4 failed  6 s left"),
        ({"done": 0, "failed": 0}, {"speed": 0, "bar": 4}, "job …b41f  ░░░░  0/1,204  0 failed"),
        ({"done": 0, "failed": 0, "total": 0}, {"speed": 0, "bar": 4}, "job …b41f  ░░░░  0/0  0 failed"),
        ({"done": 1300, "failed": 0}, {"speed": 9, "bar": 4}, "job …b41f  ████  1,300/1,300  0 failed"),
        ({"state": "paused"}, {"speed": 50, "bar": 4}, "job …b41f  ███░  904/1,204  4 failed  paused"),
    ],
)
def test_a_jobs_progress_is_one_line(changes: Any, more: Any, wanted: str) -> None:
    """How much of it is through, what failed again, and with a bar how long it takes still."""
    assert following.progress(JOB | changes, **more) == wanted


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"failed": 0, "state": "done"}, 0), ({"state": "done"}, 7), ({"failed": 0, "state": "cancelled"}, 1)],
)
def test_an_ended_job_has_its_exit_code(changes: Any, code: int) -> None:
    """All taken is done, some failed again is partly done, cancelled before that is no."""
    assert following.ended(JOB | changes) == code


@pytest.mark.parametrize(
    ("total", "body", "wanted"),
    [
        (1204, {"which": "dead", "ratePerSecond": 50}, "1,204 callbacks to “orders” match: given up. At 50/s this takes 24 s."),
        (1, {"which": "missed"}, "1 callback to “orders” match: not told, or given up. They go as fast as"),
        (0, {"which": "all", "since": "S", "until": "U"}, "0 callbacks to “orders” match: told already or not, since S, until U."),
    ],
)  # fmt: skip
def test_a_replay_says_what_it_would_tell(total: int, body: Any, wanted: str) -> None:
    """How many, which, from when to when, and how long that takes."""
    assert counted("orders", body, {"total": total, "isExact": True}).startswith(wanted)
    assert counted("orders", body, {"total": total, "isExact": False}).startswith(f"at least {total:,}")


def options(**given: object) -> dict[str, Any]:
    return endpoint_flags.properties((endpoint_flags.STATUSES, *endpoint_flags.OPTIONS), given)


def test_what_no_flag_says_is_in_no_request() -> None:
    """Nothing given is nothing changed; `none` is null in a patch, and absent where there is nothing yet."""
    assert options() == {}
    taken_back = options(rate="none", header=["none"], bearer_file="none", ca="none", statuses="all")
    nulls = dict.fromkeys(("ratePerSecond", "headers", "auth", "statuses"))
    assert taken_back == nulls | {"tls": {"ca": None}}
    assert endpoint_flags.for_update(taken_back, {}) == nulls | {"tls": None}
    assert endpoint_flags.for_create(taken_back) == {}


def test_a_patch_keeps_what_it_does_not_name() -> None:
    """The API replaces `tls` whole, so the part that was not given is put in; a header without value is dropped."""
    now = {"tls": {"ca": "PEM", "dangerousSkipVerify": True}}
    assert endpoint_flags.for_update(options(skip_verify=False), now) == {"tls": {"ca": "PEM"}}
    assert endpoint_flags.for_update(options(ca="none"), now) == {"tls": {"dangerousSkipVerify": True}}
    patch = endpoint_flags.for_update(options(header=["X-A:", "X-B: a: b "]), {})
    assert patch == {"headers": {"X-A": None, "X-B": "a: b"}}


def test_every_option_of_an_endpoint_is_a_flag() -> None:
    """Whatever the API takes when it makes an endpoint, some flag gives."""
    flags = {
        flag.property for flag in (endpoint_flags.KIND, endpoint_flags.STATUSES, *endpoint_flags.OPTIONS)
    }
    fields = {field.encode_name for field in msgspec.structs.fields(EndpointCreate)}
    assert flags - {""} | {"url", "headers", "auth", "tls"} == fields


def recipient(message: str, fallback: str, *statuses: str) -> dict[str, Any]:
    return {"message": message, "fallback": fallback, "events": [{"status": one} for one in statuses]}


@pytest.mark.parametrize(
    ("found", "wanted", "ended"),
    [
        (recipient("enqueued", "off", "enqueued"), "read", None),
        (recipient("read", "off", "enqueued", "delivered", "read"), "delivered", True),
        (recipient("expired", "off", "enqueued", "expired"), "read", False),
        (recipient("expired", "armed", "enqueued", "expired"), "fallbackSent", None),
        (recipient("unknown", "off", "IdentifierNotFound"), "read", False),
        (recipient("unknown", "off", "IdentifierNotFound"), "final", True),
        (recipient("delivered", "off", "enqueued", "delivered"), "final", None),
        (recipient("read", "sent", "read"), "final", None),
        (recipient("read", "delivered", "read"), "final", True),
    ],
)
def test_waiting_ends_when_it_is_reached_or_cannot_be(found: Any, wanted: str, ended: bool | None) -> None:
    """Reached, impossible now, or still open: told from the message's state alone."""
    assert send.end(found, wanted) is ended


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["+15m"], {"by": "+15m"}),
        (["until", "quiet"], {"until": "quiet"}),
        (["to", "2026-11-23T10:00Z"], {"to": "2026-11-23T10:00:00.000Z"}),
    ],
)
def test_clock_words_become_one_request(words: list[str], body: object) -> None:
    """by, to and until are the three ways to push the clock."""
    assert advance(words) == body


@pytest.mark.parametrize("words", [["to"], ["until"], ["a", "b"], ["to", "x"]])
def test_other_clock_words_are_wrong_usage(words: list[str]) -> None:
    """What is none of the three is told."""
    with pytest.raises(CliError):
        advance(words)


def all_codes() -> set[str]:
    todo, codes = [errors.HomingError], set()
    while todo:
        kind = todo.pop()
        codes.add(kind.code)
        todo += kind.__subclasses__()
    return codes


def test_help_explains_every_error_code_there_is() -> None:
    """Each code of the errors' tree has a page that says what to do, and no page is about nothing."""
    assert set(pages.WHAT_TO_DO) == all_codes()
    for code in all_codes():
        assert pages.explained(code).startswith(f"{code} (")


RAW = (
    b'POST /h?own=1 HTTP/1.1\r\nHost: x\r\nWebhook-Id: m\r\nContent-Type: application/json\r\n\r\n{"a":"b"}\n'
)


def test_a_raw_request_keeps_its_bytes() -> None:
    """What stands behind the empty line is the payload, to the byte."""
    found = from_request(RAW)
    assert found.method == "POST"
    assert found.payload == b'{"a":"b"}\n'
    assert found.headers["webhook-id"] == "m"


def test_of_a_get_the_raw_query_is_the_payload() -> None:
    """A GET is signed over its query as it stands in the request's line."""
    assert from_request(b"GET /h?a=%20b&c HTTP/1.1\nx: y\n\n").payload == b"a=%20b&c"
    assert from_parts(b"x: y", b"", "?a=1").payload == b"a=1"


def test_a_curl_command_is_a_request() -> None:
    """As browsers and proxies copy it: quoted headers, raw data, line continuations."""
    text = b"curl 'http://x/h?own=1' \\\n -X POST -H 'webhook-id: m' --data-raw='{\"a\":\"b\"}' --compressed"
    found = from_curl(text)
    assert (found.method, found.payload, found.headers) == ("POST", b'{"a":"b"}', {"webhook-id": "m"})
    assert from_curl(b"curl http://x/h?a=1").payload == b"a=1"


@pytest.mark.parametrize("text", [b"", b"garbage", b"\xff\xfe"])
def test_what_is_no_request_is_refused(text: bytes) -> None:
    """A capture that is no request is wrong usage."""
    with pytest.raises(CliError):
        from_request(text)
