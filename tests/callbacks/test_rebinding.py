"""Names that change between the check and the dial: whatever is dialled was judged at that moment, and nothing else counts.

HOMING_CHAOS=full draws 100,000 schedules instead of 1,000.
"""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.callbacks.dials import (
    HAS_IPV6,
    RECORDS,
    Bench,
    CarelessTransfer,
    Reply,
    WatchedTransfer,
    Witness,
    bench,
    faults,
)
from tests.callbacks.ranges import embedding, inside, lies_inside, text
from tests.callbacks.zoo import Run, Zoo, zoo

from homing.api.urls import SavedUrls
from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import ParsedUrl, UrlRefused, parse_url
from homing.callbacks.verdict import Outcome

SCHEDULES = 100_000 if os.environ.get("HOMING_CHAOS") == "full" else 1_000
AT_ONCE = 1_000
DIALS = 3
INSIDE = [address for _family, address in (*inside(), *embedding("10.0.0.1"))]
INSIDE_V6 = [address for address in INSIDE if ":" in address]


def public(drawn: random.Random) -> str:
    """Some address that may be dialled."""
    is_v6 = drawn.random() < 0.4
    while True:
        value = 1 << 125 | drawn.getrandbits(125) if is_v6 else drawn.getrandbits(32)
        if not lies_inside(address := text(value, is_v6=is_v6)):
            return address


def mixed(drawn: random.Random, size: int) -> Reply:
    """Public and inside, in any order."""
    addresses = [public(drawn) for _ in range(size)] + drawn.choices(INSIDE, k=size)
    drawn.shuffle(addresses)
    return Reply(addresses)


ANSWERS: list[Callable[[random.Random], Reply]] = [
    lambda drawn: Reply([public(drawn)]),
    lambda drawn: Reply([public(drawn) for _ in range(4)]),
    lambda drawn: Reply([drawn.choice(INSIDE)]),
    lambda drawn: mixed(drawn, 1),
    lambda drawn: mixed(drawn, RECORDS // 2),
    lambda drawn: mixed(drawn, 60),
    lambda drawn: Reply([text(drawn.getrandbits(24) | 8 << 24, is_v6=False), drawn.choice(INSIDE_V6)]),
    lambda drawn: Reply([drawn.choice(INSIDE_V6)]),
    lambda drawn: Reply([drawn.choice(INSIDE)], ["www.public.example"]),
    lambda drawn: Reply([public(drawn), drawn.choice(INSIDE)], ["a.example", "b.example", "localhost"]),
    lambda _: Reply(),
    lambda _: Reply(exists=False),
]


def schedule(seed: int) -> list[Reply]:
    """What one name resolves to: at the save, and at each dial after it; often public first and inside later."""
    drawn = random.Random(seed)
    first = ANSWERS[0] if drawn.random() < 0.5 else drawn.choice(ANSWERS)
    return [first(drawn), *(drawn.choice(ANSWERS)(drawn) for _ in range(DIALS))]


def names(schedules: list[list[Reply]], first: int) -> Callable[[str, int], Reply]:
    """A resolver's answers: name n23.example follows schedule 23, beginning with its answer number ``first``."""
    return lambda name, time: schedules[int(name[1:].partition(".")[0])][first + time]


@pytest.mark.parametrize("first_seed", range(0, SCHEDULES, AT_ONCE))
def test_the_address_dialled_is_always_the_one_judged(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_seed: int
) -> None:
    """Over random schedules: exactly the public addresses of each moment's answer are dialled, whatever was saved."""
    schedules = [schedule(seed) for seed in range(first_seed, first_seed + AT_ONCE)]

    async def look_up(_loop: object, host: str, port: int, **_named: object) -> Any:
        reply = names(schedules, 0)(host, 0)
        if not reply.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_UNSPEC, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in reply.addresses]

    async def was_saved(saved: SavedUrls, n: int) -> bool:
        try:
            await saved(f"https://n{n}.example/", "json")
        except UrlRefused:
            return False
        return True

    async def main() -> None:
        saved = SavedUrls(AddressPolicy())
        for n, replies in enumerate(schedules):
            assert await was_saved(saved, n) is not any(map(lies_inside, replies[0].addresses))
        async with bench(tmp_path, names(schedules, 1)) as at:
            for time in range(1, DIALS + 1):
                at.journal.dials.clear()
                ended = await at.send((n, parse_url(f"https://n{n}.example/")) for n in range(AT_ONCE))
                assert faults(at.journal) == []
                wanted, dialled = at.journal.told()
                for n, replies in enumerate(schedules):
                    answered = {a for a in replies[time].addresses if HAS_IPV6 or ":" not in a}
                    came, went = wanted.get(n, set()), dialled.get(n, set())
                    assert came == answered if len(replies[time].addresses) <= RECORDS else came < answered
                    assert went == {address for address in came if not lies_inside(address)}
                    assert not came or (ended[n].error is Outcome.REFUSED_BY_GUARD) is not bool(went)
            assert at.resolver.look_ups >= AT_ONCE * DIALS

    monkeypatch.setattr("uvloop.Loop.getaddrinfo", look_up)
    run(main())


