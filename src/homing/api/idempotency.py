"""The same request again is the same thing once: keys, what they are bound to, and the answer that is kept.

A key is bound to the token and, for 24 hours, to one request (method, path, body bytes). Only answers of success are
kept, and without what is told once.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import msgspec

from homing.api.auth import Principal
from homing.api.routing import Call
from homing.api.wire import Answer, encode, header_text
from homing.store.batch import Idempotency
from homing.store.changes import Change
from homing.store.port import Registry

MAX_KEY_CHARS: Final = 255
REPLAYED: Final = (b"idempotency-replayed", b"true")
HEADER: Final = b"idempotency-key"


def idempotency_of(
    headers: dict[bytes, bytes], principal: Principal, method: str, path: str, body: bytes
) -> Idempotency | None:
    """Return what a request's ``Idempotency-Key`` stands for, None without one; `InvalidRequest` for a bad one."""
    key = header_text(headers, HEADER, MAX_KEY_CHARS)
    if key is None:
        return None
    digest = sha256(b"%b %b\0%b" % (method.encode(), path.encode("utf-8", "surrogatepass"), body)).digest()
    return Idempotency(principal.id, key, digest)


async def recalled(registry: Registry, call: Call, status: int) -> Answer | None:
    """Return the first answer if this request was made before, None if it is new."""
    if call.idempotency is None:
        return None
    kept = await registry.recall_answer(call.idempotency)
    return None if kept is None else Answer(status, kept, (REPLAYED,))


async def apply_once(
    registry: Registry,
    call: Call,
    change: Change,
    show: Callable[[Any, bool], msgspec.Struct],
    status: int = 201,
) -> Answer:
    """Make a change and answer what ``show(value, with_secrets)`` says; or answer as the first time.

    The value is what the change's docstring names.
    """
    applied = await registry.apply(change, call.idempotency, lambda value: encode(show(value, False)))
    if applied.replayed:
        return Answer(status, applied.answer or b"", (REPLAYED,))
    return Answer(status, encode(show(applied.value, True)))
