"""The power fails after any write or sync: nothing acknowledged is lost, and the file is whole (RELIABILITY.md T5)."""

import os
import random
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, message_id
from tests.store.ledger import add_endpoint, settled
from tests.store.powerloss import Op, Recorder, check_integrity, crashes

from homing.lifecycle.dispatch import Read, Received
from homing.model import Body, dispatch_key
from homing.store.batch import Accept, Addressee, Batch, Occurrence, Verdict
from homing.store.sqlite import SqliteStore, database

pytestmark = pytest.mark.chaos

Run = Callable[[Coroutine[Any, Any, Any]], Any]

FULL = os.environ.get("HOMING_CHAOS") == "full"
TRANSACTIONS = 200
EVERY = 1 if FULL else 16
"""The short form looks at every so many points, from a random one on."""


class Script(NamedTuple):
    """What was done to the disk while some messages lived."""

    ops: list[Op]
    messages: list[bytes]


async def live(path: Path, synchronous: str) -> Script:
    """Send, deliver, read and settle messages, one transaction after the other, and mark each acknowledgement."""
    recorder = Recorder()
    clock = StillClock()
    store = await SqliteStore.open(str(path), clock=clock, vfs=recorder.name, synchronous=synchronous)
    app = await add_app(store)
    await add_user(store, app.id, "Ann")
    endpoint = (await add_endpoint(store, app.id)).id
    messages: list[bytes] = []
    for turn in range(TRANSACTIONS // 4):
        clock.ms += 1
        message = message_id(clock.ms)
        key = dispatch_key(message, 0)
        lives = [
            Batch(accepts=[Accept(message, app.id, None, Body("hello" * turn), (Addressee("Ann", "ann"),))]),
            Batch(occurrences=[Occurrence(key, Received())], settles=[settled(key, endpoint, 1)]),
            Batch(occurrences=[Occurrence(key, Read())]),
            Batch(settles=[settled(key, endpoint, 2, known=0b100), settled(key, endpoint, 3, Verdict.DEAD)]),
        ]
        for stage, batch in enumerate(lives):
            await store.commit(batch)
            recorder.mark(message + bytes([stage]))
        messages.append(message)
    await store.close()
    recorder.unregister()
    return Script(recorder.ops, messages)


async def judge(folder: Path, acknowledged: set[bytes]) -> tuple[int, list[str]]:
    """Start on what the power failure left; return how many acknowledged things are lost, and what else is wrong."""
    path = folder / "homing.db"
    store = await SqliteStore.open(str(path), clock=StillClock())
    lost, wrong = 0, []
    for what in acknowledged:
        message, stage = what[:-1], what[-1]
        view = await store.message(message)
        callbacks = await store.callbacks(message)
        if view is None or not callbacks:
            lost += 1
            continue
        events = (1 << len(view.dispatches[0].events)) - 1
        (told,) = callbacks
        if told.pending + told.settled + told.dead != events:
            wrong.append(
                f"events {events:b}, pending {told.pending:b}, settled {told.settled:b}, dead {told.dead:b}"
            )
        least_events, least_settled = ((1, 0), (2, 1), (3, 1), (3, 3))[stage]
        if (
            len(view.dispatches[0].events) < least_events
            or (told.settled | told.dead).bit_count() < least_settled
        ):
            lost += 1
    await store.close()
    if (integrity := check_integrity(path)) != "ok":
        wrong.append(integrity)
    return lost, wrong


async def sweep(script: Script, folder: Path, *, torn: bool) -> tuple[int, int, list[str]]:
    """Fail the power at every point; return how many points there were, how much was lost, and what was wrong."""
    chance = random.Random(NOON_MS)
    points, lost, wrong = 0, 0, list[str]()
    skip = random.randrange(EVERY)
    for index, (disk, acknowledged) in enumerate(crashes(script.ops)):
        if index % EVERY != skip:
            continue
        points += 1
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        disk.write_to(folder, chance if torn else None)
        # Everything older was judged at an earlier point too: the last ones are at stake.
        at_stake = set(sorted(acknowledged)[-12:]) if not FULL else acknowledged
        now_lost, now_wrong = await judge(folder, at_stake)
        lost += now_lost
        wrong += [f"point {index}: {text}" for text in now_wrong]
    return points, lost, wrong


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the log back every few transactions, so that the script fails in the midst of that as well."""
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 96 * 1024)


@pytest.mark.timeout(3600 if FULL else 60)
@pytest.mark.parametrize("torn", [False, True], ids=["unsynced gone", "unsynced torn"])
def test_no_acknowledged_transaction_is_lost(tmp_path: Path, run: Run, often: None, torn: bool) -> None:
    """Whatever of the unsynced writes is found, what was answered is there, whole, and the file is sound."""
    (tmp_path / "live").mkdir()

    async def story() -> tuple[int, int, list[str]]:
        script = await live(tmp_path / "live" / "homing.db", "FULL")
        assert sum(op.kind == "sync" for op in script.ops) > TRANSACTIONS
        assert sum(op.file == "homing.db" and op.kind == "write" for op in script.ops) > 100
        return await sweep(script, tmp_path / "found", torn=torn)

    points, lost, wrong = run(story())
    print(f"power loss: {points} points, {lost} acknowledged lost, {len(wrong)} faults")
    assert points > 2_000 // EVERY
    assert (lost, wrong) == (0, [])


@pytest.mark.timeout(3600 if FULL else 60)
def test_the_sweep_catches_a_store_that_does_not_sync(tmp_path: Path, run: Run, often: None) -> None:
    """The negative control: with synchronous=NORMAL acknowledged transactions are lost, and the sweep sees it."""
    (tmp_path / "live").mkdir()

    async def story() -> tuple[int, int, list[str]]:
        script = await live(tmp_path / "live" / "homing.db", "NORMAL")
        return await sweep(script, tmp_path / "found", torn=False)

    points, lost, _wrong = run(story())
    print(f"power loss, NORMAL: {points} points, {lost} acknowledged lost")
    assert lost > 0
