"""`homing check`: whether a node is well and what to do where it is not, on its own machine, while it runs or not."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from homing.cli.exits import ExitCode, usage
from homing.cli.render import Item, Out, field, harmless, style_for
from homing.cli.settings import ConfigOption, DataOption, ListenOption, store_url

if TYPE_CHECKING:
    from homing.config import Loaded

COLUMNS: Final = (field("state"), field("name"), field("found"), field("hint"))
_COLOURS: Final = {"ok": "green", "warn": "yellow", "FAIL": "bold red"}


def check(
    config: ConfigOption = None,
    data: DataOption = None,
    listen: ListenOption = None,
    live: Annotated[
        bool, typer.Option("--live", help="Only whether the server lives and takes work.")
    ] = False,
    only: Annotated[
        str | None, typer.Option("--only", metavar="NAME[,NAME…]", help="Only these items.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A warning is exit 1 too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON document a line.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour (as NO_COLOR does).")] = False,
) -> int:
    """Look at configuration, store, disk, clock, keys, server and endpoints. Changes nothing; exit 1 if one FAILs."""
    from homing.config import load

    if live and only is not None:
        raise usage("--live looks at the server alone: leave out --only")
    file = config if config is not None else _here()
    loaded = load(config, flags={"store.url": store_url(data), "server.listen": listen})
    items = _live(loaded) if live else _examined(loaded, file, only)
    out = Out(style_for(as_json=as_json, as_jsonl=as_jsonl), no_colour=no_color)
    if out.is_human:
        _tell(items, no_color=no_color)
    else:
        out.items({"items": items}, COLUMNS, "items")
    bad = {"FAIL", "warn"} if strict else {"FAIL"}
    return ExitCode.NO if any(item["state"] in bad for item in items) else ExitCode.DONE


def _here() -> Path | None:
    """Return the settings' file that is taken when none is named."""
    file = Path("homing.toml")
    return file if file.exists() else None


def _live(loaded: "Loaded") -> list[dict[str, Any]]:
    import msgspec

    from homing.checkup.live import live

    return [msgspec.to_builtins(live(loaded.settings.server.listen))]


def _examined(loaded: "Loaded", file: Path | None, only: str | None) -> list[dict[str, Any]]:
    import msgspec

    from homing.checkup.examination import case_of, checks_of, examine

    checks = checks_of(loaded.settings)
    names = list(checks) if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in checks:
            raise usage(f"--only: there is no item {name[:40]!r}, only {', '.join(checks)}")
    return [msgspec.to_builtins(item) for item in examine(case_of(loaded, file), names)]


def _tell(items: Sequence[Item], *, no_color: bool) -> None:
    """Show the items to people: states in colour, and after an arrow what to do."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for is_whole in (True, False, False, False):
        table.add_column(overflow="fold", no_wrap=is_whole)
    for item in items:
        hint = f"→ {item['hint']}" if item.get("hint") else ""
        state = Text(item["state"], style=_COLOURS[item["state"]])
        table.add_row(state, *(Text(harmless(text)) for text in (item["name"], item["found"], hint)))
    Console(no_color=no_color or None, highlight=False).print(table)


COMMANDS: Final[Mapping[str, Callable[..., int]]] = {"check": check}
