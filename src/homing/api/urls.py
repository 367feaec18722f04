"""Judges a callback's URL when it is saved: its grammar, its address, and for two seconds what its name resolves to.

What is dialled later is judged again at each dial (`homing.callbacks`); this is only to tell a mistake early.
"""

import asyncio
import socket
from typing import Final

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import ParsedUrl, UrlRefused, check_saved_url, parse_url
from homing.callbacks.own_addresses import refuses
from homing.contract.forms import Form
from homing.telemetry import LogEvent, logger

LOOK_UP_S: Final = 2.0
IN_ACCESS_LOGS: Final = (
    "with the form get, the recipient's identifier and mobile number (or an incoming message's text) stand in the URL, "
    "which servers and proxies on the way keep in their access logs; the form json keeps them out"
)
# Which address it is would tell what the operator's network looks like inside; the log tells it.
ADDRESS_REFUSED: Final = (
    "callbacks to this host are refused: its address is not public, or this server's own; "
    "the operator may open it (callbacks.allow)"
)


class SavedUrls:
    """Checks URLs by the operator's address policy; call it with the URL and its form."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    async def __call__(self, url: str, form: str) -> list[str]:
        """Return warnings, if any; `UrlNotAllowed` when the guard refuses the URL or an address of its name.

        What is refused is refused in every form; the form only brings a warning of its own.
        """
        warnings = [IN_ACCESS_LOGS] if form == Form.GET else []
        parsed = self._judged(url)
        try:
            addresses = [parsed.host] if parsed.literal else await _look_up(parsed)
        except (OSError, TimeoutError, UnicodeError):
            return [*warnings, f"the name {parsed.host} could not be resolved just now"]
        for address in addresses:
            reason = refuses(self._policy, address, parsed.host)
            if reason is not None:
                logger().warning(LogEvent.GUARD_REFUSED, url=parsed.origin, address=address, reason=reason)
                raise UrlRefused("address", ADDRESS_REFUSED)
        return warnings

    def origin(self, url: str) -> str:
        """See `ports.CheckUrl.origin`: for a message's own callback, which must not wait for a name to be found."""
        return self._judged(url).origin

    def _judged(self, url: str) -> ParsedUrl:
        try:
            return check_saved_url(url, self._policy)
        except UrlRefused as refused:
            # Not a slip of the pen: somebody tries to look inside, or must ask the operator.
            if refused.reason in {"address", "name"}:
                logger().warning(LogEvent.GUARD_REFUSED, url=parse_url(url).origin, reason=refused.reason)
            raise


async def _look_up(parsed: ParsedUrl) -> list[str]:
    async with asyncio.timeout(LOOK_UP_S):
        found = await asyncio.get_running_loop().getaddrinfo(
            parsed.host, parsed.port, type=socket.SOCK_STREAM
        )
    return [str(address[0]) for *_, address in found]
