"""One event to one endpoint as a request: form, signature and headers into the bytes to send. Pure.

CONTRACT.md §1 and §5: the contract's keys and nothing else in query or body; what is ours travels in headers.
``User-Agent`` and ``Host`` are the sender's business; ``Accept-Encoding`` and ``Expect`` are never sent.
"""

from homing.callbacks.job import EndpointView, Job
from homing.contract.forms import encode
from homing.contract.notification import Notification
from homing.contract.signature import sign_all


def webhook_id(key: bytes, number: int, endpoint: int) -> str:
    """Return the id of an event at an endpoint: the same at every try, unique, and without a full stop.

    ``key`` is the dispatch's 18 bytes (the message's UUID and the recipient's position), ``number`` the event's.
    """
    return f"msg_{key.hex()}_{number}_{endpoint}"


def build(
    view: EndpointView,
    notification: Notification,
    webhook_id: str,
    timestamp_s: int,
    sequence: int,
    attempt: int,
    replay: str | None = None,
    *,
    test: bool = False,
    tag: object = None,
) -> Job:
    """Return the request for one try, the same bytes for the same arguments; raises `Unencodable`, nothing else.

    ``timestamp_s`` is the real time of this try; ``sequence`` the event's number, ``attempt`` counts tries from 1;
    ``replay`` is what header ``homing-replay`` says, if anything.
    """
    own_query = view.url.query
    encoded = encode(notification, view.form, view.precision, url_query=own_query or "")
    headers = [
        f"webhook-id: {webhook_id}",
        f"webhook-timestamp: {timestamp_s}",
        f"webhook-signature: {sign_all(view.signers, webhook_id, timestamp_s, encoded.payload)}",
        f"homing-sequence: {sequence}",
        f"homing-attempt: {attempt}",
    ]
    if encoded.content_type is not None:
        headers.append(f"content-type: {encoded.content_type}")
    if replay is not None:
        headers.append(f"homing-replay: {replay}")
    if test:
        headers.append("homing-test: 1")
    target = None if encoded.query is None else f"{view.url.path}?{encoded.query}"
    return Job(view, headers, encoded.body, target, tag)
