"""A small HTTP client for one server: JSON in and out, time limits, every failure as a `CliError`. Nothing is retried."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlsplit

from homing import __version__
from homing.cli.exits import CliError, ExitCode, of_status, usage
from homing.cli.target import Target
from homing.contract.forms import encode_query

TIMEOUT_S: Final = 20.0
PAGE: Final = 200
"""The most items that one page of a list holds."""
Doc: TypeAlias = dict[str, Any]


class Refused(CliError):
    """The server's answer is no. ``status`` and ``problem`` are what it said."""

    def __init__(self, status: int, line: str, problem: Doc) -> None:
        super().__init__(of_status(status), line)
        self.status = status
        self.problem = problem


class ServerFault(Exception):
    """The server says that the fault is its own: for the report, not for the one line."""


def path(*parts: object) -> str:
    """Return a path whose parts are escaped: an identifier may hold slashes."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


class Client:
    """One connection to one server, opened at the first request and kept. ``ignored`` gathers what servers did not know."""

    def __init__(self, target: Target, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(target.url)
        try:
            port = parts.port
        except ValueError as error:
            raise usage(f"{target.url!r} is no address of a server: {error}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise usage(f"{target.url!r} is no address of a server such as http://127.0.0.1:8480")
        if not (target.token.isascii() and target.token.isprintable()):
            raise CliError(ExitCode.NOT_ALLOWED, "the token holds characters that no token has")
        self._target = target
        self._prefix = parts.path.rstrip("/")
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                parts.hostname, port, timeout=timeout_s, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, port, timeout=timeout_s)
        self.ignored: list[str] = []

    def call(
        self,
        method: str,
        where: str,
        body: Doc | None = None,
        *,
        query: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Make one request and return the JSON of its 2xx answer, None for an empty one.

        Raises `Refused` for a 4xx or 503, `CliError` when no answer came.
        """
        asked = [(name, str(value)) for name, value in (query or {}).items() if value is not None]
        target = self._prefix + where + (f"?{encode_query(asked)}" if asked else "")
        headers = {
            "authorization": f"Bearer {self._target.token}",
            "accept": "application/json",
            "user-agent": f"homing-cli/{__version__}",
        }
        payload = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        if payload is not None:
            headers["content-type"] = "application/json"
        if idempotency_key is not None:
            headers["idempotency-key"] = _header(idempotency_key)
        if timeout_s is not None:
            self._wait(timeout_s)
        try:
            status, answered, text = self._exchange(method, target, payload, headers)
        finally:
            if timeout_s is not None:
                self._wait(TIMEOUT_S)
        if (ignored := answered.get("homing-ignored")) is not None:
            self.ignored.append(ignored)
        if 200 <= status < 300:
            return _json(text, self._target.url) if text else None
        raise self._refusal(method, where, status, text)

    def items(self, where: str, *, query: Mapping[str, object] | None = None, limit: int = 50) -> Doc:
        """Return up to ``limit`` items of a list, page by page, in the list's own shape."""
        items: list[Doc] = []
        cursor: str | None = None
        while True:
            asked = {**(query or {}), "limit": min(PAGE, limit - len(items)), "cursor": cursor}
            page = self.call("GET", where, query=asked)
            items += page["items"]
            cursor = page.get("nextCursor")
            if cursor is None or len(items) >= limit:
                return {"items": items, "nextCursor": cursor}

    def each(self, where: str, *, query: Mapping[str, object] | None = None) -> Iterator[Doc]:
        """Yield every item of a list."""
        cursor: str | None = None
        while True:
            page = self.call("GET", where, query={**(query or {}), "limit": PAGE, "cursor": cursor})
            yield from page["items"]
            cursor = page.get("nextCursor")
            if cursor is None:
                return

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _exchange(
        self, method: str, target: str, payload: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        url = self._target.url
        try:
            self._connection.request(method, target, payload, headers)
            # Closed here: were it left to its end as an object, Python would lose a Ctrl-C that comes meanwhile.
            with self._connection.getresponse() as answer:
                return answer.status, dict(_lower(answer.getheaders())), answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(
                url, error, self._connection.timeout or TIMEOUT_S, "; is the server running?"
            ) from error

    def _wait(self, timeout_s: float) -> None:
        self._connection.timeout = timeout_s
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_s)

    def _refusal(self, method: str, where: str, status: int, text: bytes) -> Exception:
        problem: Doc = {}
        try:
            said = json.loads(text)
            problem = said if isinstance(said, dict) else {}
        except ValueError:
            pass
        if of_status(status) is ExitCode.OURS:
            return ServerFault(
                f"{method} {where} was answered {status}: {text[:1000].decode('utf-8', 'replace')}"
            )
        code, detail = problem.get("code"), problem.get("detail")
        if code is None:
            line = f"{self._target.url} answered {status} to {method} {where}: is this a Homing server?"
            if status in {502, 503, 504}:
                line = f"{self._target.url} answered {status}; what is in front of the server cannot reach it"
            return Refused(status, line, problem)
        return Refused(status, f"{detail} ({code})", problem)


def unreachable(url: str, error: Exception, timeout_s: float, hint: str = "") -> CliError:
    """Return what is told when no answer came from ``url``; ``hint`` is for those who could not even connect."""
    match error:
        case TimeoutError():
            line = f"{url} did not answer in {timeout_s:.0f} s"
        case ssl.SSLError():
            line = f"{url}: TLS: {error.reason or error}"
        case socket.gaierror():
            line = f"{url}: this name is not known ({error.strerror})"
        case OSError():
            why = (error.strerror or str(error) or type(error).__name__).lower()
            line = f"cannot reach {url}: {why}{hint}"
        case http.client.InvalidURL():
            return usage(f"{url!r} is no address of a server")
        case _:
            line = f"{url} does not speak HTTP as expected ({type(error).__name__})"
    return CliError(ExitCode.UNREACHABLE, line)


def _lower(headers: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((name.lower(), value) for name, value in headers)


def _header(value: str) -> str:
    if not value.isascii() or not value.isprintable() or not 0 < len(value) <= 255:
        raise usage("--idempotency-key must have 1 to 255 printable ASCII characters")
    return value


def _json(text: bytes, url: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        line = f"{url} did not answer with JSON: is this a Homing server?"
        raise CliError(ExitCode.UNREACHABLE, line) from error
