"""What an operation is, and how a path finds it. The table of operations decodes, answers and documents all routes.

A router of our own, because a path must be cut at its slashes *before* it is percent-decoded: identifiers may hold
slashes. It also knows every method of a path at once, which ``405`` with ``Allow`` needs.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from urllib.parse import unquote

import msgspec

from homing.api.auth import Principal
from homing.api.schema import Request
from homing.api.wire import Answer
from homing.errors import HomingError, MethodNotAllowed, NotFound
from homing.store.batch import Idempotency

Q = TypeVar("Q", bound=Request)
B = TypeVar("B", bound=Request)

NOTHING_HERE: Final = "there is nothing at this path"


class Call(msgspec.Struct):
    """One request that has found its operation, and who sent it. ``params`` are the path's, percent-decoded.

    ``ignored`` are JSON paths that a handler passes over; they are told in ``Homing-Ignored`` with the unknown ones.
    """

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    params: dict[str, str] = {}
    principal: Principal = Principal("", frozenset(), frozenset())
    body: bytes = b""
    idempotency: Idempotency | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[Q, B]):
    """One method of one path: declared once, for the router, the decoder and the documentation."""

    method: str
    path: str
    handler: Callable[[Call, Q, B], Awaitable[Answer]]
    query: type[Q]
    body: type[B]
    answer: type[msgspec.Struct] | None
    status: int
    summary: str
    tag: str
    needs: tuple[str, ...] = ()
    """The token must have one of these scopes."""
    is_public: bool = False
    """No token is needed."""
    is_compatible: bool = False
    """Its names and habits are those of the product that the callback contract comes from."""
    is_recalled_by_engine: bool = False
    """A repeated idempotency key is found in the engine's own transaction, so nobody looks for it before."""
    is_not_yet: bool = False
    """A later release brings it; it is not documented."""
    errors: tuple[type[HomingError], ...] = ()
    """What it may answer beside what its declaration implies."""
    also_answers: tuple[int, ...] = ()
    """Other statuses that come with the same kind of body."""
    media_type: str = "application/json"
    reads: "type[Request] | None" = None
    """What its handler decodes by itself, from other places than a JSON body too."""


@dataclass(slots=True)
class _Node:
    """One place in the tree of paths."""

    fixed: "dict[str, _Node]" = field(default_factory=dict)
    variable: "tuple[str, _Node] | None" = None
    operations: "dict[str, Operation[Request, Request]]" = field(default_factory=dict)


class Router:
    """Finds the operation for a method and a path."""

    def __init__(
        self, operations: "tuple[Operation[Request, Request], ...]", nothing_here: str = NOTHING_HERE
    ) -> None:
        self._nothing_here = nothing_here
        self._root = _Node()
        self._fixed = {
            (operation.method, operation.path.encode()): operation
            for operation in operations
            if "{" not in operation.path
        }
        for operation in operations:
            node = self._root
            for part in operation.path.split("/")[1:]:
                if part.startswith("{"):
                    if node.variable is None:
                        node.variable = (part[1:-1], _Node())
                    node = node.variable[1]
                else:
                    node = node.fixed.setdefault(part, _Node())
            node.operations[operation.method] = operation

    def find(self, method: str, raw_path: bytes) -> "tuple[Operation[Request, Request], dict[str, str]]":
        """Return the operation and the path's parameters; HEAD finds GET.

        Raises `NotFound` for a path that is not, or is no percent-encoded UTF-8; `MethodNotAllowed` with ``Allow``.
        """
        fixed = self._fixed.get((method, raw_path))
        if fixed is not None:
            return fixed, {}
        node, params = self._walk(raw_path)
        operation = node.operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            raise MethodNotAllowed(f"this path takes {_allow(node)}", allow=_allow(node))
        return operation, params

    def allow(self, raw_path: bytes) -> str:
        """Return the methods of a path, for OPTIONS; `NotFound` for a path that is not."""
        return _allow(self._walk(raw_path)[0])

    def _walk(self, raw_path: bytes) -> tuple[_Node, dict[str, str]]:
        node, params = self._root, {}
        try:
            parts = [unquote(part, errors="strict") for part in raw_path.decode("ascii").split("/")[1:]]
        except UnicodeError:
            raise NotFound(self._nothing_here) from None
        for part in parts:
            if (fixed := node.fixed.get(part)) is not None:
                node = fixed
            elif node.variable is not None and part:
                name, node = node.variable
                params[name] = part
            else:
                raise NotFound(self._nothing_here)
        if not node.operations:
            raise NotFound(self._nothing_here)
        return node, params


def _allow(node: _Node) -> str:
    methods = set(node.operations) | {"OPTIONS"}
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))
