"""A customer's back end: what the simulated world asks of Homing it asks over HTTP, as anybody would.

One request per connection: plain, and fast enough for stories. It must not know the engine.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

_DEADLINE_S: Final = 20.0


class _Problem(msgspec.Struct):
    detail: str


class Refused(Exception):
    """Homing answered with an error; the text is its own."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:500].decode('utf-8', 'replace')}")
        self.status = status
        self._body = body

    @property
    def detail(self) -> str:
        """What it said in words."""
        try:
            return msgspec.json.decode(self._body, type=_Problem).detail
        except msgspec.DecodeError:
            return str(self)


class Reply(msgspec.Struct, frozen=True):
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


async def request(
    host: str,
    port: int,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Reply:
    """Make one HTTP/1.1 request and return the whole reply; `TimeoutError`, `OSError` or `ValueError` if there is none."""
    async with asyncio.timeout(_DEADLINE_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            lines = [f"{method} {target} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            if body or method != "GET":
                lines.append(f"Content-Length: {len(body)}")
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
            return _parse(await reader.read(-1))
        finally:
            writer.close()


def _parse(raw: bytes) -> Reply:
    if not raw:
        raise ConnectionResetError("the connection was closed without an answer")
    head, _, body = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _unchunk(body)
    return Reply(int(status_line.split(" ")[1]), headers, body)


def _unchunk(body: bytes) -> bytes:
    whole: list[bytes] = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if length == 0:
            break
        whole.append(rest[:length])
        body = rest[length + 2 :]
    return b"".join(whole)


class Backend:
    """Speaks to one Homing with one token. Every method raises `Refused` for any answer but a 2xx."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self.host = host
        self.port = port
        self.token = token

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send JSON, return the JSON answered (None where there is none)."""
        headers = {"Authorization": f"Bearer {self.token}"}
        encoded = b""
        if body is not None:
            headers["Content-Type"] = "application/json"
            encoded = msgspec.json.encode(body)
        reply = await request(self.host, self.port, method, path, headers=headers, body=encoded)
        if not 200 <= reply.status < 300:
            raise Refused(reply.status, reply.body)
        return msgspec.json.decode(reply.body) if reply.body else None

    async def send(self, app: int, to: str, text: str, **more: object) -> str:
        """Post one message to one person and return its id; ``override`` goes to the recipient, the rest beside it."""
        recipient: dict[str, object] = {"identifier": to}
        if "override" in more:
            recipient["override"] = more.pop("override")
        if "recipientRef" in more:
            recipient["recipientRef"] = more.pop("recipientRef")
        wish = {"mobileAppId": app, "text": text, "recipients": [recipient], **more}
        answer = await self.ask("POST", "/1/messages", wish)
        return str(answer["messageId"])
