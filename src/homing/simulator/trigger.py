"""Triggers: brings about the shortest lawful life that ends in a status, with people and phones made for it where need be.

Everything is asked of Homing over HTTP and done by phones and carriers, as in the stories; here nothing but the clock is
pushed. It must not know the engine.
"""

import asyncio
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import msgspec

from homing.contract.status import STATUSES, Status
from homing.device.errors import Refused as DeviceRefused
from homing.identifiers import fold_identifier
from homing.simulator.backend import Refused
from homing.simulator.durations import duration_ms
from homing.simulator.habits import HABITS
from homing.simulator.lives import INCOMING, SENDS, SHORTEST, Life, lived_by
from homing.simulator.phones import Phone
from homing.simulator.world import Application, World

MOST: Final = 100
"""How many lives of a kind may be asked for at a time."""
SETTABLE: Final = ("messageRef", "recipientRef", "text", "channel")
SETTABLE_INCOMING: Final = ("text", "channel")
_AT_ONCE: Final = 8
_STEP_MS: Final = 1_000
_GRACE_STEPS: Final = 60
"""So much longer than the table says it may take, by the clock: a clock that runs has run on while things were done."""


class CannotTrigger(Exception):
    """It cannot be brought about; ``status`` is how HTTP says so."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Wish(msgspec.Struct, frozen=True):
    """What is to be brought about. ``within``: where the clock cannot be pushed, refuse what takes longer by it."""

    status: str
    app: int = 1
    to: str | None = None
    set: dict[str, str] = {}
    count: int = 1
    push: bool = True
    within: str | None = None


class Item(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One life: its message, and what had been said of it when this was written. ``identifier`` is the person."""

    message_id: str
    identifier: str
    text: str
    said: list[str]
    reached: bool
    fallback_ref: str | None = None


class Brought(msgspec.Struct, frozen=True, rename="camel"):
    """What came of it. ``pushed`` false: the clock was not, and what is not yet reached takes its time."""

    status: str
    says: list[str]
    takes_seconds: float
    pushed: bool
    items: list[Item]


