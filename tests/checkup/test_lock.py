"""Who holds a lock, told by the kernel's table; the lock itself is never touched."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.checkup.site import Site

from homing.checkup.item import State
from homing.checkup.lock import Holder, holder

HOLD = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "homing.lock"
    path.touch()
    return path


def test_nobody_holds_a_lock_that_is_not_there_or_free(lock: Path) -> None:
    """Neither a missing file nor one that is only open."""
    assert holder(lock.with_name("none")) == Holder(is_held=False)
    with lock.open():
        assert holder(lock) == Holder(is_held=False)


def test_another_process_is_named_and_keeps_its_lock(lock: Path) -> None:
    """As long as it holds it, and not longer; looking takes nothing from it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert holder(lock) == Holder(is_held=True, pid=process.pid)
        with lock.open() as again, pytest.raises(BlockingIOError):
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.communicate(b"\n")
    assert holder(lock) == Holder(is_held=False)


def line(pid: int, device: str, inode: int, kind: str = "FLOCK ") -> str:
    return f"1: {kind} ADVISORY  WRITE {pid} {device}:{inode} 0 EOF\n"


def test_a_file_system_with_two_device_numbers_is_seen_through(lock: Path) -> None:
    """Some tell the kernel another device than programs: then it counts whether the process has the file open."""
    table = lock.with_name("locks")
    table.write_text(line(os.getpid(), "00:ff", lock.stat().st_ino))
    assert holder(lock, table) == Holder(is_held=False)
    with lock.open():
        assert holder(lock, table) == Holder(is_held=True, pid=os.getpid())


def test_other_lines_mean_nothing(lock: Path) -> None:
    """Waiting for the lock is not holding it; other kinds of lock, other files and half lines are passed over."""
    found = lock.stat()
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
    table = lock.with_name("locks")
    waits = line(7, device, found.st_ino, "-> FLOCK ")
    posix = line(7, device, found.st_ino, "POSIX ")
    table.write_text(waits + posix + line(7, device, found.st_ino + 1) + "1: FLOCK\n")
    assert holder(lock, table) == Holder(is_held=False)
    table.write_text(table.read_text() + line(0, device, found.st_ino))
    assert holder(lock, table) == Holder(is_held=True, pid=None)


def test_a_holder_that_cannot_be_looked_at_is_taken_for_one(lock: Path) -> None:
    """A server that may be there must not be disturbed."""
    table = lock.with_name("locks")
    table.write_text(line(2**22 + 1, "00:ff", lock.stat().st_ino))
    assert holder(lock, table).is_held is True


def test_a_system_that_does_not_tell_is_told_as_such(
    lock: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither held nor free; the item of the store says so."""
    unknown = Holder(is_held=None)
    assert holder(lock, lock.with_name("none")) == unknown
    site.fill()
    monkeypatch.setattr("homing.checkup.case.holder", lambda _lock: unknown)
    assert site.one("store").found.endswith("cannot be told here")
    assert site.one("server").state is State.OK
    assert site.one("server").found == "not running"
