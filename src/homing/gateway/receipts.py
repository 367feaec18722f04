"""What a device says about messages becomes occurrences: whose they are is looked up by (its recipient, message id).

Another person's message is as unknown here as one that never was.
"""

from collections.abc import Iterable, Mapping

from homing.gateway.ports import Inbox
from homing.gateway.session import Level
from homing.lifecycle.dispatch import Read, Received
from homing.model import DispatchKey, uuid_bytes
from homing.store.batch import Occurrence


def ids(texts: Iterable[str]) -> dict[bytes, str]:
    """Return message id → its text, of what is a UUID at all; the rest can be no message."""
    found = {}
    for text in texts:
        raw = uuid_bytes(text)
        if raw is not None:
            found[raw] = text
    return found


def occurrence(key: DispatchKey, level: Level, at_ms: int | None) -> Occurrence:
    """Return what happened to a dispatch, by the device's word."""
    return Occurrence(key, Read(at_ms) if level is Level.READ else Received(at_ms))


async def look_up(inbox: Inbox, recipient: int, message_ids: Iterable[bytes]) -> list[DispatchKey]:
    """Return the dispatches of these messages that went to this recipient."""
    wanted = list(message_ids)
    if not wanted:
        return []
    found = await inbox.find_dispatches(recipient, wanted)
    return [DispatchKey(found[message_id]) for message_id in wanted if message_id in found]


def occurrences(
    keys: Iterable[DispatchKey], level: Level, names: Mapping[bytes, str], at_ms: Mapping[str, int]
) -> list[Occurrence]:
    """Return one occurrence per dispatch, with the device's own time where it gave one."""
    return [occurrence(key, level, at_ms.get(names[key[:16]])) for key in keys]
