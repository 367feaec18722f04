"""A ledger each of whose calls fails once gives the same results to who repeats them, on every store (T3)."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from tests.store.conftest import WithStore
from tests.store.fakes import NOON_MS, StillClock, message_id
from tests.store.ledger import build_town, settled, told

from homing.errors import CommitUnknown, Unavailable
from homing.lifecycle.dispatch import Read, Received
from homing.model import Body, dispatch_key
from homing.store.batch import (
    Accept,
    Accepted,
    Addressee,
    Batch,
    Committed,
    Idempotency,
    Note,
    Occurrence,
    Verdict,
)
from homing.store.port import Store

T = TypeVar("T")


class Faults:
    """Fails each call once: before it is made, or after it was, as one whose answer is lost."""

    def __init__(self, *, after: bool) -> None:
        self._after = after
        self.failed = 0

    async def repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call as a patient caller does, through the fault."""
        try:
            if self._after:
                await call()
                raise CommitUnknown
            raise Unavailable
        except Unavailable:
            self.failed += 1
        return await call()


async def life(store: Store, clock: StillClock, faults: Faults | None) -> object:
    """Live a short life through the ledger, and tell what can be seen of it at the end."""

    async def do(call: Callable[[], Awaitable[T]]) -> T:
        return await (call() if faults is None else faults.repeat(call))

    async def commit(batch: Batch) -> Committed:
        return await do(lambda: store.commit(batch))

    town = await build_town(store)
    endpoint = town.endpoint.id
    message = message_id(NOON_MS)
    accept = Accept(
        message, town.app, None, Body("hello"), (Addressee("Ann", "ann"),), ttl_s=60,
        idempotency=Idempotency(f"app{town.app}", "k", b"digest"), render=lambda accepted: bytes(accepted.message_id),
    )  # fmt: skip
    (accepted,) = (await commit(Batch(accepts=[accept]))).accepts
    assert isinstance(accepted, Accepted)
    key = dispatch_key(message, 0)
    await commit(Batch(occurrences=[Occurrence(key, Received())]))
    await commit(Batch(settles=[settled(key, endpoint, 1, Verdict.RETRY, retry_at_ms=NOON_MS + 5)]))
    clock.ms += 5
    claimed = await store.claim_lanes(endpoint, 10)
    await commit(Batch(settles=[settled(key, endpoint, 1, tries=1, known=0b10)]))
    await do(lambda: store.release([(key, endpoint)]))
    await store.claim_lanes(endpoint, 10)
    await commit(Batch(settles=[settled(key, endpoint, 2, Verdict.DEAD)]))
    await commit(Batch(occurrences=[Occurrence(key, Read())], notes=[Note(key, "noted")]))
    await commit(Batch(settles=[settled(key, endpoint, 3)]))
    view = await store.message(message)
    assert view is not None
    dispatch = view.dispatches[0]
    callback = (await told(store, key))[town.endpoint.uid]
    return (
        accepted.answer == bytes(message), [work.tries for work in claimed.lanes], dispatch.state, dispatch.events,
        (callback.pending, callback.settled, callback.dead), [*(await store.inbox_heads([town.ann])).values()],
        await store.held_lanes((b"", 0), 10), await store.outlook(),
    )  # fmt: skip


@pytest.mark.parametrize("after", [False, True], ids=["not stored", "stored, but nobody said so"])
def test_each_call_may_fail_once(with_store: WithStore, clock: StillClock, after: bool) -> None:
    """Repeating what failed gives what one success gives, whether or not the failed one had been stored."""

    async def story(store: Store) -> None:
        faultless = await life(store, clock, None)
        clock.ms = NOON_MS
        faults = Faults(after=after)
        assert await life(store, clock, faults) == faultless
        assert faults.failed == 8

    with_store(story)
