"""The ledger's promises about commands: their claims and tries, fallbacks that order them, on every store."""

import msgspec
import pytest
from tests.store.conftest import OpenStore, Run, WithStore
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, happen, login
from tests.store.ledger import post

from homing.lifecycle.dispatch import Clock, Received, SmsRefusal, SmsRefused, SmsSubmitting
from homing.model import CommandKind, DispatchKey, FallbackSettings, message_of
from homing.store.batch import Batch, CommandDone, CommandWork, Note, Occurrence
from homing.store.changes import SetPushToken
from homing.store.port import Store
from homing.store.postgres import claims as postgres_claims
from homing.store.sqlite import claims

SMS_APP = {"fallback": FallbackSettings(mode="sms", on_undelivered_seconds=10)}


async def _with_phone(store: Store, name: str, app: int) -> int:
    user = await add_user(store, app, name)
    await store.apply(login(user, f"{name}'s phone"))
    await store.apply(SetPushToken(f"{name}'s phone", "ios", f"{name}'s token"))
    return user.id


def test_a_command_lives_until_it_is_done(with_store: WithStore, clock: StillClock) -> None:
    """Handed over with its commit, put off by a failure, claimed when due with its tries, gone when done."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await _with_phone(store, "Ann", app.id)
        key = await post(store, app.id, "Ann")
        assert await store.claim_commands(10) == []  # ours already
        later = CommandDone(key, CommandKind.PUSH, NOON_MS + 9, '{"why":"busy"}')
        committed = await store.commit(Batch(commands_done=[later]))
        assert committed.next_command_ms == NOON_MS + 9
        assert (await store.outlook()).next_command_ms == NOON_MS + 9
        assert await store.claim_commands(10) == []
        clock.ms += 9
        assert await store.claim_commands(10) == [CommandWork(key, CommandKind.PUSH, 1, '{"why":"busy"}')]
        assert await store.claim_commands(10) == []
        await store.commit(Batch(commands_done=[CommandDone(key, CommandKind.PUSH)]))
        assert (await store.outlook()).next_command_ms is None

    with_store(story)


@pytest.mark.parametrize(
    "late",
    [
        CommandDone(DispatchKey(b""), CommandKind.PUSH, NOON_MS + 20, "late"),
        CommandDone(DispatchKey(b""), CommandKind.PUSH, is_given_up=True),
    ],
    ids=["put off", "given up"],
)
def test_a_command_is_put_off_and_given_up_only_from_where_it_stood(
    with_store: WithStore, clock: StillClock, late: CommandDone
) -> None:
    """Said once more, as after a commit of unknown outcome, it changes nothing: neither while it waits nor when it is taken."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await _with_phone(store, "Ann", app.id)
        key = await post(store, app.id, "Ann")
        again = Batch(commands_done=[msgspec.structs.replace(late, key=key)])
        await store.commit(Batch(commands_done=[CommandDone(key, CommandKind.PUSH, NOON_MS + 9, "first")]))
        await store.commit(again)
        assert (await store.outlook()).next_command_ms == NOON_MS + 9
        clock.ms += 9
        taken = CommandWork(key, CommandKind.PUSH, 1, "first")
        assert await store.claim_commands(10) == [taken]
        await store.commit(again)
        assert await store.held_commands((b"", 0), 10) == [taken]
        await store.commit(
            Batch(commands_done=[CommandDone(key, CommandKind.PUSH, tries=1, is_given_up=True)])
        )
        assert await store.held_commands((b"", 0), 10) == []

    with_store(story)


