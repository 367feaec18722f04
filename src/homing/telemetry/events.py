"""The names of all facts that are logged, in one place: operators filter and alert by them, so they are stable."""

from enum import StrEnum


class LogEvent(StrEnum):
    """One name per fact: subject, full stop, what became of it."""

    NODE_STARTED = "node.started"
    NODE_STOPPING = "node.stopping"
    NODE_STOPPED = "node.stopped"
    NODE_FAILED = "node.failed"
    """Something of ours broke that should not: always with a traceback."""
    CONFIG_WARNED = "config.warned"

    STORE_OPENED = "store.opened"
    STORE_CLOSED = "store.closed"
    STORE_FAILED = "store.failed"
    STORE_FULL = "store.full"
    """Requests are refused because the disk has too little room."""
    TERM_LATE = "term.late"
    """A node among several could not renew its term; it starts nothing when that goes on."""
    TERM_LOST = "term.lost"
    """Its term ran out: the others may take what it held, and it begins anew."""
    COMMIT_SPLIT = "commit.split"
    """A batch could not be stored whole and is tried in halves."""
    COMMIT_REFUSED = "commit.refused"
    """One item of a batch could not be stored, alone."""
    COMMIT_UNKNOWN = "commit.unknown"

    MESSAGE_ACCEPTED = "message.accepted"
    MESSAGE_INCOMING = "message.incoming"
    EVENT_RECORDED = "event.recorded"

    CALLBACK_SETTLED = "callback.settled"
    CALLBACK_FAILED = "callback.failed"
    CALLBACK_DEAD = "callback.dead"
    CALLBACK_ADOPTED = "callback.adopted"
    """Callbacks that a node before this one had held were taken over."""
    ENDPOINT_RESTING = "endpoint.resting"
    ENDPOINT_WOKE = "endpoint.woke"
    ENDPOINT_DISABLED = "endpoint.disabled"
    GUARD_REFUSED = "guard.refused"

    PUSH_SENT = "push.sent"
    PUSH_REFUSED = "push.refused"
    PUSH_FAILED = "push.failed"
    SMS_SENT = "sms.sent"
    SMS_REFUSED = "sms.refused"
    SMS_FAILED = "sms.failed"
    SMS_REPORTED = "sms.reported"

    DEVICE_LOGGED_IN = "device.logged_in"
    DEVICE_CONNECTED = "device.connected"
    DEVICE_DISCONNECTED = "device.disconnected"
    DEVICE_REFUSED = "device.refused"

    RETENTION_RAN = "retention.ran"
    JOB_ENDED = "job.ended"

    REQUEST_REFUSED = "request.refused"
    REQUEST_FAILED = "request.failed"
    """A request met a fault of ours and was answered 5xx."""
    CLOCK_ADVANCED = "clock.advanced"
