"""The victim of the storage-level kill: forks, and in the child commits messages as fast as it can until it is killed.

Started as ``python -m tests.chaos.writer DIRECTORY``. For each line on its standard input it forks a child, says
``pid N``, then ``ack HEX`` for each message that is acknowledged, and ``end`` when the child is no more.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from tests.store.fakes import add_app, add_user

from homing.clock import RealClock
from homing.lifecycle.dispatch import Received
from homing.model import Body, MessageId, dispatch_key
from homing.store.batch import Accept, Addressee, Batch, Occurrence
from homing.store.sqlite import SqliteStore, database

CHECKPOINT_BYTES = 256 * 1024
"""Small, so that kills strike in the midst of copying the log back, too."""


def say(line: str) -> None:
    """Tell the test, past every buffer of ours."""
    os.write(1, f"{line}\n".encode())


async def write_on(path: str) -> None:
    """Commit message after message, each with a receipt beside it, and tell what is acknowledged."""
    store = await SqliteStore.open(path, clock=RealClock())
    apps = await store.apps(0, 1)
    app = apps[0].id if apps else (await add_app(store)).id
    if await store.user(app, "ann") is None:
        await add_user(store, app, "Ann")
    before: MessageId | None = None
    while True:
        message = MessageId(time.time_ns().to_bytes(8, "big") + os.urandom(8))
        accept = Accept(message, app, None, Body("hello" * 20), (Addressee("Ann", "ann"),))
        received = [] if before is None else [Occurrence(dispatch_key(before, 0), Received())]
        await store.commit(Batch(accepts=[accept], occurrences=received))
        say(f"ack {message.hex()}")
        before = message


def main() -> None:
    """Fork at each line of input; the parent never touches the store, so it has no thread to lose."""
    path = str(Path(sys.argv[1]) / "homing.db")
    database.CHECKPOINT_BYTES = CHECKPOINT_BYTES  # type: ignore[misc]
    for _line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(write_on(path))
        say(f"pid {child}")
        os.waitpid(child, 0)
        say("end")


if __name__ == "__main__":
    main()
