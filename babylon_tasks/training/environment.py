"""What the processes that import ART are started with, and how they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

# What such a process has no business with (in any case of letters, as settings are read); what
# it needs of it comes through its stdin.
_KEPT_BACK = ("DATABASE_URL", "REDIS_URL", "WANDB_API_KEY", "FLOWER_", "BABYLON_")


def child_environment() -> dict[str, str]:
    """The environment without our settings and secrets; ART asks neither network nor ``.env``."""
    inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith(_KEPT_BACK)}
    return inherited | {
        "PYTHON_DOTENV_DISABLED": "1",  # else `import art` fetches the secrets from a .env
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else `import art` asks the network
        "HF_HUB_OFFLINE": inherited.get("HF_HUB_OFFLINE", "1"),
        "TQDM_DISABLE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group, and whatever it has started."""
    with suppress(ProcessLookupError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)
