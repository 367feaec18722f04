"""What became of callbacks beside their lanes and attempts: dead letters, what is told after all, jobs, operations."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from homing.model import uuid_text
from homing.store.batch import LaneWork, Settle
from homing.store.operations import TOLD_OTHERWISE, tell_operations
from homing.store.postgres import claims
from homing.store.postgres.lanes import Outcomes
from homing.store.postgres.rows import hold
from homing.store.sql import load

_SQL: Final = load("postgres", "ledger")
_JOBS: Final = load("postgres", "replays")


async def write(
    connection: Any, outcomes: Outcomes, forgotten: Sequence[tuple[bytes, int, int, int]], now_ms: int
) -> tuple[list[LaneWork], list[int]]:
    """Write what is rare, after all else; return the works for what couriers do not know of, and the endpoints that have
    something due now because of what was given up.
    """
    await _many(
        connection, _SQL["redeem"], [(*place, bits) for place, bits in sorted(outcomes.redeemed.items())]
    )
    await _many(connection, _SQL["drop_dead"], sorted(outcomes.redeemed_events))
    if outcomes.dead:
        columns = map(list, zip(*sorted(outcomes.dead), strict=True))
        await connection.execute(_SQL["add_dead"], *columns, now_ms)
    if outcomes.operations:
        await connection.execute(_SQL["drop_operations"], sorted(outcomes.operations))
    due = await _tell(connection, outcomes.buried, now_ms)
    jobs = sorted({*outcomes.jobs_done, *outcomes.jobs_failed})
    if jobs:
        done, failed = (
            [counts[job] for job in jobs] for counts in (outcomes.jobs_done, outcomes.jobs_failed)
        )
        await connection.execute(_JOBS["count_jobs"], jobs, done, failed, [0] * len(jobs))
        await connection.execute(_JOBS["end_jobs"], jobs, now_ms)
    rows = [(key, endpoint, bits, 0, job) for key, endpoint, bits, job in forgotten]
    works = [msgspec.structs.replace(work, fresh=False) for work in await claims.works(connection, rows)]
    return works, due


async def _tell(connection: Any, buried: Sequence[Settle], now_ms: int) -> list[int]:
    given_up: dict[int, list[Settle]] = defaultdict(list)
    for s in buried:
        if (s.reason or "gave_up") not in TOLD_OTHERWISE:
            given_up[s.endpoint].append(s)
    if not given_up:
        return []
    due: list[int] = []
    for endpoint, app, uid in await connection.fetch(_SQL["endpoint_names"], sorted(given_up)):
        for s in given_up[endpoint]:
            reason = f"{s.reason}: event {s.n} of message {uuid_text(s.key)}"
            due += await hold(connection, tell_operations(app, "callback.dead", uid, reason, now_ms))
    return due


async def _many(connection: Any, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        await connection.execute(sql, *map(list, zip(*rows, strict=True)))
