"""Every SQL statement of every store, in files beside this one: named blocks, each with a one-line reason.

::

    -- name: app_by_id
    -- One application, for the doors that check access.
    SELECT …

What several statements of a file have in common stands in it once, under ``-- part: so``, and in each as a line ``-- put: so``.

No statement is put together anywhere else, so what runs against the store can be read here: `joined` puts whole blocks
into one. Only what reads and fills whole tables goes by the names that the catalogue has (`homing.store.moving`, backups).
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Literal, LiteralString

_NAME: Final = "-- name"
_PART: Final = "-- part"
_PUT: Final = "-- put"
_PARAMETER: Final = re.compile(r"\$(\d+)")


@cache
def load(store: Literal["sqlite", "postgres"], file: str) -> Mapping[str, LiteralString]:
    """Return the blocks of ``store/file.sql`` by name.

    Comments may stand before the first name; a statement there, a name given twice, a part that is never put, or put before
    it stands there, is a ValueError.
    """
    where = f"{store}/{file}.sql"
    text = files(__name__).joinpath(store, f"{file}.sql").read_text("utf-8")
    blocks: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {}
    never_put: set[str] = set()
    lines: list[str] | None = None
    for line in text.splitlines():
        mark, _, name = line.partition(": ")
        if mark in {_NAME, _PART}:
            if name in blocks or name in parts:
                raise ValueError(f"{where} names {name} twice")
            lines = (blocks if mark == _NAME else parts)[name] = []
            never_put |= {name} & parts.keys()
        elif mark == _PUT:
            if lines is None or name not in parts:
                raise ValueError(f"{where} puts {name}, which does not stand before it")
            lines += parts[name]
            never_put.discard(name)
        elif lines is not None:
            lines.append(line)
        elif line.strip() and not line.startswith("--"):
            raise ValueError(f"{where} has a statement without a name")
    if never_put:
        raise ValueError(f"{where} has parts that are never put: {sorted(never_put)}")
    # Only files of this package become statements, so they are as good as literals.
    return MappingProxyType({name: "\n".join(body).strip() for name, body in blocks.items()})


@cache
def joined(*blocks: LiteralString) -> LiteralString:
    """Return one statement of PostgreSQL that writes what several blocks do; their parameters follow one another.

    All of them see the tables as they were before it, and they run in any order: no two may write the same row, and none
    may read what another writes.
    """
    parts: list[LiteralString] = []
    before = 0
    for block in blocks:
        numbers = [int(number) for number in _PARAMETER.findall(block)]
        shifted = _PARAMETER.sub(lambda found, by=before: f"${int(found[1]) + by}", block)  # type: ignore[misc]
        parts.append(shifted.removesuffix(";"))
        before += max(numbers, default=0)
    if len(parts) == 1:
        return parts[0]
    named = ",\n".join(f"part_{n} AS (\n{part}\n)" for n, part in enumerate(parts[:-1], 1))
    return f"WITH {named}\n{parts[-1]}"
