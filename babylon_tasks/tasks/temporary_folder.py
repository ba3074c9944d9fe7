"""A worker's temporary files lie in a folder of its own, which goes with it, or with the next one.

billiard makes one (``pymp-*``) for what its pool shares, and removes it at an orderly end only.
"""

from __future__ import annotations

import shutil
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from celery.signals import celeryd_init

from babylon_tasks.owned_folder import make_owned_folder, remove_abandoned
from babylon_tasks.training import wandb_quiet

_PREFIX = "babylon-tasks-worker-"
_LAST = -101  # after multiprocessing (-100) has removed its own folder, which lies in ours


@celeryd_init.connect  # type: ignore[untyped-decorator]
def _make(**_: Any) -> None:
    # In the main process, before the pool is made. Programs that we start go on by TMPDIR.
    own = make_owned_folder(_PREFIX)
    tempfile.tempdir = str(own)
    Finalize(None, _remove, args=[own], exitpriority=_LAST)  # in this process alone


def _remove(own: Path) -> None:
    # The pool has ended, and its trainer, perhaps in the middle of a step.
    shutil.rmtree(own, ignore_errors=True)
    remove_abandoned(wandb_quiet.FOLDER_PREFIX, own.parent)
