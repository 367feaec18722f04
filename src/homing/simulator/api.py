"""``/sim/1``: the hand on the simulated world over HTTP, for `homing clock` and for tests in other languages.

Composed only by `homing dev`, `homing demo` and tests; it listens where they listen, on loopback, and asks for no token.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from homing.contract.notification import StatusNotification, keys
from homing.contract.status import STATUSES
from homing.device.errors import DeviceError
from homing.simulator.backend import Refused
from homing.simulator.clock import NotQuiet
from homing.simulator.durations import duration_ms
from homing.simulator.receivers import Caught
from homing.simulator.trigger import CannotTrigger, Trigger, Wish
from homing.simulator.world import World
from homing.telemetry import LogEvent, logger

_MAX_BODY_BYTES: Final = 64 * 1024


class Advance(msgspec.Struct, frozen=True):
    """How far to push the clock: exactly one of the three."""

    by: str | None = None
    to: str | None = None
    until: str | None = None


class Order(msgspec.Struct, frozen=True):
    """What a phone is to do by hand."""

    do: str
    text: str = ""


class Becomes(msgspec.Struct, frozen=True, rename={"is_told": "is"}):
    """How something is to behave from now on."""

    is_told: str


class _Wrong(Exception):
    """Answered with this status and text."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


Handler = Callable[[Request], Awaitable[object]]
_T = TypeVar("_T")


def application(world: World) -> Starlette:
    """Return the ASGI application; its paths begin with ``/sim/1``."""
    hand = _Hand(world)
    routes = [
        ("/sim/1/clock", "GET", hand.clock),
        ("/sim/1/clock/advance", "POST", hand.advance),
        ("/sim/1/phones", "GET", hand.phones),
        ("/sim/1/phones/{name}", "POST", hand.phone),
        ("/sim/1/receivers/{name}", "POST", hand.receiver),
        ("/sim/1/carrier", "POST", hand.carrier),
        ("/sim/1/push/{platform}", "POST", hand.push),
        ("/sim/1/callbacks", "GET", hand.callbacks),
        ("/sim/1/trigger", "POST", hand.trigger),
    ]
    return Starlette(
        routes=[Route(path, _door(handler), methods=[method]) for path, method, handler in routes]
    )


