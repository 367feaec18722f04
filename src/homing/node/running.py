"""One running Homing: in which order its parts start and stop, and when it says that it is ready."""

import asyncio
import gc
import socket
from typing import Final

from homing.clock import Clock
from homing.config import Settings
from homing.gateway.hub import Online
from homing.gateway.protocol import DeviceSocketProtocol
from homing.node.ends import Ends
from homing.node.keys import admin_token_of
from homing.node.parts import Parts
from homing.node.stores import Opened, open_store
from homing.server import Asgi, HttpServer, bind
from homing.telemetry import LogEvent, going_on, logger

RELOAD_AGAIN_S: Final = 1.0


class Node:
    """One running Homing; made by `open`, ended by `close`."""

    def __init__(
        self, settings: Settings, opened: Opened, admin_token: str, ends: Ends, online: Online
    ) -> None:
        self.settings = settings
        self.store = opened.store
        self.admin_token = admin_token
        self._is_shared = opened.is_shared
        self._is_stopping = False
        self._servers: list[HttpServer] = []
        self._reloading: asyncio.Task[None] | None = None
        self._parts = parts = Parts(settings, opened, ends, online, admin_token, self.not_ready)
        self.engine = parts.engine
        self.counters = parts.counters

    @classmethod
    async def open(
        cls,
        settings: Settings,
        *,
        clock: Clock | None = None,
        ends: Ends | None = None,
        memory: bool = False,
        name: str | None = None,
    ) -> "Node":
        """Open the store and start every part but the HTTP server.

        ``name`` is the node's alone, where several share a store: who had it before is no more, and is taken over at once.
        ``memory`` keeps everything in memory (tests, demo). Raises a `StartError` that says what to change.
        """
        online = Online()
        opened = await open_store(settings, clock, online, memory=memory, name=name)
        store = opened.store
        online.said = lambda recipient, is_linked: store.link(recipient, is_linked=is_linked)
        try:
            data = None if memory else settings.data_path()
            token = admin_token_of(data, is_shared=opened.is_shared)
            node = cls(settings, opened, token, ends or Ends(), online)
            await node._parts.start(node._lost)
        except BaseException:
            await store.close()
            raise
        _calm_collector()
        logger().info(LogEvent.STORE_OPENED, path=opened.path, schema=store.schema)
        logger().info(LogEvent.NODE_STARTED, store=opened.path, epoch=store.epoch)
        return node

    async def listen(self, listener: socket.socket | None = None) -> int:
        """Serve on a bound socket, or bind what the settings say; return the port."""
        return await self._serve(self._parts.app, listener or bind(self.settings.server.listen))

    async def listen_aside(self, listener: socket.socket) -> int:
        """Serve health and metrics alone on another bound socket; return its port."""
        port = await self._serve(self._parts.health, listener)
        logger().info(LogEvent.METRICS_SERVED, port=port)
        return port

    def not_ready(self) -> list[str]:
        """Why this node takes no work just now; empty when it does."""
        reasons = ["stopping"] if self._is_stopping else []
        if not self._is_shared:
            if self.engine.trouble is not None:
                reasons.append(f"store: {self.engine.trouble}")
        elif self.store.trouble is not None:
            # Its heart writes every other second; a commit may not come before this node says that it is ready.
            reasons.append(f"database: {self.store.trouble}")
        return reasons

    def is_quiet(self) -> bool:
        """Say whether nothing is under way anywhere and nothing is due."""
        return self._parts.is_quiet()

    async def close(self, grace_s: float = 15.0) -> None:
        """Stop in order: no new messages, devices told, tries ended or given back, everything on disk; then close.

        Whatever one part's end comes to, the next one's follows: what a node does not give back, nobody has for a while.
        """
        if self._is_stopping:
            return
        self._is_stopping = True
        logger().info(LogEvent.NODE_STOPPING)
        parts = self._parts
        self.engine.stop_accepting()
        if self._reloading is not None:
            self._reloading.cancel()
        await parts.close(grace_s)
        for server in self._servers:
            with going_on():
                await server.close()
        with going_on():
            await self.engine.close()
        with going_on():
            parts.end()
        with going_on():
            await self.store.close()
        logger().info(LogEvent.STORE_CLOSED)
        logger().info(LogEvent.NODE_STOPPED)

    async def _serve(self, app: Asgi, listener: socket.socket) -> int:
        server = HttpServer(app, listener, DeviceSocketProtocol)
        self._servers.append(server)
        await server.start()
        return server.port

    def _lost(self) -> None:
        """Drop what is held, and read the configuration again: the others took this node for dead, or it missed changes."""
        self._parts.drop()
        if self._reloading is not None:
            self._reloading.cancel()  # what it has read so far may lack what was missed since
        self._reloading = asyncio.create_task(self._reload(), name="reload")

    async def _reload(self) -> None:
        while True:
            try:
                await self._parts.reload()
                break
            except Exception as error:  # noqa: BLE001 - it would go on with a configuration that is no more
                logger().error(LogEvent.STORE_FULL, error=repr(error))
                await asyncio.sleep(RELOAD_AGAIN_S)


def _calm_collector() -> None:
    """Take what was loaded out of the garbage collector's rounds, and have it make fewer: nothing here builds cycles
    by the thousand, and a round over all modules costs more than it ever frees.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
