"""`make check` fails where docs/configuration.md and the settings differ."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from copies import change
from documents import ROOT

from babylon_tasks.settings import Settings, variable
from checks.configuration import DOCUMENT, SOURCES, explained, rendered, violations

SETTINGS = "babylon_tasks/learning_settings.py"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in (DOCUMENT, *SOURCES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_document_as_it_is_passes() -> None:
    subprocess.run([sys.executable, "-m", "checks.configuration"], cwd=ROOT, check=True)


def test_every_setting_has_its_line_and_secrets_are_marked() -> None:
    text = rendered(explained())
    for name in Settings.model_fields:
        assert text.count(f"| `{variable(name)}`") == 1
    marked = [line.split("`")[1] for line in text.splitlines() if "` (secret) |" in line]
    assert marked == [
        *("DATABASE_URL", "REDIS_URL", "WANDB_API_KEY"),
        *("BABYLON_RULER_API_KEY", "BABYLON_INFERENCE_API_KEY"),
        *("BABYLON_GATEWAY_KEYS", "BABYLON_GATEWAY_UPSTREAM_KEYS", "FLOWER_BASIC_AUTH"),
        "BABYLON_DASHBOARD_LOGIN",
    ]
    assert "| `BABYLON_HELD_OUT_SHARE` | number ≥ 0 and < 1 | `0.1` |" in text
    assert "| `BABYLON_BACKEND` | `auto`, `serverless`, `local`, `cpu` | `auto` |" in text


def test_an_edited_document_is_found(copy: Path) -> None:
    assert violations(copy) == []
    change(copy / DOCUMENT, "`300`", "`200`")
    assert [violation.where for violation in violations(copy)] == [DOCUMENT]


def test_another_explanation_is_found(copy: Path) -> None:
    change(copy / SETTINGS, "The first learning rate.", "Another meaning.")
    assert [violation.where for violation in violations(copy)] == [DOCUMENT]


def test_a_setting_without_a_word_about_it_is_found(copy: Path) -> None:
    meaning = "The seed of all randomness in training (`cpu`); it is part of a step's manifest."
    change(copy / SETTINGS, f'    """{meaning}"""\n', "")
    (violation,) = violations(copy)
    assert "seed has no line" in violation.what
