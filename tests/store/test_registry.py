"""The registry's promises, on every store: changes, their answers, who hears of them, and the questions."""

import asyncio

import pytest
from tests.store.conftest import OpenStore, Run, WithStore
from tests.store.fakes import NOON_MS, StillClock, add_app, add_user, login, message_id, new_endpoint, send

from homing.errors import Conflict, IdempotencyConflict, NotFound
from homing.model import Body, CommandKind, Credentials, Device, Endpoint, FallbackSettings
from homing.store.batch import Accept, Addressee, Batch, Idempotency
from homing.store.changes import (
    Change,
    CreateApp,
    CreateToken,
    CreateUser,
    DeleteApp,
    DeleteEndpoint,
    DeleteToken,
    DeleteUser,
    DisableEndpoint,
    RemoveDevice,
    RetirePushToken,
    SetPushToken,
    TouchDevices,
    TouchEndpoints,
    UpdateApp,
    UpdateEndpoint,
    UpdateUser,
)
from homing.store.port import Store

DAY_MS = 24 * 3600 * 1000


def test_an_application_is_made_changed_and_listed(with_store: WithStore) -> None:
    """What was given comes back; a page begins after the id named and is no longer than asked."""

    async def story(store: Store) -> None:
        fallback = FallbackSettings(mode="sms", on_unread_seconds=60, sender="Bank")
        first = await add_app(store, name="é", mode="test", ttl_s=600, fallback=fallback, app_key="k1")
        assert (first.id, first.name, first.mode, first.ttl_s, first.app_key) == (1, "é", "test", 600, "k1")
        assert first.fallback == fallback
        assert first.created_at_ms == NOON_MS
        await add_app(store)
        await add_app(store)
        assert [app.id for app in await store.apps(0, 2)] == [1, 2]
        assert [app.id for app in await store.apps(2, 2)] == [3]
        applied = await store.apply(UpdateApp(1, "new", "live", None, FallbackSettings()))
        assert applied.value == await store.app(1)
        changed = await store.app(1)
        assert changed is not None
        assert (changed.name, changed.ttl_s, changed.fallback, changed.app_key) == (
            "new", None, FallbackSettings(), "k1",
        )  # fmt: skip
        assert await store.app(9) is None
        with pytest.raises(NotFound):
            await store.apply(UpdateApp(9, "new", "live", None, FallbackSettings()))
        with pytest.raises(NotFound):
            await store.apply(DeleteApp(9))

    with_store(story)


def test_application_ids_are_chosen_or_assigned_and_never_assigned_again(with_store: WithStore) -> None:
    """An assigned id is beyond all that ever were, so nobody inherits a deleted application's messages."""

    async def story(store: Store) -> None:
        assert (await add_app(store, id=7)).id == 7
        assert (await add_app(store)).id == 8
        with pytest.raises(Conflict):
            await store.apply(CreateApp("x", "another key", id=7))
        await store.apply(DeleteApp(8))
        assert (await add_app(store)).id == 9
        assert (await add_app(store, id=8)).id == 8
        await add_app(store, id=2**63 - 1)
        with pytest.raises(Conflict):
            await store.apply(CreateApp("x", "one more key"))

    with_store(story)


def test_a_deleted_application_takes_its_people_and_endpoints_along(with_store: WithStore) -> None:
    """Users, devices, endpoints and what was owed to them are gone; another application's stay; history stays."""

    async def story(store: Store) -> None:
        gone, stays = await add_app(store), await add_app(store)
        for app in (gone, stays):
            user = await add_user(store, app.id, "ann")
            await store.apply(login(user, f"phone {app.id}"))
            await store.apply(new_endpoint(app.id))
        await send(store, gone.id, "ann")
        message = await send(store, stays.id, "ann")
        await store.apply(DeleteApp(gone.id))
        assert await store.app(gone.id) is None
        assert await store.users(gone.id, "", 10) == []
        assert await store.device(f"digest of phone {gone.id}".encode()) is None
        assert [endpoint.app for endpoint in await store.endpoints(None)] == [stays.id]
        lanes = await store.held_lanes((b"", 0), 10)
        assert [lane.key[:16] for lane in lanes] == [message]
        assert await store.device(f"digest of phone {stays.id}".encode()) is not None

    with_store(story)


