"""Telling callbacks again, as durable jobs: beginning them, and looking after them."""

import re
from typing import Final

from msgspec import UNSET

from homing.api.access import Doors
from homing.api.endpoint_answers import JobItems, JobReply, JobStarted, ReplayCount
from homing.api.endpoint_schema import JobList, JobPatch, MessageReplay, Replay
from homing.api.idempotency import apply_once
from homing.api.paging import cursor_of, instant_ms, number_in, page
from homing.api.replaying import count, new_job
from homing.api.routes_apps import MANAGE, READ
from homing.api.routing import Call, Operation
from homing.api.schema import Nothing
from homing.api.wire import Answer, reply
from homing.clock import Clock
from homing.contract.notification import iso_utc
from homing.contract.status import mask
from homing.errors import Conflict, NotAcceptable, NotFound
from homing.model import Endpoint, Job, ReplaySpec
from homing.store.archive.port import Archive
from homing.store.changes import UpdateJob
from homing.store.port import Registry

_WEBHOOK_ID: Final = re.compile(r"msg_([0-9a-f]{32})([0-9a-f]{4})_([0-9]{1,3})_([0-9]{1,18})")


class Jobs:
    """The operations on replays."""

    def __init__(self, registry: Registry, archive: Archive, doors: Doors, clock: Clock) -> None:
        self._registry = registry
        self._archive = archive
        self._doors = doors
        self._clock = clock

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # each has its own types
        """What is declared here."""
        job = "/1/jobs/{jobId}"
        return (
            Operation(
                method="POST", path="/1/apps/{appId}/endpoints/{endpointId}/replay", handler=self.replay,
                query=Nothing, body=Replay, answer=JobStarted, status=202,
                summary="Tell an endpoint's callbacks again", tag="Replays", needs=MANAGE, errors=(Conflict,),
            ),
            Operation(
                method="POST", path="/1/apps/{appId}/endpoints/{endpointId}/replay/count", handler=self.count,
                query=Nothing, body=Replay, answer=ReplayCount, status=200,
                summary="Count what telling again would tell", tag="Replays", needs=READ,
            ),
            Operation(
                method="POST", path="/1/messages/{messageId}/callbacks/replay", handler=self.replay_message,
                query=Nothing, body=MessageReplay, answer=JobStarted, status=202,
                summary="Tell a message's callbacks again", tag="Replays", needs=MANAGE,
            ),
            Operation(
                method="GET", path="/1/jobs", handler=self.list, query=JobList, body=Nothing, answer=JobItems,
                status=200, summary="List jobs, newest first", tag="Replays", needs=READ, errors=(NotFound,),
            ),
            Operation(
                method="GET", path=job, handler=self.get, query=Nothing, body=Nothing, answer=JobReply,
                status=200, summary="Show how far a job is", tag="Replays", needs=READ,
            ),
            Operation(
                method="PATCH", path=job, handler=self.patch, query=Nothing, body=JobPatch, answer=JobReply,
                status=200, summary="Pause a job, have it go on, or cancel it", tag="Replays", needs=MANAGE,
                errors=(Conflict,),
            ),
        )  # fmt: skip

    async def replay(self, call: Call, _query: Nothing, it: Replay) -> Answer:
        """Begin a job for one endpoint."""
        endpoint, spec = await self._meant(call, it)
        if endpoint.state == "disabled":
            raise Conflict("the endpoint is disabled and takes no callbacks: enable it first")
        if endpoint.kind == "operations":
            raise Conflict("what endpoints of kind operations are told is not kept, so it is not told again")
        return await self._begin(call, endpoint.app, spec, it.rate_per_second)

    async def count(self, call: Call, _query: Nothing, it: Replay) -> Answer:
        """Count what a job would tell."""
        endpoint, spec = await self._meant(call, it)
        total, is_exact = await count(self._archive, endpoint.app, spec)
        return reply(200, ReplayCount(total=total, is_exact=is_exact))

    async def _meant(self, call: Call, it: Replay) -> tuple[Endpoint, ReplaySpec]:
        """Return whose callbacks a request is about, and which."""
        params = call.params
        endpoint = await self._doors.access_endpoint(call.principal, params["appId"], params["endpointId"])
        since_ms, until_ms = instant_ms(it.since, "since"), instant_ms(it.until, "until")
        now_ms = self._clock.now_ms()
        if it.which == "missed" and since_ms is None:
            since_ms = endpoint.disabled_at_ms
            if since_ms is None:
                text = "is needed: this endpoint was never disabled"
                raise NotAcceptable(f"$.since: {text}", errors=(("$.since", text),))
        spec = ReplaySpec(
            it.which,
            now_ms + 1 if until_ms is None else until_ms,
            since_ms,
            endpoint.id,
            None if it.statuses is None or endpoint.kind == "inbox" else mask(it.statuses),
        )
        return endpoint, spec

    async def replay_message(self, call: Call, _query: Nothing, it: MessageReplay) -> Answer:
        """Begin a job for one message."""
        app, message = await self._doors.access_told(call.principal, call.params["messageId"])
        endpoint: int | None = None
        position, n = None, None
        if it.endpoint_id is not None:
            found = await self._doors.access_endpoint(call.principal, str(app), it.endpoint_id)
            endpoint = found.id
        if it.webhook_id is not None:
            named = _WEBHOOK_ID.fullmatch(it.webhook_id)
            if named is None or bytes.fromhex(named[1]) != message:
                text = "is not the webhook-id of a callback of this message"
                raise NotAcceptable(f"$.webhookId: {text}", errors=(("$.webhookId", text),))
            position, n, endpoint = int(named[2], 16), int(named[3]), int(named[4])
        spec = ReplaySpec(
            "all",
            self._clock.now_ms() + 1,
            endpoint=endpoint,
            message=message,
            position=position,
            n=n,
        )
        return await self._begin(call, app, spec, None)

    async def list(self, call: Call, query: JobList, _body: Nothing) -> Answer:
        """List the jobs about applications within reach."""
        app, reach = None, call.principal.apps
        if query.mobile_app_id is not None:
            app = (await self._doors.access_app(call.principal, query.mobile_app_id)).id
        before = number_in(query.cursor)
        found: list[Job] = []
        while len(found) <= query.limit:
            jobs = await self._registry.jobs(app, before, query.limit + 1)
            found += [job for job in jobs if reach is None or job.app in reach]
            if len(jobs) <= query.limit:
                break
            before = jobs[-1].id
        items, last = page(found[: query.limit + 1], query.limit)
        shown = JobItems(
            items=tuple(show_job(job) for job in items),
            next_cursor=None if last is None else cursor_of(last.id),
        )
        return reply(200, shown)

    async def get(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Show a job."""
        return reply(200, show_job(await self._doors.access_job(call.principal, call.params["jobId"])))

    async def patch(self, call: Call, _query: Nothing, it: JobPatch) -> Answer:
        """Change a job that has not ended."""
        job = await self._doors.access_job(call.principal, call.params["jobId"])
        changed = (await self._registry.apply(UpdateJob(job.uid, it.state, it.rate_per_second))).value
        assert isinstance(changed, Job)
        return reply(200, show_job(changed))

    async def _begin(self, call: Call, app: int, spec: ReplaySpec, rate: float | None) -> Answer:
        def show(job: Job, _is_first: bool) -> JobStarted:
            return JobStarted(job_id=job.uid)

        return await apply_once(self._registry, call, new_job(app, spec, rate), show, 202)


def show_job(job: Job) -> JobReply:
    """Return what an answer says of a job."""
    return JobReply(
        id=job.uid,
        kind=job.kind,  # type: ignore[arg-type] # there is one kind
        state=job.state,  # type: ignore[arg-type] # one of the four
        done=job.done,
        failed=job.failed,
        total=job.opened if job.total is None else job.total,
        rate_per_second=UNSET if job.rate is None else job.rate,
        mobile_app_id=job.app,
        created_at=iso_utc(job.created_at_ms, "ms"),
        ended_at=UNSET if job.ended_at_ms is None else iso_utc(job.ended_at_ms, "ms"),
    )
