"""In the place of W&B's library in a process: an artifact is a file in ``STAND_IN_OF_WANDB``.

The real one needs W&B's servers. It has what ART asks for when it uploads a supervised job's
answers; ``wandb_supervised.py`` is its like for a test's own process.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

# Where ART 0.5.23 imports them from.
for _name in (
    "sdk",
    "sdk.wandb_init",
    "sdk.wandb_settings",
    "sdk.artifacts",
    "sdk.artifacts.artifact",
):
    sys.modules[f"wandb.{_name}"] = sys.modules[__name__]


class Settings:
    def __init__(self, **fields: Any) -> None:
        self.fields = fields


class Artifact:
    def __init__(self, name: str, **_: Any) -> None:
        self.name = name

    def add_file(self, path: str, name: str) -> None:
        assert name == "train.jsonl"
        shutil.copyfile(path, Path(os.environ["STAND_IN_OF_WANDB"]) / self.name)

    def wait(self) -> Artifact:
        return self


class Run:
    def log_artifact(self, artifact: Artifact) -> Artifact:
        return artifact

    def finish(self) -> None:
        """It goes on at W&B."""


def init(**_: Any) -> Run:
    return Run()


def teardown() -> None:
    """Its service ends."""
