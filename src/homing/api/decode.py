"""From the bytes of a request to a declared struct, or the exact error: the fast way first, the careful one if needed.

A good request costs one decode and one encode (which finds repeated keys). Only a request that the decoder refuses,
or that may hold a key twice, is parsed again and judged by `shapes`.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, Generic, NoReturn, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from homing.api.shapes import Findings, judge, type_of
from homing.errors import InvalidRequest
from homing.texts import SAYS_NUL

MAX_DEPTH: Final = 32
"""How deep objects and lists may lie in each other, the body itself counted."""

T = TypeVar("T", bound=msgspec.Struct)
_encode: Final = msgspec.json.Encoder().encode
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_TRUTHS: Final = {"true": True, "false": False}
_PAIRS: Final = 100


class Shape(Generic[T]):
    """A declared request: decodes it, and tells what else was in it."""

    def __init__(self, cls: type[T]) -> None:
        self._cls = cls
        self._type = type_of(cls)
        self._decode = msgspec.json.Decoder(cls).decode
        assert isinstance(self._type, inspect.StructType)
        self.may_be_empty = not any(field.required for field in self._type.fields)
        """Nothing has to be said: no body is as good as ``{}``."""
        self._names = frozenset(field.encode_name for field in self._type.fields)
        # Only where values of any kind are taken can a body that fits its type be deep.
        self._open = tuple(field.name for field in self._type.fields if _is_open(field.type))

    def of_json(self, body: bytes) -> tuple[T, tuple[str, ...]]:
        """Return the request and the JSON paths of its unknown properties.

        Raises `InvalidRequest` for what is no JSON, too deep, of a wrong type, incomplete or ambiguous (a key twice);
        `NotAcceptable` for values that are not allowed.
        """
        try:
            value = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._carefully(body)
        if SAYS_NUL in body:
            return self._carefully(body)
        # An equal count of `":` before and after means that no key was given twice: the decoder keeps only the last.
        # (A colon behind a blank would not be counted, so it is looked at closely.)
        colons = body.count(b'":')
        if (
            colons != _encode(value).count(b'":')
            or b" :" in body
            or b"\n:" in body
            or b"\t:" in body
            or b"\r:" in body
        ):
            _parse(body)
        for name in self._open:
            if (given := getattr(value, name)) is not None:
                _check_depth(given, MAX_DEPTH - 1)
        return value, ()

    def of_pairs(self, query: bytes, *, base: str = "$") -> T:
        """Return the request from a query string or a form; a parameter that is given twice is refused."""
        return self.of_values(_pairs(query, self._names), base=base)

    def of_values(self, values: Mapping[str, str], *, base: str = "$") -> T:
        """Return the request from text values; numbers and true or false must be written as such."""
        assert isinstance(self._type, inspect.StructType)
        numbers = {field.encode_name for field in self._type.fields if _is_of(field.type, inspect.IntType)}
        truths = {field.encode_name for field in self._type.fields if _is_of(field.type, inspect.BoolType)}
        typed: dict[str, object] = {**values}
        for name, text in values.items():
            if name in numbers and _INTEGER.fullmatch(text):
                typed[name] = int(text)
            elif name in truths:
                typed[name] = _TRUTHS.get(text, text)
        found = Findings()
        kept = judge(typed, self._type, base, found)
        if (error := found.error()) is not None:
            raise error
        return msgspec.convert(kept, self._cls)

    def _carefully(self, body: bytes) -> tuple[T, tuple[str, ...]]:
        parsed = _parse(body)
        _check_depth(parsed, MAX_DEPTH)
        found = Findings()
        kept = judge(parsed, self._type, "$", found)
        if (error := found.error()) is not None:
            raise error
        try:
            return msgspec.convert(kept, self._cls), found.ignored
        except msgspec.ValidationError as fault:
            raise InvalidRequest(str(fault)) from fault


_shapes: dict[type[msgspec.Struct], Shape[Any]] = {}


def shape(cls: type[T]) -> Shape[T]:
    """Return the shape of a declared request; made once."""
    made = _shapes.get(cls)
    if made is None:
        made = _shapes[cls] = Shape(cls)
    return made


def _pairs(query: bytes, known: frozenset[str]) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_PAIRS
        )
    except UnicodeError as fault:
        raise InvalidRequest("the parameters are not percent-encoded UTF-8") from fault
    except ValueError as fault:
        raise InvalidRequest(f"there are more than {_PAIRS} parameters") from fault
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in known and name in values:
            raise InvalidRequest(f"the parameter {name} is given twice")
        values[name] = value
    return values


def _parse(body: bytes) -> object:
    """Parse JSON strictly: UTF-8, no NaN, no key twice, no half surrogates."""
    try:
        parsed: object = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse
        )
        _encode(parsed)  # finds half of a surrogate pair, which JSON's grammar allows and UTF-8 does not
    except RecursionError as fault:
        raise _too_deep() from fault
    except UnicodeError as fault:
        raise InvalidRequest("the body is not valid UTF-8, or holds half of a surrogate pair") from fault
    except json.JSONDecodeError as fault:
        raise InvalidRequest(f"malformed JSON: {fault.msg} at character {fault.pos}") from fault
    except ValueError as fault:
        raise InvalidRequest("malformed JSON: a number is out of range") from fault
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise InvalidRequest("malformed JSON: a key is given twice in one object")
    return made


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidRequest("malformed JSON: a number is out of range")
    return number


def _refuse(constant: str) -> NoReturn:
    raise InvalidRequest(f"malformed JSON: {constant} is no JSON value")


def _check_depth(value: object, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if not left:
        raise _too_deep()
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            _check_depth(item, left - 1)


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"the body is nested deeper than {MAX_DEPTH} levels")


def _is_open(declared: inspect.Type) -> bool:
    if isinstance(declared, inspect.UnionType):
        return any(_is_open(branch) for branch in declared.types)
    if isinstance(declared, inspect.Metadata):
        return _is_open(declared.type)
    return isinstance(declared, inspect.DictType | inspect.AnyType)


def _is_of(declared: inspect.Type, kind: type[inspect.Type]) -> bool:
    if isinstance(declared, inspect.UnionType):
        return any(_is_of(branch, kind) for branch in declared.types)
    if isinstance(declared, inspect.Metadata):
        return _is_of(declared.type, kind)
    return isinstance(declared, kind)
