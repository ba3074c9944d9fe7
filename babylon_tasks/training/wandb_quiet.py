"""The environment of W&B's library wherever it runs: it is quiet, and its files go into a folder.

Nothing of the machine is sent: no console, no code, no data of it.
"""

from __future__ import annotations

FOLDER_PREFIX = "babylon-tasks-wandb-"  # of temporary folders that it gets (owned_folder.py)
_QUIET = {
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_SILENT": "true",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_X_DISABLE_MACHINE_INFO": "true",
    "WANDB_X_DISABLE_STATS": "true",
}
_FOLDERS = ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR")


def quiet_variables(folder: str) -> dict[str, str]:
    """Return the environment of W&B's library, whose files go into ``folder``."""
    return _QUIET | dict.fromkeys(_FOLDERS, folder)
