"""Every receiver we know gets its verdict, within its deadline and our limits, and costs nothing that lasts."""

import asyncio
import gc
import random
import re
import resource
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from tests.callbacks.habitats import Place
from tests.callbacks.row import NOW_MS, Row
from tests.callbacks.rows import CHUNKS, ROWS
from tests.callbacks.zoo import (
    FIXED,
    LOOPBACK,
    Outbox,
    Run,
    endpoint,
    lag,
    open_descriptors,
    outbox,
    post,
    zoo,
)

from homing.callbacks.diagnosis import note
from homing.callbacks.job import Done, EndpointView
from homing.callbacks.limits import Limits
from homing.callbacks.verdict import (
    Outcome,
    Verdict,
    counts_against_endpoint,
    outcome,
    pauses_endpoint,
    retry_after_ms,
    verdict,
)

LIMITS = Limits()
SLACK_MS = 1_000


def view_of(place: Place, row: Row, number: int = 1) -> EndpointView:
    view = endpoint("http://127.0.0.1/", number, row.timeout_s)
    return msgspec.structs.replace(view, url=place.url, ca=place.ca)


def judged(done: Done) -> tuple[Outcome, int, Verdict, bool, int | None, bool]:
    """Return what the table of `Row`s says about a try: as the judge sees it."""
    ended = outcome(done.status, done.error)
    wait_ms = retry_after_ms(done.retry_after, NOW_MS)
    is_retried = verdict(ended) is Verdict.RETRY
    pauses = is_retried and bool(wait_ms) and pauses_endpoint(done.status)
    return ended, done.status, verdict(ended), counts_against_endpoint(ended), wait_ms, pauses


async def asked_again(place: Place, box: Outbox) -> bool:
    """Ask for something good at the same place; say whether that went over the same connection."""
    assert place.zoo is not None
    before = place.zoo.connections
    good = place.url._replace(path="/ok")
    view = msgspec.structs.replace(endpoint("http://127.0.0.1/", 2), url=good, ca=place.ca)
    (done,) = await box.send(post(view))
    assert (done.status, done.error, done.answer) == (200, None, b"ok"), done.error_text
    for request in place.zoo.requests:
        plain = {"host", "user-agent", "accept", "content-type", "webhook-id", "content-length"}
        assert request.line.startswith("POST ")
        assert set(request.headers) == plain
        assert request.body == b"{}"
    return place.zoo.connections == before


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_receiver_gets_its_verdict(run: Run, row: Row) -> None:
    """Outcome, verdict, wait and words are the row's; one request was made; deadlines and limits held."""

    async def main() -> None:
        async with row.habitat() as place, outbox(place.policy, LIMITS) as box, lag() as late:
            (done,) = await box.send(post(view_of(place, row)))
            assert judged(done) == (row.ended, row.status, row.follows, row.counts, row.wait_ms, row.pauses)
            said = note(done) or ""
            assert row.note in said, done.error_text
            assert bool(row.note) == bool(said)
            assert done.phases.total_ms <= 1_000 * row.timeout_s + SLACK_MS + late.worst_ms
            assert len(done.answer) <= LIMITS.answer_kept_bytes
            if place.door is not None:
                assert place.door.requests == (row.ended is not Outcome.TLS and place.url.scheme == "https")
            if place.zoo is not None and place.can_be_asked_again:
                assert len(place.zoo.requests) == 1
                assert await asked_again(place, box) is row.kept
                assert len(place.zoo.requests) == 2

    run(main())


def test_the_table_is_of_many_receivers_and_knows_every_end() -> None:
    """At least forty, all told apart by name; together they end in every way but by a fault of ours."""
    assert len(ROWS) >= 40
    assert max(Counter(row.name for row in ROWS).values()) == 1
    assert {row.ended for row in ROWS} == set(Outcome) - {Outcome.OURS}


def test_a_broken_answer_is_never_more_than_broken(run: Run) -> None:
    """Whatever is done to an answer's bytes, the try ends as an answer, as malformed or as cut; never as our fault.

    And it ends as settled only where the status line says so and the head is whole.
    """
    chance = random.Random(1106)

    def broken(data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(changed))
            match chance.randrange(4):
                case 0:
                    changed[at] = chance.randrange(256)
                case 1:
                    del changed[at : at + chance.randint(1, 9)]
                case 2:
                    changed[at:at] = chance.choice(
                        [b"\r\n", b"\n", b"\0", b":", b" ", b"HTTP/1.1 200 OK\r\n", b"9" * 40]
                    )
                case _:
                    changed[at:at] = changed[: chance.randint(1, 40)]
            changed = changed or bytearray(b"x")
        return bytes(changed)

    async def main() -> None:
        sound = [*FIXED.values(), CHUNKS]
        data = b""

        async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            writer.write(data)
            return False

        async with zoo(act=act) as receiver, outbox() as box:
            for _ in range(600):
                data = broken(chance.choice(sound))
                (done,) = await box.send(post(endpoint(receiver.url("hook"))))
                ended = outcome(done.status, done.error)
                assert ended not in {Outcome.OURS, Outcome.DNS, Outcome.TLS, Outcome.REFUSED_BY_GUARD}, data
                if ended is Outcome.SUCCESS:
                    assert re.search(rb"HTTP/1\.[01] 2[0-9]{2}[ \r\n](.*\n)?\r?\n", data, re.DOTALL), data

    run(main())


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1_048_576


@pytest.mark.timeout(180)
def test_two_thousand_tries_at_everything_hostile_leave_nothing_behind(
    run: Run,
) -> None:
    """All receivers together, again and again: each end is the row's, memory stays flat, no descriptor is left."""
    rows = [row for row in ROWS if row.ended is not Outcome.REFUSED_BY_GUARD]

    async def main() -> None:
        async with zoo():
            pass  # uvloop keeps a descriptor from its first server on
        descriptors = open_descriptors()
        async with AsyncExitStack() as stack:
            places = [await stack.enter_async_context(row.habitat()) for row in rows]
            box = await stack.enter_async_context(outbox(LOOPBACK, LIMITS))
            late = await stack.enter_async_context(lag())
            views = [view_of(place, row, n) for n, (place, row) in enumerate(zip(places, rows, strict=True))]

            async def once() -> None:
                ended = await box.send(*map(post, views))
                for done, row in zip(ended, rows, strict=True):
                    assert outcome(done.status, done.error) is row.ended, (row.name, done.error_text)
                    assert done.phases.total_ms <= 1_000 * row.timeout_s + SLACK_MS + late.worst_ms, row.name
                for place in places:
                    if place.zoo is not None:
                        place.zoo.requests.clear()

            await once()
            gc.collect()
            before_mib, open_before = resident_mib(), open_descriptors()
            rounds = -(-2_000 // len(rows))
            for _ in range(rounds):
                await once()
            gc.collect()
            grown_mib = resident_mib() - before_mib
            print(
                f"{rounds * len(rows)} tries: {grown_mib:+.1f} MiB, descriptors {open_before} -> {open_descriptors()}"
            )
            assert grown_mib <= 64
        gc.collect()
        assert open_descriptors() == descriptors

    run(main())
