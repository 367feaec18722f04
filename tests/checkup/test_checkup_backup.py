"""The item backup: when the last one was made."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.checkup.site import Site

from homing.checkup.item import State
from homing.store.backups import NOTE, Note, write


def test_without_a_store_there_is_nothing_to_back_up(site: Site) -> None:
    """No warning before the first start."""
    assert site.one("backup").state is State.OK


@pytest.mark.parametrize(
    ("days", "state"), [(0, State.OK), (1.9, State.OK), (2.1, State.WARN), (40, State.WARN)]
)
def test_a_backup_of_yesterday_will_do(site: Site, days: float, state: State) -> None:
    """Older than two days is a warning that says how to make one; when it was is told either way."""
    site.fill()
    at = datetime.now(UTC) - timedelta(days=days)
    write(site.data / NOTE, Note(at, "/backups/monday", "ab"))
    found = site.one("backup")
    assert found.state is state
    assert f"({at:%Y-%m-%dT%H:%M:%SZ}), in /backups/monday" in found.found
    assert found.hint == ("homing backup TO" if state is State.WARN else "")


@pytest.mark.parametrize("note", [None, b"", b"[]", b"\xff"])
def test_a_store_that_was_never_backed_up_is_a_warning(site: Site, note: bytes | None) -> None:
    """So is one whose note says nothing."""
    site.fill()
    if note is not None:
        (site.data / NOTE).write_bytes(note)
    found = site.one("backup")
    assert (found.state, found.found) == (State.WARN, "never")
