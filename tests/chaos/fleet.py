"""Two nodes on one PostgreSQL under load: back ends that post to either, phones that connect to either, moody receivers.

A story kills, freezes or cuts what it likes meanwhile; afterwards everybody is given time, and what all saw is one journal.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from tests.acceptance.served import Served, shared
from tests.chaos.journal import Journal
from tests.chaos.load import Senders
from tests.chaos.shared_remains import rest_of
from tests.chaos.site import PEOPLE, Site
from tests.waiting import again

Story = Callable[["Fleet"], Awaitable[None]]
READY_S = 60.0
"""A term may have to run out before a node is ready, or notices that it is not."""
SETTLED_S = 1.0
"""After a death, all that the dead node had sent has been read by then; what it held nobody else tells so early."""


class Fleet:
    """The nodes and everybody who depends on them."""

    def __init__(
        self, folder: Path, dsn: str, seed: int, *, late: float = 0.04, program: Sequence[str] = ()
    ) -> None:
        """``program`` is what Python runs in place of Homing's own verbs."""
        changes = shared(dsn, folder)
        given: dict[str, Any] = {"program": program} if program else {}
        self.nodes = [Served(folder / name, changes=changes, **given) for name in ("one", "other")]
        self.site = Site(seed, late=late)
        self.rng = self.site.rng
        self.up: list[Served] = []
        """Those to which a balancer would send."""
        self.deaths_s: list[float] = []
        """When something was killed or went on after it had stood still, by the loop's clock: a callback may come again then."""
        self.senders: Senders | None = None
        self.exit_codes: list[int] = []
        self._clients: dict[Served, httpx.AsyncClient] = {}
        self._senders = 6

    async def run(
        self, story: Story, look: Callable[[], Awaitable[Any]], *, quiet_s: float, senders: int = 6
    ) -> Journal:
        """Set up, tell the story under load, wait until all is told, stop, and return what was seen.

        ``look()`` returns a connection to the database in the end.
        """
        self._senders = senders
        await self.site.receivers.start()
        try:
            async with contextlib.AsyncExitStack() as stack:
                for node in self.nodes:
                    self._clients[node] = await stack.enter_async_context(node.client())
                return await self._run(story, look, quiet_s)
        finally:
            for node in self.nodes:
                node.close()
            await self.site.receivers.close()

    async def _run(self, story: Story, look: Callable[[], Awaitable[Any]], quiet_s: float) -> Journal:
        site = self.site
        await asyncio.gather(*map(self.start, self.nodes))
        first = self._clients[self.nodes[0]]
        await site.set_up(first, self._any_url)
        site.switch.up.set()
        senders = self.senders = Senders(self, site.app["id"], PEOPLE, site.switch, self.rng)
        async with asyncio.TaskGroup() as everybody:
            posting = [everybody.create_task(senders.run()) for _ in range(self._senders)]
            phoning = [everybody.create_task(phone.run()) for phone in site.phones]
            await story(self)
            site.switch.is_ending = True
            await asyncio.gather(*posting)
            await site.until_all_told(senders, quiet_s)
            journal = await site.seen(self._clients[self.up[0]], senders)
            for task in phoning:
                task.cancel()
        self.exit_codes = [await asyncio.to_thread(node.stop) for node in self.nodes]
        journal.calls = list(site.receivers.calls(sorted(self.deaths_s)))
        connection = await look()
        try:
            rest = await rest_of(connection)
        finally:
            await connection.close()
        journal.rest = rest._replace(torn=[*rest.torn, *site.contradictions])
        print(
            f"\n{senders.repeats} requests repeated, "
            f"{sum(phone.connections for phone in site.phones)} connections"
        )
        return journal

    # -- what a story does --------------------------------------------------------------------------------------------

    async def start(self, node: Served) -> None:
        """Start a node, and send to it once it is ready."""
        node.start()
        await node.ready()
        self.up.append(node)

    async def kill(self, node: Served) -> int:
        """kill -9; return the epoch that it had."""
        self.up.remove(node)
        await asyncio.to_thread(node.kill)
        epoch = epoch_of(node)
        self.dies()
        return epoch

    def dies(self) -> None:
        """Note that whoever sends has died just now, or lost what it knew."""
        self.deaths_s.append(asyncio.get_running_loop().time() + SETTLED_S)

    async def until_accepted(self, more: int = 1) -> float:
        """Wait until so many more messages were accepted; return when, by the loop's clock."""
        assert self.senders is not None
        await self.senders.accepts.until(len(self.senders.accepts) + more)
        return asyncio.get_running_loop().time()

    async def ready(self, node: Served) -> dict[str, Any]:
        """What a node says of itself."""
        answer = await self._clients[node].get("/readyz")
        shown: dict[str, Any] = answer.json()
        return shown

    async def until_ready(self, *, is_ready: bool = True) -> str:
        """Wait until all nodes that are up say that they are ready, or one that it is not; return the reasons of the last."""

        async def ask() -> list[dict[str, Any]]:
            return [await self.ready(node) for node in self.up]

        said = await again(
            ask,
            lambda said: all(one["ready"] for one in said) is is_ready,
            "readiness is only asked for",
            within_s=READY_S,
            every_s=0.1,
        )
        return " ".join(reason for one in said for reason in one["reasons"])

    # -- what stands before the nodes ---------------------------------------------------------------------------------

    async def post(self, url: str, *, content: bytes, headers: dict[str, str]) -> httpx.Response:
        """Send a request to one of the nodes that are up, as a balancer does (`load.Poster`)."""
        node = self.rng.choice(self.up or self.nodes)
        return await self._clients[node].post(url, content=content, headers=headers)

    def _any_url(self) -> str:
        return self.rng.choice(self.up or self.nodes).url

    def faults(self) -> list[str]:
        """What the nodes logged that no absence of the database explains."""
        return [line for node in self.nodes for line in node.log.splitlines() if is_fault(line)]


