"""What API.md names and a later release brings: each answers 422 "not yet" to whoever may ask, never silence."""

from homing.api.routing import Call, Operation
from homing.api.schema import NOT_YET, Nothing
from homing.api.wire import Answer
from homing.errors import NotAcceptable

_PLATFORM = "/1/apps/{appId}/platforms/{platform}"
_LATER = (
    ("PUT", _PLATFORM, "manage"),
    ("GET", _PLATFORM, "manage"),
    ("DELETE", _PLATFORM, "manage"),
)


async def _refuse(_call: Call, _query: Nothing, _body: Nothing) -> Answer:
    raise NotAcceptable(NOT_YET)


def operations() -> "tuple[Operation, ...]":  # type: ignore[type-arg] # as in the other routes
    """The operations that are announced."""
    return tuple(
        Operation(
            method=method, path=path, handler=_refuse, query=Nothing, body=Nothing, answer=None, status=422,
            summary="Not yet", tag="Later", needs=(scope,), is_not_yet=True,
        )
        for method, path, scope in _LATER
    )  # fmt: skip
