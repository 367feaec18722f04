"""Users of an application: whom messages are for, and who logs in on devices. Passwords never come back."""

import asyncio
from collections.abc import Mapping

from msgspec import UNSET, UnsetType

from homing.api.access import Doors
from homing.api.answers import UserItems, UserReply
from homing.api.idempotency import apply_once
from homing.api.paging import cursor_of, page, text_in
from homing.api.routes_apps import MANAGE, READ
from homing.api.routing import Call, Operation
from homing.api.schema import Nothing, Page, UserCreate, UserPatch
from homing.api.wire import NO_CONTENT, Answer, reply
from homing.contract.notification import iso_utc
from homing.errors import Conflict, NotFound
from homing.identifiers import fold_identifier
from homing.model import User
from homing.passwords import hash_password
from homing.store.changes import CreateUser, DeleteUser, UpdateUser
from homing.store.port import Registry


class Users:
    """The operations on users."""

    def __init__(self, registry: Registry, doors: Doors) -> None:
        self._registry = registry
        self._doors = doors
        self._patching = asyncio.Lock()  # of two patches at once, neither undoes the other

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # each has its own types
        """What is declared here."""
        users, user = "/1/apps/{appId}/users", "/1/apps/{appId}/users/{identifier}"
        return (
            Operation(
                method="GET", path=users, handler=self.list, query=Page, body=Nothing, answer=UserItems,
                status=200, summary="List users", tag="Users", needs=READ, is_compatible=True,
            ),
            Operation(
                method="POST", path=users, handler=self.create, query=Nothing, body=UserCreate,
                answer=UserReply, status=201, summary="Make a user", tag="Users", needs=MANAGE,
                is_compatible=True, errors=(Conflict,),
            ),
            Operation(
                method="GET", path=user, handler=self.get, query=Nothing, body=Nothing, answer=UserReply,
                status=200, summary="Show a user", tag="Users", needs=READ, is_compatible=True,
            ),
            Operation(
                method="PATCH", path=user, handler=self.patch, query=Nothing, body=UserPatch, answer=UserReply,
                status=200, summary="Change a user (merge patch)", tag="Users", needs=MANAGE, is_compatible=True,
            ),
            Operation(
                method="DELETE", path=user, handler=self.delete, query=Nothing, body=Nothing, answer=None,
                status=204, summary="Delete a user with all devices", tag="Users", needs=MANAGE,
                is_compatible=True,
            ),
        )  # fmt: skip

    async def list(self, call: Call, query: Page, _body: Nothing) -> Answer:
        """List an application's users, by identifier."""
        app = await self._doors.access_app(call.principal, call.params["appId"])
        found = await self._registry.users(app.id, text_in(query.cursor), query.limit + 1)
        items, last = page(found, query.limit)
        shown = UserItems(
            items=tuple(show_user(user) for user in items),
            next_cursor=None if last is None else cursor_of(fold_identifier(last.identifier)),
        )
        return reply(200, shown)

    async def create(self, call: Call, _query: Nothing, it: UserCreate) -> Answer:
        """Make a user."""
        app = await self._doors.access_app(call.principal, call.params["appId"])
        folded = fold_identifier(it.identifier)
        if call.idempotency is None and await self._registry.user(app.id, folded) is not None:
            raise Conflict("there is a user with this identifier")  # known before the dear hash
        change = CreateUser(
            app.id,
            it.identifier,
            folded,
            await hash_password(it.password),
            it.mobile_number,
            it.attributes,
        )
        return await apply_once(self._registry, call, change, lambda user, _is_first: show_user(user))

    async def get(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Show a user."""
        params = call.params
        user = await self._doors.access_user(call.principal, params["appId"], params["identifier"])
        return reply(200, show_user(user))

    async def patch(self, call: Call, _query: Nothing, it: UserPatch) -> Answer:
        """Change what the patch names; attributes are merged (RFC 7396)."""
        params = call.params
        await self._doors.access_user(call.principal, params["appId"], params["identifier"])
        password_hash = None if isinstance(it.password, UnsetType) else await hash_password(it.password)
        async with self._patching:
            user = await self._doors.access_user(call.principal, params["appId"], params["identifier"])
            changed = await self._patched(user, it, password_hash)
        return reply(200, show_user(changed))

    async def _patched(self, user: User, it: UserPatch, password_hash: str | None) -> User:
        attributes = user.attributes
        if not isinstance(it.attributes, UnsetType):
            attributes = None if it.attributes is None else merge_patch(attributes or {}, it.attributes)
        change = UpdateUser(
            user.app,
            fold_identifier(user.identifier),
            password_hash,
            user.mobile_number if isinstance(it.mobile_number, UnsetType) else it.mobile_number,
            attributes,
        )
        changed = (await self._registry.apply(change)).value
        if not isinstance(changed, User):
            raise NotFound("there is no such user")
        return changed

    async def delete(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Delete a user; what was sent to them goes its way."""
        params = call.params
        user = await self._doors.access_user(call.principal, params["appId"], params["identifier"])
        await self._registry.apply(DeleteUser(user.app, fold_identifier(user.identifier)))
        return NO_CONTENT


def show_user(user: User) -> UserReply:
    """Return what an answer says of a user."""
    return UserReply(
        identifier=user.identifier,
        mobile_number=UNSET if user.mobile_number is None else user.mobile_number,
        attributes=UNSET if user.attributes is None else user.attributes,
        created_at=iso_utc(user.created_at_ms, "ms"),
    )


def merge_patch(target: Mapping[str, object], patch: Mapping[str, object]) -> dict[str, object]:
    """Return ``target`` changed by ``patch`` as RFC 7396 says: null removes, objects merge, all else replaces."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            inner = merged.get(key)
            merged[key] = merge_patch(inner if isinstance(inner, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
