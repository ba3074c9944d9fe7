"""A file is read at one sitting: what grows longer is split by subject."""

from __future__ import annotations

from pathlib import Path

from documents import ROOT

LONGEST = 400  # lines, of a test; of the package:
LONGEST_OF_PACKAGE = 300


def too_long(folder: Path, longest: int = LONGEST) -> dict[str, int]:
    """Map the Python and SQL files below a folder that are too long to their numbers of lines."""
    lengths = {
        str(path.relative_to(folder)): len(path.read_text("utf-8").splitlines())
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".py", ".sql")
    }
    return {path: lines for path, lines in lengths.items() if lines > longest}


def test_no_file_of_the_tests_is_too_long() -> None:
    assert too_long(ROOT / "tests") == {}, "split it by subject; helpers of both go to tests/"


def test_no_file_of_the_package_is_too_long() -> None:
    assert too_long(ROOT / "babylon_tasks", LONGEST_OF_PACKAGE) == {}, "split it by idea"


def test_a_file_that_is_too_long_is_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "test_just_short.py").write_text("\n" * LONGEST)
    for name in ("test_long.py", "rows.sql"):
        (tmp_path / "deep" / name).write_text("\n" * (LONGEST + 1))
    assert too_long(tmp_path) == {"deep/rows.sql": 401, "deep/test_long.py": 401}
