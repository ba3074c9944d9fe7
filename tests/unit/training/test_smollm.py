"""One process converts the small model, and the others do not wait for it for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.file_lock import lock_file
from babylon_tasks.training import smollm
from babylon_tasks.training.smollm import NAME, base_model_path, cache_dir


@pytest.fixture(autouse=True)
def _converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (cache_dir() / NAME).mkdir(parents=True)


def test_whoever_holds_the_lock_for_too_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm, "_LOCK_SECONDS", 0.2)
    with (
        lock_file(cache_dir() / f"{NAME}.lock"),
        pytest.raises(BackendUnavailable, match=rf"process {os.getpid()} has kept .*{NAME}\.lock"),
    ):
        base_model_path(NAME)


def test_the_lock_is_given_back() -> None:
    for _ in range(2):
        assert base_model_path(NAME) == str(cache_dir() / NAME)
    lock_file(cache_dir() / f"{NAME}.lock").close()


def test_where_the_cache_cannot_be_made_it_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()  # not a folder: neither can root write in it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BackendUnavailable, match=r"which cannot be made \(.*; set XDG_CACHE_HOME"):
        base_model_path(NAME)
