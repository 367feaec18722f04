"""What answers say of an endpoint, of tries to reach it, and of what was given up there; secrets are never among it."""

from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from homing.api.endpoint_answers import (
    AttemptReply,
    AttemptRequest,
    DeadGroupReply,
    DeadReply,
    EndpointReply,
    Missed,
    StepReply,
    TestReply,
)
from homing.api.endpoint_options import opened, shown_auth, shown_headers, shown_tls
from homing.api.ports import Vault
from homing.callbacks.request import webhook_id
from homing.callbacks.trial import Trial
from homing.contract.notification import iso_utc
from homing.contract.status import STATUSES, from_mask
from homing.model import Endpoint, message_of, uuid_text
from homing.store.views import AttemptDetail, AttemptView, DeadGroup, DeadView

_CONTENT_TYPES: Final = {"form": "application/x-www-form-urlencoded", "json": "application/json"}
_PHASES: Final = ("dnsMs", "connectMs", "tlsMs", "firstByteMs")
_detail: Final = msgspec.json.Decoder(AttemptDetail).decode


def show_endpoint(
    endpoint: Endpoint,
    vault: Vault,
    *,
    secret: str | None = None,
    warnings: tuple[str, ...] = (),
    missed: Missed | None = None,
    job: str | None = None,
) -> EndpointReply:
    """Return what an answer says of an endpoint; its secret only where it was just made."""
    options, credentials = endpoint.options, opened(vault, endpoint)
    is_paused = endpoint.paused and endpoint.state != "disabled"
    return EndpointReply(
        id=endpoint.uid,
        url=endpoint.url,
        form=endpoint.form,  # type: ignore[arg-type] # these four were checked when it was saved
        kind=endpoint.kind,  # type: ignore[arg-type]
        statuses=UNSET if endpoint.statuses is None else from_mask(endpoint.statuses),
        description=UNSET if endpoint.description is None else endpoint.description,
        timestamp_precision=endpoint.precision,  # type: ignore[arg-type]
        state="paused" if is_paused else endpoint.state,  # type: ignore[arg-type]
        state_reason="paused by its owner" if is_paused else endpoint.state_reason,
        secret=UNSET if secret is None else secret,
        created_at=iso_utc(endpoint.created_at_ms, "ms"),
        last_success_at=None
        if endpoint.last_success_at_ms is None
        else iso_utc(endpoint.last_success_at_ms, "ms"),
        warnings=warnings or UNSET,
        headers=shown_headers(credentials),
        auth=shown_auth(credentials),
        ordered=options.ordered,
        max_in_flight=UNSET if options.max_in_flight is None else options.max_in_flight,
        rate_per_second=UNSET if options.rate_per_second is None else options.rate_per_second,
        retry_delays_seconds=UNSET if options.retry_delays_seconds is None else options.retry_delays_seconds,
        timeout_seconds=UNSET if options.timeout_seconds is None else options.timeout_seconds,
        paused=endpoint.paused,
        tls=shown_tls(options),
        failing_since=_time(endpoint.failing_since_ms),
        disabled_at=_time(endpoint.disabled_at_ms),
        missed=UNSET if missed is None else missed,
        job_id=UNSET if job is None else job,
    )


def show_attempt(view: AttemptView, endpoint: Endpoint) -> AttemptReply:
    """Return what an answer says of one try: of a failure all there is, of a success what its endpoint implies."""
    attempt = view.attempt
    detail = None if attempt.detail is None else _detail(attempt.detail)
    timings = {} if detail is None else dict(zip(_PHASES, detail.phases, strict=True))
    return AttemptReply(
        id=view.id,
        message_id=uuid_text(message_of(view.key)),
        seq=view.n,
        event=None if view.status is None else STATUSES[view.status],
        attempt=view.tries,
        started_at=iso_utc(attempt.at_ms, "ms"),
        duration_ms=attempt.took_ms,
        request=_implied(view, endpoint)
        if detail is None
        else AttemptRequest(line=detail.line, headers=detail.headers),
        status=attempt.code or None,
        answer=_text(attempt.answer),
        address=attempt.address,
        error=attempt.error,
        note=UNSET if detail is None or detail.note is None else detail.note,
        timings={**timings, "totalMs": attempt.took_ms},
    )


def show_trial(trial: Trial) -> TestReply:
    """Return what an answer says of a sample that was sent."""
    phases = trial.phases
    return TestReply(
        ok=trial.ok,
        verdict=trial.verdict,
        steps=tuple(
            StepReply(
                name=step.name,
                ok=step.ok,
                detail=step.detail,
                took_ms=UNSET if step.took_ms is None else step.took_ms,
            )
            for step in trial.steps
        ),
        webhook_id=trial.webhook_id,
        started_at=iso_utc(trial.started_at_ms, "ms"),
        duration_ms=phases.total_ms,
        request=AttemptRequest(line=trial.line, headers=trial.headers),
        status=trial.status,
        answer=_text(trial.answer or None),
        address=trial.address,
        error=trial.error,
        timings={**dict(zip(_PHASES, phases, strict=False)), "totalMs": phases.total_ms},
        better_url=UNSET if trial.better_url is None else trial.better_url,
    )


def show_dead(view: DeadView) -> DeadReply:
    """Return what an answer says of one event that was given up."""
    return DeadReply(
        message_id=uuid_text(message_of(view.key)),
        recipient=view.identifier,
        seq=view.n,
        status=None if view.status is None else STATUSES[view.status],
        dead_at=iso_utc(view.at_ms, "ms"),
        reason=view.reason,
    )


def show_group(group: DeadGroup) -> DeadGroupReply:
    """Return what an answer says of all that was given up for one reason and with one status."""
    return DeadGroupReply(
        reason=group.reason,
        status=None if group.status is None else STATUSES[group.status],
        count=group.count,
        oldest=iso_utc(group.oldest_ms, "ms"),
        newest=iso_utc(group.newest_ms, "ms"),
    )


def _implied(view: AttemptView, endpoint: Endpoint) -> AttemptRequest:
    """The request as the endpoint is set up now: a success keeps no lines, the log would double in size."""
    parts = urlsplit(endpoint.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "host": parts.netloc,
        "webhook-id": webhook_id(view.key, view.n, endpoint.id),
        "webhook-timestamp": str(view.attempt.at_ms // 1000),
        "webhook-signature": "[hidden]",
        "homing-sequence": str(view.n),
        "homing-attempt": str(view.tries),
    }
    if endpoint.form in _CONTENT_TYPES:
        headers["content-type"] = _CONTENT_TYPES[endpoint.form]
    method = "GET" if endpoint.form == "get" else "POST"
    return AttemptRequest(line=f"{method} {target} HTTP/1.1", headers=headers)


def _text(answer: bytes | None) -> str | None:
    return None if answer is None else answer.decode("utf-8", "replace")


def _time(at_ms: int | None) -> str | UnsetType:
    return UNSET if at_ms is None else iso_utc(at_ms, "ms")
