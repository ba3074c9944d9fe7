"""What the worker's child processes share: environment, replies, termination."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
from contextlib import suppress
from typing import TypeVar

import msgspec

T = TypeVar("T")

# Variables withheld from the child, in any case (settings are case-insensitive). The child gets
# what it needs of them through its stdin.
_KEPT_BACK = ("DATABASE_URL", "REDIS_URL", "WANDB_API_KEY", "FLOWER_", "BABYLON_")


def child_environment() -> dict[str, str]:
    """Copy the environment without our settings and secrets; ART stays off network and ``.env``."""
    inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith(_KEPT_BACK)}
    return inherited | {
        "PYTHON_DOTENV_DISABLED": "1",  # else `import art` reads secrets from a .env
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else `import art` accesses the network
        "HF_HUB_OFFLINE": inherited.get("HF_HUB_OFFLINE", "").strip() or "1",
        "PYTHONSAFEPATH": "1",  # else a module in the data folder would be imported for its like
        "TQDM_DISABLE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group, and all that it has started."""
    with suppress(ProcessLookupError):  # they have all exited
        os.killpg(process.pid, signal.SIGKILL)


def listen(
    process: subprocess.Popen[bytes],
    decoder: msgspec.json.Decoder[T],
    replies: queue.Queue[T | None],
) -> None:
    """Put each line of a child's stdout into ``replies``, decoded; None at its end."""
    if process.stdout is not None:
        with process.stdout:
            for raw in process.stdout:
                try:
                    replies.put(decoder.decode(raw))
                except msgspec.DecodeError:
                    break  # the child died in the middle of a line
    replies.put(None)


def how_ended(code: int) -> str:
    """Describe an exit code for a message, e.g. "was ended by signal SIGKILL"."""
    if code < 0:
        return f"was ended by signal {signal.Signals(-code).name}"
    return f"exited with code {code}"
