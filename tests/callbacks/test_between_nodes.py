"""Couriers of several nodes on one store: what one of them is told, finds out or may do concerns the others."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.callbacks.offices import offices
from tests.engine.fakes import until
from tests.postgres.server import Server

from homing.callbacks import doubts
from homing.errors import Unavailable
from homing.store.changes import DisableEndpoint, EnableEndpoint
from homing.store.postgres import PostgresStore

Run = Callable[[Coroutine[Any, Any, None]], None]


def unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every notification of a change be lost."""
    monkeypatch.setattr(PostgresStore, "_notified", lambda *_said: None)


@pytest.mark.parametrize("is_heard", [True, False])
def test_an_endpoint_made_at_one_node_is_told_what_is_sent_through_another(
    run: Run, postgres: Server, fresh_database: str, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    """Each is told its event once, though the sender has never heard of it, or thinks it disabled (TF)."""
    if not is_heard:
        unheard(monkeypatch)

    async def story() -> None:
        async with offices(postgres.dsn(fresh_database)) as (here, there):
            there.app = here.app
            endpoints = []
            for _ in range(20):
                endpoints.append(await here.add_endpoint())
                await there.send()
            await there.quiet()
            told = [one.endpoint for one in there.sender.tries]
            assert sorted(told) == sorted(endpoints[n].id for n in range(20) for _ in range(n, 20))
            one = endpoints[0]
            await here.store.apply(DisableEndpoint(one.id, "by hand"))
            await there.beat()
            await here.store.apply(EnableEndpoint(one.app, one.uid))
            await there.send()
            await there.quiet()
            assert [seen.endpoint for seen in there.sender.tries[len(told) :]].count(one.id) == 1

    run(story())


def test_what_is_owed_to_an_endpoint_that_is_really_disabled_is_given_up(
    run: Run, postgres: Server, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the node knows that nobody enabled it meanwhile, however often the store must be asked."""
    unheard(monkeypatch)
    monkeypatch.setattr(doubts, "_AGAIN_S", 0.0)

    async def story() -> None:
        async with offices(postgres.dsn(fresh_database), max_per_endpoint=1) as (here, there):
            there.app = here.app
            endpoint = await here.add_endpoint()
            there.sender.answer = lambda _: None
            first, second = await there.send(), await there.send()
            await until(lambda: len(there.sender.open) == 1)
            await here.store.apply(DisableEndpoint(endpoint.id, "by hand"))
            await there.beat()
            catch_up, failed = there.node.catch_up, list[bool]()

            async def once() -> None:
                if not failed:
                    failed.append(True)
                    raise Unavailable("away")
                await catch_up()

            monkeypatch.setattr(there.courier._doubts, "_catch_up", once)
            there.sender.let_go()
            await there.quiet()
            assert failed
            assert len(there.sender.tries) == 1
            assert (
                (await there.told(first, endpoint)).settled,
                (await there.told(second, endpoint)).dead,
            ) == (1, 1)

    run(story())
