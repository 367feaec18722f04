"""Under the unit's own filter of system calls a node does all its work, and what is not allowed is refused for real."""

import asyncio
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.served import Served
from tests.acceptance.town import hear, say, town, until_told
from tests.deploy.calls import REFUSED
from tests.deploy.jail import ARCHITECTURES, JAILS, UNIT

Run = Callable[[Coroutine[Any, Any, None]], None]
JAIL = ("-m", "tests.deploy.jail")
PATH = os.pathsep.join(filter(None, sys.path))

HARMLESS = ("chroot", "init_module", "mount", "ptrace", "sched_setaffinity", "setpriority", "swapon")
"""Refused calls that do nothing when all they are given is -1, were they not refused."""


def jailed(code: str, unit: Path = UNIT, kind: str = "table") -> str:
    """What a piece of Python prints under the filter of a unit."""
    ended = subprocess.run(
        [sys.executable, *JAIL, "-c", code],
        env={**os.environ, "JAIL_UNIT": str(unit), "JAIL_KIND": kind, "PYTHONPATH": PATH},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_a_node_does_its_work_under_the_filter(tmp_path: Path, run: Run) -> None:
    """Store, API, a live link, a signed callback, the drain: nothing of it needs a call that the unit refuses."""

    async def story(node: Served) -> None:
        await node.ready()
        async with town(node) as place:
            await place.user("ann")
            receiver = await place.receiver("json")
            async with place.phone(await place.log_in("ann")) as phone:
                message_id = await place.send("ann")
                assert (await hear(phone))["messageId"] == message_id
                await say(phone, {"type": "read", "messageIds": [message_id]})
                await until_told(receiver, message_id, "enqueued", "delivered", "read")
        status = Path(f"/proc/{node._process.pid}/status").read_text()  # type: ignore[union-attr]
        assert "Seccomp:\t2" in status
        assert await asyncio.to_thread(node.stop) == 0
        assert node.faults() == []

    node = Served(tmp_path / "data", program=(*JAIL, "-m", "homing.cli"), changes={"PYTHONPATH": PATH})
    node.start()
    try:
        run(story(node))
    finally:
        node.close()


@pytest.mark.parametrize("kind", JAILS)
def test_the_filter_filters(kind: str) -> None:
    """Calls of the kernel's own and a kind of socket that nobody named are refused."""
    column = ARCHITECTURES[platform.machine()][0]
    numbers = [REFUSED[name][column] for name in HARMLESS]
    calls = f"import ctypes, errno; call = ctypes.CDLL(None, use_errno=True).syscall\nfor n in {numbers}:"
    tell = "print(call(n, -1, -1, -1, -1, -1), errno.errorcode[ctypes.get_errno()])"
    assert jailed(f"{calls} {tell}", kind=kind).splitlines() == ["-1 EPERM"] * len(HARMLESS)
    packets = "import socket\ntry: socket.socket(socket.AF_PACKET)\nexcept PermissionError: print('no')"
    assert jailed(packets, kind=kind) == "no"


@pytest.mark.parametrize("kind", JAILS)
def test_it_can_still_tell_its_own_addresses(tmp_path: Path, kind: str) -> None:
    """The guard asks the kernel over NETLINK which addresses are this machine's: without that family it could not."""
    code = "from homing.callbacks.own_addresses import is_own; print(is_own('127.0.0.1'))"
    assert jailed(code, kind=kind) == "True"
    without = tmp_path / "homing.service"
    without.write_text(UNIT.read_text("utf-8").replace(" AF_NETLINK", ""), "utf-8")
    assert jailed(code, without, kind) == "False"


def test_a_table_of_other_lines_says_so(tmp_path: Path) -> None:
    """Whoever changes what the unit lets through is told that the table of what it refuses is of the lines before."""
    other = tmp_path / "homing.service"
    other.write_text(UNIT.read_text("utf-8").replace("~@privileged @resources", "~@privileged"), "utf-8")
    with pytest.raises(AssertionError, match="FILTERS"):
        jailed("", other)
