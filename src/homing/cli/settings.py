"""`homing config show`, and the settings file that `homing init` writes from the same declarations."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from homing.cli.render import Out, field, style_for

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings; without it ./homing.toml if there is one."),
]
DataOption = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The data directory.")]
ListenOption = Annotated[
    str | None, typer.Option("--listen", metavar="127.0.0.1:8480", help="Address to serve on.")
]

ONE_OF_SEVERAL: Final = "HOMING_PROCESS"
"""The variable by which a process knows that a supervisor started it; it is no setting, and nobody else sets it."""

COLUMNS: Final = (field("key"), field("value"), field("origin"), field("default"), field("reason"))


def store_url(data: Path | None) -> str | None:
    """Return the setting ``store.url`` for a data directory."""
    return None if data is None else f"sqlite:///{data / 'homing.db'}"


def config_show(
    config: ConfigOption = None,
    data: DataOption = None,
    listen: ListenOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON document a line.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour (as NO_COLOR does).")] = False,
) -> None:
    """Show every setting with its value, where it comes from, its default and the default's reason."""
    from homing.config import load

    loaded = load(config, flags={"store.url": store_url(data), "server.listen": listen})
    items = [msgspec.to_builtins(option._asdict()) for option in loaded.options()]
    out = Out(style_for(as_json=as_json, as_jsonl=as_jsonl), no_colour=no_color)
    out.items({"items": items, "nextCursor": None}, COLUMNS, "settings")


def settings_file(given: Mapping[str, object]) -> str:
    """Return a commented ``homing.toml``: what is given stands there, every other key with its default, switched off."""
    from homing.config import KEYS

    lines = [
        "# Homing's settings. Each line that is switched off shows the default; HOMING_SECTION__KEY in the",
        "# environment wins over this file. `homing config show` tells what is in effect.",
    ]
    section = ""
    for name, key in KEYS.items():
        here, _, word = name.partition(".")
        if here != section:
            lines += ["", f"[{here}]"]
            section = here
        lines += ["", f"# {key.reason}"]
        if name in given:
            lines.append(f"{word} = {toml(given[name])}")
        else:
            lines.append(f"# {word} = {toml(key.default)}")
    return "\n".join(lines) + "\n"


def toml(value: object) -> str:
    """Return a value as TOML spells it: the kinds that settings have are written as in JSON."""
    return msgspec.json.encode(value).decode().replace(",", ", ")


COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., None]]]] = {"config": {"show": config_show}}
