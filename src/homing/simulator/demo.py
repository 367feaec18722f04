"""`homing demo`: plays all stories on a real node with real sockets, and judges what three real receivers got.

One receiver for each form, all of the same application, so each story reaches all three. Virtual time; nothing is left out
of the judgement, and a story counts only if it said exactly what it must.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeAlias

import msgspec

from homing.contract.forms import Form
from homing.contract.notification import StatusNotification
from homing.contract.status import STATUSES
from homing.simulator.clock import VirtualClock
from homing.simulator.judge import Book
from homing.simulator.receivers import Caught
from homing.simulator.stories import STORIES, Act, Story
from homing.simulator.world import Application, World

START_MS: Final = 1_800_000_000_000
APP: Final = 1
RECEIVERS: Final[dict[Form, str]] = {
    Form.GET: "ok",
    Form.FORM: "ok",
    Form.JSON: "answers:500,500,204",
}
"""How the receiver of each form behaves: one fails twice, so that a retry is among what is judged."""
_AT_ONCE: Final = 8


class Home(Protocol):
    """A running node, as far as the demo must know it."""

    @property
    def host(self) -> str:
        """Where it listens."""
        ...

    @property
    def port(self) -> int:
        """On which port."""
        ...

    @property
    def token(self) -> str:
        """A token with all scopes."""
        ...

    def is_quiet(self) -> bool:
        """Whether nothing is at work in it."""
        ...


OpenHome: TypeAlias = Callable[[World], AbstractAsyncContextManager[Home]]
"""Starts a node with the world's clock and far ends, that may call back to loopback; stops it in the end."""


class Line(msgspec.Struct, frozen=True):
    """One line of the demo's report. ``kind``: title, story, ok, bad or table."""

    kind: str
    text: str


Out: TypeAlias = Callable[[Line], None]


class Told(msgspec.Struct, frozen=True):
    """What one receiver heard of one story."""

    story: Story
    form: Form
    statuses: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether that is what the story must say."""
        return self.statuses == self.story.says


class DemoReport(msgspec.Struct, frozen=True):
    """What came of it. ``seen`` counts each status in each form; ``findings`` are broken laws, one line each."""

    told: tuple[Told, ...]
    seen: dict[Form, dict[str, int]]
    findings: tuple[str, ...]
    callbacks: int
    took_s: float

    @property
    def missing(self) -> list[tuple[str, Form]]:
        """Statuses not seen in a form."""
        return [
            (status, form) for form in self.seen for status in STATUSES if not self.seen[form].get(status)
        ]

    @property
    def holds(self) -> bool:
        """Whether every story said what it must, every status was seen in every form, and no law was broken."""
        return not self.missing and not self.findings and all(told.is_exact for told in self.told)


class Played(msgspec.Struct, frozen=True):
    """What the receivers of each form got while the stories were played to their ends."""

    stories: tuple[Story, ...]
    names: tuple[str, ...]
    requests: dict[Form, list[Caught]]
    took_s: float


async def run_demo(
    open_home: OpenHome,
    out: Out,
    *,
    stories: Sequence[Story] = STORIES,
    break_law: str | None = None,
) -> DemoReport:
    """Play the stories, judge what came, and report.

    ``break_law`` (swap, drop or duplicate) spoils what was received before it is judged, to prove that the judge sees.
    """
    played = await play(open_home, stories)
    if break_law is not None:
        spoil(played.requests[Form.FORM], break_law)
    report = judge(played)
    tell(report, out)
    return report


async def play(open_home: OpenHome, stories: Sequence[Story] = STORIES) -> Played:
    """Play the stories on one node, and return once nothing is left to happen."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    world = World(VirtualClock(START_MS))
    async with open_home(world) as home:
        world.attach(home.host, home.port, home.token, {"node": home.is_quiet})
        try:
            names = await _play(world, stories)
        finally:
            await world.close()
    requests = {form: list(world.receivers[form.value].caught) for form in RECEIVERS}
    return Played(tuple(stories), tuple(names), requests, loop.time() - began_s)


async def _play(world: World, stories: Sequence[Story]) -> list[str]:
    """Set the world up, send every story's message, and let time pass until nothing is left to happen."""
    app = await world.application(APP, "demo")
    for form, is_told in RECEIVERS.items():
        receiver = await world.receiver(form.value, is_told=is_told)
        await world.connect_receiver(app, receiver, form.value)
    names = [f"p{number:02}-{story.habit or 'nobody'}" for number, story in enumerate(stories, 1)]
    room = asyncio.Semaphore(_AT_ONCE)

    async def settle(name: str, story: Story) -> None:
        if story.habit is not None:
            async with room:
                await world.person(app, name, story.habit, platform=story.platform, number=story.number)

    await asyncio.gather(*(settle(name, story) for name, story in zip(names, stories, strict=True)))
    acting = _Acting(world)
    for name, story in zip(names, stories, strict=True):
        message_id = await _send(world, app, name, story)
        acting.plan(name, message_id, story.acts)
    assert world.conductor is not None
    world.conductor.watch("what is done by hand", acting.is_quiet)
    await world.conductor.advance()
    acting.raise_faults()
    return names


