"""A worker's temporary files lie in a folder of its own, which goes with it, or with the next one.

billiard makes one (``pymp-*``) for what its pool shares, and removes it at an orderly end only.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from celery.signals import celeryd_init, worker_shutdown

from babylon_tasks.owned_folder import make_owned_folder, remove_abandoned
from babylon_tasks.training import wandb_quiet

_PREFIX = "babylon-tasks-worker-"
_own: Path | None = None


@celeryd_init.connect  # type: ignore[untyped-decorator]
def _make(**_: Any) -> None:
    # In the main process, before the pool is made. Programs that we start go on by TMPDIR.
    global _own
    _own = make_owned_folder(_PREFIX)
    tempfile.tempdir = str(_own)


@worker_shutdown.connect  # type: ignore[untyped-decorator]
def _remove(**_: Any) -> None:
    # The pool has ended, and its trainer, perhaps in the middle of a step.
    if _own is not None:
        shutil.rmtree(_own, ignore_errors=True)
        remove_abandoned(wandb_quiet.FOLDER_PREFIX, _own.parent)
