"""The whole way of a store to PostgreSQL: copied in batches, compared table by table, marked as moved, opened to nodes.

In this order, so that at no instant both could be served: the source refuses servers from its mark on, the target until
its last commit. Killed anywhere in between, the same call goes on where it was.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

from homing.store.digest import Digest
from homing.store.moving.compare import Difference, differences
from homing.store.moving.source import Source
from homing.store.moving.tables import TABLES, Row, Shape
from homing.store.moving.target import Target
from homing.store.postgres.beside import beside

T = TypeVar("T")
BATCH_ROWS: Final = 10_000


class Step(NamedTuple):
    """How far it is: what is done to which table, rows of all tables that are through, and how many there are."""

    doing: Literal["copying", "comparing"]
    table: str
    rows: int
    of: int


Tell = Callable[[Step], None]


class Compared(NamedTuple):
    """One table on either side, as each was read and summed by itself."""

    table: str
    rows: int
    rows_there: int
    checksum: str
    checksum_there: str

    @property
    def is_equal(self) -> bool:
        """Say whether both hold the same rows."""
        return (self.rows, self.checksum) == (self.rows_there, self.checksum_there)


class Moved(NamedTuple):
    """What a call came to; nothing compared: the store had been moved there before."""

    compared: list[Compared]
    differences: list[Difference]
    is_resumed: bool

    @property
    def is_whole(self) -> bool:
        """Say whether every table is the same on both sides."""
        return all(one.is_equal for one in self.compared)


async def move(path: Path, key_id: str, dsn: str, to: str, tell: Tell, batch_rows: int = BATCH_ROWS) -> Moved:
    """Move the store at ``path`` to the database that ``dsn`` names; ``to`` is how the source will call it.

    When this returns whole, nodes may start on the database, and none does on the source. Otherwise neither was marked.
    Raises what `Source.hold`, `Source.check_key` and `Target.claim` do, `Unavailable` when the database is lost.
    """
    with Source.hold(path, TABLES) as source, ThreadPoolExecutor(1, "homing-source") as reader:
        source.check_key(key_id)
        async with beside(dsn, synchronous_commit="off") as connection:
            target = await Target.claim(connection, source.facts(), source.shapes, source.oldest())
            if target is None:
                return Moved([], [], is_resumed=True)
            way = _Way(source, target, reader, tell)
            await way.copy(batch_rows)
            await target.finish_copy(source.meta(), source.sequences())
            moved = Moved(await way.compare(), [], target.is_resumed)
            if moved.is_whole:
                source.mark(to)
                await target.open_to_nodes()
                return moved
            for one in moved.compared:
                shape = source.shapes.get(one.table)
                if one.is_equal:
                    continue
                if shape is None:
                    odd = sorted({row[0] for row in {*source.meta()} ^ {*await target.meta()}})
                    moved.differences.extend(Difference("meta", name, "other there") for name in odd)
                else:
                    moved.differences.extend(await differences(source, connection, shape))
            return moved


class _Way:
    """One call's way from a source to its target; the source is read in a thread of its own."""

    def __init__(self, source: Source, target: Target, reader: ThreadPoolExecutor, tell: Tell) -> None:
        self._source, self._target, self._reader = source, target, reader
        self._totals = {table: source.count(table) for table in source.shapes}
        self._of = sum(self._totals.values())
        self._tell = tell

    async def copy(self, batch_rows: int) -> None:
        """Copy every table from where it stands."""
        through = 0
        for shape in self._source.shapes.values():
            await self._copy(shape, batch_rows, through)
            through += self._totals[shape.name]

    async def _copy(self, shape: Shape, batch_rows: int, through: int) -> None:
        """Copy one table; the next batch is read while one is on its way."""
        progress = await self._target.progress(shape.name)

        def ahead(after: Row | None) -> "asyncio.Future[tuple[list[Row], Row | None]]":
            return self._read(lambda: self._source.batch(shape.name, after, batch_rows))

        coming = None if progress.is_done else ahead(progress.after)
        while coming is not None:
            self._tell(Step("copying", shape.name, through + progress.rows, self._of))
            rows, after = await coming
            coming = None if after is None else ahead(after)
            progress = await self._target.take(shape, rows, progress, after)
        self._tell(Step("copying", shape.name, through + progress.rows, self._of))

    async def compare(self) -> list[Compared]:
        """Read both sides whole, each by itself."""
        compared, through = [], 0
        for table, shape in self._source.shapes.items():
            self._tell(Step("comparing", table, through, self._of))
            here, there = await asyncio.gather(
                self._read(partial(self._source.digest, table)), self._target.digest(shape)
            )
            compared.append(Compared(table, here.rows, there.rows, here.checksum, there.checksum))
            through += self._totals[table]
            self._tell(Step("comparing", table, through, self._of))
        here, there = Digest(), Digest()
        here.add(self._source.meta())
        there.add(await self._target.meta())
        compared.append(Compared("meta", here.rows, there.rows, here.checksum, there.checksum))
        return compared

    def _read(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._reader, work)