def _door(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return _json(200, await handler(request))
        except _Wrong as wrong:
            status, detail = wrong.status, wrong.detail
        except ValueError as wrong:
            status, detail = 422, str(wrong)
        except NotQuiet as stalled:
            status, detail = 503, str(stalled)
        except (OSError, Refused, DeviceError) as failed:
            status, detail = 502, str(failed)
        code = "not_found" if status == 404 else "invalid_request" if status < 500 else "unavailable"
        problem = {"type": f"/docs#{code}", "title": detail, "status": status, "detail": detail, "code": code}
        return _json(status, problem, "application/problem+json")

    return answer


def _json(status: int, value: object, media_type: str = "application/json") -> Response:
    return Response(msgspec.json.encode(value), status, media_type=media_type)


async def _read(request: Request, kind: type[_T]) -> _T:
    body = await request.body()
    if len(body) > _MAX_BODY_BYTES:
        raise _Wrong(413, f"at most {_MAX_BODY_BYTES} bytes")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as wrong:
        raise _Wrong(400, str(wrong)) from wrong


class _Hand:
    """The handlers; each returns what is answered as JSON."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._trigger = Trigger(world)

    async def clock(self, _request: Request) -> object:
        return {"now": _iso(self._world.clock.now_ms())}

    async def advance(self, request: Request) -> object:
        conductor = self._world.conductor
        if conductor is None:
            raise _Wrong(409, "the clock is real; start with --clock skip or virtual to push it")
        wish = await _read(request, Advance)
        match wish:
            case Advance(by=str(by), to=None, until=None):
                now_ms = await conductor.advance(by_ms=duration_ms(by))
            case Advance(by=None, to=str(to), until=None):
                now_ms = await conductor.advance(to_ms=_instant_ms(to))
            case Advance(by=None, to=None, until="quiet"):
                now_ms = await conductor.advance()
            case Advance(by=None, to=None, until=str(status)) if status in STATUSES:
                now_ms = await conductor.advance(until=self._until(status))
            case Advance(by=None, to=None, until=str(other)):
                raise _Wrong(422, f"until: {other[:40]!r} is neither quiet nor one of the 18 statuses")
            case _:
                raise _Wrong(422, "exactly one of by, to and until")
        logger().info(LogEvent.CLOCK_ADVANCED, now=_iso(now_ms))
        return {"now": _iso(now_ms)}

    async def phones(self, _request: Request) -> object:
        return {
            "items": [
                {
                    "name": phone.name,
                    "promise": phone.habit.promise,
                    "stored": list(phone.stored),
                    "read": phone.read,
                }
                for phone in self._world.phones.values()
            ]
        }

    async def phone(self, request: Request) -> object:
        phone = self._world.phones.get(request.path_params["name"])
        if phone is None:
            raise _Wrong(404, f"there is no phone of that name; there are {', '.join(self._world.phones)}")
        order = await _read(request, Order)
        await phone.do(order.do, order.text)
        return {"name": phone.name, "stored": list(phone.stored), "read": phone.read}

    async def receiver(self, request: Request) -> object:
        receiver = self._world.receivers.get(request.path_params["name"])
        if receiver is None:
            raise _Wrong(404, "there is no receiver of that name")
        wish = await _read(request, Becomes)
        await receiver.becomes(wish.is_told)
        return {"name": receiver.name, "is": wish.is_told}

    async def carrier(self, request: Request) -> object:
        wish = await _read(request, Becomes)
        self._world.carrier.becomes(wish.is_told)
        return {"is": wish.is_told}

    async def push(self, request: Request) -> object:
        service = next(
            (one for name, one in self._world.push.items() if name == request.path_params["platform"]), None
        )
        if service is None:
            raise _Wrong(404, "there are the push services ios, android and web")
        wish = await _read(request, Becomes)
        service.becomes(wish.is_told)
        return {"is": wish.is_told}

    async def callbacks(self, request: Request) -> object:
        """What the receivers got, oldest first; ``?endpoint=`` names one of them."""
        wanted = parse_qs(request.url.query).get("endpoint")
        return {
            "items": [
                _shown(name, caught)
                for name, receiver in self._world.receivers.items()
                if wanted is None or name in wanted
                for caught in receiver.caught
            ]
        }

    async def trigger(self, request: Request) -> object:
        """Bring about a life that ends in a status."""
        try:
            return await self._trigger.bring(await _read(request, Wish))
        except CannotTrigger as no:
            raise _Wrong(no.status, str(no)) from no

    def _until(self, status: str) -> Callable[[], bool]:
        receivers = list(self._world.receivers.values())
        heard: list[bool] = []

        def listen(caught: Caught) -> None:
            it = caught.notification
            if isinstance(it, StatusNotification) and it.status == status:
                heard.append(True)

        for receiver in receivers:
            receiver.on_caught.append(listen)

        def holds() -> bool:
            if heard:
                for receiver in receivers:
                    if listen in receiver.on_caught:
                        receiver.on_caught.remove(listen)
            return bool(heard)

        return holds


def _shown(name: str, caught: Caught) -> dict[str, object]:
    told = {} if caught.notification is None else dict(keys(caught.notification, "ms"))
    return {
        "endpoint": name,
        "method": caught.method,
        "rawQuery": caught.raw_query,
        "headers": caught.headers,
        "body": caught.body.decode("utf-8", "replace"),
        "answered": caught.answered,
        "faults": list(caught.faults),
        "callback": told,
    }


def _iso(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _instant_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise ValueError(f"to: {text[:40]!r} is no time such as 2026-11-23T10:00:00Z") from wrong
    if moment.tzinfo is None:
        raise ValueError("to: a time needs its zone, as in 2026-11-23T10:00:00Z")
    return round(moment.timestamp() * 1000)
