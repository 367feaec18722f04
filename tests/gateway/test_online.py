"""Who has a live link, as whoever shares the set hears of it."""

from homing.gateway.hub import Online


def test_each_that_comes_or_goes_is_said_once() -> None:
    """A second link of the same recipient, or the end of none, is no news."""
    online, said = Online(), list[tuple[int, bool]]()
    online.said = lambda recipient, is_linked: said.append((recipient, is_linked))
    for recipient in (1, 1, 2):
        online.add(recipient)
    for recipient in (1, 1, 3):
        online.discard(recipient)
    assert said == [(1, True), (2, True), (1, False)]
    assert online == {2}
