"""What is to be told, and to whom: callbacks of a message, pushes and SMS, gathered from rows."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from homing.model import INCOMING_POSITION, Device, FallbackSettings, dispatch_key, dispatch_of
from homing.store.archive.messages import to_body, to_state
from homing.store.dialogue import Ask, Dialogue, Row
from homing.store.nouns import to_device
from homing.store.views import CallbackView, PushJob, SmsJob

_settings: Final = msgspec.json.Decoder(FallbackSettings).decode


def callbacks(message_id: bytes) -> Dialogue[list[CallbackView]]:
    """One view for each dispatch and endpoint, whatever lanes there are: what waits in any of them is pending."""
    first, last = dispatch_key(message_id, 0), dispatch_key(message_id, INCOMING_POSITION)
    rows = yield Ask("archive", "identifiers", (first, last, message_id))
    names: dict[bytes, str] = dict(map(tuple, rows))
    told: dict[tuple[bytes, int], CallbackView] = {}
    for key, endpoint, uid, done, dead in (yield Ask("archive", "settled", (first, last))):
        told[key, endpoint] = CallbackView(key, names.get(key, ""), uid, 0, done, dead, 0, None, owned=False)
    for lane, endpoint, uid, pending, tries, due_ms in (
        yield Ask("archive", "lanes", (first, last + b"\xff"))
    ):
        key = dispatch_of(lane)
        before = told.get((key, endpoint))
        if before is None:
            before = CallbackView(key, names.get(key, ""), uid, 0, 0, 0, 0, None, owned=False)
        dues = [ms for ms in (before.due_ms, due_ms) if ms is not None]
        told[key, endpoint] = msgspec.structs.replace(
            before,
            pending=before.pending | pending,
            tries=max(before.tries, tries),
            due_ms=min(dues, default=None),
            owned=before.owned or due_ms is None,
        )
    return [told[place] for place in sorted(told)]


def push_jobs(keys: Sequence[bytes]) -> Dialogue[list[PushJob]]:
    """Return what pushes for these dispatches say, and the devices that they can wake."""
    rows = yield Ask("archive", "push_jobs", (list(keys),))
    devices: dict[int, list[Device]] = defaultdict(list)
    recipients = sorted({row[3] for row in rows})
    for row in (yield Ask("archive", "push_devices", (recipients,))):
        devices[row[1]].append(to_device(row))
    jobs = []
    for key, app, mode, recipient, message, override, raw, expires_at_ms in rows:
        body = to_body(raw)
        text = body.text if override is None else override
        jobs.append(
            PushJob(
                key,
                app,
                mode,
                recipient,
                message,
                text,
                body,
                expires_at_ms,
                tuple(devices.get(recipient, ())),
            )
        )
    return jobs


def sms_job(row: Row) -> SmsJob:
    """Return what an SMS says: its own text, the application's, the recipient's, the message's."""
    key, app, mode, fallback, number, text, raw, *state = row
    body, settings = to_body(raw), _settings(fallback)
    return SmsJob(
        key=key,
        app=app,
        app_mode=mode,
        state=to_state(state),
        number=number,
        text=body.sms_text or settings.text or text or body.text,
        sender=body.sms_sender or settings.sender,
        default_region=settings.default_region,
    )
