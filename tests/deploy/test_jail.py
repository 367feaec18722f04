"""Under the unit's own filter of system calls a node does all its work, and what is not allowed is refused for real."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.served import Served
from tests.acceptance.town import hear, say, town, until_told
from tests.deploy.jail import UNIT

Run = Callable[[Coroutine[Any, Any, None]], None]
JAIL = str(Path(__file__).with_name("jail.py"))

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="only systemd knows which calls its groups hold"
)


def jailed(code: str, unit: Path = UNIT) -> str:
    """What a piece of Python prints under the filter of a unit."""
    ended = subprocess.run(
        [sys.executable, JAIL, "-c", code],
        env={**os.environ, "JAIL_UNIT": str(unit), "PYTHONPATH": os.pathsep.join(sys.path)},
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

    node = Served(tmp_path / "data", program=(JAIL, "-m", "homing.cli"))
    node.start()
    try:
        run(story(node))
    finally:
        node.close()


def test_the_filter_filters() -> None:
    """A call of the kernel's own and a kind of socket that nobody named are refused."""
    assert jailed("import os\ntry: os.sched_setaffinity(0, {0})\nexcept PermissionError: print('no')") == "no"
    assert (
        jailed("import socket\ntry: socket.socket(socket.AF_PACKET)\nexcept PermissionError: print('no')")
        == "no"
    )


def test_it_can_still_tell_its_own_addresses(tmp_path: Path) -> None:
    """The guard asks the kernel over NETLINK which addresses are this machine's: without that family it could not."""
    code = "from homing.callbacks.own_addresses import is_own; print(is_own('127.0.0.1'))"
    assert jailed(code) == "True"
    without = tmp_path / "homing.service"
    without.write_text(UNIT.read_text("utf-8").replace(" AF_NETLINK", ""), "utf-8")
    assert jailed(code, without) == "False"
