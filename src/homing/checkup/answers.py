"""What a running server says of itself over HTTP: whether it lives, whether it takes work, what time it has."""

import http.client
import socket
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple, TypeVar

import msgspec

_T = TypeVar("_T")

PATIENCE_S: Final = 3.0
"""How long a server may take for each answer."""
_MAX_BYTES: Final = 64 * 1024
_ANY: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - dialled, not bound
"""Where a server that listens everywhere is found on its own machine."""


class _Health(msgspec.Struct):
    status: str


class _Ready(msgspec.Struct):
    ready: bool
    reasons: tuple[str, ...]


class _Clock(msgspec.Struct):
    now: datetime


class Answers(NamedTuple):
    """What was heard at an address. ``fault`` says why no Homing answers there, and is empty when one does."""

    url: str
    fault: str = ""
    is_ready: bool = False
    reasons: tuple[str, ...] = ()
    ahead_s: float | None = None
    """How far its clock is ahead of this process's, to about a second; None when it does not tell."""
    pushed_ms: int = 0
    """How far a simulated clock was pushed; 0 for any other."""


def address_of(listen: str) -> str | None:
    """Return host and port at which a server that listens so is reached from its machine; None for any free port."""
    host, _, port = listen.rpartition(":")
    return None if int(port) == 0 else f"{_ANY.get(host, host)}:{port}"


def ask(listen: str) -> Answers | None:
    """Ask the server of these settings; None where they leave its port open."""
    address = address_of(listen)
    if address is None:
        return None
    url = f"http://{address}"
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=PATIENCE_S)
    try:
        health, date = _get(connection, "/healthz", _Health)
        now_s = time.time()
        if health is None or health.status != "ok":
            return Answers(url, "something answers there that is no Homing")
        ready, _ = _get(connection, "/readyz", _Ready)
        if ready is None:
            return Answers(url, "it lives, but /readyz tells nothing")
        clock, _ = _get(connection, "/sim/1/clock", _Clock)
    except TimeoutError:
        return Answers(url, f"no answer within {PATIENCE_S:.0f} s")
    except socket.gaierror:
        return Answers(url, "the name in server.listen is not known")
    except OSError as error:
        return Answers(url, (error.strerror or str(error)).lower())
    except http.client.HTTPException:
        return Answers(url, "something answers there that does not speak HTTP")
    finally:
        connection.close()
    pushed_ms = 0 if clock is None else round((clock.now.timestamp() - time.time()) * 1000)
    return Answers(url, "", ready.ready, ready.reasons, _ahead_s(date, now_s), pushed_ms)


def _get(connection: http.client.HTTPConnection, path: str, kind: type[_T]) -> tuple[_T | None, str | None]:
    """Return the JSON of an answer as a ``kind``, None if it is anything else, and the answer's Date."""
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read(_MAX_BYTES)
    try:
        return msgspec.json.decode(body, type=kind), answer.getheader("date")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, None


def _ahead_s(date: str | None, now_s: float) -> float | None:
    try:
        # A Date has whole seconds: on the average its moment was half a second later.
        return None if date is None else parsedate_to_datetime(date).timestamp() + 0.5 - now_s
    except ValueError:
        return None
