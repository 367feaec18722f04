"""What is left over, taken up again: lanes and commands that fell due, were born free, or lost their node.

What is taken is locked with SKIP LOCKED, so that nodes that claim at once share it instead of waiting for each other.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, LiteralString

from homing.model import dispatch_of, is_incoming, is_operation, message_of
from homing.store.batch import CommandWork, LaneWork, Outlook
from homing.store.claims import (
    About,
    Event,
    LaneRow,
    Place,
    Stride,
    of_dispatch,
    of_incoming,
    of_operation,
    probes,
    to_command,
    to_work,
)
from homing.store.port import Claimed
from homing.store.postgres.nodes import Known
from homing.store.sql import load

_SQL: Final = load("postgres", "claims")
_STRIDE: Final = 10_000
"""How many lanes, or commands, one transaction of a walk looks at."""
_END: Final = (b"\xff" * 21, 2**63 - 1)


async def works(connection: Any, rows: Sequence[LaneRow]) -> list[LaneWork]:
    """Gather what couriers need for lanes' pending events, in the rows' order; what a lane was about may be gone."""
    if not rows:
        return []
    about: dict[bytes, About] = {}
    events: dict[bytes, list[Event]] = defaultdict(list)
    incomings = sorted({message_of(row[0]) for row in rows if is_incoming(row[0])})
    operations = sorted({message_of(row[0]) for row in rows if is_operation(row[0])})
    dispatches = sorted({dispatch_of(r[0]) for r in rows if not (is_incoming(r[0]) or is_operation(r[0]))})
    if dispatches:
        for key, *fact in await connection.fetch(_SQL["lane_facts"], dispatches):
            about[key] = of_dispatch(fact, events[key])
        for key, n, status, at_ms in await connection.fetch(_SQL["events_of"], dispatches):
            events[key].append((n, status, at_ms))
    if incomings:
        for id_, *fact in await connection.fetch(_SQL["incoming_facts"], incomings):
            about[id_ + b"\xff\xff"] = of_incoming(fact)
    if operations:
        for id_, *fact in await connection.fetch(_SQL["operation_facts"], operations):
            about[id_ + b"\xff\xfe"] = of_operation(fact)
    jobs = sorted({row[4] for row in rows if row[4]})
    uids = dict(map(tuple, await connection.fetch(_SQL["job_uids"], jobs))) if jobs else {}
    found = ((row, about.get(dispatch_of(row[0]))) for row in rows)
    return [to_work(row, it, uids.get(row[4])) for row, it in found if it is not None]


async def claim_lanes(connection: Any, endpoint: int, now_ms: int, limit: int, epoch: int) -> Claimed:
    """See `port.Ledger.claim_lanes`."""
    rows = await connection.fetch(_SQL["claim_lanes"], endpoint, now_ms, limit, epoch)
    rows.sort(key=_by_due)
    return Claimed(await works(connection, [row[:5] for row in rows]), await _next_due(connection, endpoint))


async def claim_by_chance(connection: Any, endpoint: int, now_ms: int, chance: float, epoch: int) -> Claimed:
    """See `port.Ledger.claim_lanes` with ``chance``."""
    first_ms = await connection.fetchval(_SQL["first_due"], endpoint, now_ms)
    rows: list[Any] = []
    if first_ms is not None:
        for from_ms, offset in probes(chance, first_ms, now_ms):
            rows = await connection.fetch(_SQL["claim_some_lane"], endpoint, from_ms, now_ms, epoch, offset)
            if rows:
                break
    return Claimed(await works(connection, [row[:5] for row in rows]), await _next_due(connection, endpoint))


async def _next_due(connection: Any, endpoint: int) -> int | None:
    due: int | None = await connection.fetchval(_SQL["next_lane"], endpoint)
    return due


def _by_due(row: Any) -> tuple[int, bytes]:
    return row[5], row[0]


async def adopt_lanes(
    connection: Any, after: Place, limit: int, epoch: int, known: Known
) -> Stride[LaneWork]:
    """See `port.Ledger.adopt_lanes`; one stride of the walk."""
    edge = await _edge(connection, after)
    found = await connection.fetch(
        _SQL["adopt_lanes"], *after, limit, epoch, known.newest, known.live, *(edge or _END)
    )
    rows = sorted(tuple(row) for row in found)
    return await works(connection, rows), (rows[-1][0], rows[-1][1]) if rows else edge


async def held_lanes(connection: Any, after: Place, limit: int, epoch: int) -> Stride[LaneWork]:
    """See `port.Ledger.held_lanes`; one stride of the walk."""
    edge = await _edge(connection, after)
    found = await connection.fetch(_SQL["held_lanes"], *after, limit, epoch, *(edge or _END))
    rows = [tuple(row) for row in found]
    return await works(connection, rows), (rows[-1][0], rows[-1][1]) if rows else edge


async def held_commands(connection: Any, after: Place, limit: int, epoch: int) -> Stride[CommandWork]:
    """See `port.Ledger.held_commands`; one stride of the walk."""
    edge = await _edge(connection, after, "command_edge")
    rows = await connection.fetch(_SQL["held_commands"], *after, limit, epoch, *(edge or _END))
    return [to_command(row) for row in rows], (rows[-1][0], rows[-1][1]) if rows else edge


async def _edge(connection: Any, after: Place, name: LiteralString = "walk_edge") -> Place | None:
    """Return where a stride ends; None when the table's end is nearer."""
    row = await connection.fetchrow(_SQL[name], *after, _STRIDE)
    return None if row is None else (row[0], row[1])


async def claim_commands(
    connection: Any, now_ms: int, limit: int, epoch: int, known: Known, *, has_orphans: bool
) -> tuple[list[CommandWork], bool]:
    """See `port.Ledger.claim_commands`; those that lost their node count as due, while there may be any.

    Returns with them whether there may be more that lost their node.
    """
    rows = await connection.fetch(_SQL["claim_commands"], now_ms, limit, epoch)
    rows.sort(key=lambda row: row[4])
    if has_orphans and len(rows) < limit:
        wanted = limit - len(rows)
        orphans = await connection.fetch(_SQL["adopt_commands"], wanted, epoch, known.newest, known.live)
        has_orphans = len(orphans) == wanted
        rows += orphans
    return [to_command(row) for row in rows], has_orphans


async def release(connection: Any, lanes: Sequence[tuple[bytes, int]], now_ms: int, epoch: int) -> None:
    """See `port.Ledger.release`."""
    if lanes:
        keys, endpoints = zip(*sorted(set(lanes)), strict=True)
        await connection.execute(_SQL["free_lanes"], list(keys), list(endpoints), now_ms, epoch)


async def due_dispatches(connection: Any, now_ms: int, limit: int, known: Known) -> list[bytes]:
    """See `port.Ledger.due_dispatches`; each teller rings its share, and everybody what was not rung in time."""
    rows = await connection.fetch(_SQL["due_timers"], now_ms, limit, *_share(known))
    return [row[0] for row in rows]


async def outlook(connection: Any, known: Known) -> Outlook:
    """See `port.Ledger.outlook`."""
    lanes_due = {row[0]: row[1] for row in await connection.fetch(_SQL["next_lanes"])}
    next_timer_ms = await connection.fetchval(_SQL["next_timer"], *_share(known))
    return Outlook(next_timer_ms, await connection.fetchval(_SQL["next_command"]), lanes_due)


def _share(known: Known) -> tuple[int, int]:
    """Into how many parts the deadlines are cut, and which of them is this node's; -1: none."""
    return max(1, len(known.tellers)), known.rank
