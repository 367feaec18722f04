"""The directory follows the registry: who can be sent to, how, and who no more."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.callbacks.office import SECRET, VAULT
from tests.store.fakes import StillClock, add_app, new_endpoint

from homing.callbacks.directory import Directory, secret_context
from homing.contract.forms import Form
from homing.contract.signature import verify
from homing.model import App, Endpoint
from homing.store.changes import (
    CreateUser,
    DeleteApp,
    DeleteEndpoint,
    DisableEndpoint,
    OpenNotify,
    RotateEndpointSecret,
    UpdateEndpoint,
)
from homing.store.sqlite import SqliteStore

Run = Callable[[Coroutine[Any, Any, None]], None]
Story = Callable[[SqliteStore, Directory], Coroutine[Any, Any, None]]


@pytest.fixture
def with_directory(run: Run) -> Callable[[Story], None]:
    """Return what runs a story on a store that a directory watches."""

    def tell(story: Story) -> None:
        async def whole() -> None:
            store = await SqliteStore.open(":memory:", clock=StillClock())
            directory = Directory(store, VAULT, "Pigeon", 7.5)
            store.watch(directory.changed)
            await story(store, directory)
            await store.close()

        run(whole())

    return tell


WithDirectory = Callable[[Story], None]


async def add(store: SqliteStore, app: int, uid: str, url: str = "http://127.0.0.1/hook?a=1") -> int:
    """Create an endpoint with a sealed secret and return its id."""
    sealed = VAULT.seal(SECRET.encode(), secret_context(uid))
    endpoint = (await store.apply(new_endpoint(app, uid=uid, secret=sealed, url=url, form="form"))).value
    assert isinstance(endpoint, Endpoint)
    return endpoint.id


def test_an_endpoint_can_be_sent_to_as_soon_as_it_exists(with_directory: WithDirectory) -> None:
    """With its URL parsed, its form, its opened secret, and the settings of the process."""

    async def story(store: SqliteStore, directory: Directory) -> None:
        endpoint = await add(store, (await add_app(store)).id, "e1")
        view = directory.view(endpoint)
        assert view is not None
        assert (view.id, view.form, view.user_agent, view.timeout_s) == (endpoint, Form.FORM, "Pigeon", 7.5)
        assert (view.url.path, view.url.query) == ("/hook", "a=1")
        headers = ("id", "5", view.signers[0].sign("id", 5, b"body"))
        verify(headers, b"body", [SECRET], 5)
        assert dict(directory.views()) == {endpoint: view}

    with_directory(story)


def test_all_that_exist_are_loaded_at_the_start(with_directory: WithDirectory) -> None:
    """But those that are disabled."""

    async def story(store: SqliteStore, _watching: Directory) -> None:
        app = (await add_app(store)).id
        one, off = await add(store, app, "e1"), await add(store, app, "e2")
        await store.apply(DisableEndpoint(off, "410"))
        directory = Directory(store, VAULT, "Pigeon", 7.5)
        assert directory.view(one) is None
        await directory.load()
        assert set(directory.views()) == {one}

    with_directory(story)


def test_a_change_gives_a_new_view(with_directory: WithDirectory) -> None:
    """URL and form are those of the latest change."""

    async def story(store: SqliteStore, directory: Directory) -> None:
        app = (await add_app(store)).id
        endpoint = await add(store, app, "e1")
        before = directory.view(endpoint)
        await store.apply(UpdateEndpoint(app, "e1", "http://127.0.0.1/new", "json", None, "ms", None))
        view = directory.view(endpoint)
        assert view is not None
        assert view is not before
        assert (view.url.path, view.form, view.precision) == ("/new", Form.JSON, "ms")

    with_directory(story)


@pytest.mark.parametrize("how", ["disabled", "deleted", "with its application"])
def test_who_is_gone_is_sent_nothing(with_directory: WithDirectory, how: str) -> None:
    """Disabled, deleted, or deleted with the application; others of the same and other applications stay."""

    async def story(store: SqliteStore, directory: Directory) -> None:
        app, other = (await add_app(store)).id, (await add_app(store)).id
        endpoint, sibling, stranger = [
            await add(store, owner, uid) for owner, uid in ((app, "e1"), (app, "e2"), (other, "e3"))
        ]
        match how:
            case "disabled":
                await store.apply(DisableEndpoint(endpoint, "410"))
            case "deleted":
                await store.apply(DeleteEndpoint(app, "e1"))
            case _:
                await store.apply(DeleteApp(app))
        assert directory.view(endpoint) is None
        assert not directory.is_refused(endpoint)
        assert (directory.view(sibling) is None) == (how == "with its application")
        assert directory.view(stranger) is not None

    with_directory(story)


def test_a_url_that_is_refused_today_is_neither_gone_nor_sent_to(with_directory: WithDirectory) -> None:
    """Until it is changed to one that is allowed."""

    async def story(store: SqliteStore, directory: Directory) -> None:
        app = (await add_app(store)).id
        endpoint = await add(store, app, "e1", "gopher://127.0.0.1/")
        assert directory.view(endpoint) is None
        assert directory.is_refused(endpoint)
        await store.apply(UpdateEndpoint(app, "e1", "http://127.0.0.1/", "json", None, "s", None))
        assert directory.view(endpoint) is not None
        assert not directory.is_refused(endpoint)
        await store.apply(UpdateEndpoint(app, "e1", "gopher://127.0.0.1/", "json", None, "s", None))
        await store.apply(DeleteApp(app))
        assert not directory.is_refused(endpoint)

    with_directory(story)


def test_other_changes_are_nothing_to_it(with_directory: WithDirectory) -> None:
    """Users come and go without a look at the endpoints."""

    async def story(store: SqliteStore, directory: Directory) -> None:
        app = (await add_app(store)).id
        await add(store, app, "e1")
        before = dict(directory.views())
        await store.apply(CreateUser(app, "Ann", "ann", "hash"))
        assert dict(directory.views()) == before

    with_directory(story)


@pytest.mark.parametrize("how", ["disabled", "disabled and looked at", "deleted", "with its application"])
def test_who_is_gone_while_a_secret_rotates_troubles_nobody(with_directory: WithDirectory, how: str) -> None:
    """When the old secret's time is over, the others are sent to as ever, also after a test of one that is disabled."""

    async def story(store: SqliteStore, _watching: Directory) -> None:
        now_ms = 0
        directory = Directory(store, VAULT, "Pigeon", 7.5, lambda: now_ms)
        store.watch(directory.changed)
        app, other = (await add_app(store)).id, (await add_app(store)).id
        await add(store, app, "e1")
        stranger = await add(store, other, "e2")
        sealed = VAULT.seal(SECRET.encode(), secret_context("e1"))
        rotating = (await store.apply(RotateEndpointSecret(app, "e1", sealed, 1_000))).value
        assert isinstance(rotating, Endpoint)
        match how:
            case "deleted":
                await store.apply(DeleteEndpoint(app, "e1"))
            case "with its application":
                await store.apply(DeleteApp(app))
            case _:
                await store.apply(DisableEndpoint(rotating.id, "410"))
        if how == "disabled and looked at":
            assert len(directory.look(rotating).signers) == 2
        now_ms = 1_000
        assert directory.view(stranger) is not None
        assert directory.view(rotating.id) is None

    with_directory(story)


