"""The memory of the courier: which lanes it holds, whose turn it is, how much of the store's it takes."""

import msgspec
import pytest
from tests.engine.fakes import new_key

from homing.callbacks import lanes as module
from homing.callbacks.berth import Lane
from homing.callbacks.lanes import Lanes
from homing.model import DispatchKey
from homing.store.batch import Facts, LaneWork

FACTS = Facts(1, "Ann", None, None, None)


def work(
    endpoint: int, *ns: int, key: DispatchKey | None = None, fresh: bool = True, tries: int = 0
) -> LaneWork:
    """Return a lane with these events, or further ones of a lane."""
    return LaneWork(key or new_key(), endpoint, FACTS, tuple((n, 1, 0) for n in ns), tries, fresh)


def filled(*counts: int, most: int = 16) -> Lanes:
    """Return lanes: so many of endpoint 1, so many of endpoint 2, …"""
    lanes = Lanes(most)
    for endpoint, count in enumerate(counts, 1):
        for _ in range(count):
            lanes.add(work(endpoint, 1))
    return lanes


def endpoints(started: list[Lane]) -> list[int]:
    """Return whose lanes were started."""
    return [lane.berth.endpoint for lane in started]


def test_a_lane_is_tried_once_at_a_time() -> None:
    """Further events join it and wait; it is ready again when its try has ended."""
    lanes, key = Lanes(16), new_key()
    lanes.add(work(1, 1, key=key, tries=2))
    (lane,) = lanes.start(10, 0)
    assert lane.tries == 2
    lanes.add(work(1, 2, key=key, fresh=False))
    lanes.queue(lane)
    assert lanes.start(10, 0) == []
    lanes.ended(lane)
    lanes.queue(lane)
    assert lanes.start(10, 0) == [lane]


def test_what_another_node_recorded_before_comes_first() -> None:
    """Events of ours that follow one this memory does not have are not taken: the next settle brings them in their order."""
    lanes, key = Lanes(16), new_key()
    lanes.add(work(1, 1, key=key))
    lane = lanes.held[key, 1]
    third = work(1, 3, key=key, fresh=False)
    lanes.add(msgspec.structs.replace(third, pending=0b111))
    assert [n for n, _, _ in lane.events] == [1]
    lanes.add(work(1, 2, 3, key=key, fresh=False))  # what the settle of the first found forgotten
    assert [n for n, _, _ in lane.events] == [1, 2, 3]
    fifth = work(1, 5, key=key, fresh=False)
    lanes.add(msgspec.structs.replace(fifth, pending=0b10111))  # the fourth is not for this endpoint
    assert [n for n, _, _ in lane.events] == [1, 2, 3, 5]


def test_events_told_twice_are_kept_once() -> None:
    """A hand-over and what a settle found forgotten may say the same; order stays ascending."""
    lanes, key = Lanes(16), new_key()
    lanes.add(work(1, 1, key=key))
    lanes.add(work(1, 2, 3, key=key, fresh=False))
    lanes.add(work(1, 2, 3, 4, key=key, fresh=False))
    lane = lanes.held[key, 1]
    assert [n for n, _, _ in lane.events] == [1, 2, 3, 4]
    assert lane.known_after_first() == 0b1110


def test_events_of_a_lane_that_was_let_go_are_the_stores() -> None:
    """They must not be tried before the one that waits there."""
    lanes = Lanes(16)
    lanes.add(work(1, 2, fresh=False))
    lanes.add(work(1))
    assert lanes.held == {}


def test_a_lane_that_was_let_go_is_another_ones_to_drop() -> None:
    """Dropping an old lane leaves alone the new one of the same dispatch."""
    lanes, key = Lanes(16), new_key()
    lanes.add(work(1, 1, key=key))
    old = lanes.held[key, 1]
    lanes.drop(old)
    lanes.add(work(1, 1, key=key))
    lanes.drop(old)
    assert (key, 1) in lanes.held
    assert lanes.berth(1).held == 1


def test_endpoints_take_turns_of_a_few() -> None:
    """However many lanes the first has, the others start after four of its."""
    assert endpoints(filled(20, 2, 20).start(14, 0)) == [1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 1, 1, 1, 1]


def test_an_endpoint_starts_no_more_than_it_is_allowed() -> None:
    """What is over waits until one has ended."""
    lanes = filled(5, most=2)
    started = lanes.start(10, 0)
    assert len(started) == 2
    assert lanes.start(10, 0) == []
    lanes.ended(started[0])
    assert len(lanes.start(10, 0)) == 1


