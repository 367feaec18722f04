"""The courier of one node among several: it begins nothing while its term is in doubt, and drops what may be others'."""

import pytest
from msgspec import structs
from tests.callbacks.conftest import AtWork
from tests.callbacks.office import Answer, Office
from tests.engine.fakes import until

from homing.callbacks import courier
from homing.store.changes import UpdateEndpoint


async def three_are_held(place: Office, under_way: int) -> None:
    """Have three messages held here, so many of them on their way and not answered until they are let go."""
    await place.add_endpoint()
    place.engine.born_free = frozenset  # none is left to the store
    place.sender.answer = lambda _: None
    for _ in range(3):
        await place.send()
    await until(lambda: len(place.courier._lanes.held) == 3)
    assert len(place.sender.open) == under_way


def test_nothing_begins_while_the_term_is_in_doubt(at_work: AtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed meanwhile is held, and told once the node knows that it stays its own."""
    monkeypatch.setattr(courier, "_TERM_AGAIN_S", 0.01)
    is_trusted = [False]

    async def story(place: Office) -> None:
        await three_are_held(place, under_way=0)
        place.sender.answer = lambda _: Answer()
        is_trusted[0] = True
        await until(lambda: len(place.sender.tries) == 3)
        await place.quiet()

    at_work(story, may_start=lambda: is_trusted[0])


def test_what_is_held_is_dropped_when_the_term_is_lost(at_work: AtWork) -> None:
    """Tries under way end and are recorded, nothing that waits begins; what the store has is found there again."""

    async def story(place: Office) -> None:
        await three_are_held(place, under_way=2)
        place.courier.lost()
        assert not place.courier._lanes.held
        place.sender.answer = lambda _: Answer()
        while place.sender.open:
            place.sender.let_go()
        await place.quiet()
        assert len(place.sender.tries) == 2
        for _ in range(2):
            await place.courier._leftovers.sweep()
        await place.quiet()
        assert len({one.webhook_id for one in place.sender.tries}) == len(place.sender.tries) == 3

    at_work(story, max_per_endpoint=2)


def test_what_another_held_is_taken_up_when_it_is_no_more(at_work: AtWork) -> None:
    """Also when the word comes twice: each is told once."""

    async def story(place: Office) -> None:
        await three_are_held(place, under_way=1)
        place.courier.lost()
        await place.store._db.write(lambda c: c.execute("UPDATE lane SET owner = owner - 1"))
        place.sender.answer = lambda _: Answer()
        place.sender.let_go()
        place.courier.orphaned()
        place.courier.orphaned()
        await place.quiet()
        assert len({one.webhook_id for one in place.sender.tries}) == 3

    at_work(story, max_per_endpoint=1)


def test_what_was_changed_unheard_holds_once_it_is_read_anew(at_work: AtWork) -> None:
    """A node that missed that an endpoint was paused, and later that it goes on, tells nothing and then everything."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        await place.send()
        await place.quiet()
        watchers, place.store._watchers = place.store._watchers, []
        update = UpdateEndpoint(
            endpoint.app, endpoint.uid, endpoint.url, "json", None, "s", None, paused=True
        )
        for change, told in ((update, 1), (structs.replace(update, paused=False), 3)):
            await place.store.apply(change)
            await place.directory.load()
            place.courier.reloaded()
            await place.send()
            await place.quiet()
            assert len(place.sender.tries) == told
        place.store._watchers = watchers

    at_work(story)
