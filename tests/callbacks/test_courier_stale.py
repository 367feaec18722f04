"""The courier and an answer of the store that is older than what was done here meanwhile (DESIGN.md §3)."""

import asyncio

from tests.callbacks.conftest import AtWork
from tests.callbacks.late import Late, about, late, let_go, stored
from tests.callbacks.office import Answer, Office
from tests.engine.fakes import until


def test_what_was_told_while_it_was_looked_for_is_not_told_again(at_work: AtWork) -> None:
    """A look reads a lane that is being told; its answer comes when the 2xx is on disk, and the lane is no longer held."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        place.sender.answer = lambda _: None
        key = await place.send()
        await until(lambda: place.sender.open)
        ledger = late(place)
        ledger.before_it = 0
        place.courier.on_unknown(about(place, key))
        await until(lambda: ledger.kept)
        place.sender.let_go()
        await let_go(place)
        place.sender.answer = lambda _: Answer()
        ledger.hear()
        await place.quiet()
        assert len(place.sender.tries) == 1
        assert (await place.told(key, endpoint)).settled == 1

    at_work(story, wrap=Late)


def test_what_was_put_off_while_it_was_looked_for_is_not_told_before_it_is_due(at_work: AtWork) -> None:
    """The store has the lane by then, and another node may claim it."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = lambda _: None
        key = await place.send()
        await until(lambda: place.sender.open)
        ledger = late(place)
        ledger.before_it = 0
        place.courier.on_unknown(about(place, key))
        await until(lambda: ledger.kept)
        place.sender.let_go(Answer(500))
        await let_go(place)
        place.sender.answer = lambda _: Answer()
        ledger.hear()
        await place.quiet()
        assert [seen.attempt for seen in place.sender.tries] == [1]
        await place.push(5_000)
        assert [seen.attempt for seen in place.sender.tries] == [1, 2]

    at_work(story, wrap=Late)


def test_two_looks_for_one_message_tell_it_once(at_work: AtWork) -> None:
    """What was recorded again had an unknown outcome too: one look tells the lane while the other still reads on."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        batch = await stored(place)
        ledger = late(place)
        ledger.before_it = 1
        place.courier.on_unknown(batch)
        await until(lambda: ledger.kept is not None)
        place.courier.on_unknown(batch)
        await until(lambda: place.sender.tries)
        await let_go(place)
        ledger.hear()
        await place.quiet()
        assert place.sender.statuses(endpoint.id) == ["enqueued"]

    at_work(story, wrap=Late)


def test_what_was_missing_and_told_since_is_not_told_again_by_a_sweep(at_work: AtWork) -> None:
    """A second sweep reads a lane that the first one missed, and hears of it when it was found and told otherwise."""

    async def story(place: Office) -> None:
        endpoint = await place.add_endpoint()
        batch = await stored(place)
        await place.courier._leftovers.sweep()
        ledger = late(place)
        ledger.before_it = 0
        sweep = asyncio.ensure_future(place.courier._leftovers.sweep())
        await until(lambda: ledger.kept)
        place.courier.on_unknown(batch)
        await until(lambda: place.sender.tries)
        await let_go(place)
        ledger.hear()
        await sweep
        await place.quiet()
        assert place.sender.statuses(endpoint.id) == ["enqueued"]

    at_work(story, wrap=Late)


def test_what_was_ours_before_a_lost_term_is_not_taken_after_it(at_work: AtWork) -> None:
    """A look that began under the old term is answered under the new one: others may have those lanes by now."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        batch = await stored(place)
        ledger = late(place)
        ledger.before_it = 0
        place.courier.on_unknown(batch)
        await until(lambda: ledger.kept)
        place.courier.lost()
        ledger.hear()
        await place.quiet()
        assert place.sender.tries == []

    at_work(story, wrap=Late)


def test_what_was_claimed_before_a_lost_term_is_not_told_after_it(at_work: AtWork) -> None:
    """The same for a claim: its lanes went to an owner that is no more."""

    async def story(place: Office) -> None:
        await place.add_endpoint()
        place.sender.answer = lambda _: Answer(500)
        await place.send()
        await place.quiet()
        place.sender.answer = lambda _: Answer()
        late(place).keeps_claims = True
        place.clock.push(5_000)
        await until(lambda: late(place).claims)
        place.courier.lost()
        late(place).hear()
        await place.quiet()
        assert len(place.sender.tries) == 1

    at_work(story, wrap=Late)