def test_what_was_missed_is_found_by_reading_all_again(with_directory: WithDirectory) -> None:
    """Endpoints that came, changed, or are gone since; who missed changes can ask for all of it."""

    async def story(store: SqliteStore, _watching: Directory) -> None:
        app = (await add_app(store)).id
        gone, stays = await add(store, app, "gone"), await add(store, app, "stays")
        late = Directory(store, VAULT, "Pigeon", 7.5)
        await late.load()
        assert set(late.views()) == {gone, stays}
        await store.apply(DeleteEndpoint(app, "gone"))
        came = await add(store, app, "came")
        await late.load()
        assert set(late.views()) == {stays, came}

    with_directory(story)


def test_what_changes_while_all_is_read_for_the_first_time_is_read_too(run: Run) -> None:
    """Also the endpoint of an application that is not known yet, by whose secret its callbacks are signed."""

    async def story() -> None:
        store = await SqliteStore.open(":memory:", clock=StillClock())
        app = await add_app(store)
        before = await add(store, app.id, "before")
        came: list[int] = []

        class Meanwhile:
            """A registry in which somebody makes two endpoints just after all were read."""

            async def apps(self, after: int, limit: int) -> list[App]:
                return await store.apps(after, limit)

            async def endpoints(self, app_id: int | None) -> list[Endpoint]:
                endpoints = await store.endpoints(app_id)
                if not came:
                    opened = (await store.apply(OpenNotify(app.id, "https://a.example:443"))).value
                    assert isinstance(opened, Endpoint)
                    came.extend([await add(store, app.id, "after"), opened.id])
                return endpoints

        directory = Directory(Meanwhile(), VAULT, "Pigeon", 7.5)
        store.watch(directory.changed)
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: faults.append(fault))
        await directory.load()
        assert set(directory.views()) == {before, *came}
        assert (len(came), faults) == (2, [])
        await store.close()

    run(story())