def test_a_user_is_found_by_the_folded_identifier(with_store: WithStore) -> None:
    """The identifier comes back as registered, is unique within its application, and is another's elsewhere."""

    async def story(store: Store) -> None:
        app, other = await add_app(store, app_key="k"), await add_app(store)
        ann = await add_user(store, app.id, "Ann", mobile_number="+39 333", attributes={"a": [1, None]})
        assert await store.user(app.id, "ann") == ann
        assert (ann.identifier, ann.mobile_number, ann.attributes) == ("Ann", "+39 333", {"a": [1, None]})
        assert await store.user(app.id, "Ann") is None
        assert await store.user(other.id, "ann") is None
        with pytest.raises(Conflict):
            await store.apply(CreateUser(app.id, "ANN", "ann", "hash"))
        with pytest.raises(NotFound):
            await store.apply(CreateUser(99, "ann", "ann", "hash"))
        assert (await add_user(store, other.id, "ann")).id != ann.id
        await add_user(store, app.id, "bob")
        await add_user(store, app.id, "carol")
        assert [user.identifier for user in await store.users(app.id, "", 2)] == ["Ann", "bob"]
        assert [user.identifier for user in await store.users(app.id, "bob", 2)] == ["carol"]
        assert await store.credentials("k", "ann") == Credentials(app.id, ann.id, "Ann", "hash")
        assert await store.credentials("k", "dave") is None
        assert await store.credentials("wrong", "ann") is None

    with_store(story)


def test_a_user_is_changed_without_touching_the_password(with_store: WithStore) -> None:
    """A missing password hash keeps the one that is; number and attributes are replaced."""

    async def story(store: Store) -> None:
        app = await add_app(store, app_key="k")
        await add_user(store, app.id, "ann", mobile_number="1", attributes={"a": 1})
        await store.apply(UpdateUser(app.id, "ann", None, "2", None))
        ann = await store.user(app.id, "ann")
        assert ann is not None
        assert (ann.mobile_number, ann.attributes) == ("2", None)
        login_data = await store.credentials("k", "ann")
        assert login_data is not None
        assert login_data.password_hash == "hash"
        await store.apply(UpdateUser(app.id, "ann", "other", None, None))
        login_data = await store.credentials("k", "ann")
        assert login_data is not None
        assert login_data.password_hash == "other"
        with pytest.raises(NotFound):
            await store.apply(UpdateUser(app.id, "dave", None, None, None))

    with_store(story)


def test_a_deleted_user_names_the_devices_that_went_along(with_store: WithStore) -> None:
    """Their tokens stop working, and a user made anew under the name is somebody else."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "ann")
        await store.apply(login(ann, "phone"))
        await store.apply(login(ann, "tablet"))
        gone = (await store.apply(DeleteUser(app.id, "ann"))).value
        assert sorted(gone) == ["phone", "tablet"]  # type: ignore[call-overload]
        assert await store.device(b"digest of phone") is None
        assert await store.user(app.id, "ann") is None
        assert (await add_user(store, app.id, "ann")).id != ann.id
        with pytest.raises(NotFound):
            await store.apply(DeleteUser(app.id, "dave"))

    with_store(story)


def test_an_endpoint_is_made_changed_and_listed(with_store: WithStore) -> None:
    """It starts active with its sealed secret; a change replaces what its owner may change and nothing else."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        change = new_endpoint(app.id, uid="u1", statuses=5, precision="ms", description="d", kind="inbox")
        endpoint = (await store.apply(change)).value
        assert isinstance(endpoint, Endpoint)
        assert endpoint == Endpoint(
            endpoint.id, "u1", app.id, "inbox", "http://127.0.0.1/", "json", 5, "ms", "d", "active", None,
            b"sealed", NOON_MS, None,
        )  # fmt: skip
        with pytest.raises(Conflict):
            await store.apply(change)
        with pytest.raises(NotFound):
            await store.apply(new_endpoint(99))
        await store.apply(new_endpoint(app.id, uid="u2"))
        changed = (
            await store.apply(UpdateEndpoint(app.id, "u1", "https://x/", "get", None, "s", None))
        ).value
        assert isinstance(changed, Endpoint)
        assert (changed.url, changed.form, changed.statuses, changed.precision) == (
            "https://x/",
            "get",
            None,
            "s",
        )
        assert (changed.secret, changed.kind, changed.description) == (b"sealed", "inbox", None)
        assert await store.endpoint(app.id, "u1") == changed
        assert await store.endpoint(app.id + 1, "u1") is None
        with pytest.raises(NotFound):
            await store.apply(UpdateEndpoint(app.id + 1, "u1", "https://x/", "get", None, "s", None))
        other = await add_app(store)
        await store.apply(new_endpoint(other.id, uid="u3"))
        assert [e.uid for e in await store.endpoints(app.id)] == ["u1", "u2"]
        assert [e.uid for e in await store.endpoints(None)] == ["u1", "u2", "u3"]

    with_store(story)


