"""Nothing of a demo stays in the temporary directory, but for what explains a failure."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from babylon_tasks.sandbox.demo_home import demo_home

FAILS = """
from babylon_tasks.sandbox.demo_home import demo_home
with demo_home(None, print) as home:
    (home / "gpu-worker.log").write_text("why")
    raise RuntimeError
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


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
