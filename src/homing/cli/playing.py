"""What `homing play` shows: each callback that comes, decoded and raw, and what is wrong with it or with the order."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from homing.cli.render import harmless, say
from homing.cli.signals import when_told
from homing.contract.notification import StatusNotification, keys
from homing.simulator.judge import Book
from homing.simulator.receivers import Caught, Receiver

RAW_CHARS = 2_000
"""How much of a request is shown raw."""


async def played(port: int, behaviour: str, secrets: Sequence[str]) -> int:
    """Receive until a signal and return the exit code; `OSError` when the port is taken."""
    receiver = Receiver("play", is_told=behaviour)
    receiver.trust(*secrets)
    books: defaultdict[tuple[str, str], Book] = defaultdict(Book)

    def show(caught: Caught) -> None:
        for line in shown(caught):
            print(line, flush=True)
        it = caught.notification
        if isinstance(it, StatusNotification):
            book = books[it.message_id, it.recipient]
            before = set(book.judge())
            book.add(caught)
            for finding in book.judge():
                if finding not in before:
                    say(f"  not as the contract says: {harmless(finding)}")

    receiver.on_caught.append(show)
    await receiver.start(port)
    await receiver.becomes(behaviour)
    say(f"callbacks to {receiver.url} are shown and answered “{behaviour}”; Ctrl-C ends")
    code = await when_told()
    with contextlib.suppress(OSError):
        await receiver.close()
    return code


def shown(caught: Caught) -> Iterator[str]:
    """Yield the lines that one request is shown as."""
    now = datetime.now(UTC)
    answered = "cut off" if caught.answered is None else caught.answered
    what = "not a callback"
    if isinstance(caught.notification, StatusNotification):
        what = f"{caught.notification.recipient}  {caught.notification.status}"
    elif caught.notification is not None:
        what = f"{caught.notification.sender}  writes: {caught.notification.text}"
    tries = caught.headers.get("homing-attempt", "1")
    yield harmless(
        f"{now:%H:%M:%S.%f}"[:12] + f"  {what}  → {answered}" + (f"  try {tries}" if tries != "1" else "")
    )
    if caught.notification is not None:
        for key, value in keys(caught.notification, "ms"):
            yield harmless(f"    {key:<20} {value}")
    target = caught.path + (f"?{caught.raw_query}" if caught.raw_query else "")
    yield harmless(f"    {caught.method} {target}"[:RAW_CHARS])
    for name, value in caught.headers.items():
        yield harmless(f"    {name}: {value}")
    if caught.body:
        yield harmless(f"    {caught.body[:RAW_CHARS].decode('utf-8', 'replace')}")
    for fault in caught.faults:
        yield harmless(f"    WRONG: {fault}")
