"""What happens to endpoints themselves, told to the application's endpoints of kind ``operations``: rows and lanes.

Runs inside the caller's transaction, so that the fact and the duty to tell it are on disk together.
"""

from typing import Any, Final

import uuid_utils

from homing.model import OPERATION_POSITION, dispatch_key
from homing.store.sql import load

_SQL: Final = load("postgres", "operations")


async def tell_operations(
    connection: Any, app: int, type_: str, endpoint_uid: str, reason: str, now_ms: int
) -> list[int]:
    """Write one fact about an endpoint and a lane, due now, for each of those who hear of it; return their ids.

    ``type_`` is endpoint.resting, endpoint.disabled or callback.dead. Where nobody listens nothing is written.
    """
    hearers = [row[0] for row in await connection.fetch(_SQL["hearers"], app)]
    if hearers:
        fact = uuid_utils.uuid7().bytes
        await connection.execute(_SQL["add_operation"], fact, app, type_, endpoint_uid, reason, now_ms)
        key = dispatch_key(fact, OPERATION_POSITION)
        await connection.execute(_SQL["add_lanes"], key, hearers, now_ms)
    return hearers
