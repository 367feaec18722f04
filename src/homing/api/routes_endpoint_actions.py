"""What can be done with an endpoint beside changing it: a new secret, taking it up again, a test, what was given up."""

import time
from typing import Final

from msgspec import UNSET

from homing.api.access import Doors
from homing.api.endpoint_answers import DeadGroups, DeadItems, EndpointReply, Missed, SecretReply, TestReply
from homing.api.endpoint_schema import Enable, Rotate, Test
from homing.api.endpoint_shown import show_dead, show_endpoint, show_group, show_trial
from homing.api.idempotency import apply_once
from homing.api.paging import cursor_of, dead_in, page
from homing.api.ports import Tests, Vault
from homing.api.replaying import begin
from homing.api.routes_apps import MANAGE, READ
from homing.api.routing import Call, Operation
from homing.api.schema import Nothing, Page
from homing.api.secrets import new_secret
from homing.api.wire import Answer, encode, reply
from homing.clock import Clock
from homing.contract.notification import iso_utc
from homing.errors import UrlNotAllowed
from homing.model import Endpoint, ReplaySpec
from homing.store.archive.port import Archive
from homing.store.changes import EnableEndpoint, RotateEndpointSecret
from homing.store.port import Registry

_PATH: Final = "/1/apps/{appId}/endpoints/{endpointId}"


class EndpointActions:
    """The operations beside create, show, change and delete."""

    def __init__(
        self,
        registry: Registry,
        archive: Archive,
        doors: Doors,
        vault: Vault,
        tests: Tests,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._archive = archive
        self._doors = doors
        self._vault = vault
        self._tests = tests
        self._clock = clock

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # each has its own types
        """What is declared here."""
        return (
            Operation(
                method="POST", path=f"{_PATH}/rotate-secret", handler=self.rotate, query=Nothing, body=Rotate,
                answer=SecretReply, status=200, summary="Make a new secret; both sign for a while",
                tag="Endpoints", needs=MANAGE,
            ),
            Operation(
                method="POST", path=f"{_PATH}/enable", handler=self.enable, query=Nothing, body=Enable,
                answer=EndpointReply, status=200, summary="Take callbacks again, and perhaps what was missed",
                tag="Endpoints", needs=MANAGE,
            ),
            Operation(
                method="POST", path=f"{_PATH}/test", handler=self.test, query=Nothing, body=Test,
                answer=TestReply, status=200, summary="Send a signed sample now, and tell what came of it",
                tag="Endpoints", needs=MANAGE, errors=(UrlNotAllowed,),
            ),
            Operation(
                method="GET", path=f"{_PATH}/dead", handler=self.dead, query=Page, body=Nothing,
                answer=DeadItems, status=200, summary="List what was given up", tag="Endpoints", needs=READ,
            ),
            Operation(
                method="GET", path=f"{_PATH}/dead/groups", handler=self.groups, query=Nothing, body=Nothing,
                answer=DeadGroups, status=200, summary="Count what was given up, by reason and status",
                tag="Endpoints", needs=READ,
            ),
        )  # fmt: skip

    async def rotate(self, call: Call, _query: Nothing, it: Rotate) -> Answer:
        """Make a new secret; the one before signs as well until its grace is over (real time, as receivers know it)."""
        endpoint = await self._endpoint(call)
        secret, sealed = new_secret(self._vault, endpoint.uid)
        until_ms = int((time.time() + it.grace_seconds) * 1000) if it.grace_seconds else None

        def show(changed: Endpoint, is_first: bool) -> SecretReply:
            ends_ms = changed.previous_until_ms
            ends = None if ends_ms is None else iso_utc(ends_ms, "ms")
            return SecretReply(secret=secret if is_first else UNSET, previous_valid_until=ends)

        change = RotateEndpointSecret(endpoint.app, endpoint.uid, sealed, until_ms)
        return await apply_once(self._registry, call, change, show, 200)

    async def enable(self, call: Call, _query: Nothing, it: Enable) -> Answer:
        """Take callbacks again from now on; harmless where it was not disabled."""
        before = await self._endpoint(call)
        changed = (await self._registry.apply(EnableEndpoint(before.app, before.uid))).value
        assert isinstance(changed, Endpoint)
        missed, job = None, None
        since_ms = before.disabled_at_ms
        if before.state == "disabled" and since_ms is not None:
            groups = await self._archive.dead_groups(before.id)
            missed = Missed(since=iso_utc(since_ms, "ms"), dead=sum(group.count for group in groups))
            if it.replay_missed:
                spec = ReplaySpec("missed", self._clock.now_ms() + 1, since_ms, before.id)
                job = await begin(self._registry, before.app, spec, None)
        answer = encode(show_endpoint(changed, self._vault, missed=missed, job=job))
        if call.idempotency is not None:
            await self._registry.keep_answer(call.idempotency, answer)
        return Answer(200, answer)

    async def test(self, call: Call, _query: Nothing, it: Test) -> Answer:
        """Send a sample and wait for what comes of it."""
        endpoint = await self._endpoint(call)
        return reply(200, show_trial(await self._tests.test(endpoint, it.status)))

    async def dead(self, call: Call, query: Page, _body: Nothing) -> Answer:
        """List the events that were given up, of the newest message first."""
        endpoint = await self._endpoint(call)
        found = await self._archive.dead(endpoint.id, dead_in(query.cursor), query.limit + 1)
        items, last = page(found, query.limit)
        shown = DeadItems(
            items=tuple(show_dead(view) for view in items),
            next_cursor=None if last is None else cursor_of(last.key + bytes((last.n,))),
        )
        return reply(200, shown)

    async def groups(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Count them."""
        endpoint = await self._endpoint(call)
        found = await self._archive.dead_groups(endpoint.id)
        return reply(200, DeadGroups(items=tuple(show_group(group) for group in found)))

    async def _endpoint(self, call: Call) -> Endpoint:
        params = call.params
        return await self._doors.access_endpoint(call.principal, params["appId"], params["endpointId"])
