"""Judges a callback's URL when it is saved: its grammar, its address, and for two seconds what its name resolves to.

What is dialled later is judged again at each dial (`homing.callbacks`); this is only to tell a mistake early.
"""

import asyncio
import socket
from typing import Final

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import check_saved_url
from homing.errors import UrlNotAllowed

LOOK_UP_S: Final = 2.0


class SavedUrls:
    """Checks URLs by the operator's address policy; call it with the URL and its form."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    async def __call__(self, url: str, form: str) -> list[str]:  # noqa: ARG002 - as `ports.CheckUrl` has it
        """``form`` does not matter: what the guard refuses it refuses in every form.

        Return warnings, if any; `UrlNotAllowed` when the guard refuses the URL or an address of its name.
        """
        parsed = check_saved_url(url, self._policy)
        if parsed.literal:
            return []
        try:
            async with asyncio.timeout(LOOK_UP_S):
                found = await asyncio.get_running_loop().getaddrinfo(
                    parsed.host, parsed.port, type=socket.SOCK_STREAM
                )
        except (OSError, TimeoutError, UnicodeError):
            return [f"the name {parsed.host} could not be resolved just now"]
        for *_, address in found:
            if self._policy.refuses(str(address[0]), parsed.host) is not None:
                # Which address it is would tell what the operator's network looks like inside.
                raise UrlNotAllowed("the name resolves to an address to which callbacks are refused")
        return []

    def origin(self, url: str) -> str:
        """See `ports.CheckUrl.origin`: for a message's own callback, which must not wait for a name to be found."""
        return check_saved_url(url, self._policy).origin
