"""One HTTP call over one connection: all a device needs to log in, poll and hand over its push token.

Not a client for the web: no redirects, no cookies, no proxies, bodies of a known length only.
"""

import asyncio
import json
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from homing.device.errors import Refused

TIMEOUT_S: Final = 40.0
"""Longer than the longest poll."""
_MAX_ANSWER_BYTES: Final = 4 * 2**20


async def call(
    base_url: str, method: str, path: str, *, token: str | None = None, body: object = None
) -> dict[str, Any]:
    """Return the JSON of a 2xx answer ({} without one); raises `Refused` for any other, OSError without one."""
    url = urlsplit(base_url)
    is_tls = url.scheme == "https"
    host, port = url.hostname or "", url.port or (443 if is_tls else 80)
    payload = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    lines = [
        f"{method} {url.path.rstrip('/')}{path} HTTP/1.1",
        f"Host: {url.netloc.rpartition('@')[2]}",
        "Connection: close",
        f"Content-Length: {len(payload)}",
        "Content-Type: application/json",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    async with asyncio.timeout(TIMEOUT_S):
        context = ssl.create_default_context() if is_tls else None
        reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=2**16)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + payload)
            await writer.drain()
            status, headers, answer = await _read(reader)
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass
    told = _json(answer)
    if not 200 <= status < 300:
        wait = headers.get("retry-after", "")
        raise Refused(
            status,
            str(told.get("code", "")),
            str(told.get("detail", "")),
            int(wait) if wait.isdigit() else None,
        )
    return told


async def _read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.split("\r\n")
        headers = {}
        for line in rest:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = min(int(headers.get("content-length", "0")), _MAX_ANSWER_BYTES)
        return int(first.split(" ")[1]), headers, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError) as error:
        raise ConnectionError("the server's answer is no HTTP") from error


def _json(answer: bytes) -> dict[str, Any]:
    try:
        told = json.loads(answer) if answer else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
