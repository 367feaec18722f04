"""The careful second look at a request that the fast decoder refused: what exactly is wrong, and what is unknown.

It walks a parsed value along the declared type and sorts its findings into wrong types (400), values that are not
allowed (422) and unknown properties (named in ``Homing-Ignored``). It must not be needed on the way of a good request.
"""

import re
from enum import Enum
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import inspect

from homing.errors import InvalidRequest, NotAcceptable, RequestError
from homing.texts import FAULT, NUL

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_SHOWN_FAULTS: Final = 20
_SHOWN_IGNORED: Final = 50


def member(path: str, key: str) -> str:
    """Return the JSON path of a property; one that does not look like a name is quoted and percent-encoded."""
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}"
    return f"{path}['{quote(key[:64], safe='', errors='replace')}']"


class Findings:
    """What was found wrong or unknown so far."""

    def __init__(self) -> None:
        self.types: list[tuple[str, str]] = []
        self.values: list[tuple[str, str]] = []
        self._ignored: dict[str, str | None] = {}

    def ignore(self, path: str) -> None:
        """Note an unknown property; the same one in many items of a list is told once, as ``[*]``."""
        pattern = re.sub(r"\[[0-9]+\]", "[*]", path)
        self._ignored[pattern] = None if pattern in self._ignored else path

    @property
    def ignored(self) -> tuple[str, ...]:
        """JSON paths of what was not looked at."""
        paths = [path or pattern for pattern, path in self._ignored.items()]
        return tuple(paths[:_SHOWN_IGNORED])

    def error(self) -> RequestError | None:
        """The error to raise: wrong types outweigh wrong values; None if nothing is wrong."""
        if not self.types and not self.values:
            return None
        faults = tuple((self.types + self.values)[:_SHOWN_FAULTS])
        path, message = faults[0]
        detail = (
            f"{path}: {message}" if len(faults) == 1 else f"{path}: {message}; and {len(faults) - 1} more"
        )
        return (InvalidRequest if self.types else NotAcceptable)(detail, errors=faults)


def judge(value: object, declared: inspect.Type, path: str, found: Findings) -> object:
    """Return the value without unknown properties, having noted in ``found`` whatever does not fit ``declared``."""
    match declared:
        case inspect.Metadata():
            return judge(value, declared.type, path, found)
        case inspect.UnionType():
            return _union(value, declared, path, found)
        case inspect.StructType():
            return _struct(value, declared, path, found)
        case inspect.ListType():
            return _list(value, declared, path, found)
        case inspect.DictType():
            if not isinstance(value, dict):
                found.types.append((path, f"must be an object, not {_name(value)}"))
                return value
            return {
                key: judge(item, declared.value_type, member(path, key), found) for key, item in value.items()
            }
        case inspect.AnyType():
            return value
        case _:
            _scalar(value, declared, path, found)
            return int(value) if isinstance(value, float) and isinstance(declared, inspect.IntType) else value


def _union(value: object, declared: inspect.UnionType, path: str, found: Findings) -> object:
    """Judge by the one branch that takes this kind of value; if none does, the type is wrong."""
    for branch in declared.types:
        if _takes(value, branch):
            return judge(value, branch, path, found)
    wanted = " or ".join(_wanted(branch) for branch in declared.types)
    found.types.append((path, f"must be {wanted}, not {_name(value)}"))
    return value


def _struct(value: object, declared: inspect.StructType, path: str, found: Findings) -> object:
    if not isinstance(value, dict):
        found.types.append((path, f"must be an object, not {_name(value)}"))
        return value
    refused: dict[str, str] = getattr(declared.cls, "REFUSED", {})
    refused_values: dict[str, dict[object, str]] = getattr(declared.cls, "REFUSED_VALUES", {})
    fields = {field.encode_name: field for field in declared.fields}
    kept: dict[str, object] = {}
    for key, item in value.items():
        at = member(path, key)
        field = fields.get(key)
        if field is not None:
            reason = refused_values.get(key, {}).get(item) if isinstance(item, str) else None
            if reason is not None:
                found.values.append((at, reason))
            else:
                kept[key] = judge(item, field.type, at, found)
        elif key in refused and item is not None:
            found.values.append((at, refused[key]))
        else:
            found.ignore(at)
    for name, field in fields.items():
        if field.required and name not in value:
            found.types.append((member(path, name), "is missing"))
    return kept


def _list(value: object, declared: inspect.ListType, path: str, found: Findings) -> object:
    if not isinstance(value, list):
        found.types.append((path, f"must be a list, not {_name(value)}"))
        return value
    low, high = declared.min_length or 0, declared.max_length
    if len(value) < low or (high is not None and len(value) > high):
        found.values.append((path, f"must have {_span(low, high)} items, not {len(value)}"))
        return value
    return [judge(item, declared.item_type, f"{path}[{n}]", found) for n, item in enumerate(value)]


def _scalar(value: object, declared: inspect.Type, path: str, found: Findings) -> None:
    if not _takes(value, declared):
        found.types.append((path, f"must be {_wanted(declared)}, not {_name(value)}"))
    elif isinstance(declared, inspect.StrType) and isinstance(value, str):
        low, high = declared.min_length or 0, declared.max_length
        if len(value) < low or (high is not None and len(value) > high):
            found.values.append((path, f"must have {_span(low, high)} characters, not {len(value)}"))
        elif NUL in value:
            found.values.append((path, FAULT))
        elif declared.pattern is not None and re.search(declared.pattern, value) is None:
            found.values.append((path, f"must match {declared.pattern}"))
    elif isinstance(declared, inspect.IntType | inspect.FloatType) and isinstance(value, int | float):
        least, most = declared.ge, declared.le
        if (least is not None and value < least) or (most is not None and value > most):
            found.values.append((path, f"must be {_span(least, most)}"))
    elif isinstance(declared, inspect.LiteralType | inspect.EnumType):
        allowed = _members(declared)
        if value not in allowed:
            found.values.append((path, f"must be one of {', '.join(map(str, allowed))}"))


def _takes(value: object, declared: inspect.Type) -> bool:
    """Say whether the declared type takes this kind of JSON value, whatever the value itself."""
    match declared:
        case inspect.Metadata():
            return _takes(value, declared.type)
        case inspect.NoneType():
            return value is None
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            # JSON Schema knows no difference between 60 and 60.0.
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case inspect.StrType() | inspect.LiteralType() | inspect.EnumType():
            return isinstance(value, str)
        case inspect.ListType():
            return isinstance(value, list)
        case inspect.StructType() | inspect.DictType():
            return isinstance(value, dict)
        case _:
            raise TypeError(f"no rule for {declared!r} in a request")


def _wanted(declared: inspect.Type) -> str:
    match declared:
        case inspect.Metadata():
            return _wanted(declared.type)
        case inspect.NoneType():
            return "null"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "an integer"
        case inspect.FloatType():
            return "a number"
        case inspect.ListType():
            return "a list"
        case inspect.StructType() | inspect.DictType():
            return "an object"
        case _:
            return "a string"


def _name(value: object) -> str:
    """The JSON name of a value's type; never the value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _members(declared: "inspect.LiteralType | inspect.EnumType") -> tuple[object, ...]:
    if isinstance(declared, inspect.LiteralType):
        return declared.values
    cls: type[Enum] = declared.cls
    return tuple(member.value for member in cls)


def _span(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"{low} to {high}"


def type_of(cls: type[msgspec.Struct]) -> inspect.Type:
    """Return the declared type to judge by."""
    return inspect.type_info(cls)
