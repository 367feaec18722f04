"""One message told to every receiver we know by the whole courier: what is on disk afterwards is what the table says."""

import asyncio
from contextlib import AsyncExitStack

import msgspec
import pytest
from tests.callbacks.habitats import Place
from tests.callbacks.office import Office, office
from tests.callbacks.row import Row
from tests.callbacks.rows import ROWS
from tests.callbacks.zoo import LOOPBACK, Run
from tests.engine.fakes import until

from homing.callbacks.limits import Limits
from homing.callbacks.sender import Sender
from homing.callbacks.verdict import Outcome, Verdict
from homing.model import DispatchKey, Endpoint, EndpointOptions
from homing.store.views import AttemptDetail

FIRST_DELAY_MS = 5_000


async def added(place: Office, row: Row, at: Place) -> Endpoint:
    ca = None if at.ca is None else at.ca.decode("ascii")
    return await place.add_endpoint(
        url=at.url.rebuilt, options=EndpointOptions(timeout_seconds=row.timeout_s, ca=ca)
    )


def wait_ms(row: Row) -> int:
    """How long the row's Retry-After means today: its dates are of 1994."""
    return 0 if "as a date" in row.name else row.wait_ms or 0


async def check(place: Office, row: Row, endpoint: Endpoint, key: DispatchKey, now_ms: int) -> None:
    view = await place.told(key, endpoint)
    now = await place.store.endpoint(endpoint.app, endpoint.uid)
    assert now is not None
    berth = place.courier._lanes.berths.get(endpoint.id)
    paused_ms = 0 if berth is None else max(0, berth.paused_until_ms - now_ms)
    (attempt,) = [one.attempt for one in await place.store.attempts(endpoint.id, None, 9)]
    is_late = row.ended is Outcome.TIMEOUT  # how far it came in its second depends on the crowd here
    assert attempt.code == row.status or is_late
    match row.follows:
        case Verdict.SETTLED:
            assert (view.settled, view.pending, view.dead) == (1, 0, 0)
            assert attempt.error is None
        case Verdict.DISABLE:
            assert (view.settled, view.pending, view.dead) == (0, 0, 1)
            assert now.state == "disabled"
        case Verdict.RETRY:
            assert (view.settled, view.pending, view.dead, view.tries) == (0, 1, 0, 1)
            assert view.due_ms == now_ms + max(FIRST_DELAY_MS, wait_ms(row))
    if row.follows is not Verdict.SETTLED:
        assert attempt.error == str(row.ended)
        assert attempt.detail is not None
        said = msgspec.json.decode(attempt.detail, type=AttemptDetail).note or ""
        assert row.note in said or is_late
    assert paused_ms == (wait_ms(row) if row.pauses else 0)
    assert (now.state == "disabled") is (row.follows is Verdict.DISABLE)


@pytest.mark.timeout(120)
def test_one_message_to_all_receivers_is_settled_retried_paused_and_disabled_as_the_table_says(
    run: Run,
) -> None:
    """Each receiver has its own endpoint; after one try each, every row is what is on disk."""
    rows = [
        row for row in ROWS if row.name != "a name of refused addresses" and "no resolver" not in row.name
    ]

    async def main() -> None:
        async with AsyncExitStack() as stack:
            places = [await stack.enter_async_context(row.habitat()) for row in rows]
            place = await stack.enter_async_context(office())
            sender = Sender(asyncio.get_running_loop(), LOOPBACK, Limits(), place.courier.on_done)
            stack.callback(sender.close)
            place.courier._sender = sender
            endpoints = [await added(place, row, at) for row, at in zip(rows, places, strict=True)]
            now_ms = place.clock.ms
            key = await place.send()
            await until(lambda: sender.in_flight == 0)
            await place.quiet()
            for row, endpoint in zip(rows, endpoints, strict=True):
                try:
                    await check(place, row, endpoint, key, now_ms)
                except AssertionError as failed:
                    failed.add_note(row.name)
                    raise

    run(main())
