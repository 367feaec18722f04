"""One event to one endpoint as a request: form, signature and headers into the bytes to send. Pure.

CONTRACT.md §1 and §5: the contract's keys and nothing else in query or body; what is ours travels in headers.
``User-Agent`` and ``Host`` are the sender's business; ``Accept-Encoding`` and ``Expect`` are never sent.
"""

from functools import lru_cache
from typing import Final

from homing.callbacks.guard import ParsedUrl, parse_url
from homing.callbacks.job import EndpointView, Job
from homing.callbacks.operations import CONTENT_TYPE, OperationNotification, encode_operation
from homing.contract.forms import Encoded, Form, encode
from homing.contract.notification import Notification
from homing.contract.signature import sign_all

HIDDEN: Final = "[hidden]"
_OURS: Final = frozenset({
    "webhook-id", "webhook-timestamp", "homing-sequence", "homing-attempt", "homing-replay", "homing-test",
    "content-type",
})  # fmt: skip
"""Headers whose values are no secret; the owner's own are hidden, whatever they are called."""


def webhook_id(key: bytes, number: int, endpoint: int) -> str:
    """Return the id of an event at an endpoint: the same at every try, unique, and without a full stop.

    ``key`` begins with the dispatch's 18 bytes (the message's UUID and the recipient's position).
    """
    return f"msg_{key[:18].hex()}_{number}_{endpoint}"


@lru_cache(maxsize=4_096)
def destination(notify: str) -> tuple[ParsedUrl, Form]:
    """Return where a message's own callbacks go, from ``Facts.notify``: form, space, URL. Raises `UrlRefused`."""
    form, _, url = notify.partition(" ")
    return parse_url(url), Form(form)


def build(
    view: EndpointView,
    notification: Notification | OperationNotification,
    webhook_id: str,
    timestamp_s: int,
    sequence: int,
    attempt: int,
    replay: str | None = None,
    *,
    url: ParsedUrl | None = None,
    form: Form | None = None,
    test: bool = False,
    tag: object = None,
) -> Job:
    """Return the request for one try, the same bytes for the same arguments; raises `Unencodable`, nothing else.

    ``timestamp_s`` is the real time of this try; ``sequence`` the event's number, ``attempt`` counts tries from 1;
    ``replay`` is what header ``homing-replay`` says, if anything. ``url`` (of the view's origin) and ``form`` are a
    message's own, instead of the endpoint's.
    """
    at = view.url if url is None else url
    if isinstance(notification, OperationNotification):
        body = encode_operation(notification, view.precision)
        encoded = Encoded("POST", None, CONTENT_TYPE, body, body)
    else:
        encoded = encode(notification, form or view.form, view.precision, url_query=at.query or "")
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
        headers.append("homing-test: true")
    if view.headers:
        headers.extend(view.headers)
    if encoded.query is not None:
        target: str | None = f"{at.path}?{encoded.query}"
    else:
        target = None if url is None else url.target
    return Job(view, headers, encoded.body, target, tag)


def shown(job: Job) -> tuple[str, dict[str, str]]:
    """Return request line and headers as they went out, for the attempt log: signatures and the owner's values hidden."""
    view = job.endpoint
    target = job.target or view.url.target
    headers = {"host": view.url.origin.partition("://")[2], "user-agent": view.user_agent}
    for line in job.headers:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value if name in _OURS else HIDDEN
    return f"{'GET' if job.body is None else 'POST'} {target} HTTP/1.1", headers
