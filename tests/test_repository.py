"""The repository's own promises: locked, hashed, host-free requirements that name what pyproject.toml names."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKED = ["run", "dev"]
NODE = ROOT / "tests" / "node"
MOST_LINES = 400
# What .venv needs besides the dependencies, to install the project itself.
BUILD_ONLY = {"hatchling", "editables"}


def asked_for(name: str) -> set[str]:
    """The packages named in requirements/<name>.in."""
    lines = (ROOT / "requirements" / f"{name}.in").read_text("utf-8").splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-r"))}


def locked(name: str) -> dict[str, list[str]]:
    """Each pinned line of requirements/<name>.txt, with the hashes it allows."""
    joined = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8").replace("\\\n", " ")
    rows = [line.split("--hash=") for line in joined.splitlines() if line and not line.startswith("#")]
    return {row[0].strip(): [one.strip() for one in row[1:]] for row in rows}


def test_the_requirements_name_what_the_project_depends_on() -> None:
    """requirements/run.in asks for pyproject.toml's dependencies and the build backend, nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert asked_for("run") == set(project["dependencies"]) | BUILD_ONLY


def test_extras_are_tools_of_the_tests_and_nothing_that_runs_needs_them() -> None:
    """What an extra brings is locked for the tests; the embedded default does without."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {name for names in project["optional-dependencies"].values() for name in names}
    assert extras <= asked_for("dev")
    assert not extras & asked_for("run")
    program = "import sys, homing.node, homing.cli.main; sys.exit('asyncpg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT / "src").returncode == 0


@pytest.mark.parametrize("name", LOCKED)
def test_every_locked_package_is_pinned_and_hashed(name: str) -> None:
    """A locked line has one exact version and at least one SHA-256, so a mirror cannot swap a file."""
    rows = locked(name)
    assert rows
    for requirement, hashes in rows.items():
        assert re.match(r"[a-z0-9-]+==[^ ]+( ;|$)", requirement), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement


@pytest.mark.parametrize("name", LOCKED)
def test_every_package_asked_for_is_locked(name: str) -> None:
    """After an edit of an .in file `make lock` was run."""
    assert asked_for(name) <= {requirement.partition("==")[0] for requirement in locked(name)}


def test_the_tools_sit_on_the_versions_the_product_runs_on() -> None:
    """What `make test` installs is what `make serve` installed, and more."""
    assert locked("run").items() <= locked("dev").items()


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").iterdir()), ids=lambda path: path.name)
def test_the_requirements_name_no_host(path: Path) -> None:
    """A mirror must work: no index, no link, no address in any requirement file."""
    text = path.read_text("utf-8")
    assert "://" not in text
    assert not re.search(
        r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text, re.M
    )


def test_npm_packages_are_pinned_hashed_and_come_from_no_host() -> None:
    """What Node brings for the tests is locked like the rest: exact versions, SHA-512, nobody's address."""
    asked = json.loads((NODE / "package.json").read_text("utf-8"))["devDependencies"]
    text = (NODE / "package-lock.json").read_text("utf-8")
    rows = json.loads(text)["packages"]
    assert rows.pop("")["devDependencies"] == asked
    assert (
        asked.items()
        <= {name.removeprefix("node_modules/"): it["version"] for name, it in rows.items()}.items()
    )
    for name, row in rows.items():
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", row["integrity"]), name
        assert "resolved" not in row, name
    assert "://" not in text + (NODE / ".npmrc").read_text("utf-8")


def test_no_test_is_left_out_where_something_is_missing() -> None:
    """What a machine may lack has a stand-in: a test that is skipped there tells nobody anything."""
    words = re.compile(r"\b(?:mark|pytest|unittest)\." + r"(?:skip|importorskip)")
    found = [
        path.name for path in sorted((ROOT / "tests").rglob("*.py")) if words.search(path.read_text("utf-8"))
    ]
    assert found == []


def test_a_module_is_no_longer_than_it_can_be_read() -> None:
    """Above 400 lines two jobs were not separated (CONTRIBUTING.md); it holds for tests and benchmarks too."""
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for folder in ("src", "tests", "bench")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
