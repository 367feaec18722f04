"""`homing backup` and `homing restore`: the store's files themselves, whether a server runs or not."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from homing.cli.exits import usage
from homing.cli.render import Out, field, say, style_for
from homing.cli.settings import ConfigOption, DataOption, store_url
from homing.cli.shared import told

if TYPE_CHECKING:
    from homing.store.sqlite.manifest import Manifest

_FACTS: Final = (field("fact"), field("value"))
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document.")]
JsonlOption = Annotated[bool, typer.Option("--jsonl", help="One JSON document on one line.")]
NoColorOption = Annotated[bool, typer.Option("--no-color", help="No colour (as NO_COLOR does).")]


def backup(
    to: Annotated[Path, typer.Argument(metavar="TO", help="A directory that does not exist yet.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
    as_jsonl: JsonlOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Copy the store, safe while it is served, into the new directory TO with a manifest. Never the master key."""
    from homing.config import load
    from homing.store.sqlite.backup import make, remember

    settings = load(config, flags={"store.url": store_url(data)}).settings
    if settings.store.is_shared:
        raise usage(
            "this copies the embedded store; a PostgreSQL is backed up with its own tools, like pg_dump"
        )
    with told():
        manifest = make(Path(settings.store.path()), to)
    _show(
        {"path": str(to), **_facts(manifest)},
        Out(style_for(as_json=as_json, as_jsonl=as_jsonl), no_colour=no_color),
    )
    if not remember(settings.data_path(), to, manifest):
        say(f"{settings.data_path()} does not take the note of it: `homing check` will not know")
    say(f"not in it: the master key {manifest.key_id}; keep a copy of its file elsewhere")


def restore(
    backup: Annotated[Path, typer.Argument(metavar="FROM", help="What `homing backup` made.")],
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="The data directory to make: empty, or not there."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Look it through and count it; without --into do only that.")
    ] = False,
    as_json: JsonOption = False,
    as_jsonl: JsonlOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Make a data directory of a backup, or only verify the backup. Nothing is ever overwritten."""
    from homing.store.sqlite import restore as room

    if into is None and not verify:
        raise usage(
            "where to? --into DIR makes a data directory, --verify alone only looks the backup through"
        )
    out = Out(style_for(as_json=as_json, as_jsonl=as_jsonl), no_colour=no_color)
    if into is None:
        with told():
            manifest = room.verify(backup)
        _show({"path": str(backup), **_facts(manifest)}, out)
        say("sound: SHA-256, structure and counts are as its manifest says")
        return
    with told():
        manifest, facts = room.restore(backup, into, is_thorough=verify)
    counts = {
        name: {"backup": count, "restored": facts.counts.get(name)} for name, count in manifest.counts.items()
    }
    _show({"path": str(into), **_facts(manifest), "storeId": facts.store_id, "counts": counts}, out)
    say(
        f"a new store with the content of {manifest.made_at:%Y-%m-%dT%H:%M:%SZ}; what happened since is not in it"
    )
    say("callbacks that were told since may be told again; devices come back by themselves and begin anew")
    if manifest.key_id:
        say(f"before it is served: put the master key {manifest.key_id} into {into / 'master.key'} (0600)")


def _facts(manifest: "Manifest") -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(manifest)
    return facts


def _show(facts: Mapping[str, Any], out: Out) -> None:
    """Show facts: as they are to programs that read JSON, else one a line, each table's count behind its name."""
    from homing.cli.render import Style

    if out.style in {Style.JSON, Style.JSONL}:
        out.document(facts)
        return
    items = [{"fact": name, "value": value} for name, value in facts.items() if name != "counts"]
    for table, count in facts["counts"].items():
        told = f"{count['backup']} → {count['restored']}" if isinstance(count, dict) else count
        items.append({"fact": f"rows {table}", "value": told})
    out.items({"items": items}, _FACTS, "facts")


COMMANDS: Final[Mapping[str, Callable[..., None]]] = {"backup": backup, "restore": restore}
