"""The Nth write or sync fails, N = 1, 2, … until none does: reported or durable, never both wrong (RELIABILITY.md T6)."""

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, message_id
from tests.store.powerloss import Op, Recorder, check_integrity

from homing.errors import Unavailable
from homing.model import Body
from homing.store.batch import Accept, Addressee, Batch
from homing.store.sqlite import SqliteStore, database

pytestmark = pytest.mark.chaos

FULL = os.environ.get("HOMING_CHAOS") == "full"
TRANSACTIONS = 40 if FULL else 12
Run = Callable[[Coroutine[Any, Any, Any]], Any]


class ProcessEndedError(Exception):
    """Stands for the end of the process: nothing more is done by it."""


class Nth:
    """Fails the Nth of the operations of one kind, once; not before it is armed."""

    def __init__(self, kind: str, n: int, error: type[apsw.Error]) -> None:
        self._kind, self._left, self._error = kind, n, error
        self.is_armed = False
        self.has_struck = False

    def __call__(self, op: Op) -> None:
        if self.is_armed and op.kind == self._kind and not self.has_struck:
            self._left -= 1
            if self._left == 0:
                self.has_struck = True
                raise self._error("injected")


async def strike(folder: Path, nth: Nth) -> tuple[list[bytes], list[BaseException], list[bytes]]:
    """Send messages through the fault; return which were acknowledged, what ended the process, which were refused."""
    recorder = Recorder(nth)
    ended: list[BaseException] = []
    acknowledged: list[bytes] = []
    refused: list[bytes] = []
    store = await SqliteStore.open(
        str(folder / "homing.db"), clock=StillClock(), vfs=recorder.name, on_failure=ended.append
    )
    app = await add_app(store)
    await add_user(store, app.id, "Ann")
    nth.is_armed = True
    for _ in range(TRANSACTIONS):
        message = message_id(NOON_MS)
        accept = Accept(message, app.id, None, Body("hello" * 99), (Addressee("Ann", "ann"),))
        try:
            await store.commit(Batch(accepts=[accept]))
        except Unavailable:
            refused.append(message)
            continue
        except apsw.Error:
            assert ended, "an error of the disk that did not end the process"
            break
        assert not ended, "acknowledged by a process that had to end"
        acknowledged.append(message)
    nth.is_armed = False
    await store.close()
    recorder.unregister()
    return acknowledged, ended, refused


@pytest.mark.timeout(3600 if FULL else 60)
@pytest.mark.parametrize("kind", ["write", "sync"])
@pytest.mark.parametrize("error", [apsw.IOError, apsw.FullError])
def test_a_failing_disk_is_reported_and_loses_nothing(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, kind: str, error: type[apsw.Error]
) -> None:
    """After an I/O error the process ends, a full disk is refused and gone through; what was acknowledged is there."""
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 96 * 1024)

    async def story() -> tuple[int, int, int]:
        # The short form looks at every fifth write; syncs are few.
        step = 1 if FULL or kind == "sync" else 5
        n, points, endings, refusals = 1 - step, 0, 0, 0
        while True:
            n += step
            points += 1
            folder = tmp_path / str(n)
            folder.mkdir()
            nth = Nth(kind, n, error)
            acknowledged, ended, refused = await strike(folder, nth)
            endings += len(ended)
            refusals += len(refused)
            assert len(ended) <= 1
            store = await SqliteStore.open(str(folder / "homing.db"), clock=StillClock())
            views = [await store.message(message) for message in acknowledged]
            assert None not in views, f"lost after {kind} {n}"
            assert [await store.message(message) for message in refused] == [None] * len(refused)
            await store.close()
            assert check_integrity(folder / "homing.db") == "ok"
            if error is apsw.IOError:
                assert bool(ended) == nth.has_struck
            if not nth.has_struck:
                assert (len(acknowledged), ended, refused) == (TRANSACTIONS, [], [])
                return points, endings, refusals

    points, endings, refusals = run(story())
    print(f"{error.__name__} at each {kind}: {points - 1} points, {endings} endings, {refusals} refusals")
    assert points > TRANSACTIONS
    assert (endings if error is apsw.IOError else refusals) > 0
