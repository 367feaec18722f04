"""What of an endpoint's limits is this node's, where several tell it: together they keep to what its owner asked for. Pure."""

from typing import Final

from homing.store.port import Share

LEAST_PER_SECOND: Final = 1 / 60
"""However many nodes there are, each that holds a lane tells one a minute: what it holds is told by nobody else."""


def rate(share: Share, per_second: float | None) -> float | None:
    """Return this node's part of a rate; None where there is none."""
    if per_second is None or share.of == 1:
        return per_second
    return max(per_second / share.of, min(per_second, LEAST_PER_SECOND))


def places(share: Share, most: int | None) -> int | None:
    """Return this node's part of so many at a time, at least one; None where there is no limit."""
    if most is None:
        return None
    return max(1, most // share.of + (share.rank < most % share.of))


def has_turn(share: Share, endpoint: int) -> bool:
    """Say whether it is this node that asks after an endpoint that rests; each has its share of them."""
    return endpoint % share.of == share.rank
