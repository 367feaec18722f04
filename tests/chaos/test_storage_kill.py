"""The process that writes the store is killed, again and again: nothing acknowledged is lost (RELIABILITY.md T7)."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.store.fakes import StillClock
from tests.store.powerloss import check_integrity

from homing.store.sqlite import SqliteStore

pytestmark = pytest.mark.chaos

FULL = os.environ.get("HOMING_CHAOS") == "full"
CYCLES = 1_000 if FULL else 12
MOST_S = 0.12
"""A cycle lives at most so long once it is at work; what it does meanwhile is what a kill can strike."""
ROOT = Path(__file__).parents[2]
Run = Callable[[Coroutine[Any, Any, Any]], Any]


def one_cycle(writer: "subprocess.Popen[str]", count: int, after_s: float) -> set[bytes]:
    """Start a child, kill it that long after so many acknowledgements, return what it acknowledged."""
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()
    acknowledged: set[bytes] = set()
    child = 0
    killer: threading.Timer | None = None
    for line in writer.stdout:
        word, _, rest = line.strip().partition(" ")
        if word == "end":
            break
        if word == "pid":
            child = int(rest)
        elif word == "ack":
            acknowledged.add(bytes.fromhex(rest))
        if killer is None and child and len(acknowledged) == count:
            killer = threading.Timer(after_s, os.kill, (child, signal.SIGKILL))
            killer.start()
    assert killer is not None, "the child ended by itself"
    killer.join()
    return acknowledged


@pytest.mark.timeout(3600 if FULL else 60)
def test_nothing_acknowledged_is_lost_to_a_kill(tmp_path: Path, run: Run) -> None:
    """Killed at any moment and started again, the store holds every acknowledged message, and at most one more each."""
    chance = random.Random()
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.writer", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    acknowledged: set[bytes] = set()
    try:
        for _ in range(CYCLES):
            acknowledged |= one_cycle(writer, chance.choice((1, 4)), chance.uniform(0, MOST_S))
    finally:
        assert writer.stdin is not None
        writer.stdin.close()
        assert writer.wait(30) == 0
        assert writer.stdout is not None
        writer.stdout.close()

    async def judge() -> int:
        store = await SqliteStore.open(str(tmp_path / "homing.db"), clock=StillClock())
        ann = await store.user(1, "ann")
        assert ann is not None
        stored: list[bytes] = []
        after = 0
        while items := await store.inbox(ann.id, after, 1_000):
            stored += [item.key[:16] for item in items]
            assert [item.seq for item in items] == list(range(after + 1, after + len(items) + 1)), "a gap"
            after = items[-1].seq
        assert len(stored) == len(set(stored))
        assert acknowledged <= set(stored), f"{len(acknowledged - set(stored))} lost"
        await store.close()
        return len(stored)

    stored = run(judge())
    assert check_integrity(tmp_path / "homing.db") == "ok"
    print(f"kill -9: {CYCLES} cycles, {len(acknowledged)} acknowledged, {stored} stored, 0 lost")
    assert CYCLES <= len(acknowledged) <= stored <= len(acknowledged) + CYCLES
