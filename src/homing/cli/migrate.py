"""`homing migrate`: the schema of a store brought up to date, or a whole store moved to a PostgreSQL."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from homing.cli.exits import CliError, ExitCode, usage
from homing.cli.progress import Progress
from homing.cli.render import Column, Out, field, say, style_for
from homing.cli.settings import ConfigOption, DataOption, store_url
from homing.cli.shared import POSTGRESQL, needs_asyncpg, run, told, without_password
from homing.errors import Unavailable

if TYPE_CHECKING:
    from homing.config import Settings
    from homing.store.migrations import Migration

_STEPS: Final = (
    field("number"),
    field("title"),
    Column("changes", lambda item: ", ".join(_size(table) for table in item["changes"])),
)

_COMPARED: Final = (
    field("table"),
    field("rows"),
    field("rows_there"),
    field("checksum"),
    Column("equal", lambda item: "equal" if item["equal"] else f"NOT EQUAL, there {item['checksum_there']}"),
)


def migrate(
    config: ConfigOption = None,
    data: DataOption = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="postgresql://…", help="Move everything into this empty database."),
    ] = None,
    reopen: Annotated[
        bool, typer.Option("--reopen", help="Take back a move: the store may be served again.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done, and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON document a line.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour (as NO_COLOR does).")] = False,
) -> int:
    """Bring the store's schema to what this Homing knows, as starting a node does; with --to, move it to a PostgreSQL."""
    from homing.config import load

    if sum((plan, reopen, to is not None)) > 1:
        raise usage("--plan, --to and --reopen are three things: give one of them")

    settings = load(config, flags={"store.url": store_url(data)}).settings
    out = Out(style_for(as_json=as_json, as_jsonl=as_jsonl), no_colour=no_color)
    with told():
        if to is not None or reopen:
            if settings.store.is_shared:
                raise usage("store.url names a PostgreSQL: name the embedded store with --data")
            path = Path(settings.store.path())
            return _reopen(path) if to is None else _move(settings, path, to, out)
        if settings.store.is_shared:
            needs_asyncpg()
            run(_shared(settings, out, is_plan=plan))
        else:
            _embedded(Path(settings.store.path()), out, is_plan=plan)
    return ExitCode.DONE


def _move(settings: "Settings", path: Path, to: str, out: Out) -> int:
    """Move a store; 1 where the two are not the same afterwards."""
    from homing.store.moving.move import move

    if not to.startswith(POSTGRESQL):
        raise usage("--to: give postgresql://USER@HOST/DATABASE")
    needs_asyncpg()
    place, progress = without_password(to), Progress()
    try:
        moved = run(
            move(path, _key_id(settings), to, place, lambda step: progress.tell(*step)),
        )
    except Unavailable as error:
        raise CliError(
            ExitCode.UNREACHABLE, f"{error.detail}; run the same again, and it goes on where it was"
        ) from error
    finally:
        progress.end()
    if not moved.compared:
        say(f"nothing to do: this store was moved to {place} already")
        return ExitCode.DONE
    items = [one._asdict() | {"equal": one.is_equal} for one in moved.compared]
    out.items({"items": items, "nextCursor": None}, _COMPARED, "tables")
    if not moved.is_whole:
        for one in moved.differences:
            say(f"{one.table} {one.key}: {one.what}")
        say("NOT the same: nothing was switched, serve the old store; empty the database and begin anew")
        return ExitCode.NO
    say(f"moved: every row is in {place}, and {path} is not served any more (--reopen is the way back)")
    say(
        "next: in the settings of each node the new store.url and a copy of the same master key, then `homing serve`"
    )
    return ExitCode.DONE


def _reopen(path: Path) -> int:
    from homing.store.sqlite.another import reopen

    moved = reopen(path)
    if moved is None:
        say("nothing to do: this store was not moved")
    else:
        say(f"it can be served again; what {moved} took since is not in it, and must not be served beside it")
    return ExitCode.DONE


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


COMMANDS: Final[Mapping[str, Callable[..., int]]] = {"migrate": migrate}