async def _send(world: World, app: Application, name: str, story: Story) -> str:
    more = {"messageRef": f"ref of {name}", "recipientRef": f"{name} & söhne", **story.wish}
    return await world.backend.send(app.id, name, story.title, **more)


class _Acting:
    """What is done by hand in stories, at its time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: list[asyncio.Task[object]] = []

    def plan(self, name: str, message_id: str, acts: Sequence[Act]) -> None:
        for act in acts:
            when_ms = self._world.clock.now_ms() + act.after_s * 1000
            self._world.clock.at(when_ms, lambda act=act: self._begin(name, message_id, act))  # type: ignore[misc]

    def is_quiet(self) -> bool:
        return all(task.done() for task in self._tasks)

    def raise_faults(self) -> None:
        for task in self._tasks:
            task.result()

    def _begin(self, name: str, message_id: str, act: Act) -> None:
        world = self._world
        doing = (
            world.backend.ask("POST", f"/1/messages/{message_id}/expire")
            if act.do == "recall"
            else world.phones[name].do(act.do)
        )
        self._tasks.append(asyncio.get_running_loop().create_task(doing))


def spoil(requests: list[Caught], how: str) -> None:
    """Break a law in what was received: swap two events of a life, drop one, or duplicate one under another id."""
    lives: dict[tuple[str, str], list[int]] = {}
    for place, caught in enumerate(requests):
        if isinstance(caught.notification, StatusNotification):
            it = caught.notification
            lives.setdefault((it.message_id, it.recipient), []).append(place)
    first, second = next(places for places in lives.values() if len(places) >= 4)[-2:]
    match how:
        case "swap":
            requests[first], requests[second] = requests[second], requests[first]
        case "drop":
            del requests[first]
        case "duplicate":
            caught = requests[second]
            again = msgspec.structs.replace(caught, headers={**caught.headers, "webhook-id": "msg_again"})
            requests.append(again)
        case _:
            raise ValueError(f"{how!r} breaks no law: swap, drop or duplicate")


def judge(played: Played) -> DemoReport:
    """Judge what came against the laws, and each story against what it must say."""
    told: list[Told] = []
    seen: dict[Form, dict[str, int]] = {}
    findings: list[str] = []
    for form, caught in played.requests.items():
        book = Book(caught)
        findings += [f"{form.value}: {finding}" for finding in book.judge()]
        by_name = {life.dispatch[1]: life for life in book.lives.values()}
        seen[form] = {}
        for life in book.lives.values():
            for status in life.statuses:
                seen[form][status] = seen[form].get(status, 0) + 1
        told += [
            Told(story, form, tuple(by_name[name].statuses) if name in by_name else ())
            for name, story in zip(played.names, played.stories, strict=True)
        ]
    callbacks = sum(len(caught) for caught in played.requests.values())
    return DemoReport(tuple(told), seen, tuple(findings), callbacks, played.took_s)


def tell(report: DemoReport, out: Out) -> None:
    """Say what came of each story, the table of statuses by form, and every broken law."""
    by_story: dict[str, list[Told]] = {}
    for told in report.told:
        by_story.setdefault(told.story.title, []).append(told)
    for title, group in by_story.items():
        out(Line("story", title))
        said = {told.statuses for told in group}
        if len(said) == 1 and group[0].is_exact:
            out(Line("ok", "  " + " → ".join(group[0].statuses)))
            continue
        for told in group:
            kind = "ok" if told.is_exact else "bad"
            out(Line(kind, f"  {told.form.value}: " + (" → ".join(told.statuses) or "nothing")))
        out(Line("bad", "  must be: " + " → ".join(group[0].story.says)))
    out(Line("title", f"{'status':<26}" + "".join(f"{form.value:>8}" for form in report.seen)))
    for status in STATUSES:
        counts = [report.seen[form].get(status, 0) for form in report.seen]
        out(
            Line(
                "table" if all(counts) else "bad",
                f"{status:<26}" + "".join(f"{count:>8}" for count in counts),
            )
        )
    for finding in report.findings:
        out(Line("bad", f"broken: {finding}"))
    forms = len(report.seen)
    covered = [status for status in STATUSES if all(report.seen[form].get(status) for form in report.seen)]
    broken = f"{len(report.findings)} law{'' if len(report.findings) == 1 else 's'} broken"
    exact = sum(told.is_exact for told in report.told)
    out(
        Line(
            "ok" if report.holds else "bad",
            f"{len(covered)}/{len(STATUSES)} statuses × {forms}/{len(Form)} forms; {exact} of {len(report.told)} lives "
            f"exactly as told; {broken}; {report.callbacks} callbacks in {report.took_s:.1f} s",
        )
    )
