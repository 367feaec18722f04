"""What the command line decides without a server: exit codes, whom it talks to, which id is meant, what helps."""

import json
from pathlib import Path

import pytest

from homing import errors
from homing.cli import exits, pages
from homing.cli.exits import CliError, ExitCode
from homing.cli.session import whole
from homing.cli.target import DEV_FILE, find, find_dev

DEV = {"url": "http://127.0.0.1:8480", "token": "hom_t_x", "appId": 1, "appKey": "k", "secret": "whsec_x"}


def dev_file(folder: Path, **changes: object) -> Path:
    path = folder / DEV_FILE
    path.parent.mkdir()
    path.write_text(json.dumps(DEV | changes))
    return path


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 4), (403, 4), (404, 3), (409, 6), (418, 2), (422, 2), (429, 5), (500, 70), (503, 5)],
)
def test_each_kind_of_answer_has_its_exit_code(status: int, code: int) -> None:
    """The exit code of a refused request follows from its HTTP status alone."""
    assert exits.of_status(status) == code


def test_exit_codes_are_those_of_the_specification() -> None:
    """The ten codes and no others, each with its meaning."""
    assert {code.value for code in ExitCode} == {0, 1, 2, 3, 4, 5, 6, 7, 70, 130}
    assert set(exits.MEANING) == set(ExitCode)


def test_flags_win_over_environment_over_dev_file(tmp_path: Path) -> None:
    """The server is looked for in flags, then in the environment, then in .homing/dev.json upwards."""
    dev_file(tmp_path)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    environment = {"HOMING_URL": "http://e", "HOMING_TOKEN": "te"}
    assert find("http://f/", "tf", environment, deep) == ("http://f", "tf", None)
    assert find(None, None, environment, deep) == ("http://e", "te", None)
    assert find(None, None, {}, deep) == ("http://127.0.0.1:8480", "hom_t_x", 1)
    assert find(None, "other", {}, deep) == ("http://127.0.0.1:8480", "other", 1)


def test_a_dev_token_is_only_sent_where_it_belongs(tmp_path: Path) -> None:
    """With another address and no token of its own nothing is sent: exit 4."""
    dev_file(tmp_path)
    with pytest.raises(CliError) as caught:
        find("https://homing.example", None, {}, tmp_path)
    assert caught.value.code is ExitCode.NOT_ALLOWED


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"url": 1}'])
def test_a_damaged_dev_file_is_told(tmp_path: Path, text: str) -> None:
    """A dev.json that is not one is a usage error that names the file."""
    dev_file(tmp_path).write_text(text)
    with pytest.raises(CliError, match=r"dev\.json is damaged") as caught:
        find_dev(tmp_path)
    assert caught.value.code is ExitCode.USAGE


def test_without_any_server_the_way_out_is_told(tmp_path: Path) -> None:
    """No flag, no environment, no dev.json: the line says what to do."""
    with pytest.raises(CliError, match="homing dev"):
        find(None, None, {}, tmp_path)


IDS = ["019a0000-0000-7000-8000-00000000b41f", "019a0000-0000-7000-8000-00000000c41f"]


def test_an_end_that_fits_one_id_stands_for_it() -> None:
    """Ids are shortened at their beginning: UUIDv7s all begin alike."""
    assert whole("b41f", IDS, "message", "all") == IDS[0]
    assert whole("…C41F", IDS, "message", "all") == IDS[1]


@pytest.mark.parametrize(("given", "code"), [("41f", 2), ("dead", 3), ("", 3)])
def test_an_end_that_fits_none_or_several_is_refused(given: str, code: int) -> None:
    """Ambiguous is wrong usage, unknown is no such thing."""
    with pytest.raises(CliError) as caught:
        whole(given, IDS, "message", "all")
    assert caught.value.code == code


def all_codes() -> set[str]:
    todo, codes = [errors.HomingError], set()
    while todo:
        kind = todo.pop()
        codes.add(kind.code)
        todo += kind.__subclasses__()
    return codes


def test_help_explains_every_error_code_there_is() -> None:
    """Each code of the errors' tree has a page that says what to do, and no page is about nothing."""
    assert set(pages.WHAT_TO_DO) == all_codes()
    for code in all_codes():
        assert pages.explained(code).startswith(f"{code} (")
