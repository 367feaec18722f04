"""Every SQL statement of every store, in files beside this one: named blocks, each with a one-line reason.

::

    -- name: app_by_id
    -- One application, for the doors that check access.
    SELECT …

No statement is put together anywhere else, so what runs against the store can be read here: `joined` puts whole blocks
into one. Only what reads and fills whole tables goes by the names that the catalogue has (`homing.store.moving`, backups).
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Literal, LiteralString

_NAME: Final = "-- name: "
_PARAMETER: Final = re.compile(r"\$(\d+)")


@cache
def load(store: Literal["sqlite", "postgres"], file: str) -> Mapping[str, LiteralString]:
    """Return the blocks of ``store/file.sql`` by name.

    Comments may stand before the first name; a statement there, or a name given twice, is a ValueError.
    """
    text = files(__name__).joinpath(store, f"{file}.sql").read_text("utf-8")
    blocks: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.splitlines():
        if line.startswith(_NAME):
            name = line.removeprefix(_NAME).strip()
            if name in blocks:
                raise ValueError(f"{store}/{file}.sql names {name} twice")
            lines = blocks[name] = []
        elif lines is not None:
            lines.append(line)
        elif line.strip() and not line.startswith("--"):
            raise ValueError(f"{store}/{file}.sql has a statement without a name")
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
