"""What `homing dev` prints when it is ready: where everything is, and what to try."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from homing import __version__
from homing.cli.render import harmless
from homing.simulator.world import PEOPLE

_CLOCKS: Final = {
    "skip": "clock runs, may be pushed forward",
    "virtual": "clock stands still until `homing clock`",
    "real": "clock is real",
}


class Wish(msgspec.Struct, frozen=True):
    """What was asked for on the command line."""

    forward_to: str | None
    form: str
    listen: str
    data: Path
    clock: str
    opens_page: bool
    is_quiet: bool


def panel(
    asked: Wish, url: str, token: str, target: str, secrets: tuple[str, str], delays_s: Sequence[float]
) -> str:
    """Return the panel; every line of it can be used as it stands. ``secrets`` are the endpoint's and the inbox's."""
    homing = command()
    people = " · ".join(f"{name} {habit}" for name, habit, *_ in PEOPLE)
    body = '{"mobileAppId":1,"text":"Your parcel is here","recipients":[{"identifier":"ann"}]}'
    to = "" if asked.forward_to is not None else "  (built in; answers 204)"
    lines = [
        f"Homing {__version__} · dev · data in {asked.data}/ · {_CLOCKS[asked.clock]} · all beyond this machine is simulated",
        "",
        f"  page        {url}/",
        f"  API         {url}/1    token  {token}",
        f"  callbacks → {harmless(target)}{to}    form  {asked.form}    secret  {secrets[0]}",
        f"  incoming  → the same; what phones send is signed with    secret  {secrets[1]}",
        f"  retries     after {', '.join(f'{delay:g} s' for delay in delays_s[:3])} … {len(delays_s) + 1} tries: quicker than in production",
        f"  phones      {people}",
    ]
    if asked.forward_to is not None:
        lines.append("  guard       opened for this host alone, because it was named")
    lines += [
        "",
        f"  Try   curl -s {url}/1/messages -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\",
        f"             -d {shlex.quote(body)}",
        f'  or    {homing} send --to ann "Your parcel is here" --wait read',
        f"        {homing} trigger fallbackDelivered",
    ]
    if asked.clock != "real":
        lines.append(f"        {homing} clock +15m")
    return "\n".join([*lines, ""])


def command() -> str:
    """Return how to call this program from here: by name where the path has it, else as it was called."""
    if shutil.which("homing") is not None:
        return "homing"
    called = Path(sys.argv[0])
    if called.name != "homing":
        return f"{Path(sys.executable).name} -m homing.cli"
    try:
        return str(called.relative_to(Path.cwd()))
    except ValueError:
        return str(called)
