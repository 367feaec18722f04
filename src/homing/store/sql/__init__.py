"""Every SQL statement of every store, in files beside this one: named blocks, each with a one-line reason.

::

    -- name: app_by_id
    -- One application, for the doors that check access.
    SELECT …

No statement is put together anywhere else, so what runs against the store can be read here; but for what reads and fills
whole tables by the names that the catalogue has (`homing.store.moving`, backups).
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Literal, LiteralString

_NAME: Final = "-- name: "


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