def test_what_was_carried_out_is_over_wherever_it_stands(with_store: WithStore, clock: StillClock) -> None:
    """A command that waits for its next try, and one that was taken since, are not done once more."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await _with_phone(store, "Ann", app.id)
        waits, taken = [await post(store, app.id, "Ann") for _ in range(2)]
        await store.commit(
            Batch(commands_done=[
                CommandDone(waits, CommandKind.PUSH, NOON_MS + 9), CommandDone(taken, CommandKind.PUSH, NOON_MS + 1),
            ])
        )  # fmt: skip
        clock.ms += 1
        assert len(await store.claim_commands(10)) == 1
        await store.commit(
            Batch(commands_done=[CommandDone(key, CommandKind.PUSH) for key in (waits, taken)])
        )
        assert await store.held_commands((b"", 0), 10) == []
        assert (await store.outlook()).next_command_ms is None

    with_store(story)


def test_what_is_said_twice_of_a_command_in_one_batch_counts_once(
    with_store: WithStore, clock: StillClock
) -> None:
    """Put off and given up at once, put off twice, put off and no longer wanted: never an error, and one try at most."""

    async def story(store: Store) -> None:
        app = await add_app(store, **SMS_APP)
        await _with_phone(store, "Ann", app.id)
        one, two, three = [await post(store, app.id, "Ann") for _ in range(3)]
        clock.ms += 10_000
        await store.commit(Batch(occurrences=[Occurrence(three, Clock())]))
        later = [CommandDone(key, CommandKind.PUSH, clock.ms + 9) for key in (one, two, two)]
        gone = CommandDone(one, CommandKind.PUSH, is_given_up=True)
        sms = CommandDone(three, CommandKind.SMS, clock.ms + 9)
        await store.commit(
            Batch(commands_done=[*later, gone, sms], occurrences=[Occurrence(three, Received())])
        )
        clock.ms += 9
        assert await store.claim_commands(10) == [CommandWork(two, CommandKind.PUSH, 1)]
        assert await store.held_commands((three, CommandKind.PUSH), 10) == []

    with_store(story)


def test_the_longest_due_commands_are_claimed_first(with_store: WithStore, clock: StillClock) -> None:
    """No more than asked for."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await _with_phone(store, "Ann", app.id)
        keys = [await post(store, app.id, "Ann") for _ in range(3)]
        later = [
            CommandDone(k, CommandKind.PUSH, NOON_MS + ms) for k, ms in zip(keys, (3, 1, 2), strict=True)
        ]
        await store.commit(Batch(commands_done=later))
        clock.ms += 3
        assert [work.key for work in await store.claim_commands(2)] == [keys[1], keys[2]]
        assert [work.key for work in await store.claim_commands(2)] == [keys[0]]

    with_store(story)


