"""`homing dev`: one node with the simulated world around it, on this machine only, and what is told about it.

What lives in the world is the simulator's business, what the node is made of the node's; here they are put together.
"""

import asyncio
import json
import os
import time
import webbrowser
from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import check_saved_url
from homing.cli.exits import usage
from homing.cli.feed import Feed
from homing.cli.panel import Wish, panel
from homing.cli.settings import store_url
from homing.cli.signals import when_told
from homing.cli.target import DEV_FILE
from homing.clock import Clock, RealClock
from homing.config import Settings, load
from homing.errors import UrlNotAllowed
from homing.node import Node
from homing.server import bind
from homing.simulator.clock import SkipClock, VirtualClock
from homing.simulator.home import ends_of
from homing.simulator.world import Application, World

APP_ID: Final = 1
RETRY_DELAYS_S: Final = (1, 3, 10, 10, 30, 30, 60, 60, 60, 60, 60)
"""Shorter than in production, as many tries."""
_QUIET_LOGS: Final = {"HOMING_TELEMETRY__LOG_FORMAT": "text", "HOMING_TELEMETRY__LOG_LEVEL": "warning"}
"""What the environment says unless it says otherwise: the feed tells people what happens."""
_ENDPOINT: Final = "homing dev"
_INBOX: Final = "homing dev, what phones send"
_RECEIVER: Final = "receiver"


def run_dev(wish: Wish) -> int:
    """Run until a signal and return the exit code; raises what says why it cannot start."""
    settings = settings_for(wish)
    _make_folder(wish.data)
    return uvloop.run(_run(wish, settings))


def settings_for(wish: Wish) -> Settings:
    """Return the settings: those of the environment, with what `homing dev` is about on top."""
    host = wish.listen.rpartition(":")[0]
    if host != "localhost" and not (host.startswith("127.") and _is_address(host)):
        raise usage(f"--listen: {wish.listen[:60]!r} is not on this machine only, as 127.0.0.1:8480 is")
    allow = ["127.0.0.1/32"]
    if wish.forward_to is not None:
        allow.append(opened(wish.forward_to))
    flags: dict[str, object] = {
        "server.listen": wish.listen,
        "store.url": store_url(wish.data),
        "callbacks.allow": tuple(allow),
        "callbacks.retry_delays_seconds": RETRY_DELAYS_S,
    }
    settings = load(Path(os.devnull), {**_QUIET_LOGS, **os.environ}, flags).settings
    if wish.forward_to is not None:
        try:
            check_saved_url(wish.forward_to, AddressPolicy(settings.callbacks.allow))
        except UrlNotAllowed as refused:
            raise usage(f"--forward-to: {refused.detail}") from refused
    return settings


def opened(url: str) -> str:
    """Return what the guard is told to open for a URL: its host by exact name, or its one address."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    if not host:
        raise usage(f"--forward-to: {url[:80]!r} is no URL such as http://localhost:8000/homing")
    if not _is_address(host):
        return host
    return f"{host}/{ip_address(host).max_prefixlen}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _run(wish: Wish, settings: Settings) -> int:
    clock = _clock(wish.clock)
    world = World(clock)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(bind(settings.server.listen))
        ended = when_told()
        feed = Feed(settings.callbacks.retry_delays_seconds, clock.now_ms)
        ends = msgspec.structs.replace(ends_of(world), watch=None if wish.is_quiet else feed.watch)
        node = await Node.open(settings, clock=clock, ends=ends)
        stack.push_async_callback(node.close)
        stack.push_async_callback(world.close)
        port = await node.listen(listener)
        host = settings.server.listen.rpartition(":")[0]
        url = f"http://{host}:{port}"
        world.attach(host, port, node.admin_token, {"node": node.is_quiet})
        app = await world.application(APP_ID, "demo")
        target, secret, inbox_secret = await _endpoints(world, app, wish)
        await world.people(app)
        _remember(wish.data, url, node.admin_token, app, secret, inbox_secret)
        if wish.is_quiet:
            print(url, flush=True)
        else:
            secrets = (secret, inbox_secret)
            print(panel(wish, url, node.admin_token, target, secrets, RETRY_DELAYS_S), flush=True)
        if wish.opens_page:
            asyncio.get_running_loop().run_in_executor(None, webbrowser.open, f"{url}/")
        return await ended


def _clock(kind: str) -> Clock:
    if kind == "skip":
        return SkipClock()
    return VirtualClock(time.time_ns() // 1_000_000) if kind == "virtual" else RealClock()


async def _endpoints(world: World, app: Application, wish: Wish) -> tuple[str, str, str]:
    """Point the demo application's endpoint and inbox to the receiver that is wanted; return its URL, and their secrets."""
    receiver = None if wish.forward_to is not None else await world.receiver(_RECEIVER)
    target = wish.forward_to or (receiver.url if receiver is not None else "")
    known, known_inbox = _known_secret(wish.data, "secret"), _known_secret(wish.data, "inboxSecret")
    made = await world.endpoint(app, target, wish.form, description=_ENDPOINT, secret=known)
    inbox = await world.endpoint(app, target, wish.form, description=_INBOX, secret=known_inbox, kind="inbox")
    if receiver is not None:
        receiver.trust(made.secret, inbox.secret)
    return target, made.secret, inbox.secret


def _make_folder(data: Path) -> None:
    for folder in (data, DEV_FILE.parent):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / ".gitignore").write_text("*\n")
        except OSError as error:
            raise usage(f"{folder} cannot be written: {error.strerror}") from error


def _known_secret(data: Path, name: str) -> str | None:
    """A secret as the run before kept it; None when that was about another store."""
    try:
        held = json.loads(DEV_FILE.read_text("utf-8"))
        return str(held[name]) if held["data"] == str(data.absolute()) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(data: Path, url: str, token: str, app: Application, secret: str, inbox_secret: str) -> None:
    """Write ``.homing/dev.json`` (0600), whole or not at all: the verbs beside this one read it."""
    held = {
        "url": url,
        "token": token,
        "appId": app.id,
        "appKey": app.app_key,
        "secret": secret,
        "inboxSecret": inbox_secret,
        "data": str(data.absolute()),
    }
    new = DEV_FILE.with_suffix(f".{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(held, file, indent=2)
    new.replace(DEV_FILE)
