"""Passwords are hashed at the strength that is written down, and never take the event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from homing.passwords import UNKNOWN_HASH, hash_password, verify_password

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_only_the_right_password_fits(run: Run) -> None:
    """The right one verifies; a wrong one, an unknown user's and a broken hash do not."""

    async def story() -> None:
        kept = await hash_password("corréct")
        assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert await verify_password(kept, "corréct")
        assert not await verify_password(kept, "correct")
        assert not await verify_password(UNKNOWN_HASH, "")
        assert not await verify_password("no hash", "x")

    run(story())


def test_the_same_password_gets_two_hashes(run: Run) -> None:
    """Each hash has its own salt."""

    async def story() -> None:
        first, second = await asyncio.gather(hash_password("x"), hash_password("x"))
        assert first != second

    run(story())


def test_the_loop_goes_on_while_passwords_are_hashed(run: Run) -> None:
    """Other work is done in the meantime."""

    async def story() -> None:
        hashing = asyncio.gather(*(hash_password("x") for _ in range(4)))
        turns = 0
        while not hashing.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10

    run(story())


def test_the_hash_of_nobody_costs_as_much_as_any() -> None:
    """Its parameters are those of real hashes, so that time does not tell who exists."""
    assert UNKNOWN_HASH.split("$")[1:4] == ["argon2id", "v=19", "m=19456,t=2,p=1"]
