"""What node's own test runner finds in typescript/, against a real Postgres; and its types."""

from __future__ import annotations

from pathlib import Path

import pytest
from node import TYPESCRIPT, run

pytestmark = pytest.mark.contract("today")


@pytest.mark.parametrize(
    "file", sorted(TYPESCRIPT.glob("test/*.test.ts")), ids=lambda file: file.name
)
def test_a_file_of_tests_in_typescript_passes(file: Path, database_url: str) -> None:
    run("--test", file, DATABASE_URL=database_url)


def test_every_type_is_right_and_strict() -> None:
    run("node_modules/typescript/bin/tsc")