def test_held_commands_are_walked_in_key_order(
    with_store: WithStore, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page after (key, kind), however few are looked at in one go: all that is ours, as it is; nothing that waits."""
    monkeypatch.setattr(claims, "STRETCH", 3)
    monkeypatch.setattr(postgres_claims, "_STRIDE", 2)

    async def story(store: Store) -> None:
        app = await add_app(store, **SMS_APP)
        await _with_phone(store, "Ann", app.id)
        keys = [await post(store, app.id, "Ann") for _ in range(9)]
        wait = [CommandDone(key, CommandKind.PUSH, NOON_MS + 9, '{"why":"busy"}') for key in keys[1:8]]
        await store.commit(Batch(commands_done=wait))
        clock.ms += 10_000
        await store.commit(Batch(occurrences=[Occurrence(keys[0], Clock())]))
        await store.claim_commands(1)
        found: list[CommandWork] = []
        after: tuple[bytes, int] = (b"", 0)
        while works := await store.held_commands(after, 2):
            assert len(works) <= 2
            found += works
            after = (works[-1].key, works[-1].kind)
        (claimed,) = [work for work in found if work.tries]
        assert claimed == CommandWork(claimed.key, CommandKind.PUSH, 1, '{"why":"busy"}')
        assert {(work.key, work.kind) for work in found} == {
            (keys[0], CommandKind.PUSH), (keys[0], CommandKind.SMS), (keys[8], CommandKind.PUSH),
            (claimed.key, CommandKind.PUSH),
        }  # fmt: skip
        assert found == sorted(found, key=lambda work: (work.key, work.kind))
        await store.commit(Batch(commands_done=[CommandDone(work.key, work.kind) for work in found]))
        assert await store.held_commands((b"", 0), 9) == []

    with_store(story)


def test_commands_of_a_process_that_is_no_more_count_as_due(open_again: OpenStore, run: Run) -> None:
    """The next process claims them, once."""

    async def story() -> None:
        async with open_again() as store:
            app = await add_app(store)
            await _with_phone(store, "Ann", app.id)
            key = await post(store, app.id, "Ann")
        async with open_again() as store:
            assert await store.claim_commands(10) == [CommandWork(key, CommandKind.PUSH)]
            assert await store.claim_commands(10) == []

    run(story())


def test_more_commands_of_a_dead_process_than_asked_for_are_claimed_in_portions(
    open_again: OpenStore, run: Run, clock: StillClock
) -> None:
    """What is due comes first; those of the dead follow until there are none, and what is ours since is not among them."""

    async def story() -> None:
        async with open_again() as store:
            app = await add_app(store)
            await _with_phone(store, "Ann", app.id)
            keys = [await post(store, app.id, "Ann") for _ in range(6)]
            later = CommandDone(keys[5], CommandKind.PUSH, NOON_MS + 1)
            await store.commit(Batch(commands_done=[later]))
        clock.ms += 1
        async with open_again() as store:
            first = [work.key for work in await store.claim_commands(2)]
            assert first[0] == keys[5]
            ours = await post(store, app.id, "Ann")
            rest = [work.key for _ in range(3) for work in await store.claim_commands(2)]
            assert sorted(first[1:] + rest) == keys[:5]
            assert ours not in rest
            assert await store.claim_commands(2) == []

    run(story())


def test_a_fallback_that_falls_due_is_a_command(with_store: WithStore, clock: StillClock) -> None:
    """Handed over with the commit in which its time passed; its receipts find the dispatch."""

    async def story(store: Store) -> None:
        app = await add_app(store, **SMS_APP)
        await add_user(store, app.id, "Ann", mobile_number="+39 1")
        key = await post(store, app.id, "Ann")
        clock.ms += 10_000
        committed = await store.commit(Batch(occurrences=[Occurrence(key, Clock())]))
        assert committed.commands == [CommandWork(key, CommandKind.SMS)]
        await store.commit(Batch(occurrences=[Occurrence(key, SmsSubmitting(), sms=(("kannel", "id1"),))]))
        assert await store.find_sms("kannel", ["id1"]) == {"id1": key}

    with_store(story)


def test_a_fallback_that_began_and_ended_in_one_batch_is_no_command(
    with_store: WithStore, clock: StillClock
) -> None:
    """Delivered in the very batch in which its time passed: nobody is told to send an SMS."""

    async def story(store: Store) -> None:
        app = await add_app(store, **SMS_APP)
        await add_user(store, app.id, "Ann", mobile_number="+39 1")
        key = await post(store, app.id, "Ann")
        clock.ms += 10_000
        happened = [Occurrence(key, Clock()), Occurrence(key, Received())]
        committed = await store.commit(Batch(occurrences=happened))
        assert committed.commands == []
        assert (await store.outlook()).next_command_ms is None
        assert await store.claim_commands(10) == []

    with_store(story)


def test_a_fallback_no_longer_wanted_is_taken_back(with_store: WithStore, clock: StillClock) -> None:
    """A command that waits for its next try is deleted when the message is delivered meanwhile."""

    async def story(store: Store) -> None:
        app = await add_app(store, **SMS_APP)
        await add_user(store, app.id, "Ann", mobile_number="+39 1")
        key = await post(store, app.id, "Ann")
        clock.ms += 10_000
        await store.commit(Batch(occurrences=[Occurrence(key, Clock())]))
        await store.commit(Batch(commands_done=[CommandDone(key, CommandKind.SMS, clock.ms + 5)]))
        await happen(store, message_of(key), Received())
        clock.ms += 5
        assert await store.claim_commands(10) == []

    with_store(story)


def test_a_refused_sms_says_why_in_the_history(with_store: WithStore, clock: StillClock) -> None:
    """An input's detail is kept beside it, and so are notes that are no input."""

    async def story(store: Store) -> None:
        app = await add_app(store, **SMS_APP)
        await add_user(store, app.id, "Ann", mobile_number="+39 1")
        key = await post(store, app.id, "Ann")
        clock.ms += 10_000
        refused = Occurrence(key, SmsRefused(SmsRefusal.INVALID_NUMBER), '{"code":11}')
        await store.commit(
            Batch(occurrences=[Occurrence(key, Clock()), refused], notes=[Note(key, "cap", "{}")])
        )
        assert [(line.code, line.detail) for line in await store.history(key)] == [
            ("sms_refused", '{"code":11}'), ("cap", "{}"),
        ]  # fmt: skip

    with_store(story)