def test_a_deleted_endpoint_is_owed_nothing(with_store: WithStore) -> None:
    """Its lanes go with it, those of its neighbours stay, and later messages open none."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "ann")
        gone = (await store.apply(new_endpoint(app.id, uid="gone"))).value
        stays = (await store.apply(new_endpoint(app.id, uid="stays"))).value
        assert isinstance(stays, Endpoint)
        await send(store, app.id, "ann")
        assert (await store.apply(DeleteEndpoint(app.id, "gone"))).value == gone
        await send(store, app.id, "ann")
        assert {lane.endpoint for lane in await store.held_lanes((b"", 0), 10)} == {stays.id}
        with pytest.raises(NotFound):
            await store.apply(DeleteEndpoint(app.id, "gone"))

    with_store(story)


def test_a_disabled_endpoint_is_listed_and_opens_no_lanes(with_store: WithStore) -> None:
    """Why it was disabled is kept; disabling one that is gone answers None."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        await add_user(store, app.id, "ann")
        endpoint = (await store.apply(new_endpoint(app.id, uid="u"))).value
        assert isinstance(endpoint, Endpoint)
        disabled = (await store.apply(DisableEndpoint(endpoint.id, "gone"))).value
        assert isinstance(disabled, Endpoint)
        assert (disabled.state, disabled.state_reason) == ("disabled", "gone")
        assert await store.endpoints(app.id) == [disabled]
        await send(store, app.id, "ann")
        assert await store.held_lanes((b"", 0), 10) == []
        assert (await store.apply(DisableEndpoint(99, "gone"))).value is None

    with_store(story)


def test_the_last_success_of_an_endpoint_never_moves_back(with_store: WithStore) -> None:
    """Reports may come in any order, for several endpoints at once."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ids = []
        for uid in ("a", "b", "c"):
            endpoint = (await store.apply(new_endpoint(app.id, uid=uid))).value
            assert isinstance(endpoint, Endpoint)
            ids.append(endpoint.id)
        await store.apply(TouchEndpoints(((ids[0], 50), (ids[1], 60), (99, 1))))
        await store.apply(TouchEndpoints(((ids[0], 40), (ids[1], 70))))
        assert [e.last_success_at_ms for e in await store.endpoints(app.id)] == [50, 70, None]

    with_store(story)


def test_tokens_come_back_as_given(with_store: WithStore) -> None:
    """Scopes in order, all applications or a list; a deleted one is gone, an unknown one not found."""

    async def story(store: Store) -> None:
        everything = CreateToken("t1", "ops", "token", b"d1", ("send", "manage"), None)
        narrow = CreateToken("t2", "shop", "client", b"d2", ("read",), (1, 2), NOON_MS + 5)
        for change in (everything, narrow):
            assert (await store.apply(change)).value == await store.token(change.id)
        with pytest.raises(Conflict):
            await store.apply(everything)
        first, second = await store.tokens()
        assert (first.id, first.scopes, first.apps, first.expires_at_ms) == (
            "t1",
            ("send", "manage"),
            None,
            None,
        )
        assert (second.kind, second.digest, second.apps, second.expires_at_ms) == (
            "client", b"d2", (1, 2), NOON_MS + 5,
        )  # fmt: skip
        await store.apply(DeleteToken("t1"))
        assert await store.token("t1") is None
        with pytest.raises(NotFound):
            await store.apply(DeleteToken("t1"))

    with_store(story)


def test_oauth_leaves_no_heap_of_dead_tokens(with_store: WithStore, clock: StillClock) -> None:
    """Access tokens are swept a day after their end; a back end's own token stays, to be seen in the list."""

    async def story(store: Store) -> None:
        await store.apply(CreateToken("a", "x", "access", b"d", (), None, NOON_MS + 1))
        await store.apply(CreateToken("t", "x", "token", b"d", (), None, NOON_MS + 1))
        clock.ms += DAY_MS
        await store.apply(CreateToken("b", "x", "access", b"d", (), None, clock.ms + 1))
        assert [token.id for token in await store.tokens()] == ["a", "t", "b"]
        clock.ms += 2
        await store.apply(CreateToken("c", "x", "access", b"d", (), None, clock.ms + 1))
        assert [token.id for token in await store.tokens()] == ["t", "b", "c"]

    with_store(story)


