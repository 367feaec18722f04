"""The item clock: beside the server's, after what is stored, kept by NTP."""

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from tests.checkup.site import WELL, Answer, Site, answering
from tests.store.fakes import add_app, add_user, send

from homing.checkup import clock
from homing.checkup.item import State
from homing.store.sqlite import SqliteStore


async def one_message(opened: SqliteStore) -> None:
    app = await add_app(opened)
    await add_user(opened, app.id, "Ann")
    await send(opened, app.id, "Ann")


def real_ms() -> int:
    return time.time_ns() // 1_000_000


def at(moment: datetime) -> dict[str, Answer]:
    status, _, body = WELL["/healthz"]
    return {**WELL, "/healthz": (status, {"date": format_datetime(moment, usegmt=True)}, body)}


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel of the test's machine says of its clock is looked at in a test of its own."""
    monkeypatch.setattr(clock, "is_synchronised", lambda: True)


def test_a_clock_after_all_that_is_stored_is_well(site: Site) -> None:
    """The newest event is in the past."""
    site.fill(one_message)
    found = site.one("clock")
    assert (found.state, found.found) == (State.OK, "after the newest event, synchronised")


def test_a_clock_that_was_set_back_fails(site: Site) -> None:
    """An event of tomorrow is in the store: how far, and what to do."""
    site.clock.ms = real_ms() + 25 * 3_600_000
    site.fill(one_message)
    found = site.one("clock")
    assert found.state is State.FAIL
    assert "1 d before the newest event in the store (" in found.found
    assert "set the clock right" in found.hint


def test_the_newest_event_need_not_be_the_last_recorded(site: Site) -> None:
    """An event that tells of an earlier time came after it: the newest still counts."""

    async def story(opened: SqliteStore) -> None:
        site.clock.ms = real_ms() + 25 * 3_600_000
        await one_message(opened)
        site.clock.ms = real_ms() - 3_600_000
        await one_message(opened)

    site.fill(story)
    assert site.one("clock").state is State.FAIL


def test_an_empty_store_says_nothing_of_time(site: Site) -> None:
    """Nor does one that is not there."""
    assert site.one("clock").found == "synchronised"
    site.fill()
    assert site.one("clock").found == "synchronised"


@pytest.mark.parametrize(("late_ms", "state"), [(0, "ok"), (999, "ok"), (1_001, "FAIL")])
def test_a_second_is_nothing(late_ms: int, state: str) -> None:
    """Clocks are stepped a little all the time."""
    assert clock.after(1_700_000_000_000, 1_700_000_000_000 - late_ms).state == state


@pytest.mark.parametrize(
    ("off", "state"), [(timedelta(), "ok"), (timedelta(hours=2), "warn"), (-timedelta(minutes=3), "warn")]
)
def test_the_servers_clock_is_compared(off: timedelta, state: str, site: Site) -> None:
    """The Date of its answer, in either direction."""
    site.fill()
    with answering(at(datetime.now(UTC) + off)) as site.flags["server.listen"], site.held():
        found = site.one("clock")
    assert found.state == state
    assert ("from the server's" in found.found) is (state != "ok")


def test_another_servers_clock_means_nothing(site: Site) -> None:
    """Whoever answers there does not have this data directory; one without a Date tells nothing either."""
    site.fill()
    with answering(at(datetime.now(UTC) + timedelta(hours=2))) as site.flags["server.listen"]:
        assert site.one("clock").found == "synchronised"
    with answering(WELL) as site.flags["server.listen"], site.held():
        assert site.one("clock").found == "synchronised"
    broken: dict[str, Answer] = {**WELL, "/healthz": (200, {"date": "yesterday"}, WELL["/healthz"][2])}
    with answering(broken) as site.flags["server.listen"], site.held():
        assert site.one("clock").found == "synchronised"


def test_a_simulated_clock_may_be_ahead(site: Site) -> None:
    """Events of a pushed clock are no fault while the simulation runs that made them."""
    site.clock.ms = real_ms() + 25 * 3_600_000
    site.fill(one_message)
    pushed = json.dumps({"now": (datetime.now(UTC) + timedelta(hours=26)).isoformat()}).encode()
    answers = {**at(datetime.now(UTC)), "/sim/1/clock": (200, {}, pushed)}
    with answering(answers) as site.flags["server.listen"], site.held():
        found = site.one("clock")
    assert found.state is State.OK
    assert "the server's own is simulated, 1 d off, after the newest event" in found.found


def test_a_clock_that_nothing_keeps_is_worth_a_word() -> None:
    """The kernel says whether something keeps it; where it does not say, nothing is told."""
    assert [one.state for one in clock.kept(synchronised=False)] == [State.WARN]
    assert [one.state for one in clock.kept(synchronised=True)] == [State.OK]
    assert list(clock.kept(synchronised=None)) == []
