"""`homing migrate`: the schema of a store brought up to date, or a whole store moved to a PostgreSQL."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from homing.cli.render import Column, Out, field, say, style_for
from homing.cli.settings import ConfigOption, DataOption, store_url
from homing.cli.shared import needs_asyncpg, run, told

if TYPE_CHECKING:
    from homing.config import Settings
    from homing.store.migrations import Migration

_STEPS: Final = (
    field("number"),
    field("title"),
    Column("changes", lambda item: ", ".join(_size(table) for table in item["changes"])),
)


def migrate(
    config: ConfigOption = None,
    data: DataOption = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done, and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON document a line.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour (as NO_COLOR does).")] = False,
) -> None:
    """Bring the store's schema to what this Homing knows. Starting a node does the same."""
    from homing.config import load

    settings = load(config, flags={"store.url": store_url(data)}).settings
    out = Out(style_for(as_json=as_json, as_jsonl=as_jsonl), no_colour=no_color)
    with told():
        if settings.store.is_shared:
            needs_asyncpg()
            run(_shared(settings, out, is_plan=plan))
        else:
            _embedded(Path(settings.store.path()), out, is_plan=plan)


def _embedded(path: Path, out: Out, *, is_plan: bool) -> None:
    from homing.store.sqlite.schema import SCHEMA, migrate, plan

    steps = plan(path)
    _show([(step, {name: (rows, None) for name, rows in sizes.items()}) for step, sizes in steps], out)
    if not steps:
        say(f"nothing to do: the store has schema {SCHEMA}")
    elif is_plan:
        say("nothing was changed; the store is held meanwhile: end its server, and make a backup before")
    else:
        migrate(path)
        say(f"done: the store has schema {SCHEMA}; an older Homing does not read it any more")


async def _shared(settings: "Settings", out: Out, *, is_plan: bool) -> None:
    from homing.store.postgres.beside import beside
    from homing.store.postgres.schema import SCHEMA, look, migrate, plan

    async with beside(settings.store.url) as connection:
        state, steps = await look(connection), await plan(connection)
        _show([(step, dict(sizes)) for step, sizes in steps], out)
        if not steps:
            say(f"nothing to do: the store has schema {SCHEMA}")
            return
        nodes = f"; {state.nodes} nodes are running" if state.nodes else ""
        if is_plan:
            say(f"nothing was changed; each table is locked while its step runs{nodes}")
            return
        await migrate(connection, _key_id(settings) if state.schema == 0 else "")
        say(f"done: the store has schema {SCHEMA}; an older Homing does not start on it any more{nodes}")


def _key_id(settings: "Settings") -> str:
    """Return the id of the master key that a new store is sealed under."""
    from homing.vault import Vault

    return Vault.load(settings.master_key_path()).key_id


def _show(steps: "Sequence[tuple[Migration, Mapping[str, tuple[int, int | None]]]]", out: Out) -> None:
    items = [
        {
            "number": step.number,
            "title": step.title,
            "changes": [
                {"table": name, "rows": rows} | ({} if size_bytes is None else {"bytes": size_bytes})
                for name, (rows, size_bytes) in sizes.items()
            ],
        }
        for step, sizes in steps
    ]
    if items or out.style in {"json", "jsonl"}:
        out.items({"items": items, "nextCursor": None}, _STEPS, "steps")


def _size(table: Mapping[str, Any]) -> str:
    size = f", {table['bytes'] / 2**20:,.1f} MiB" if "bytes" in table else ""
    return f"{table['table']} ({table['rows']:,} rows{size})"


COMMANDS: Final[Mapping[str, Callable[..., None]]] = {"migrate": migrate}