def test_a_guard_that_resolves_first_is_caught(run: Run, tmp_path: Path) -> None:
    """Negative control: a guard that judges one answer, and lets libcurl ask for the next, dials inside."""
    schedules = [schedule(seed) for seed in range(200)]
    policy = AddressPolicy()
    passed = [n for n, (first, *_) in enumerate(schedules) if not any(map(policy.refuses, first.addresses))]

    async def main() -> None:
        async with bench(tmp_path, names(schedules, 1), transfer=CarelessTransfer) as at:
            await at.send((n, parse_url(f"https://n{n}.example/")) for n in passed)
            assert any(lies_inside(dial.address) for dial in faults(at.journal))

    run(main())
    assert len(passed) > 50


def test_of_a_thousand_records_only_the_public_ones_are_dialled(run: Run, tmp_path: Path) -> None:
    """An answer without end is judged to its last address."""
    good = {f"93.184.{n // 250}.{n % 250}" for n in range(500)}
    bad = {f"10.{n // 250}.0.{n % 250}" for n in range(500)}
    records = [address for pair in zip(sorted(good), sorted(bad), strict=True) for address in pair]

    class Told(WatchedTransfer):
        __slots__ = ()
        resolve = (f"many.example:80:{','.join(records)}",)

    async def main() -> None:
        async with bench(tmp_path, lambda *_: Reply(), transfer=Told) as at:
            await at.send([(0, parse_url("http://many.example/"))])
            assert at.journal.told() == ({0: good | bad}, {0: good})
            assert faults(at.journal) == []

    run(main())


def test_after_a_dial_in_vain_the_next_address_is_judged_like_the_first(run: Run, tmp_path: Path) -> None:
    """An allowed address that takes no connection is no way in for the others of its name."""
    policy = Witness(["127.0.0.1/32"])
    reply = Reply(["127.0.0.1", "127.0.0.2", "::1"])

    async def main() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            url = parse_url(f"http://vain.example:{bound.getsockname()[1]}/")
            async with bench(tmp_path, lambda *_: reply, policy, plug=socket.socket) as at:
                (done,) = await at.send([(0, url)])
                assert (done.error, done.address) == (Outcome.CONNECT, "127.0.0.1")
                assert at.journal.told()[1] == {0: {"127.0.0.1"}}
                assert "127.0.0.2" in at.journal.told()[0][0]

    run(main())


def test_a_kept_connection_stays_with_the_address_that_was_judged(run: Run, tmp_path: Path) -> None:
    """A name that moves inside is not followed by connections that are open, and is refused by the next new one."""
    policy = Witness(["127.0.0.1/32"])

    async def main() -> None:
        moves = [Reply(["127.0.0.1"]), Reply(["127.0.0.2"])]
        async with (
            zoo() as receiver,
            bench(tmp_path, lambda _, time: moves[time], policy, plug=socket.socket) as at,
        ):
            for path, status, error in (
                ("ok", 200, None),
                ("last", 200, None),
                ("ok", 0, Outcome.REFUSED_BY_GUARD),
            ):
                url = parse_url(receiver.url(path, "kept.example"))
                (done,) = await at.send([(0, url)])
                assert (done.status, done.error) == (status, error)
            assert receiver.connections == 1
            assert at.journal.told() == ({0: {"127.0.0.1", "127.0.0.2"}}, {0: {"127.0.0.1"}})

    run(main())


@asynccontextmanager
async def moving(folder: Path, kept_s: int) -> AsyncIterator[tuple[Zoo, Bench, ParsedUrl]]:
    """A receiver that hangs up behind each answer, and whose name moves inside after its first look-up."""
    moves = [Reply(["127.0.0.1"]), Reply(["127.0.0.2"])]
    policy = Witness(["127.0.0.1/32"])
    async with (
        zoo() as receiver,
        bench(folder, lambda _, time: moves[time], policy, plug=socket.socket, names_kept_s=kept_s) as at,
    ):
        yield receiver, at, parse_url(receiver.url("last", "moved.example"))


def test_a_name_that_was_looked_up_is_used_again_while_that_is_new(run: Run, tmp_path: Path) -> None:
    """Nobody asks again for every connection."""

    async def main() -> None:
        async with moving(tmp_path, 60) as (receiver, at, url):
            await at.send([(0, url)])
            asked = at.resolver.look_ups
            for n in range(1, 4):
                (done,) = await at.send([(n, url)])
                assert done.status == 200
            assert (at.resolver.look_ups, receiver.connections) == (asked, 4)

    run(main())


def test_a_name_that_was_looked_up_is_forgotten_in_time(run: Run, tmp_path: Path) -> None:
    """What a name meant is used by nobody once it is old: not even first thing after a pause."""
    kept_s = 1

    async def main() -> None:
        async with moving(tmp_path, kept_s) as (receiver, at, url):
            (done,) = await at.send([(0, url)])
            assert (done.status, receiver.connections) == (200, 1)
            asked = at.resolver.look_ups
            # libcurl tells how old a name is by the kernel's clock alone, and how old it may be is set in seconds: one is the least
            # (with 0 no name is kept at all, and nothing would be there to be forgotten).
            await asyncio.sleep(1.1 * kept_s)
            ended = await at.send([(n, url) for n in range(1, 5)])
            assert {done.error for done in ended} == {Outcome.REFUSED_BY_GUARD}
            assert (at.resolver.look_ups > asked, receiver.connections) == (True, 1)

    run(main())
