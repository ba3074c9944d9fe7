"""Query files: named blocks, each with its line of English, each name once."""

from __future__ import annotations

import ast
import re
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

import babylon_tasks.db
from babylon_tasks.db.sql import parse, queries

NOUNS = sorted(
    file.name.removesuffix(".sql")
    for file in resources.files("babylon_tasks.db").joinpath("queries").iterdir()
)


def test_blocks_are_found_by_name_and_trimmed() -> None:
    text = "-- a file\n-- name: one\n-- First.\nSELECT 1;\n\n-- name: two\nSELECT 2\n"
    found = parse(text, "x.sql")
    assert found == {"name": {"one": "-- First.\nSELECT 1;", "two": "SELECT 2"}, "part": {}}


def test_a_part_is_no_statement() -> None:
    found = parse("-- part: columns\n-- A row.\na, b\n-- name: get\n-- One.\nSELECT 1\n", "x.sql")
    assert found == {"name": {"get": "-- One.\nSELECT 1"}, "part": {"columns": "-- A row.\na, b"}}


def test_a_part_takes_the_place_of_its_name_without_its_line_of_english() -> None:
    text = queries("windows")["get"]
    assert "SELECT window_id, state," in text
    assert "AS w WHERE window_id = %(window)s" in text
    assert "{{" not in text
    assert "A row" not in text


def test_a_part_exists_because_several_statements_have_it_in_common() -> None:
    folder = resources.files("babylon_tasks.db").joinpath("queries")
    used = Counter(
        name
        for noun in NOUNS
        for name in re.findall(r"{{(.+?)}}", folder.joinpath(f"{noun}.sql").read_text("utf-8"))
    )
    parts = {
        f"{noun}.{name}"
        for noun in NOUNS
        for name in parse(folder.joinpath(f"{noun}.sql").read_text("utf-8"), noun)["part"]
    }
    assert used.keys() == parts
    assert min(used.values()) > 1, used


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x\.sql names a statement twice"):
        parse("-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n", "x.sql")


def test_a_name_inside_a_statement_is_not_a_header() -> None:
    text = "-- name: one\nSELECT '-- name: two'\n"
    assert list(parse(text, "x.sql")["name"]) == ["one"]


def test_a_file_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        queries("no_such_noun")


@pytest.mark.parametrize("noun", NOUNS)
def test_every_statement_says_in_english_what_it_does(noun: str) -> None:
    found = queries(noun)
    assert found
    for name, statement in found.items():
        first, _, rest = statement.partition("\n")
        assert first.startswith("-- "), f"{noun}.{name} has no line of English"
        assert rest.strip(), f"{noun}.{name} is empty"


def constants(folder: Path) -> set[str]:
    return {
        node.value
        for path in folder.glob("**/*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_statement_is_used_and_every_name_that_is_used_is_one() -> None:
    statements = {f"{noun}.{verb}" for noun in NOUNS for verb in queries(noun)}
    db = Path(babylon_tasks.db.__file__).parent
    named = {name for name in constants(db) if re.fullmatch(rf"({'|'.join(NOUNS)})\.\w+", name)}
    assert named <= statements
    statements -= {f"invariants.{verb}" for verb in queries("invariants")}  # run as one file
    # Transitions (states.py) name theirs by the verb alone.
    everywhere = constants(db.parent)
    unused = {name for name in statements - everywhere if name.split(".")[1] not in everywhere}
    assert not unused
