"""What several processes at one address rest on, piece by piece; the whole is in tests/acceptance/test_processes.py."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.cli.processes import LONG_S, Process, environment
from tests.waiting import again

from homing.cli import supervising
from homing.cli.exits import ExitCode
from homing.cli.supervising import AGAIN_S, FUTILE, Crew, delays_s
from homing.config import Settings
from homing.errors import AddressInUse
from homing.server import bind, neighbour, reserve


def test_one_that_ends_again_and_again_is_left_alone_ever_longer() -> None:
    """Up to the last delay, which stays."""
    first = list(islice(delays_s(), len(AGAIN_S) + 2))
    assert first == sorted(first)
    assert first[-3:] == [AGAIN_S[-1]] * 3


@pytest.mark.parametrize(
    ("listen", "places", "there"),
    [
        ("127.0.0.1:9480", 0, "127.0.0.1:9480"),
        ("[::1]:9480", 2, "[::1]:9482"),
        ("localhost:0", 2, "localhost:0"),
    ],
)
def test_each_further_process_has_the_next_port(listen: str, places: int, there: str) -> None:
    """Any free one stays any free one."""
    assert neighbour(listen, places) == there


def test_an_address_is_shared_by_those_it_is_reserved_for_and_nobody_else() -> None:
    """Whoever would take it alone finds it in use, and so does a second supervisor once somebody listens."""
    reserved, listen = reserve("127.0.0.1:0")
    with (
        closing(reserved),
        closing(bind(listen, is_shared=True)) as one,
        closing(bind(listen, is_shared=True)) as two,
    ):
        assert not listen.endswith(":0")
        assert one.getsockname() == two.getsockname() == reserved.getsockname()
        one.listen()
        with pytest.raises(AddressInUse):
            reserve(listen)
        with pytest.raises(AddressInUse):
            bind(listen)
        with socket.create_connection(one.getsockname()) as link:
            assert link.getpeername() == one.getsockname()


def test_a_shared_address_serves_ipv6_too() -> None:
    """The brackets stay where they belong."""
    reserved, listen = reserve("[::1]:0")
    with closing(reserved):
        assert listen == f"[::1]:{reserved.getsockname()[1]}"


FROZEN = "import signal; print('serves', flush=True); signal.pause()"
FAILING = """
import pathlib, sys
starts = pathlib.Path(sys.argv[1])
count = len(starts.read_text()) if starts.exists() else 0
starts.write_text("." * (count + 1))
if count == 0:
    print("serves", flush=True)
sys.exit(6)
"""


@pytest.mark.timeout(20)
def test_one_that_does_not_stop_is_killed(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its supervisor ends all the same, and says so."""
    monkeypatch.setattr(supervising, "PROGRAM", ("-c", FROZEN))
    monkeypatch.setattr(supervising, "STOP_S", 0.05)

    async def story() -> None:
        crew = Crew(Settings())
        crew.keep(1)
        await crew.ready
        (process,) = crew._running
        assert await crew.end() == ExitCode.OURS
        assert process.returncode == -signal.SIGKILL
        assert "killed" in log.getvalue()

    asyncio.run(story())


@pytest.mark.timeout(20)
def test_the_patience_with_several_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins for all of them at once: those that hang are not waited for one after the other."""
    monkeypatch.setattr(supervising, "PROGRAM", ("-c", FROZEN))
    monkeypatch.setattr(supervising, "STOP_S", 0.05)
    stopped = supervising._stopped

    async def story() -> None:
        all_are_waited_for = asyncio.Barrier(3)

        async def waited_for(process: asyncio.subprocess.Process) -> int:
            await all_are_waited_for.wait()
            return await stopped(process)

        monkeypatch.setattr(supervising, "_stopped", waited_for)
        crew = Crew(Settings())
        for number in (1, 2, 3):
            crew.keep(number)

        async def serving() -> int:
            return len(crew._serving)

        await again(serving, lambda count: count == 3, "a crew does not tell that it has started one")
        assert await crew.end() == ExitCode.OURS

    asyncio.run(story())


@pytest.mark.timeout(20)
def test_one_that_was_told_to_stop_before_it_could_listen_stopped_as_it_should(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """systemd tells all processes of a service: the supervisor's exit code makes no failure of that."""
    monkeypatch.setattr(supervising, "PROGRAM", ("-c", FROZEN))

    async def story() -> None:
        crew = Crew(Settings())
        crew.keep(1)
        await crew.ready
        (process,) = crew._running
        process.terminate()
        assert await crew.end() == ExitCode.DONE

    asyncio.run(story())


HANGING = """
import os, signal, sys
print("serves", flush=True)
sys.stdin.buffer.read()
print("told", os.getpid(), file=sys.stderr, flush=True)
signal.pause()
"""
SUPERVISOR = """
import sys
import msgspec
from homing.cli import supervising
from homing.config import Settings
supervising.PROGRAM = ("-c", sys.argv[1])
settings = Settings()
server = msgspec.structs.replace(settings.server, listen="127.0.0.1:0", processes=2)
sys.exit(supervising.run_processes(msgspec.structs.replace(settings, server=server)))
"""


@pytest.mark.timeout(30)
def test_a_second_signal_ends_all_at_once() -> None:
    """Whoever is told and hangs does not outlive its supervisor, which is ended by the signal."""
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, HANGING],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        supervisor = Process(process)
        hang: list[psutil.Process] = []
        try:
            supervisor.until("http://")
            supervisor.heard("process.started.*process.:2")
            process.send_signal(signal.SIGTERM)
            hang += [psutil.Process(int(supervisor.heard(r"^told (\d+)")[1])) for _ in range(2)]
            assert supervisor.end(signal.SIGTERM)[0] == -signal.SIGTERM
            for one in hang:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.wait(LONG_S)
        finally:
            process.kill()
            for one in hang:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()


@pytest.mark.timeout(20)
def test_what_keeps_all_from_starting_again_ends_their_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With their own exit code, once each was started in vain so often; none is tried for ever."""
    starts = tmp_path / "starts"
    monkeypatch.setattr(supervising, "PROGRAM", ("-c", FAILING, str(starts)))
    monkeypatch.setattr(supervising, "AGAIN_S", (0.0,))

    async def story() -> None:
        crew = Crew(Settings())
        crew.keep(1)
        await crew.ready
        assert await crew.failed == 6
        await crew.end()

    asyncio.run(story())
    assert len(starts.read_text()) == 1 + FUTILE


def test_one_that_serves_keeps_the_others_being_tried() -> None:
    """Only when none serves is it enough, and only when each was tried so often."""

    async def story() -> None:
        crew = Crew(Settings())
        crew._tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(2)]
        crew._futile.update({1: FUTILE, 2: FUTILE - 1})
        assert not crew._is_futile()
        crew._futile[2] += 1
        assert crew._is_futile()
        crew._serving.add(2)
        assert not crew._is_futile()
        await crew.end()

    asyncio.run(story())
