"""The items disk and config: when room is short, and which settings open more than is meant."""

import os
from pathlib import Path

import pytest
from tests.checkup.site import NOBODY, Site

from homing.checkup import config, disk
from homing.checkup.case import Case
from homing.checkup.item import State
from homing.config import load
from homing.engine.loop import MIN_FREE_BYTES

GIB = 2**30


@pytest.mark.parametrize(
    ("free_bytes", "usable_bytes", "state"),
    [
        (MIN_FREE_BYTES - 1, GIB, "FAIL"),
        (MIN_FREE_BYTES, GIB, "ok"),
        (99 * GIB, 1000 * GIB, "warn"),
        (100 * GIB, 1000 * GIB, "ok"),
        (0, 0, "FAIL"),
    ],
)
def test_room_is_judged_by_bytes_and_by_part(free_bytes: int, usable_bytes: int, state: str) -> None:
    """Below the engine's own limit it FAILs, below a tenth of the disk it warns; both say what to do."""
    found = disk.judge(free_bytes, usable_bytes)
    assert found.state == state
    assert bool(found.hint) is (state != "ok")
    assert ("503" in found.text) is (state == "FAIL")


def test_the_room_is_that_of_the_stores_disk(site: Site) -> None:
    """As the system counts it for ordinary users, with the size of the store and its log."""
    site.fill()
    room = os.statvfs(site.data)
    assert (
        site.one("disk").state
        == disk.judge(room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize).state
    )
    assert "the store has " in site.one("disk").found
    assert site.case().store_bytes() == site.db.stat().st_size
    Path(f"{site.db}-wal").write_bytes(b"x" * 1000)
    assert site.case().store_bytes() == site.db.stat().st_size + 1000


def test_before_the_first_start_the_room_is_where_the_store_will_be(site: Site) -> None:
    """The nearest directory that is there is asked; there is no size yet."""
    assert " free (" in site.one("disk").found
    assert "the store" not in site.one("disk").found


def test_settings_are_counted_by_where_they_come_from(tmp_path: Path) -> None:
    """The file by name, then environment and flags."""
    file = tmp_path / "homing.toml"
    file.write_text('[callbacks]\nuser_agent = "Mine"\ntimeout_seconds = 10\n')
    environment = {"HOMING_TELEMETRY__LOG_LEVEL": "debug"}
    (found,) = config.check(Case(load(file, environment, {"server.listen": NOBODY}), file))
    assert found.found == f"{file}, 2 settings, 1 from the environment, 1 from flags, 0 unknown"
    assert found.state is State.OK
    (bare,) = config.check(Case(load(Path(os.devnull), {}, {}), None))
    assert bare.found == "no file, 0 unknown"


@pytest.mark.parametrize(
    ("allow", "state"),
    [
        (["10.1.0.0/16", "fd00:1::/48", "127.0.0.1/32", "hooks.internal"], "ok"),
        (["10.0.0.0/15"], "warn"),
        (["fc00::/47"], "warn"),
        (["::/0"], "warn"),
    ],
)
def test_wide_ranges_are_worth_a_word(allow: list[str], state: str, site: Site) -> None:
    """Wider than one site's network; it is named, with what to do."""
    site.flags["callbacks.allow"] = allow
    found = site.one("config")
    assert found.state == state
    assert (allow[0] in found.found) is (state == "warn")


def test_the_dangerous_setting_is_worth_a_word(site: Site) -> None:
    """By its name."""
    site.flags["callbacks.dangerous_allow_private"] = True
    found = site.one("config")
    assert found.state is State.WARN
    assert "dangerous_allow_private" in found.found
    assert "callbacks.allow" in found.hint
