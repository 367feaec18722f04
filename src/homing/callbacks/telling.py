"""What a lane's first event says on the wire; pure."""

from homing.callbacks.berth import Lane
from homing.callbacks.operations import OperationNotification
from homing.contract.notification import IncomingNotification, Notification, StatusNotification
from homing.contract.status import STATUSES
from homing.model import uuid_text
from homing.store.batch import Facts, IncomingFacts


def notification(lane: Lane) -> Notification | OperationNotification:
    """Return the notification of the lane's first event."""
    _n, status, at_ms = lane.events[0]
    facts = lane.facts
    if isinstance(facts, Facts):
        return StatusNotification(
            at_ms, str(facts.app), uuid_text(lane.key), facts.identifier, STATUSES[status],
            facts.message_ref, facts.recipient_ref, facts.fallback_ref,
        )  # fmt: skip
    if isinstance(facts, IncomingFacts):
        reply = None if facts.in_reply_to is None else uuid_text(facts.in_reply_to)
        return IncomingNotification(
            facts.identifier,
            facts.text,
            str(facts.app),
            at_ms,
            uuid_text(lane.key),
            facts.channel,
            reply,
            None,
        )
    return OperationNotification(facts.type, at_ms, str(facts.app), facts.endpoint_uid, facts.reason)
