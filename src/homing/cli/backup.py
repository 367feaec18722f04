"""`homing backup` and `homing restore`: the store itself, whether a server runs or not."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from homing.cli.exits import usage
from homing.cli.render import Out, field, say, style_for
from homing.cli.settings import ConfigOption, DataOption, store_url
from homing.cli.shared import POSTGRESQL, needs_asyncpg, run, told, without_password

if TYPE_CHECKING:
    from homing.config import Settings
    from homing.store.postgres.manifest import SharedManifest
    from homing.store.sqlite.manifest import Manifest

_FACTS: Final = (field("fact"), field("value"))
_SHARED_FORMAT: Final = 2
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

    settings = load(config, flags={"store.url": store_url(data)}).settings
    with told():
        manifest, is_noted = _made(settings, to)
    _show(
        {"path": str(to), **_facts(manifest)},
        Out(style_for(as_json=as_json, as_jsonl=as_jsonl), no_colour=no_color),
    )
    if not is_noted:
        say(f"{settings.data_path()} does not take the note of it: `homing check` will not know")
    say(f"not in it: the master key {manifest.key_id}; keep a copy of its file elsewhere")


def restore(
    backup: Annotated[Path, typer.Argument(metavar="FROM", help="What `homing backup` made.")],
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="DIR|postgresql://…",
            help="The data directory to make (empty, or not there), or the empty database to fill.",
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Look it through and count it; without --into do only that.")
    ] = False,
    as_json: JsonOption = False,
    as_jsonl: JsonlOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Make a store of a backup, or only verify the backup. Nothing is ever overwritten."""
    from homing.store.backups import format_of

    if into is None and not verify:
        raise usage(
            "where to? --into DIR or --into postgresql://… makes a store, --verify alone only looks it through"
        )
    out = Out(style_for(as_json=as_json, as_jsonl=as_jsonl), no_colour=no_color)
    with told():
        is_shared = format_of(backup) == _SHARED_FORMAT
        if into is not None and into.startswith(POSTGRESQL) != is_shared:
            kind = "a PostgreSQL: --into postgresql://…" if is_shared else "an embedded store: --into DIR"
            raise usage(f"{backup} is of {kind}")
        (_shared if is_shared else _embedded)(backup, into, out, is_thorough=verify)


def _made(settings: "Settings", to: Path) -> "tuple[Manifest | SharedManifest, bool]":
    """Make the backup of either store; say whether the data directory took the note of it."""
    if not settings.store.is_shared:
        from homing.store.sqlite.backup import make, remember

        manifest = make(Path(settings.store.path()), to)
        return manifest, remember(settings.data_path(), to, manifest)
    needs_asyncpg()
    from homing.store.backups import MANIFEST, Note, digest
    from homing.store.postgres.backup import make as make_shared

    shared = run(make_shared(settings.store.url, to))
    note = Note(shared.made_at, str(to.absolute()), digest(to / MANIFEST))
    return shared, note.write(settings.data_path())


def _embedded(backup: Path, into: str | None, out: Out, *, is_thorough: bool) -> None:
    from homing.store.sqlite import restore as room

    if into is None:
        _show({"path": str(backup), **_facts(room.verify(backup))}, out)
        say("sound: SHA-256, structure and counts are as its manifest says")
        return
    manifest, facts = room.restore(backup, Path(into), is_thorough=is_thorough)
    _show_restored(into, manifest, facts.store_id, facts.counts, out)
    if manifest.key_id:
        key = Path(into) / "master.key"
        say(f"before it is served: put the master key {manifest.key_id} into {key} (0600)")


def _shared(backup: Path, into: str | None, out: Out, *, is_thorough: bool) -> None:
    needs_asyncpg()
    from homing.store.postgres import restore as room

    if into is None:
        _show({"path": str(backup), **_facts(room.verify(backup))}, out)
        say("sound: SHA-256, structure and counts are as its manifest says")
        return
    manifest, store_id, counts = run(room.restore(backup, into, is_thorough=is_thorough))
    _show_restored(without_password(into), manifest, store_id, counts, out)
    if manifest.key_id:
        say(f"before it is served: each node needs the master key {manifest.key_id}")


def _show_restored(
    path: str, manifest: "Manifest | SharedManifest", store_id: str, counts: Mapping[str, int], out: Out
) -> None:
    both = {name: {"backup": count, "restored": counts.get(name)} for name, count in manifest.counts.items()}
    _show({"path": path, **_facts(manifest), "storeId": store_id, "counts": both}, out)
    say(
        f"a new store with the content of {manifest.made_at:%Y-%m-%dT%H:%M:%SZ}; what happened since is not in it"
    )
    say("callbacks that were told since may be told again; devices come back by themselves and begin anew")


def _facts(manifest: "Manifest | SharedManifest") -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(manifest)
    return {"counts": manifest.counts} | facts


def _show(facts: Mapping[str, Any], out: Out) -> None:
    """Show facts: as they are to programs that read JSON, else one a line, each table's count behind its name."""
    from homing.cli.render import Style

    if out.style in {Style.JSON, Style.JSONL}:
        out.document(facts)
        return
    items = [
        {"fact": name, "value": value} for name, value in facts.items() if name not in {"counts", "tables"}
    ]
    for table, count in facts["counts"].items():
        said = f"{count['backup']} → {count['restored']}" if isinstance(count, dict) else count
        items.append({"fact": f"rows {table}", "value": said})
    out.items({"items": items}, _FACTS, "facts")


COMMANDS: Final[Mapping[str, Callable[..., None]]] = {"backup": backup, "restore": restore}
