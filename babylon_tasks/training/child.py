"""What the worker's child processes have in common: environment, replies, and their end."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
from contextlib import suppress
from typing import TypeVar

import msgspec

T = TypeVar("T")

# Variables withheld from the child, whatever their case (settings are case-insensitive); what it
# needs of them comes through its stdin.
_KEPT_BACK = ("DATABASE_URL", "REDIS_URL", "WANDB_API_KEY", "FLOWER_", "BABYLON_")


def child_environment() -> dict[str, str]:
    """The environment without our settings and secrets; ART uses neither network nor ``.env``."""
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
    """An exit code in words, for a message."""
    if code < 0:
        return f"was ended by signal {signal.Signals(-code).name}"
    return f"exited with code {code}"