def test_a_login_makes_a_device_and_a_new_login_replaces_its_token(
    with_store: WithStore, clock: StillClock
) -> None:
    """The device keeps its cursor, push token and age; another user cannot take it over."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann, bob = await add_user(store, app.id, "Ann"), await add_user(store, app.id, "bob")
        device = (await store.apply(login(ann, "phone", name="Ann's"))).value
        assert isinstance(device, Device)
        assert device == Device(
            "phone", ann.id, app.id, "Ann", "Ann's", "ios", b"digest of phone", None, None, None, 0, NOON_MS,
            NOON_MS,
        )  # fmt: skip
        await store.apply(SetPushToken("phone", "ios", "push", "sandbox"))
        await store.apply(TouchDevices((("phone", 4, NOON_MS + 1),)))
        clock.ms += 10
        again = (await store.apply(login(ann, "phone", token_digest=b"new"))).value
        assert again == Device(
            "phone", ann.id, app.id, "Ann", "Ann's", "ios", b"new", "ios", "push", "sandbox", 4, NOON_MS,
            NOON_MS + 10,
        )  # fmt: skip
        assert await store.device(b"digest of phone") is None
        assert await store.device(b"new") == again
        assert await store.devices(ann.id) == [again]
        with pytest.raises(Conflict):
            await store.apply(login(bob, "phone"))
        await store.apply(DeleteUser(app.id, "bob"))
        with pytest.raises(NotFound):
            await store.apply(login(bob, "another"))

    with_store(story)


async def _wakes(store: Store, app: int, name: str) -> bool:
    """Say whether a message to this user orders a push."""
    addressees = (Addressee(name, name),)
    accept = Accept(message_id(store.now_ms()), app, None, Body("hello"), addressees)
    committed = await store.commit(Batch(accepts=[accept]))
    return [command.kind for command in committed.commands] == [CommandKind.PUSH]


def test_whom_a_push_can_wake_follows_the_devices(with_store: WithStore) -> None:
    """A message orders a push exactly while one of the user's devices has a push token."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann, bob = await add_user(store, app.id, "ann"), await add_user(store, app.id, "bob")
        await store.apply(login(ann, "phone"))
        await store.apply(login(ann, "tablet"))
        await store.apply(login(bob, "watch"))
        assert not await _wakes(store, app.id, "ann")
        phone = (await store.apply(SetPushToken("phone", "ios", "one", "sandbox"))).value
        assert isinstance(phone, Device)
        assert (phone.push_platform, phone.push_token, phone.push_environment) == ("ios", "one", "sandbox")
        await store.apply(SetPushToken("tablet", "android", "two"))
        assert await _wakes(store, app.id, "ann")
        assert not await _wakes(store, app.id, "bob")
        # The same token elsewhere: one device has it, the other lost it; the other platform's is another token.
        await store.apply(SetPushToken("watch", "ios", "one"))
        assert await _wakes(store, app.id, "bob")
        assert await _wakes(store, app.id, "ann")
        assert [device.push_token for device in await store.devices(ann.id)] == [None, "two"]
        await store.apply(SetPushToken("watch", "ios", "two"))
        assert [device.push_token for device in await store.devices(ann.id)] == [None, "two"]
        # A late refusal of an old token leaves the present one alone.
        await store.apply(RetirePushToken("tablet", "one"))
        assert await _wakes(store, app.id, "ann")
        await store.apply(RetirePushToken("tablet", "two"))
        assert not await _wakes(store, app.id, "ann")
        await store.apply(RemoveDevice("watch"))
        assert not await _wakes(store, app.id, "bob")
        assert await store.devices(bob.id) == []
        await store.apply(RemoveDevice("watch"))
        with pytest.raises(NotFound):
            await store.apply(SetPushToken("watch", "ios", "three"))

    with_store(story)


def test_a_cursor_never_moves_back(with_store: WithStore) -> None:
    """Reports of several devices come together, in any order."""

    async def story(store: Store) -> None:
        app = await add_app(store)
        ann = await add_user(store, app.id, "ann")
        await store.apply(login(ann, "phone"))
        await store.apply(login(ann, "tablet"))
        await store.apply(TouchDevices((("phone", 5, NOON_MS + 9), ("tablet", 2, 1), ("gone", 1, 1))))
        await store.apply(TouchDevices((("phone", 3, NOON_MS + 2),)))
        seen = [(device.cursor, device.last_seen_at_ms) for device in await store.devices(ann.id)]
        assert seen == [(5, NOON_MS + 9), (2, NOON_MS)]

    with_store(story)