def test_a_paused_endpoint_starts_nothing() -> None:
    """Until its time; then it is back in the turn."""
    lanes = filled(2, 1)
    berth = lanes.berth(1)
    berth.paused_until_ms = 100
    assert endpoints(lanes.start(10, 99)) == [2]
    lanes.enter(berth)
    assert endpoints(lanes.start(10, 100)) == [1, 1]


def test_new_lanes_are_born_free_where_older_ones_wait() -> None:
    """Due ones in the store come first; those that are due later do not count; nor does a full endpoint have room."""
    lanes = filled(1, 1, 1)
    lanes.hear_due(lanes.berth(1), 100)
    lanes.hear_due(lanes.berth(2), 200)
    assert lanes.crowded(99) == frozenset()
    assert lanes.crowded(100) == frozenset({1})


def test_a_full_endpoint_is_crowded_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """And when memory is full, all are."""
    monkeypatch.setattr(module, "ROOM_PER_ENDPOINT", 3)
    lanes = filled(3, 1)
    assert lanes.crowded(0) == frozenset({1})
    lanes.drop(next(iter(lanes.held.values())))
    assert lanes.crowded(0) == frozenset()
    monkeypatch.setattr(module, "ROOM", 3)
    assert lanes.crowded(0) == frozenset({1, 2})


def test_the_next_due_instant_is_one_to_come() -> None:
    """What is due already waits for room, not for time: an endpoint that cannot be told hides nobody else's retry."""
    lanes = Lanes(16)
    for endpoint, due_ms in ((1, 50), (2, 200), (3, 150)):
        lanes.hear_due(lanes.berth(endpoint), due_ms)
    assert lanes.next_due_ms(100) == 150
    lanes.berth(1).paused_until_ms = 300
    assert [berth.endpoint for berth in lanes.claimable(160)] == [3]
    assert lanes.next_due_ms(200) is None


def test_endpoints_that_may_not_be_told_are_not_looked_through() -> None:
    """However many rest with lanes due, a look meets none of them; one that may be told again is back with its lanes."""
    lanes = Lanes(16)
    resting, well = lanes.berth(1), lanes.berth(2)
    lanes.block(resting, is_blocked=True)
    lanes.hear_due(resting, 40)
    lanes.hear_due(well, 60)
    assert lanes.next_due_ms(0) == 60
    assert lanes.claimable(100) == [well]
    assert list(lanes._overdue.berths()) == [well]
    assert lanes.crowded(100) == frozenset({1, 2})
    lanes.block(well, is_blocked=True)
    lanes.block(resting, is_blocked=False)
    assert lanes.claimable(100) == [resting]
    assert lanes.crowded(100) == frozenset({1, 2})
    lanes.block(resting, is_blocked=True)
    assert lanes.claimable(100) == []


def test_what_is_heard_during_a_claim_is_not_overwritten_by_its_answer() -> None:
    """The answer may be older than the word that another lane was put off."""
    lanes = Lanes(16)
    berth = lanes.berth(1)
    lanes.hear_due(berth, 50)
    lanes.begin_claim(berth, 10)
    lanes.hear_due(berth, 70)
    lanes.hear_due(berth, 60)
    lanes.end_claim(berth, None)
    assert berth.due_ms == 60
    lanes.begin_claim(berth, 10)
    lanes.end_claim(berth, None)
    assert lanes.next_due_ms(0) is None
    assert lanes.claimable(99) == []


def test_a_claim_is_no_larger_than_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims under way count; an endpoint is given what it may be told at a time however full memory is."""
    monkeypatch.setattr(module, "ROOM", 200)
    lanes = filled(30)
    first, second, third = (lanes.berth(endpoint) for endpoint in (1, 2, 3))
    assert lanes.claim_size(second) == 170
    lanes.begin_claim(second, 170)
    assert lanes.claim_size(third) == 16
    assert lanes.claim_size(first) == 0
    lanes.end_claim(second, None)
    assert lanes.claim_size(third) == 170


def test_no_claim_is_made_while_there_is_enough() -> None:
    """Twice what is under way is ready, or half the endpoint's room is taken."""
    lanes = filled(32, most=16)
    berth = lanes.berth(1)
    assert lanes.claim_size(berth) == 0
    lanes.start(16, 0)
    assert lanes.claim_size(berth) == 192
