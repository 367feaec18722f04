"""A whole node whose term is lost: what it keeps of the configuration in memory is read anew."""

import asyncio
import base64
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.engine.fakes import until

from homing.config import Settings
from homing.config import settings as config
from homing.errors import Unavailable
from homing.gateway.server import Gateway
from homing.node import Node, running
from homing.node.telling import Telling
from homing.store.postgres import PostgresStore

Run = Callable[[Coroutine[Any, Any, None]], None]


def test_a_term_that_is_lost_again_while_the_node_reads_begins_anew(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before may lack what was missed since; a store that does not answer is asked again."""
    monkeypatch.setattr(running, "RELOAD_AGAIN_S", 0.0)

    async def story() -> None:
        node = await Node.open(Settings(), memory=True)
        begun, ended, gate = list[int](), list[int](), asyncio.Event()

        async def reload() -> None:
            begun.append(len(begun))
            if len(begun) == 2:
                raise Unavailable("away")
            await gate.wait()
            ended.append(len(begun))

        monkeypatch.setattr(node._parts, "reload", reload)
        for _ in range(2):
            node._lost()
            await until(lambda: len(begun) % 2)
        gate.set()
        await until(lambda: ended)
        assert (begun, ended) == ([0, 1, 2], [3])
        await node.close()

    run(story())


def test_a_term_that_is_lost_while_the_node_starts_is_heard_of(
    run: Run, monkeypatch: pytest.MonkeyPatch, dsn: str, tmp_path: Path
) -> None:
    """The heart beats before the parts start: what is lost or forgotten from when they hold something, they hear."""
    key = tmp_path / "master.key"
    key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    key.chmod(0o600)
    monkeypatch.setenv("HOMING_ADMIN_TOKEN", secrets.token_hex(32))
    settings = Settings(
        store=config.Store(url=dsn),
        security=config.Security(master_key_file=str(key)),
    )
    rewound: list[str] = []
    monkeypatch.setattr(Gateway, "rewound", lambda _gateway: rewound.append("rewound"))
    start = Telling.start

    async def late(telling: Telling) -> None:
        store = telling.directory._registry
        assert isinstance(store, PostgresStore)
        before = store.epoch
        connection = await asyncpg.connect(dsn)
        await connection.execute("UPDATE meta SET words = 'another' WHERE name = 'store_id'")
        await connection.execute("UPDATE node SET alive_until = clock_timestamp()")
        await connection.close()
        store._called.set()
        await until(lambda: store.epoch != before and store.store_id == "another")
        await start(telling)

    monkeypatch.setattr(Telling, "start", late)

    async def story() -> None:
        node = await Node.open(settings)
        assert node._reloading is not None
        assert rewound == ["rewound"]
        await node.close()

    run(story())