def test_a_repeated_key_gives_the_first_answer_and_changes_nothing(with_store: WithStore) -> None:
    """The same key with another digest is a conflict; the same in another scope is another key."""

    async def story(store: Store) -> None:
        heard: list[object] = []
        store.watch(lambda _change, value: heard.append(value))
        key = Idempotency("token 1", "k", b"digest")
        first = await store.apply(CreateApp("a", "key 1"), key, lambda value: b"made %d" % value.id)  # type: ignore[attr-defined]
        assert (first.answer, first.replayed) == (b"made 1", False)
        again = await store.apply(CreateApp("a", "key 1"), key, lambda _: b"other")
        assert (again.value, again.answer, again.replayed) == (None, b"made 1", True)
        with pytest.raises(IdempotencyConflict):
            await store.apply(CreateApp("b", "key 2"), Idempotency("token 1", "k", b"other"), lambda _: b"")
        await store.apply(CreateApp("c", "key 3"), Idempotency("token 2", "k", b"digest"), lambda _: b"")
        assert [app.name for app in await store.apps(0, 9)] == ["a", "c"]
        assert len(heard) == 2

    with_store(story)


def test_a_key_is_kept_only_with_its_change(with_store: WithStore) -> None:
    """A refused change leaves no answer behind, so that it can be sent again."""

    async def story(store: Store) -> None:
        await store.apply(CreateApp("a", "k", id=1))
        key = Idempotency("s", "k", b"digest")
        with pytest.raises(Conflict):
            await store.apply(CreateApp("b", "k2", id=1), key, lambda _: b"no")
        assert await store.recall_answer(key) is None
        await store.apply(DeleteApp(1))
        assert (await store.apply(CreateApp("b", "k2", id=1), key, lambda _: b"yes")).answer == b"yes"

    with_store(story)


def test_a_key_is_forgotten_after_a_day(with_store: WithStore, clock: StillClock) -> None:
    """For 24 hours a key is remembered, then it is new."""

    async def story(store: Store) -> None:
        key, other = Idempotency("s", "k", b"digest"), Idempotency("s", "k", b"other")
        await store.keep_answer(key, b"first")
        clock.ms += DAY_MS - 1
        await store.keep_answer(key, b"second")
        assert await store.recall_answer(key) == b"first"
        with pytest.raises(IdempotencyConflict):
            await store.recall_answer(other)
        clock.ms += 1
        assert await store.recall_answer(other) is None
        applied = await store.apply(CreateApp("a", "k"), other, lambda _: b"third")
        assert not applied.replayed
        assert await store.recall_answer(other) == b"third"

    with_store(story)


def test_watchers_hear_of_a_change_before_its_caller(with_store: WithStore) -> None:
    """On the loop, after the commit, with what the change came to; nothing of a refused one."""

    async def story(store: Store) -> None:
        heard: list[tuple[Change, object]] = []
        places: list[object] = []
        store.watch(lambda change, value: heard.append((change, value)))
        store.watch(lambda _change, _value: places.append(asyncio.get_running_loop()))
        change = CreateApp("a", "k")
        applied = await store.apply(change)
        assert heard == [(change, applied.value)]
        assert places == [asyncio.get_running_loop()]
        with pytest.raises(NotFound):
            await store.apply(DeleteApp(99))
        assert len(heard) == 1

    with_store(story)


def test_watchers_hear_of_a_change_whose_caller_went_away(with_store: WithStore) -> None:
    """A cancelled request may have been written all the same: caches must not miss it."""

    async def story(store: Store) -> None:
        heard = asyncio.Event()
        store.watch(lambda _change, _value: heard.set())
        caller = asyncio.ensure_future(store.apply(CreateApp("a", "k")))
        await asyncio.sleep(0)
        caller.cancel()
        await heard.wait()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert await store.app(1) is not None

    with_store(story)


def test_what_was_applied_is_there_after_a_restart(
    open_store: OpenStore, run: Run, clock: StillClock
) -> None:
    """A store on disk is opened again with everything in it; one in memory is new each time."""

    async def story() -> None:
        async with open_store() as store:
            app = await add_app(store)
            await add_user(store, app.id, "ann")
        async with open_store() as store:
            if await store.app(1) is not None:
                assert await store.user(1, "ann") is not None
                assert (await add_app(store)).id == 2
            else:
                assert await store.apps(0, 1) == []

    run(story())
