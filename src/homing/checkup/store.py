"""Whether the store is sound, of a schema this program knows, and on a disk that keeps what is written."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from homing import __version__
from homing.checkup.case import Case
from homing.checkup.item import AS_USER, Finding, Item, State, item
from homing.checkup.mounts import TABLE, UNFIT, kind_of
from homing.checkup.wording import size
from homing.errors import Unavailable
from homing.store.sqlite import SCHEMA
from homing.store.sqlite.database import SYNCHRONOUS, can_corrupt
from homing.store.sqlite.onlooker import SQLITE, Onlooker

LOOKED_THROUGH_BYTES: Final = 64 * 2**20
"""Larger stores are not looked through: it would take long, and a server's log could not be copied back meanwhile."""
_PATIENCE_S: Final = 2.0
SLOW_MS: Final = 20.0
"""Every 201 waits for a sync."""
_SYNCS: Final = 15
_BLOCK: Final = b"\xa5" * 4096


def check(case: Case) -> list[Item]:
    """Return the item ``store``."""
    return [item("store", [program(SQLITE), *_file(case), *_place(case.data), _who(case)])]


def program(version: str) -> Finding:
    """Return what this program's version of SQLite means."""
    if can_corrupt(version):
        return Finding(f"SQLite {version} can corrupt a store", State.FAIL, "install a newer apsw")
    return Finding(f"SQLite {version}")


def _file(case: Case) -> Iterator[Finding]:
    path = case.store
    if not path.exists() or not path.stat().st_size:
        yield Finding(
            f"no store at {path}", State.WARN, "the first `homing serve` makes it; is --data right?"
        )
        return
    try:
        schema = case.schema
        yield from _schema(path, schema)
        if schema is None:
            return
        with case.look() as onlooker:
            if (moved := onlooker.moved()) is not None:
                hint = "serve that; `homing migrate --reopen` is the way back"
                yield Finding(f"moved to {moved}", State.FAIL, hint)
            yield _journal(onlooker, is_held=case.holder.is_held is True)
            yield Finding(f"synchronous {SYNCHRONOUS}")
            yield _structure(onlooker, case.store_bytes())
    except Unavailable as error:
        hint = f"{AS_USER}; if it is damaged, restore it from its backup"
        yield Finding(error.detail, State.FAIL, hint)


def _schema(path: Path, schema: int | None) -> Iterator[Finding]:
    if schema is None:
        yield Finding(f"{path} holds no store of Homing's", State.FAIL, "give the right store.url or --data")
    elif schema > SCHEMA:
        told = f"schema {schema}, but this Homing ({__version__}) knows schemas up to {SCHEMA}"
        yield Finding(told, State.FAIL, "run the newer Homing that wrote it")
    elif schema < SCHEMA:
        told = f"schema {schema}, which the next start brings to {SCHEMA}"
        yield Finding(told, State.WARN, "make a backup before: an older Homing does not read it then")
    else:
        yield Finding(f"schema {schema}")


def _journal(onlooker: Onlooker, *, is_held: bool) -> Finding:
    if onlooker.has_log():
        return Finding("WAL")
    if is_held:
        return Finding("not in WAL mode", State.FAIL, "the file system refuses it: move the data directory")
    return Finding("not in WAL mode", State.WARN, "the next start sets it")


def _structure(onlooker: Onlooker, size_bytes: int) -> Finding:
    if size_bytes > LOOKED_THROUGH_BYTES:
        return Finding(f"not looked through ({size(size_bytes)})")
    try:
        damage = onlooker.damage(_PATIENCE_S)
    except TimeoutError:
        return Finding(f"not looked through (over {_PATIENCE_S:.0f} s)")
    if damage is None:
        return Finding("sound")
    return Finding(f"damaged: {damage}", State.FAIL, "stop the server and restore the store from its backup")


def _place(data: Path) -> Iterator[Finding]:
    if not data.is_dir():
        return
    try:
        yield speed(sync_ms(data))
    except OSError as error:
        told = f"sync not measured: {(error.strerror or str(error)).lower()}"
        yield Finding(told, State.WARN, AS_USER)
    try:
        table = TABLE.read_text("utf-8", "replace")
    except OSError:
        return
    yield from place(kind_of(data.resolve(), table))


def speed(median_ms: float) -> Finding:
    """Return what the time of a sync means."""
    told = f"fsync {median_ms:.2f} ms median"
    return (
        Finding(told)
        if median_ms < SLOW_MS
        else Finding(told, State.WARN, "a faster disk: each 201 waits for it")
    )


def place(kind: str | None) -> Iterator[Finding]:
    """Yield what the type of the data directory's file system means."""
    unfit = None if kind is None else UNFIT.get(kind)
    if unfit is not None:
        yield Finding(f"on {kind}, {unfit.why}", State.WARN, unfit.hint)
    elif kind is not None:
        yield Finding(f"on {kind}")


def sync_ms(folder: Path) -> float:
    """Return the median time of a small write and its sync, in a file without a name that is gone afterwards."""
    took_ms = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_SYNCS):
            began_s = time.perf_counter()
            file.write(_BLOCK)
            os.fdatasync(file.fileno())
            took_ms.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(took_ms)


def _who(case: Case) -> Finding:
    held, pid = case.holder
    if held is None:
        return Finding("whether a server has it cannot be told here")
    return (
        Finding("running" if pid is None else f"running (process {pid})") if held else Finding("not running")
    )
