"""The registry's promises about applications, their endpoints and back ends' tokens, on every store."""

import pytest
from tests.store.conftest import WithStore
from tests.store.fakes import DAY_MS, NOON_MS, StillClock, add_app, add_user, login, new_endpoint, send

from homing.errors import Conflict, NotFound
from homing.model import Endpoint, FallbackSettings
from homing.store.changes import (
    CreateApp,
    CreateToken,
    DeleteApp,
    DeleteEndpoint,
    DeleteToken,
    DisableEndpoint,
    TouchEndpoints,
    UpdateApp,
    UpdateEndpoint,
)
from homing.store.port import Retention, Store


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
        await store.prune(Retention(None, None, None), 500)  # what was owed may go by steps
        lanes = await store.held_lanes((b"", 0), 10)
        assert [lane.key[:16] for lane in lanes] == [message]
        assert await store.device(f"digest of phone {stays.id}".encode()) is not None

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
