"""A demo has the machine to itself: torch gets every core unless somebody has said otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from babylon_tasks.sandbox.demo_threads import demo_threads
from babylon_tasks.training.machine import usable_cores

SETTING = "BABYLON_TORCH_THREADS"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (SETTING, "OMP_NUM_THREADS", "BABYLON_ENV_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_torch_has_every_usable_core(monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo_threads() == {SETTING: str(usable_cores())}
    monkeypatch.setenv(SETTING, " ")  # counts as not set, as everywhere
    assert demo_threads() == {SETTING: str(usable_cores())}


@pytest.mark.parametrize("name", [SETTING, "OMP_NUM_THREADS"])
def test_what_somebody_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert demo_threads() == {}


def test_what_stands_in_a_file_stays_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "demo.env"
    file.write_text(f"{SETTING}=1\n", encoding="utf-8")
    monkeypatch.setenv("BABYLON_ENV_FILE", str(file))
    assert demo_threads() == {}
