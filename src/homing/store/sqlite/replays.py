"""Telling again: a job's next step, and what the settles of a batch mean for jobs. Inside the caller's transaction."""

from collections import defaultdict
from typing import Final

import apsw

from homing.model import dispatch_of, is_replay
from homing.store import replays
from homing.store.nouns import as_json
from homing.store.port import ReplayStep
from homing.store.sql import load
from homing.store.sqlite.claims import works
from homing.store.sqlite.rows import hold

_SQL: Final = load("sqlite", "replays")


def step(connection: apsw.Connection, uid: str, limit: int, now_ms: int, epoch: int) -> ReplayStep:
    """See `port.Ledger.replay_step`."""
    lanes, is_walked = hold(connection, replays.step(uid, limit, now_ms, epoch))
    return ReplayStep(works(connection, lanes), is_walked=is_walked)


class JobCounts:
    """What the settles of one batch mean for jobs: gathered, then written once for each job."""

    def __init__(self, connection: apsw.Connection, now_ms: int) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._told: dict[int, int] = defaultdict(int)
        self._failed: dict[int, int] = defaultdict(int)

    def of(self, lane: bytes, endpoint: int, n: int) -> int:
        """Return the job for which a replay lane still owes event ``n``; 0 when it is none, or owes it no more."""
        if not is_replay(lane):
            return 0
        row = self._connection.execute(_SQL["replay_lane"], (lane, endpoint)).fetchone()
        return int(row[1]) if row is not None and row[0] >> (n - 1) & 1 else 0

    def told(self, lane: bytes, endpoint: int, n: int) -> None:
        """An event was told again: it is done, whatever it was before. Call it before the lane's bit is cleared."""
        key, bit = dispatch_of(lane), 1 << (n - 1)
        self._connection.execute(_SQL["redeem"], (key, endpoint, bit))
        self._connection.execute(_SQL["drop_dead"], (key, endpoint, n))
        job = self.of(lane, endpoint, n)
        if job:
            self._told[job] += 1

    def failed(self, job: int) -> None:
        """An event of this job (0: of none) was given up."""
        if job:
            self._failed[job] += 1

    def write(self) -> None:
        """Write the counts, and end the jobs that are through."""
        jobs = sorted({*self._told, *self._failed})
        if jobs:
            counts = [(job, self._told[job], self._failed[job], 0) for job in jobs]
            self._connection.execute(_SQL["count_jobs"], (as_json(counts),))
            self._connection.execute(_SQL["end_jobs"], (as_json(jobs), self._now_ms))
