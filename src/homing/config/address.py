"""Addresses of databases as far as they may be told: a login, and what stands behind ``?``, may hold a password."""

import re
from typing import Final

from homing.config.settings import SQLITE

UNREADABLE: Final = (
    "store.url cannot be read as an address: special characters of a password must stand as %XX in it"
)
"""In place of any library's own words, which may hold a piece of the password."""
_PARTS: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://|)(?P<login>.*@|)(?P<place>[^?#]*)(?P<more>.*)", re.I | re.S
)


def without_login(address: str, instead: str = "") -> str:
    """Return an address without who logs in, and how, and without what stands behind ``?``; ``instead`` is in their places.

    An address whose password was left as it is (``@``, ``/``, ``?``, …) shows
    nothing of it: whatever stands before the last ``@`` is taken for the login.
    """
    if address.startswith(SQLITE):
        return address  # a path, in which all these are letters like others
    parts = _PARTS.fullmatch(address)
    assert parts is not None
    scheme, login, place, more = parts.groups()
    if "?" in login:
        place, more = "", "?"  # the last ``@`` may be one in ``?password=…``
    return f"{scheme}{instead and login and f'{instead}@'}{place}{instead and more and f'?{instead}'}"


def is_readable(address: str) -> bool:
    """Say whether everybody who reads an address finds the same login in it."""
    login, at, rest = address.partition("://")[2].partition("@")
    return "@" not in rest and not (at and re.search(r"[/?#\[\]]", login))
