"""What can go wrong for a device, and what it should do about it.

::

    DeviceError
    ├── Refused            the server answered an HTTP call with an error: ``status``, ``code``, ``retry_after_s``
    ├── NotConnected       connect first
    └── Disconnected       the link ended: ``code``, ``reason``; come again after ``retry_after_s``, if it says so
        ├── LoginNeeded        the token does not hold (any more): log in again
        └── Replaced           another connection of this very device is open: do not fight it
"""


class DeviceError(Exception):
    """The root."""


class Refused(DeviceError):
    """The server refused an HTTP call."""

    def __init__(self, status: int, code: str, detail: str, retry_after_s: int | None) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class NotConnected(DeviceError):
    """There is no live link."""


class Disconnected(DeviceError):
    """The link ended."""

    def __init__(self, code: int, reason: str = "", retry_after_s: int | None = None) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s


class LoginNeeded(Disconnected):
    """The token does not hold (any more)."""


class Replaced(Disconnected):
    """A newer connection of this device took over."""
