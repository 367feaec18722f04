"""Where a test server can be reached: a port that stays its own, and the address that a client is given."""

import random
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

SUPERUSER: Final = "postgres"
USER: Final = "homing"
"""Owns every fresh database and is nobody special, as in production."""


def dsn(ports: Sequence[int], user: str, password: str, database: str, **parameters: str) -> str:
    """Return the address of a database at each of these ports of 127.0.0.1; `parameters` go after the `?`."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return f"postgresql://{user}:{password}@{hosts}/{database}" + (f"?{query}" if query else "")


def free_port() -> int:
    """Return a port that nothing holds, below those that the kernel gives away: it stays free while its server is down."""
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(ephemeral.read_text("ascii").split()[0]) if ephemeral.exists() else 32768
    for _ in range(50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", random.randrange(10000, lowest) if lowest > 11000 else 0))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")
