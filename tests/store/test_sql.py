"""The statements' files: named blocks, each with its reason, read as they are written."""

from pathlib import Path
from typing import Literal

import asyncpg
import pytest
from tests.store.conftest import Run, needs_postgres

from homing.store import sql


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
@pytest.mark.parametrize("file", ["archive", "operations", "registry", "replays"])
def test_every_statement_has_a_reason(store: Literal["sqlite", "postgres"], file: str) -> None:
    """After its name stands a comment, and a statement follows."""
    for name, text in sql.load(store, file).items():
        first, _, rest = text.partition("\n")
        assert first.startswith("-- "), name
        assert rest.strip(), name


def test_blocks_are_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments before the first name are passed over, comments within a block stay; a file is read once."""
    (tmp_path / "sqlite").mkdir()
    path = tmp_path / "sqlite" / "some.sql"
    path.write_text("-- All of it.\n\n-- name: a\n-- Why.\nSELECT 1;\n-- name: b\nSELECT 2\n-- here\n;\n")
    monkeypatch.setattr(sql, "files", lambda _package: tmp_path)
    sql.load.cache_clear()
    assert dict(sql.load("sqlite", "some")) == {"a": "-- Why.\nSELECT 1;", "b": "SELECT 2\n-- here\n;"}
    path.unlink()
    assert set(sql.load("sqlite", "some")) == {"a", "b"}


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("archive", {"oldest_transaction"}),
        ("operations", set[str]()),
        ("registry", set[str]()),
        ("replays", {"drop_dead", "redeem", "replay_lane"}),
    ],
)
def test_both_stores_answer_the_same_questions(file: str, own: set[str]) -> None:
    """What a dialogue may ask both have, but for those that only take a lock, and those that one store asks itself."""
    here, there = set(sql.load("sqlite", file)), set(sql.load("postgres", file))
    assert own <= here ^ there
    assert here - own <= there
    assert all(name.startswith(("lock_", "keep_")) for name in there - here - own)


@needs_postgres
def test_the_server_takes_every_statement(database: str, run: Run) -> None:
    """Each names tables, columns and types that the schema has."""

    async def story() -> None:
        connection = await asyncpg.connect(database)
        folder = Path(sql.__file__).parent / "postgres"
        try:
            for path in sorted(folder.glob("*.sql")):
                if not path.stem.startswith("schema"):
                    for name, text in sql.load("postgres", path.stem).items():
                        if not name.startswith("patience"):  # SET cannot be prepared
                            assert await connection.prepare(text), name
        finally:
            connection.terminate()

    run(story())


def test_a_joined_statement_numbers_its_parameters_on() -> None:
    """Each block keeps its own, after those of the blocks before it; one block alone is itself."""
    first, second = "DELETE FROM a WHERE x = $2 AND y = $1;", "UPDATE b SET x = $1 WHERE y = $1 AND z = $10;"
    assert sql.joined(second) == second.removesuffix(";")
    assert sql.joined(first, second, "DELETE FROM c WHERE x = $1") == (
        "WITH part_1 AS (\nDELETE FROM a WHERE x = $2 AND y = $1\n),\n"
        "part_2 AS (\nUPDATE b SET x = $3 WHERE y = $3 AND z = $12\n)\nDELETE FROM c WHERE x = $13"
    )


def test_what_statements_have_in_common_is_put_into_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part is no statement: it stands where it is put, with its reason."""
    (tmp_path / "sqlite").mkdir()
    (tmp_path / "sqlite" / "some.sql").write_text(
        "-- part: p\n-- Why.\nWHERE x;\n\n-- name: a\nSELECT 1\n-- put: p\n-- name: b\nSELECT 2\n-- put: p\n"
    )
    monkeypatch.setattr(sql, "files", lambda _package: tmp_path)
    sql.load.cache_clear()
    assert dict(sql.load("sqlite", "some")) == {
        "a": "SELECT 1\n-- Why.\nWHERE x;",
        "b": "SELECT 2\n-- Why.\nWHERE x;",
    }


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1;\n-- name: a\n",
        "-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;\n",
        "-- part: a\nWHERE x;\n-- name: a\nSELECT 1\n-- put: a\n",
        "-- part: p\nWHERE x;\n-- name: a\nSELECT 1;\n",
        "-- name: a\nSELECT 1\n-- put: p\n",
        "-- name: a\nSELECT 1\n-- put: p\n-- part: p\nWHERE x;\n",
    ],
)
def test_a_file_that_hides_a_statement_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement without a name, or under a name that is taken, would never run."""
    (tmp_path / "sqlite").mkdir()
    (tmp_path / "sqlite" / "some.sql").write_text(text)
    monkeypatch.setattr(sql, "files", lambda _package: tmp_path)
    sql.load.cache_clear()
    with pytest.raises(ValueError, match=r"sqlite/some\.sql"):
        sql.load("sqlite", "some")