class Trigger:
    """Brings lives about in one world; remembers whom it made."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._named = 0
        self._phoneless: set[tuple[int, str]] = set()
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def bring(self, wish: Wish) -> Brought:
        """Bring it about and return what came of it; `CannotTrigger` says why it cannot be, and then nothing was sent.

        With a clock that can be pushed it returns once the last status was said and told; otherwise, or if ``push``
        is false, as soon as the messages are on their way.
        """
        try:
            app = await self._application(wish.app)
            if wish.status == INCOMING:
                return await self._incoming(app, wish)
            return await self._life(app, wish)
        except Refused as refused:
            if not 400 <= refused.status < 500:
                raise
            raise CannotTrigger(refused.status, refused.detail) from refused
        except DeviceRefused as refused:
            raise CannotTrigger(refused.status, str(refused)) from refused

    async def _application(self, app_id: int) -> Application:
        found = await self._world.backend.ask("GET", f"/1/apps/{app_id}")
        return Application(found["id"], found["appKey"])

    async def _life(self, app: Application, wish: Wish) -> Brought:
        if wish.status not in STATUSES:
            raise CannotTrigger(422, f"status: {wish.status[:40]!r} is neither {INCOMING} nor one of the 18")
        more = _settings(wish, SETTABLE)
        status = Status(wish.status)
        life = SHORTEST[status] if wish.to is None else await self._life_of(app, status, wish.to)
        self._in_time(life, wish)
        names = await self._people(app, life, wish)
        items = []
        for name in names:
            text = more.get("text", f"{status}: {life.title}")
            items.append(await self._send(app, life, name, text, more))
        pushed = wish.push and self._world.conductor is not None
        if pushed:
            items = await self._push(life, items)
            if wish.to is None:
                await self._put_away(item.identifier for item in items if item.reached)
        else:
            items = [await self._look(life, item) for item in items]
        return Brought(wish.status, list(life.says), life.takes_ms / 1000, pushed, items)

    async def _incoming(self, app: Application, wish: Wish) -> Brought:
        more = _settings(wish, SETTABLE_INCOMING)
        endpoints = (await self._world.backend.ask("GET", f"/1/apps/{app.id}/endpoints?limit=200"))["items"]
        if not any(one["kind"] == "inbox" for one in endpoints):
            raise CannotTrigger(422, f"application {app.id} has no inbox (homing inboxes create URL)")
        phone = None if wish.to is None else self._phone(app, wish.to)
        if phone is not None:
            phones = [phone] * _count(wish)
        else:
            sender = Life(INCOMING, (), SENDS)
            names = await self._people(app, sender, wish)
            phones = [self._world.phones[name] for name in names]
        items = []
        for phone in phones:
            name = phone.account.identifier
            text = more.get("text", f"hello from {name}")
            message_id = await phone.write(text, more.get("channel"))
            items.append(Item(message_id, name, text, [INCOMING], True))
        conductor = self._world.conductor
        pushed = wish.push and conductor is not None
        if pushed and conductor is not None:
            await conductor.advance(by_ms=0)
        return Brought(INCOMING, [INCOMING], 0, pushed, items)

    async def _life_of(self, app: Application, status: Status, to: str) -> Life:
        """Return the life of somebody who is named: whoever does not exist yet may live any."""
        phone = self._phone(app, to)
        if phone is not None:
            habit = next((name for name, one in HABITS.items() if one == phone.habit), "")
            life = lived_by(status, habit, phone.platform)
            kind = f"{to} has an {phone.platform} phone of kind {habit}"
        elif (app.id, fold_identifier(to)) in self._phoneless:
            life = lived_by(status, "phoneless", "ios")
            kind = f"{to} has no phone"
        else:
            life = SHORTEST[status]
            if await self._exists(app, to) and life.habit in {None, "phoneless"}:
                raise CannotTrigger(
                    422, f"{to} exists, and has no simulated phone: name nobody, or somebody new"
                )
            return life
        if life is None:
            raise CannotTrigger(
                422, f"{kind}, and so no message ends in {status}: name nobody, or somebody new"
            )
        return life

    def _in_time(self, life: Life, wish: Wish) -> None:
        limit_ms = None if wish.within is None else duration_ms(wish.within)
        if self._world.conductor is None and wish.push and limit_ms is not None and life.takes_ms >= limit_ms:
            raise CannotTrigger(
                409,
                f"the clock is real and cannot be pushed, and {life.ends_in} takes {life.takes_ms / 1000:g} s: "
                "allow more than that (--timeout), or start with --clock skip",
            )

    async def _people(self, app: Application, life: Life, wish: Wish) -> list[str]:
        """Return for each message whom it is to; whoever is not there yet, and has to be, is made."""
        if wish.to is None:
            names = [await self._free_name(app) for _ in range(_count(wish))]
        else:
            names = [wish.to] * _count(wish)
        if life.habit is not None:
            await asyncio.gather(*(self._person(app, name, life) for name in dict.fromkeys(names)))
        return names

    async def _person(self, app: Application, name: str, life: Life) -> None:
        phone, folded = self._phone(app, name), (app.id, fold_identifier(name))
        if phone is not None or folded in self._phoneless:
            return
        if name in self._world.phones:
            raise CannotTrigger(422, f"{name} has a phone in another application: choose another name")
        assert life.habit is not None
        try:
            async with self._room:
                phones = await self._world.person(
                    app, name, life.habit, platform=life.platform, number=life.number
                )
        except DeviceRefused as refused:
            raise CannotTrigger(
                422, f"{name} exists, and has no simulated phone: name somebody new"
            ) from refused
        if not phones:
            self._phoneless.add(folded)

    async def _free_name(self, app: Application) -> str:
        step = 1
        while True:
            self._named += step
            name = f"trigger-{self._named}"
            if name not in self._world.phones and not await self._exists(app, name):
                return name
            step *= 2  # an earlier process may have made thousands

    async def _exists(self, app: Application, name: str) -> bool:
        try:
            await self._world.backend.ask("GET", f"/1/apps/{app.id}/users/{quote(name, safe='')}")
        except Refused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    def _phone(self, app: Application, name: str) -> Phone | None:
        """Return the phone that decides what becomes of a message to somebody, if it is one of this world."""
        return next(iter(self._phones(app, name)), None)

    def _phones(self, app: Application, name: str) -> list[Phone]:
        folded, phones = fold_identifier(name), self._world.phones.values()
        mine = (phone for phone in phones if phone.account.app_key == app.app_key)
        return [phone for phone in mine if fold_identifier(phone.account.identifier) == folded]

    async def _send(self, app: Application, life: Life, name: str, text: str, more: dict[str, str]) -> Item:
        await self._rest(app, name)
        said: dict[str, object] = {**life.wish, **more}
        said.pop("text", None)
        if life.number is not None:
            said["override"] = {"mobileNumber": life.number}
        message_id = await self._world.backend.send(app.id, name, text, **said)
        return Item(message_id, name, text, [], False, life.number)

    async def _rest(self, app: Application, name: str) -> None:
        """Have somebody's phones as their habit has them between messages: what came before must not show."""
        for phone in self._phones(app, name):
            if phone.habit.push == "token-invalid":
                await phone.start()  # Homing forgets a dead token: the app is installed, and removed, again
            await phone.do("online" if phone.habit.is_linked else "offline")
        if self._world.conductor is not None:
            await self._world.conductor.quiet()

    async def _push(self, life: Life, items: list[Item]) -> list[Item]:
        """Let time pass until every message has said its last status, or a little longer than that should take."""
        conductor = self._world.conductor
        assert conductor is not None
        await conductor.advance(by_ms=life.takes_ms)
        for _ in range(_GRACE_STEPS):
            items = [await self._look(life, item) for item in items]
            if all(item.reached for item in items):
                break
            await conductor.advance(by_ms=_STEP_MS)
        return items

    async def _look(self, life: Life, item: Item) -> Item:
        if item.reached:
            return item
        found = await self._world.backend.ask("GET", f"/1/messages/{item.message_id}")
        said = [event["status"] for one in found["recipients"] for event in one["events"]]
        return msgspec.structs.replace(item, said=said, reached=life.ends_in in said)

    async def _put_away(self, names: Iterable[str]) -> None:
        """Close the apps of those who were made for this: open ones would stay connected as long as Homing runs."""
        for name in names:
            if name in self._world.phones:
                await self._world.phones[name].do("offline")


def _count(wish: Wish) -> int:
    if not 1 <= wish.count <= MOST:
        raise CannotTrigger(422, f"count: from 1 to {MOST}")
    return wish.count


def _settings(wish: Wish, known: tuple[str, ...]) -> dict[str, str]:
    for key in wish.set:
        if key not in known:
            raise CannotTrigger(422, f"set: {key[:40]!r} is none of {', '.join(known)}")
    return dict(wish.set)
