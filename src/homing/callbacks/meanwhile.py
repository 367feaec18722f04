"""What became of lanes here while the store was being asked about them: its answer may be older than that.

Memory without sockets or store. Two kinds of questions are asked: which lanes are ours (a look), and for lanes to become
ours (a claim). Both may find the same one: whichever is answered first takes it.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager

from homing.store.batch import LaneWork

Place = tuple[bytes, int]
"""(lane's key, endpoint)"""
Says = Callable[[LaneWork], bool]


class Meanwhile:
    """Says of a lane in an answer whether it is still to be taken."""

    def __init__(self, held: Container[Place]) -> None:
        self._held = held
        self.losses = 0
        """How often all lanes were lost: what the store was asked before, it answered to an owner that is no more."""
        self._parting: Counter[Place] = Counter()
        """Lanes that were let go here, while the store still says that they are ours."""
        self._looks: dict[int, set[Place]] = {}
        """For each look that is under way, the lanes let go since it began."""
        self._claims: dict[int, set[Place]] = {}
        """For each claim that is under way, the lanes that looks have taken since it began."""
        self._found: set[Place] = set()
        """The same for the batch that is being stored."""

    def part(self, places: Iterable[Place]) -> None:
        """Note lanes that go back to the store, until that is on disk."""
        self._parting.update(places)

    def parted(self, places: Iterable[Place]) -> None:
        """Hear that it is on disk, or never will be."""
        for place in places:
            self.went(place)
            self._parting[place] -= 1
            if self._parting[place] <= 0:
                del self._parting[place]

    def went(self, place: Place) -> None:
        """Hear that a lane is held no longer."""
        for gone in self._looks.values():
            gone.add(place)

    def found(self, place: Place) -> None:
        """Hear that a look found a lane to be ours, and that it is taken."""
        self._found.add(place)
        for found in self._claims.values():
            found.add(place)

    def batch_begins(self) -> None:
        """Hear that a batch is about to be stored: what looks find from now on may be lanes that it makes."""
        self._found.clear()

    def is_known(self, work: LaneWork) -> bool:
        """Say whether a look has taken a lane since the batch that makes it ours began to be stored."""
        return work.fresh and (work.key, work.endpoint) in self._found

    @contextmanager
    def looking(self) -> Iterator[Says]:
        """While the store is asked which lanes are ours, note which are let go.

        Yields what says of each lane in the answer whether it is free to be taken: neither held here nor on its way back
        to the store, now or since the question.
        """
        gone: set[Place] = set()
        losses = self.losses

        def is_free(work: LaneWork) -> bool:
            place = (work.key, work.endpoint)
            is_here = place in self._held or place in self._parting
            return losses == self.losses and not is_here and place not in gone

        self._looks[id(gone)] = gone
        try:
            yield is_free
        finally:
            del self._looks[id(gone)]

    @contextmanager
    def claiming(self) -> Iterator[Says]:
        """While the store is asked to make lanes ours, note which of them looks take: the store had made them ours by then.

        Yields what says of each lane in the answer whether it is news. What a look took may have been told and let go
        since, and is another's by now; should it be ours after all, a sweep finds that out.
        """
        found: set[Place] = set()
        losses = self.losses
        self._claims[id(found)] = found
        try:
            yield lambda work: losses == self.losses and (work.key, work.endpoint) not in found
        finally:
            del self._claims[id(found)]
