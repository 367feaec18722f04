"""A listener's holder without a process around it: when it saves its place, what it says of a gap, how it lets go."""

import time
from typing import Any

import pytest

from homing.cli.client import Refused, ServerFault
from homing.cli.exits import CliError, ExitCode
from homing.cli.listening import CATCH_UP, Listening

AWAY = CliError(ExitCode.UNREACHABLE, "cannot reach it")


class Server:
    """A server with a feed of so many events, which notes each place that is saved, and may be away for a while."""

    def __init__(self, events: int = 0) -> None:
        self.events = events
        self.forgotten = 0
        """Events that it counts and has no more."""
        self.saved: list[tuple[str, bool]] = []
        self.opened: list[dict[str, Any]] = []
        self.away = 0
        self.fault: Exception | None = None
        self.closed = 0

    def call(
        self,
        method: str,
        where: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        if self.away:
            self.away -= 1
            raise AWAY
        if self.fault is not None:
            raise self.fault
        match method, where.rpartition("/")[2]:
            case "POST", "progress":
                assert body is not None
                self.saved.append((body["cursor"], body.get("release", False)))
                return {}
            case "POST", "listeners":
                assert body is not None
                self.opened.append(body)
                cursor = self.saved[-1][0] if self.saved else "0000"
                behind = self.events + self.forgotten - int(cursor)
                return {"cursor": cursor, "behind": min(behind, 1000)}
            case _:
                assert query is not None
                after = int(query["cursor"])
                numbers = range(after + 1, min(after + query["limit"], self.events) + 1)
                last = f"{max(after, *numbers, 0):04}" if numbers else query["cursor"]
                items = [{"cursor": f"{number:04}"} for number in numbers]
                return {
                    "items": items,
                    "cursor": last,
                    "nextCursor": last if int(last) < self.events else None,
                }

    def close(self) -> None:
        self.closed += 1


def listening(server: Server, pauses: list[float] | None = None) -> Listening:
    pause = (pauses if pauses is not None else []).append
    return Listening(server, "it", None, pause)  # type: ignore[arg-type] # the part of a client that it needs


@pytest.mark.parametrize(
    ("events", "forgotten", "told"),
    [
        (0, 0, "resumed: 0 events caught up, 0 lost"),
        (1, 0, "resumed: 1 event caught up, 0 lost"),
        (450, 0, "resumed: 450 events caught up, 0 lost"),
        (3, 2, "resumed: 3 events caught up, 2 lost"),
        (CATCH_UP + 1, 0, "resumed: 1000 events caught up, 0 lost, and there is more"),
    ],
)
def test_a_gap_is_told_in_numbers(
    capsys: pytest.CaptureFixture[str], events: int, forgotten: int, told: str
) -> None:
    """What the server had counted and did not come is lost, and said to be; more than so much is not fetched ahead."""
    server = Server(events)
    server.forgotten = forgotten
    it = listening(server)
    items = it.catch_up(it.open())
    assert capsys.readouterr().err == f"{told}\n"
    assert [one["cursor"] for one in items] == [f"{n:04}" for n in range(1, min(events, CATCH_UP) + 1)]


def test_a_place_is_saved_behind_what_was_dealt_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never before, at most once a second, and at the end with letting go."""
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    server = Server(5)
    it = listening(server)
    items = it.catch_up(it.open())

    def handle(item: dict[str, Any]) -> bool:
        nonlocal now_s
        assert all(saved < item["cursor"] for saved, _ in server.saved)
        now_s += 0.6
        return True

    it.run(items, lambda _item: True, handle, once=5)
    assert server.saved == [("0002", False), ("0004", False)]
    it.close()
    assert server.saved[-1] == ("0005", True)
    assert it.taken == 5


def test_who_must_wait_says_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a local server is waited for the place is held, however long; a server that is away then is no error yet."""
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    server = Server()
    pauses: list[float] = []
    it = listening(server, pauses)
    it.open()
    for _ in range(8):
        now_s += 5
        it.rest(5)
    assert pauses == [5] * 8
    assert server.saved == [("0000", False)] * 4
    server.away = 1
    now_s += 10
    it.rest(5)
    assert server.closed == 1


def test_a_server_that_was_away_is_asked_to_hold_the_place_again(capsys: pytest.CaptureFixture[str]) -> None:
    """What was dealt with is saved first; then the listener is opened by its own lease, and goes on there."""
    server = Server(2)
    pauses: list[float] = []
    it = listening(server, pauses)
    got: list[str] = []

    def handle(item: dict[str, Any]) -> bool:
        got.append(item["cursor"])
        if len(got) == 2:
            server.away = 3
            server.events = 7
        return True

    it.run(it.catch_up(it.open()), lambda _item: True, handle, once=7)
    assert got == [f"{n:04}" for n in range(1, 8)]
    assert server.saved[0] == ("0002", False)
    first, second = server.opened
    assert (second["lease"], second["takeover"], second["since"]) == (first["lease"], False, None)
    assert pauses == [0.1, 0.2, 0.4]
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "resumed", "cannot reach it; trying again until it is back", "resumed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fault", [AWAY, ServerFault("500"), Refused(409, "x", {"detail": "it is held by x"})]
)
def test_letting_go_never_fails(fault: Exception) -> None:
    """Whatever the server says to it, or if it says nothing: the lease ends by itself."""
    server = Server()
    it = listening(server)
    it.open()
    server.fault = fault
    it.close()
    it = listening(server)
    it.close()


def test_who_was_taken_over_ends() -> None:
    """The next word to the server is refused: a conflict that says by whom."""
    server = Server(2)
    it = listening(server)
    items = it.catch_up(it.open())
    server.fault = Refused(409, "x", {"detail": "it is held by bob@desk"})
    with pytest.raises(CliError, match="taken over: it is held by bob@desk") as caught:
        it.run(items, lambda _item: True, lambda _item: True)
    assert caught.value.code is ExitCode.CONFLICT
