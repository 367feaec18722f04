"""What the command line shows: plain lines, tables, JSON; how a job goes on."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from homing.cli import following, render
from homing.cli.replay import counted

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


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
