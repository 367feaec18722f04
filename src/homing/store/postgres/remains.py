"""Deletes what deleted endpoints leave, a step a transaction: an endpoint may be owed millions of callbacks.

That an endpoint is gone is one small commit, and everybody sees it at once; a row in ``doomed`` says that lanes and dead
letters of it may be left. Any node goes on where another one stopped.
"""

from typing import Any, Final

from homing.store.sql import load

_SQL: Final = load("postgres", "remains")
STRIDE: Final = 10_000
"""How many lanes one step looks at, and how many dead letters it deletes at the most."""
_END: Final = b"\xff" * 21


async def sweep(connection: Any, stride: int = STRIDE) -> bool:
    """Do one step inside the caller's transaction; False where nothing is left, or another node is at all of it."""
    found = await connection.fetchrow(_SQL["doomed"])
    if found is None:
        return False
    endpoint, leaves, place = found
    if leaves == "lane":
        end = await connection.fetchval(_SQL["stride_end"], place, stride)
        await connection.execute(_SQL["drop_lanes"], endpoint, place, end or _END)
        is_end = end is None
        await connection.execute(_SQL["move"], endpoint, end or _END)
    else:
        is_end = await connection.execute(_SQL["drop_dead"], endpoint, stride) == "DELETE 0"
    if is_end:
        await connection.execute(_SQL["end"], endpoint, leaves)
    return True
