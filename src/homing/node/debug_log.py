"""Every event and every settled callback in the log, at the level that is for looking closely."""

from homing.contract.status import STATUSES
from homing.identifiers import fold_identifier
from homing.model import uuid_text
from homing.store.batch import Batch, Committed, Verdict
from homing.telemetry import LogEvent, logger, recipient_h


def say_all(_batch: Batch, committed: Committed) -> None:
    """Log what a commit came to; plug this into the engine's sinks."""
    log = logger()
    for event in committed.recorded:
        person = recipient_h(event.app, fold_identifier(event.identifier))
        fact = LogEvent.MESSAGE_ACCEPTED if event.n == 1 else LogEvent.EVENT_RECORDED
        status = STATUSES[event.status]
        log.debug(
            fact,
            message_id=uuid_text(event.key),
            app=event.app,
            recipient_h=person,
            status=status,
            n=event.n,
        )
    for settle in committed.settled:
        if settle.verdict is Verdict.DONE:
            message_id = uuid_text(settle.key)
            log.debug(LogEvent.CALLBACK_SETTLED, message_id=message_id, endpoint=settle.endpoint, n=settle.n)
