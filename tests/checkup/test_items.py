"""How findings become an item, and how it is worded; what no check can look at is a FAIL, never an error."""

import msgspec
import pytest
from tests.checkup.site import Site

from homing.checkup.examination import CHECKS, examine
from homing.checkup.item import Finding, State, item
from homing.checkup.wording import moment, since, size, span

WELL = Finding("a", hint="by the way")
ODD = Finding("b", State.WARN, "do b")
BAD = Finding("c", State.FAIL, "do b")


@pytest.mark.parametrize(
    ("findings", "wanted"),
    [
        ([WELL], {"name": "x", "state": "ok", "found": "a", "hint": "by the way"}),
        ([WELL, ODD], {"name": "x", "state": "warn", "found": "a, b", "hint": "do b"}),
        ([ODD, BAD, WELL], {"name": "x", "state": "FAIL", "found": "b, c, a", "hint": "do b"}),
        ([Finding("a")], {"name": "x", "state": "ok", "found": "a"}),
    ],
)
def test_an_item_is_as_bad_as_the_worst_finding(findings: list[Finding], wanted: dict[str, str]) -> None:
    """All that was found is told; hints are told once, and those of what is well only if all is."""
    assert msgspec.to_builtins(item("x", findings)) == wanted


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min"), (7_200, "2 h"), (200_000, "2 d")]
)
def test_spans_are_told_in_their_largest_unit(seconds: float, told: str) -> None:
    """Whole units, but for seconds."""
    assert span(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 * 2**29, "1.5 GiB"), (2**40, "1.0 TiB")],
)
def test_sizes_are_told_in_their_largest_unit(count: int, told: str) -> None:
    """To a tenth of it."""
    assert size(count) == told


def test_moments_are_told_in_utc() -> None:
    """As ISO-8601 to the second, and how long ago that is; one that is yet to come is no time ago."""
    assert moment(1_700_000_000_999) == "2023-11-14T22:13:20Z"
    assert since(1_700_000_000_000, 1_700_000_120_000) == "since 2023-11-14T22:13:20Z (2 min)"
    assert since(1_700_000_000_000, 0) == "since 2023-11-14T22:13:20Z (0.0 s)"


def test_every_check_speaks_under_its_own_name(site: Site) -> None:
    """Without any data there is one item of each name, in the order of the table; nothing is made by looking."""
    items = examine(site.case())
    assert [one.name for one in items] == list(CHECKS)
    assert State.FAIL not in {one.state for one in items if one.name != "disk"}
    assert not site.data.exists()


@pytest.mark.parametrize("name", ["store", "disk", "clock", "keys", "backup", "server", "endpoints"])
def test_what_cannot_be_looked_at_fails(name: str, site: Site) -> None:
    """An error of the operating system (here: the directory's name is too long for it) is told, with what to do."""
    site.flags["store.url"] = f"sqlite:///{site.data.parent / ('x' * 300)}/homing.db"
    found = site.one(name)
    assert found.state is State.FAIL
    assert "file name too long" in found.found
    assert "as the user" in found.hint


@pytest.mark.parametrize("name", ["clock", "keys", "endpoints"])
def test_a_store_that_cannot_be_read_fails_what_asks_it(name: str, site: Site) -> None:
    """They say so and lead to the item that says why."""
    site.fill()
    site.db.write_bytes(b"no store at all " * 1000)
    found = site.one(name)
    assert found.state is State.FAIL
    assert "the store cannot be read" in found.found
    assert found.hint == "see the item store"
