"""What happens to endpoints themselves, told to the application's endpoints of kind ``operations``: rows and lanes.

Runs inside the caller's transaction, so that the fact and the duty to tell it are on disk together.
"""

from typing import Final

import uuid_utils

from homing.model import OPERATION_POSITION, dispatch_key
from homing.store.dialogue import Ask, Dialogue

TOLD_OTHERWISE: Final = frozenset({"endpoint_disabled", "endpoint_gone"})
"""Why an event is dead without a word of its own to those of kind operations: the disabling is told, once."""


def tell_operations(app: int, type_: str, endpoint_uid: str, reason: str, now_ms: int) -> Dialogue[list[int]]:
    """Write one fact about an endpoint and a lane, due now, for each of those who hear of it; return their ids.

    ``type_`` is endpoint.resting, endpoint.disabled or callback.dead. Where nobody listens nothing is written.
    """
    hearers = [row[0] for row in (yield Ask("operations", "hearers", (app,)))]
    if hearers:
        fact = uuid_utils.uuid7().bytes
        yield Ask("operations", "add_operation", (fact, app, type_, endpoint_uid, reason, now_ms))
        key = dispatch_key(fact, OPERATION_POSITION)
        yield Ask("operations", "add_lanes", (key, hearers, now_ms))
    return hearers
