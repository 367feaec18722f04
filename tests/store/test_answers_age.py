"""The embedded store keeps the answers to idempotency keys for a day, and then lets them go."""

from tests.store.conftest import Run
from tests.store.fakes import StillClock, add_app, message_id

from homing.model import Body
from homing.store.batch import Accept, Addressee, Batch, Idempotency
from homing.store.sqlite import SqliteStore

DAY_MS = 24 * 3600 * 1000


def test_answers_past_their_day_leave_with_new_ones(run: Run) -> None:
    """However many keys came in a day, a later day's messages drop them, a few with each."""

    async def story() -> None:
        clock = StillClock()
        store = await SqliteStore.open(":memory:", clock=clock)
        app = await add_app(store)

        def keyed(key: str) -> Accept:
            return Accept(
                message_id(clock.now_ms()), app.id, None, Body("hello"), (Addressee("ann", "ann"),),
                idempotency=Idempotency("token", key, b"digest"), render=lambda _: b"{}",
            )  # fmt: skip

        await store.commit(Batch(accepts=[keyed(f"old {number}") for number in range(5)]))
        clock.ms += DAY_MS + 1
        for number in range(3):
            await store.commit(Batch(accepts=[keyed(f"new {number}")]))
        kept = await store._db.read(
            lambda c: [row[0] for row in c.execute("SELECT key FROM idempotency ORDER BY key")]
        )
        assert kept == ["new 0", "new 1", "new 2"]
        await store.close()

    run(story())
