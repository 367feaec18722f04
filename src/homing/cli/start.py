"""`dev`, `serve`, `demo` and `init`: the verbs that are Homing itself. What is heavy is imported when it is needed."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from homing.cli.exits import CliError, ExitCode, usage
from homing.cli.render import say
from homing.cli.settings import (
    ONE_OF_SEVERAL,
    ConfigOption,
    DataOption,
    ListenOption,
    settings_file,
    store_url,
)

FORMS: Final = ("json", "form", "get")
CLOCKS: Final = ("skip", "virtual", "real")
BREAKS: Final = ("swap", "drop", "duplicate")
DATA: Final = "homing-data"


def serve(
    config: ConfigOption = None,
    data: DataOption = None,
    listen: ListenOption = None,
    roles: Annotated[
        str | None,
        typer.Option(
            "--roles", metavar="api,gateway,callbacks,channels", help="What this node does; without it all."
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes", metavar="N", help="So many nodes at one address; only with postgresql://."
        ),
    ] = None,
) -> int:
    """Run a production node until SIGTERM. The first start makes the store and an admin token (DATA/admin-token)."""
    if ONE_OF_SEVERAL in os.environ:
        from homing.cli.process import run_process

        return run_process()
    from homing.config import load

    flags = {
        "server.listen": listen,
        "server.roles": None if roles is None else tuple(one.strip() for one in roles.split(",")),
        "server.processes": processes,
        "store.url": store_url(data),
    }
    settings = load(config, flags=flags).settings
    if settings.server.processes > 1:
        from homing.cli.supervising import run_processes

        return run_processes(settings)
    from homing.cli.serving import run_node  # heavy: only when the settings are right

    return run_node(settings)


def dev(
    forward_to: Annotated[
        str | None, typer.Option("--forward-to", metavar="URL", help="Your own receiver gets the callbacks.")
    ] = None,
    form: Annotated[str, typer.Option("--form", metavar="json|form|get", help="How they travel.")] = "json",
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Address to serve on.")
    ] = "127.0.0.1:8480",
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The data directory.")] = Path(
        ".homing"
    ),
    clock: Annotated[
        str,
        typer.Option("--clock", metavar="skip|virtual|real", help="skip runs, and may be pushed forward."),
    ] = "skip",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the address and nothing else.")] = False,
) -> int:
    """Run everything on this machine: server, store, simulated phones, carriers and push services. Ctrl-C ends."""
    if form not in FORMS:
        raise usage(f"--form: {form[:40]!r} is none of {', '.join(FORMS)}")
    if clock not in CLOCKS:
        raise usage(f"--clock: {clock[:40]!r} is none of {', '.join(CLOCKS)}")
    from homing.cli.dev import run_dev
    from homing.cli.panel import Wish

    return run_dev(Wish(forward_to, form, listen, data, clock, open_page, quiet))


def demo(
    break_law: Annotated[
        str | None,
        typer.Option(
            "--break-law", metavar="swap|drop|duplicate", help="Spoil what came: it must be noticed."
        ),
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour (as NO_COLOR does).")] = False,
) -> int:
    """Play the stories of all 18 statuses in all three forms, and check every law; exit 0 only if all hold."""
    if break_law is not None and break_law not in BREAKS:
        raise usage(f"--break-law: {break_law[:40]!r} is none of {', '.join(BREAKS)}")
    from homing.cli.demo import run, wants_colour

    return run(break_law=break_law, colour=wants_colour(no_color=no_color))


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; without it here.")] = Path(),
    listen: ListenOption = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="How others reach this server.")
    ] = None,
) -> None:
    """Write a commented homing.toml and make a data directory (0700) beside it. Nothing is overwritten."""
    from homing.config import load

    file = folder / "homing.toml"
    data = (folder / DATA).absolute()
    given = {"server.listen": listen, "server.base_url": base_url, "store.url": store_url(data)}
    load(Path(os.devnull), {}, given)  # raises for a value that `serve` would refuse
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(settings_file({key: value for key, value in given.items() if value is not None}))
        data.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as error:
        raise CliError(ExitCode.CONFLICT, f"{error.filename} exists; nothing was written") from error
    except OSError as error:
        raise usage(f"{error.filename} cannot be written: {error.strerror}") from error
    print(file)
    say(f"next: homing serve --config {file}; its admin token will be in {data / 'admin-token'}")


COMMANDS: Final[Mapping[str, Callable[..., int | None]]] = {
    "dev": dev,
    "demo": demo,
    "init": init,
    "serve": serve,
}
