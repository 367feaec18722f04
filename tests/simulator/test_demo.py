"""The demo holds on a real node, and it fails as soon as one law is broken in what the receivers got."""

import copy
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
import uvloop

from homing.contract.forms import Form
from homing.contract.status import STATUSES, Status
from homing.simulator.demo import Line, Played, judge, play, run_demo, spoil, tell
from homing.simulator.habits import HABITS
from homing.simulator.home import open_home
from homing.simulator.stories import STORIES, Story

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@functools.cache
def played() -> Played:
    """The whole demo, played once for all tests of this module."""
    result: Played = uvloop.run(play(open_home))
    return result


def again() -> Played:
    """What was received, to be spoilt."""
    once = played()
    requests = {form: copy.copy(caught) for form, caught in once.requests.items()}
    return msgspec.structs.replace(once, requests=requests)


def test_every_status_is_seen_in_every_form_and_every_law_holds() -> None:
    """18 statuses × 3 forms at real receivers, each story exactly as it must be, in less than 30 s."""
    lines: list[Line] = []
    report = judge(played())
    tell(report, lines.append)
    bad = [line.text for line in lines if line.kind == "bad"]
    assert not bad
    assert report.holds
    assert set(report.seen) == set(Form)
    assert "18/18 statuses × 3/3 forms" in lines[-1].text
    assert report.took_s < 30


def test_the_receiver_that_failed_first_got_the_same_bytes_and_id_again() -> None:
    """500, 500, 204: three tries of one event with one id and one body, and nothing of its life before the third."""
    caught = played().requests[Form.JSON]
    failed = [one for one in caught if one.answered == 500]
    assert len(failed) == 2
    for one in failed:
        tries = [other for other in caught if other.webhook_id == one.webhook_id]
        assert {other.body for other in tries} == {one.body}
        assert tries[-1].answered == 204


@pytest.mark.parametrize(
    "how, found",
    [("swap", "law 3"), ("drop", None), ("duplicate", "law 1")],
)
@pytest.mark.parametrize("form", list(Form))
def test_a_broken_law_fails_the_demo(how: str, found: str | None, form: Form) -> None:
    """Two callbacks exchanged, one lost, or one told twice, at any one receiver: the demo does not hold."""
    spoilt = again()
    spoil(spoilt.requests[form], how)
    report = judge(spoilt)
    assert not report.holds
    assert found is None or any(found in finding for finding in report.findings)


def test_a_wrong_signature_fails_the_demo() -> None:
    """One request whose signature does not fit is enough."""
    spoilt = again()
    caught = spoilt.requests[Form.GET]
    caught[0] = msgspec.structs.replace(caught[0], faults=("signature: no signature fits",))
    assert not judge(spoilt).holds


def test_a_story_that_says_something_else_fails_the_demo() -> None:
    """A life may be lawful and still not be the one that was told."""
    once = again()
    stories = (msgspec.structs.replace(once.stories[0], says=(Status.ENQUEUED,)), *once.stories[1:])
    report = judge(msgspec.structs.replace(once, stories=stories))
    lines: list[Line] = []
    tell(report, lines.append)
    assert not report.holds
    assert any("must be: enqueued" in line.text for line in lines)


def test_the_switch_that_breaks_a_law_breaks_the_demo(run: Run) -> None:
    """`run_demo` with a law broken on purpose reports it; a small demo also misses statuses."""
    stories = [Story("read", (Status.ENQUEUED, Status.PUSH_SENT, Status.DELIVERED, Status.READ))]
    lines: list[Line] = []
    report = run(run_demo(open_home, lines.append, stories=stories, break_law="swap"))
    assert not report.holds
    assert any("law 3" in line.text for line in lines)
    assert report.missing


def test_the_stories_cover_all_statuses_and_only_known_habits() -> None:
    """What is written down suffices before anything is played."""
    assert {status for story in STORIES for status in story.says} == set(STATUSES)
    assert {story.habit for story in STORIES} <= {*HABITS, None}


def test_spoiling_refuses_what_breaks_nothing() -> None:
    """A misspelt switch must not let a demo pass."""
    with pytest.raises(ValueError, match="breaks no law"):
        spoil(again().requests[Form.GET], "tickle")
