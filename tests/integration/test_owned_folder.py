"""What ended processes leave in the temporary directory goes at the start of the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from babylon_tasks.owned_folder import make_owned_folder

Start = Callable[..., tuple[subprocess.Popen[str], Path]]
PREFIX = "babylon-tasks-counters-"
# As `babylon-tasks run` does: make the folder, become another program, fork children.
WORKER = f"""
import os, sys
from babylon_tasks.owned_folder import make_owned_folder
folder = make_owned_folder({PREFIX!r})
then = f'''
import os, time
if {{sys.argv[1]!r}} == "leaves a child" and os.fork():
    os._exit(0)
print({{str(folder)!r}}, flush=True)
time.sleep(600)
'''
os.execv(sys.executable, [sys.executable, "-c", then])
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of the test's own, for it and its processes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(how)``: a worker, and its folder."""
    started: list[subprocess.Popen[str]] = []

    def begin(how: str = "stays") -> tuple[subprocess.Popen[str], Path]:
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, how],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(worker)
        assert worker.stdout is not None
        return worker, Path(worker.stdout.readline().strip())

    yield begin
    for worker in started:
        end(worker)


def end(worker: subprocess.Popen[str]) -> None:
    """The worker and its children, as the kernel's memory killer ends them."""
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, 9)
    worker.wait()
    assert worker.stdout is not None
    if not worker.stdout.closed:
        worker.stdout.read()  # ends once all have let go of it
        worker.stdout.close()


def test_the_folder_of_a_running_process_stays_and_that_of_a_killed_one_goes(start: Start) -> None:
    (worker, folder), (_, other) = start(), start()
    (folder / "counter_1.db").write_bytes(b"1")

    make_owned_folder(PREFIX)
    assert folder.is_dir()

    end(worker)
    mine = make_owned_folder(PREFIX)
    assert not folder.exists()
    assert other.is_dir()
    assert mine.is_dir()
    assert not list(mine.iterdir())


def test_a_folder_has_an_owner_while_a_child_of_it_runs(start: Start) -> None:
    worker, folder = start("leaves a child")
    worker.wait()

    make_owned_folder(PREFIX)
    assert folder.is_dir()


def test_links_files_and_folders_of_another_name_stay(temporary: Path) -> None:
    treasure = temporary / "treasure"
    treasure.mkdir()
    (treasure / "gold").touch()
    link, file = temporary / f"{PREFIX}link", temporary / f"{PREFIX}file"
    link.symlink_to(treasure)
    file.touch()
    inside = temporary / f"{PREFIX}abandoned"
    inside.mkdir()
    (inside / "way-out").symlink_to(treasure)

    make_owned_folder(PREFIX)

    assert not inside.exists()
    assert link.is_symlink()
    assert file.is_file()
    assert (treasure / "gold").exists()
