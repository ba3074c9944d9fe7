"""Nothing of a demo stays in the temporary directory, but for what explains a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import servers_folder

from babylon_tasks.sandbox.demo_home import demo_home
from babylon_tasks.sandbox.server_user import own_folder

FAILS = """
from babylon_tasks.sandbox.demo_home import demo_home
with demo_home(None, print) as home:
    (home / "gpu-worker.log").write_text("why")
    raise RuntimeError
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = servers_folder()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    monkeypatch.setenv("TMPDIR", str(made))
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("end", [None, KeyboardInterrupt])
def test_nothing_stays_of_one_that_ended_or_was_stopped(
    temporary: Path, end: type[BaseException] | None
) -> None:
    news: list[str] = []

    def play() -> None:
        with demo_home(None, news.append) as home:
            (home / "beat.log").touch()
            if end is not None:
                raise end

    if end is None:
        play()
    else:
        with pytest.raises(end):
            play()
    assert list(temporary.iterdir()) == []
    assert all("nothing of it remains" in line for line in news)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another user")
def test_the_servers_data_goes_too_where_their_user_cannot_reach_the_temporary_folder(
    temporary: Path,
) -> None:
    temporary.chmod(0o700)
    with demo_home(None, print) as home:
        data = own_folder(home / "postgres", "postgres")
        (data / "cluster").mkdir()
    assert not data.exists()
    assert not home.exists()


def test_what_failed_stays_until_the_next_one(temporary: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FAILS], capture_output=True, text=True, check=False
    )
    (left,) = temporary.glob("babylon-demo-*/gpu-worker.log")
    assert f"remain in {left.parent}, until the next demo" in ended.stdout
    with demo_home(None, print):
        assert not left.exists()


def test_what_is_to_be_kept_is_kept(temporary: Path) -> None:
    kept = temporary / "kept"
    kept.mkdir()

    def play() -> None:
        with demo_home(kept, print) as home:
            (home / "beat.log").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play()
    assert (kept / "beat.log").exists()
