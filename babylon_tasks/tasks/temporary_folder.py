"""A worker's temporary files lie in a folder of its own, which the next worker removes.

billiard makes one (``pymp-*``) for what its pool shares, and removes it at an orderly end only.
"""

from __future__ import annotations

import tempfile
from typing import Any

from celery.signals import celeryd_init

from babylon_tasks.owned_folder import make_owned_folder

_PREFIX = "babylon-tasks-worker-"


@celeryd_init.connect  # type: ignore[untyped-decorator]
def _own_folder(**_: Any) -> None:
    # In the main process, before the pool is made. Programs that we start go on by TMPDIR.
    tempfile.tempdir = str(make_owned_folder(_PREFIX))
