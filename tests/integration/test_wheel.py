"""What pip installs is whole: the built wheel holds the migrations, the queries and the types."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from babylon_tasks.db.migrate import migrations

ROOT = Path(__file__).parents[2]
FILES = ("pyproject.toml", "README.md", "LICENSE")
FOLDERS = ("babylon_tasks", "migrations")


def run(folder: Path, code: str, *arguments: str) -> str:
    """Run code that sees nothing of the checkout, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contents of a wheel, built from an sdist, built from a copy of the sources."""
    source = tmp_path_factory.mktemp("source")
    for file in FILES:
        shutil.copy(ROOT / file, source)
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=ignored)
    build = "from setuptools import build_meta as b; b.build_{}('.')"
    run(source, build.format("sdist"))
    [archive] = source.glob("*.tar.gz")
    unpacked = tmp_path_factory.mktemp("sdist")
    # Not by tarfile: its filters came with Python 3.11.4, and are missed from 3.12 on.
    subprocess.run(["tar", "-xzf", archive, "-C", unpacked], check=True)
    [project] = unpacked.iterdir()
    run(project, build.format("wheel"))
    [wheel] = project.glob("*.whl")
    target = tmp_path_factory.mktemp("wheel")
    shutil.unpack_archive(wheel, target, format="zip")
    return target


def test_a_wheel_holds_every_migration(installed: Path) -> None:
    found = run(
        installed,
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import babylon_tasks.db.migrate as m;"
        "assert m.__file__.startswith(sys.argv[1]), m.__file__;"
        "print(*[x.name + ' ' + x.checksum for x in m.migrations()], sep='\\n')",
        str(installed),
    )
    assert found.splitlines() == [f"{m.name} {m.checksum}" for m in migrations()]


def test_a_wheel_holds_every_file_that_is_not_code(installed: Path) -> None:
    def data(folder: Path) -> set[str]:
        files = (file for file in folder.rglob("*") if file.is_file())
        names = {str(file.relative_to(folder)) for file in files}
        return {name for name in names if not name.endswith((".py", ".pyc"))}

    assert data(installed / "babylon_tasks") >= data(ROOT / "babylon_tasks")
    assert "py.typed" in data(installed / "babylon_tasks")
