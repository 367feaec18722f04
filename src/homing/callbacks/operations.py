"""What endpoints of kind ``operations`` are told: a fact about another endpoint, as flat JSON. Pure.

Ours, and outside the callback contract (API.md); it travels, is signed and is tried again like any other callback.
"""

from typing import Final

import msgspec

from homing.contract.forms import JSON_TYPE, encode_json
from homing.contract.notification import Precision, iso_utc


class OperationNotification(msgspec.Struct, frozen=True, gc=False):
    """``type`` is endpoint.resting, endpoint.disabled or callback.dead; ``timestamp_ms`` is when it happened."""

    type: str
    timestamp_ms: int
    application_id: str
    endpoint_id: str
    reason: str


CONTENT_TYPE: Final = JSON_TYPE


def encode_operation(it: OperationNotification, precision: Precision) -> bytes:
    """Return the body, the same bytes for the same arguments."""
    return encode_json([
        ("type", it.type),
        ("timestamp", iso_utc(it.timestamp_ms, precision)),
        ("applicationId", it.application_id),
        ("endpointId", it.endpoint_id),
        ("reason", it.reason),
    ])  # fmt: skip
