"""The times of one dispatch: defaults, merging the message's wishes over the application's, clamping. Pure."""

from typing import Final, NamedTuple

from homing.lifecycle.dispatch import FallbackMode, Policy

DEFAULT_TTL_S: Final = 172_800
"""CONTRACT.md §4: a message expires after two days unless told otherwise."""
DEFAULT_UNDELIVERED_S: Final = 900
"""CONTRACT.md §4: when a fallback mode is on and neither time is given."""
SMS_VALIDITY_MS: Final = 24 * 3600 * 1000
"""CONTRACT.md §4: how long after its `fallbackOn…` an SMS is still worth sending."""


class FallbackPlan(NamedTuple):
    """What an application or a message asks of the fallback; None: not said. Seconds as on the wire."""

    mode: FallbackMode | None = None
    undelivered_s: int | None = None
    unread_s: int | None = None

    def over(self, other: "FallbackPlan") -> "FallbackPlan":
        """This plan's words, and the other's where this one is silent, each property by itself."""
        return FallbackPlan(
            other.mode if self.mode is None else self.mode,
            other.undelivered_s if self.undelivered_s is None else self.undelivered_s,
            other.unread_s if self.unread_s is None else self.unread_s,
        )


SILENT: Final = FallbackPlan()
NO_FALLBACK: Final = FallbackPlan(FallbackMode.OFF)


def resolve(
    accepted_at_ms: int,
    ttl_s: int | None = None,
    app: FallbackPlan = SILENT,
    message: FallbackPlan = SILENT,
) -> Policy:
    """The dispatch's absolute times. `message` goes over `app`; a message's `fallback: null` is NO_FALLBACK.

    Law 7: a fallback time later than the expiry counts as the expiry; `unread` counts from a delivery that nobody
    knows yet, so it is not clamped. Ranges are the caller's to check; the source is CONTRACT.md §4.
    """
    expires_at = accepted_at_ms + (DEFAULT_TTL_S if ttl_s is None else ttl_s) * 1000
    plan = message.over(app)
    if not plan.mode:
        return Policy(expires_at, FallbackMode.OFF, None, None)
    undelivered_s = plan.undelivered_s
    if undelivered_s is None and plan.unread_s is None:
        undelivered_s = DEFAULT_UNDELIVERED_S
    return Policy(
        expires_at,
        plan.mode,
        None if undelivered_s is None else min(accepted_at_ms + undelivered_s * 1000, expires_at),
        None if plan.unread_s is None else plan.unread_s * 1000,
    )


def stamp(previous_ms: int, device_ms: int | None, now_ms: int) -> int:
    """An event's timestamp (law 9): the device's own time if it tells one, never in the future, never before the
    dispatch's previous event.
    """
    return max(previous_ms, now_ms if device_ms is None else min(device_ms, now_ms))
