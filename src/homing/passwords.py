"""Passwords of users: argon2id at the strength OWASP names (19 MiB, two passes, one lane), two at a time.

Hashing takes some 20 ms of a core and is done in two threads of its own, so that log-ins neither stop the event loop
nor take more than two cores' caches and 38 MiB. It must not know who asks: back ends set passwords, devices log in.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

AT_ONCE: Final = 2
"""How many passwords are hashed at the same time; the rest wait their turn."""

_hasher: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_pool: Final = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")


async def hash_password(password: str) -> str:
    """Return the encoded argon2id hash, with its own salt, that is kept in the password's place."""
    return await asyncio.get_running_loop().run_in_executor(_pool, _hasher.hash, password)


async def verify_password(password_hash: str, password: str) -> bool:
    """Say whether the password is the one that was hashed; False for a hash that is none.

    Takes as long for a wrong password as for the right one. Where there is no such user, verify against
    `UNKNOWN_HASH`, so that the answer's time does not tell who exists.
    """
    return await asyncio.get_running_loop().run_in_executor(_pool, _verify, password_hash, password)


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


UNKNOWN_HASH: Final = (
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9mIG5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)
"""The hash of no password, of the same cost."""
