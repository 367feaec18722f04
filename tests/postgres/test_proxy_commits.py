"""The proxy at a COMMIT: every byte of its exchange can be the last, and only the moment asked for is cut."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from tests.postgres.link import How, Way
from tests.postgres.proxy import COMMIT_ANSWERED, COMMIT_ASKED, answered, asked
from tests.postgres.through import LOST, Through, insert

Run = Callable[..., Any]

COMMIT = b"Q\0\0\0\x0cCOMMIT;\0"
"""How asyncpg says it."""
COMMITTED = b"C\0\0\0\x0bCOMMIT\0Z\0\0\0\5I"


@pytest.mark.parametrize("how", [How.RESET, How.CLOSE])
def test_a_commit_that_never_arrives_is_none(through: Through, run: Run, how: How) -> None:
    """Cut before COMMIT is sent: the client is told of a failure, and there is no row."""

    async def cut() -> None:
        trap = through.proxy.cut_when(COMMIT_ASKED, keep=0, how=how)
        with pytest.raises(LOST):
            await insert(through, 1)
        assert trap.has_happened()
        assert await through.rows() == []

    run(cut())


def test_a_commit_whose_answer_is_lost_is_one(through: Through, run: Run) -> None:
    """Cut after COMMIT has arrived and before any of its answer: the client sees the same failure, and the row is there."""

    async def cut() -> None:
        trap = through.proxy.cut_when(COMMIT_ASKED, how=How.CLOSE)
        with pytest.raises(LOST):
            await insert(through, 1)
        await trap.happens()
        other = through.proxy.cut_when(COMMIT_ANSWERED, keep=0)
        with pytest.raises(LOST):
            await insert(through, 2)
        await other.happens()
        assert await through.rows() == [1, 2]

    run(cut())


def test_every_byte_of_a_commits_exchange_can_be_the_last(through: Through, run: Run) -> None:
    """Before the request's last byte nothing is committed, from then on it is; the client learns it with the last one back."""

    async def sweep() -> None:
        proxy, kept = through.proxy, []

        async def cut(it: int, way: Way, byte: int) -> bool:
            """Say whether the client believes that its row is committed."""
            connection = await asyncpg.connect(through.dsn)
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(f"INSERT INTO kept VALUES ({it})")
            trap = proxy.cut_at(way, byte, how=How.CLOSE)
            try:
                await transaction.commit()
            except LOST:
                return False
            finally:
                await trap.happens()
                connection.terminate()
            return True

        for byte in range(len(COMMIT)):
            assert not await cut(byte, Way.TO_SERVER, byte)
        for byte in range(len(COMMITTED) + 1):
            kept.append(100 + byte)
            assert await cut(kept[-1], Way.TO_CLIENT, byte) == (byte == len(COMMITTED))
        assert await through.rows() == kept

    run(sweep())


def test_only_the_moment_asked_for_is_cut(through: Through, run: Run) -> None:
    """A trap waits for its statement and skips as many as it was told; disarmed, it never happens."""

    async def cut() -> None:
        trap = through.proxy.cut_when(asked("INSERT"), keep=0, skip=1)
        await insert(through, 1)
        assert not trap.has_happened()
        with pytest.raises(LOST):
            await insert(through, 2)
        assert trap.has_happened()
        later = through.proxy.cut_when(answered("INSERT"), keep=0)
        through.proxy.disarm()
        await insert(through, 3)
        with pytest.raises(TimeoutError, match="nothing was cut"):
            later.wait(0)
        assert await through.rows() == [1, 3]

    run(cut())
