"""The OpenAPI 3.1 document, made from the operations and the structs that decode their requests: nothing is said twice.

``x-homing-origin`` tells what is `compatible` with the product that the callback contract comes from and what is
Homing's own; ``x-homing-not-yet`` names the properties that a later release brings.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from homing import __version__
from homing.api.decode import shape
from homing.api.feed_schema import LISTENER_NAME
from homing.api.idempotency import MAX_KEY_CHARS
from homing.api.problems import TITLES, Problem
from homing.api.routing import Operation
from homing.api.schema import MAX_ID, NOT_YET, Nothing, Request
from homing.errors import (
    Forbidden,
    HomingError,
    IdempotencyConflict,
    InvalidRequest,
    NotAcceptable,
    NotFound,
    PayloadTooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

Json = dict[str, Any]
AnyOperation = Operation[Request, Request]

_REF: Final = "#/components/schemas/{name}"
_UUID: Final = {"type": "string", "format": "uuid"}
_PATH_PARAMETERS: Final[dict[str, Json]] = {
    "appId": {"type": "integer", "minimum": 1, "maximum": MAX_ID},
    "identifier": {"type": "string", "minLength": 1, "maxLength": 255},
    "endpointId": _UUID,
    "messageId": _UUID,
    "tokenId": _UUID,
    "jobId": _UUID,
    "listener": {"type": "string", "pattern": LISTENER_NAME},
}
_ABOUT: Final = (
    "Durable messages to people's devices, with a callback for every step. Times are ISO-8601 UTC with milliseconds. "
    "Errors are application/problem+json; their `code` is stable. Unknown properties of a request are ignored and "
    "named in the header `Homing-Ignored`. No text may hold the character U+0000, but for data of the sender's own "
    "(`attributes`, `optionalData`), which is kept as JSON. Any POST under /1 but /1/auth/oauth takes an `Idempotency-Key`."
)
_ALLOW: Final[Json] = {"Allow": {"required": True, "schema": {"type": "string"}}}
_WAIT: Final[Json] = {
    "Retry-After": {"required": True, "description": "seconds", "schema": {"type": "integer"}}
}
_CHALLENGE: Final[Json] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
_MADE: Final[dict[str, tuple[str, str]]] = {
    "AppReply": ("appId", "/id"),
    "UserReply": ("identifier", "/identifier"),
    "EndpointReply": ("endpointId", "/id"),
    "TokenReply": ("tokenId", "/id"),
    "SentReply": ("messageId", "/messageId"),
    "JobStarted": ("jobId", "/jobId"),
}
"""What a POST makes: the path parameter that names it elsewhere, and where the answer says it."""
_ERROR_HEADERS: Final[dict[int, Json]] = {401: _CHALLENGE, 403: _CHALLENGE, 405: _ALLOW, 503: _WAIT}


def document(operations: Iterable[AnyOperation], base_url: str) -> Json:
    """Return the document; ``base_url`` empty means: where it was fetched from."""
    shown = [operation for operation in operations if not operation.is_not_yet]
    paths: dict[str, Json] = defaultdict(dict)
    for operation in shown:
        paths[operation.path][operation.method.lower()] = _operation(operation, shown)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Homing",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url or "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in shown)],
        "paths": dict(paths),
        "components": {
            "schemas": _schemas(shown),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "parameter": {"type": "apiKey", "in": "query", "name": "access_token"},
            },
        },
    }


def errors_of(operation: AnyOperation) -> tuple[type[HomingError], ...]:
    """Return everything an operation may refuse with, as its declaration implies."""
    found: list[type[HomingError]] = list(operation.errors)
    takes_key = operation.method == "POST" and not operation.is_public
    if not operation.is_public:
        found += [Unauthorized, Unavailable]
    if operation.needs:
        found.append(Forbidden)
    if "{" in operation.path:
        found.append(NotFound)
    if operation.method != "GET":
        found.append(PayloadTooLarge)
    if takes_key:
        found += [InvalidRequest, IdempotencyConflict]
    if operation.query is not Nothing or _body_of(operation) is not None:
        found += [InvalidRequest, NotAcceptable]
    if _body_of(operation) is not None:
        found.append(UnsupportedMediaType)
    return tuple(dict.fromkeys(found))


def _operation(operation: AnyOperation, operations: list[AnyOperation]) -> Json:
    said: Json = {
        "operationId": _name(operation),
        "summary": operation.summary,
        "tags": [operation.tag],
        "x-homing-origin": "compatible" if operation.is_compatible else "homing",
        "parameters": _parameters(operation),
        "responses": _responses(operation, operations),
        "security": [] if operation.is_public else [{"token": []}, {"parameter": []}],
    }
    if operation.needs:
        said["description"] = f"Needs a token with the scope {' or '.join(operation.needs)}."
    body = _body_of(operation)
    if body is not None:
        schema = {"schema": {"$ref": _REF.format(name=body.__name__)}}
        kinds = ["application/json"]
        if operation.reads is not None:
            kinds.append("application/x-www-form-urlencoded")
        elif operation.method == "PATCH":
            kinds.append("application/merge-patch+json")
        is_required = operation.method != "POST" or not shape(body).may_be_empty
        said["requestBody"] = {"required": is_required, "content": dict.fromkeys(kinds, schema)}
    return said


def _name(operation: AnyOperation) -> str:
    """A name made of the method and the path, as generators of clients like it: postMessagesExpire."""
    words = [part for part in operation.path.strip("/").replace(".", "/").split("/") if part not in {"", "1"}]
    words = [f"by-{word[1:-1]}" if word.startswith("{") else word for word in words]
    camel = "".join(piece[:1].upper() + piece[1:] for word in words for piece in word.split("-"))
    return operation.method.lower() + (camel or "Home")


def _body_of(operation: AnyOperation) -> type[Request] | None:
    if operation.reads is not None:
        return operation.reads
    return None if operation.body is Nothing else operation.body


def _parameters(operation: AnyOperation) -> list[Json]:
    found: list[Json] = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": _PATH_PARAMETERS[part[1:-1]]}
        for part in _variables(operation)
    ]
    if operation.query is not Nothing:
        _, components = msgspec.json.schema_components([operation.query], ref_template=_REF)
        for name, schema in components[operation.query.__name__]["properties"].items():
            found.append({"name": name, "in": "query", "required": False, "schema": _without_null(schema)})
    if operation.method == "POST" and not operation.is_public:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "the same key and request within 24 h gets the first answer again",
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": MAX_KEY_CHARS,
                    "pattern": "^[!-~]([ -~]*[!-~])?$",
                },
            }
        )
    return found


def _without_null(schema: Json) -> Json:
    """A parameter that is left out is no null: only the other branch of the union says what it may be."""
    branches = [branch for branch in schema.get("anyOf", ()) if branch.get("type") != "null"]
    if len(branches) != 1:
        return schema
    kept = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return {**branches[0], **kept}


def _links(operation: AnyOperation, operations: list[AnyOperation]) -> Json:
    """What can be done with what a POST made."""
    made = None if operation.answer is None else _MADE.get(operation.answer.__name__)
    if made is None or operation.method != "POST" or operation.status != 201:
        return {}
    name, where = made
    given = {part[1:-1]: f"$request.path.{part[1:-1]}" for part in _variables(operation)}
    given[name] = f"$response.body#{where}"
    return {
        _name(other): {
            "operationId": _name(other),
            "parameters": {part[1:-1]: given[part[1:-1]] for part in _variables(other)},
        }
        for other in operations
        if f"{{{name}}}" in _variables(other) and all(part[1:-1] in given for part in _variables(other))
    }


def _variables(operation: AnyOperation) -> list[str]:
    return [part for part in operation.path.split("/") if part.startswith("{")]


def _responses(operation: AnyOperation, operations: list[AnyOperation]) -> Json:
    headers: Json = {}
    if _body_of(operation) is not None and operation.reads is None:
        headers["Homing-Ignored"] = {
            "description": "JSON paths of the properties that are unknown here",
            "schema": {"type": "string"},
        }
    if operation.method == "POST" and not operation.is_public:
        headers["Idempotency-Replayed"] = {
            "description": "true: this is the first answer again",
            "schema": {"type": "string"},
        }
    said: Json = {"description": operation.summary}
    if headers:
        said["headers"] = headers
    if operation.answer is not None:
        schema = {"$ref": _REF.format(name=operation.answer.__name__)}
        said["content"] = {operation.media_type: {"schema": schema}}
    elif operation.status != 204:
        schema = {"type": "object"} if operation.media_type == "application/json" else {"type": "string"}
        said["content"] = {operation.media_type: {"schema": schema}}
    responses: Json = {str(operation.status): said}
    for status in operation.also_answers:
        responses[str(status)] = {**said, "description": "as 200, but not so"}
    links = _links(operation, operations)
    if links:
        said["links"] = links
    by_status: dict[int, list[type[HomingError]]] = defaultdict(list)
    for error in errors_of(operation):
        by_status[error.http_status].append(error)
    for status, errors in sorted(by_status.items()):
        responses[str(status)] = _refusal(status, errors)
    return responses


def _refusal(status: int, errors: list[type[HomingError]]) -> Json:
    told = "; ".join(f"{TITLES[error]} (`{error.code}`)" for error in errors)
    schema = {"$ref": _REF.format(name="Problem")}
    said: Json = {"description": told, "content": {"application/problem+json": {"schema": schema}}}
    if status in _ERROR_HEADERS:
        said["headers"] = _ERROR_HEADERS[status]
    return said


def _schemas(operations: list[AnyOperation]) -> Json:
    bodies = [body for operation in operations if (body := _body_of(operation)) is not None]
    answers = [operation.answer for operation in operations if operation.answer is not None]
    types = list(dict.fromkeys([*bodies, *answers, Problem]))
    _, components = msgspec.json.schema_components(types, ref_template=_REF)
    refused = {cls.__name__: cls.REFUSED for cls in Request.__subclasses__()}
    for name, schema in components.items():
        # Unknown properties are ignored, so the document must not forbid them.
        schema.pop("additionalProperties", None)
        later = [key for key, reason in refused.get(name, {}).items() if reason == NOT_YET]
        if later:
            schema["x-homing-not-yet"] = later
    return dict(sorted(components.items()))