_EXPLAINED = (
    "store.full", "store.failed", "store.rewound", "term.late", "commit.unknown", "callback.failed",
)  # fmt: skip
"""Errors that a database which is away or a node that was taken for dead makes a node log."""


def is_fault(line: str) -> bool:
    """Say whether a line of a node's log tells of a bug."""
    fact = fact_of(line)
    if fact is None:
        return "Traceback" in line or "Exception" in line
    return fact.get("level") in {"error", "critical"} and fact.get("event") not in _EXPLAINED


def fact_of(line: str) -> dict[str, Any] | None:
    """Read one line of a log."""
    try:
        fact: object = json.loads(line)
    except ValueError:
        return None
    return fact if isinstance(fact, dict) else None


def facts(node: Served, *events: str) -> Iterator[dict[str, Any]]:
    """The facts of these names that a node has logged."""
    for line in node.log.splitlines():
        fact = fact_of(line)
        if fact is not None and fact.get("event") in events:
            yield fact


def epoch_of(node: Served) -> int:
    """Return the epoch that a node last had."""
    return int(list(facts(node, "node.started", "term.lost", "store.rewound"))[-1]["epoch"])


def traced(journal: Journal, findings: Sequence[str], most: int = 5) -> str:
    """Return the findings, the first of them with every callback about what they name."""
    lines = [f"{len(findings)} findings", *findings[:20]]
    named = dict.fromkeys(
        call.dispatch for finding in findings for call in journal.calls if str(call.dispatch) in finding
    )
    for dispatch in list(named)[:most]:
        lines.append(f"{dispatch}: {[tuple(event) for event in journal.events.get(dispatch, ())]}")
        lines += [
            f"  {call.endpoint} life {call.life} {call.status} {call.webhook_id} → {call.answered}"
            for call in journal.calls
            if call.dispatch == dispatch
        ]
    return "\n".join(lines)


async def connected(dsn: str) -> Any:
    """A connection to look with."""
    return await asyncpg.connect(dsn, timeout=30, command_timeout=120)
