"""The processes of the system and how each is started: the only table of both.

``babylon-tasks run NAME``, the sandbox, images, Compose and Kubernetes all start them from here.
Options come from the settings, so that no secret appears in an argument.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from babylon_tasks.owned_folder import make_owned_folder
from babylon_tasks.settings import Settings

APP = "babylon_tasks.tasks.app"
# What workers tell each other decides nothing here; a full Redis would not carry it at the start.
_ALONE = ("--without-gossip", "--without-mingle")
_FLOWER_CONFIG = Path(__file__).parent / "tasks" / "flower" / "config.py"

# Not the prefix of 0.1.0, whose folders show nobody whether their owner still runs.
_COUNTERS = "babylon-tasks-counters-"
# For the C library, which by default waits 20 s for a name server that is silent, and retries.
_RESOLVER = "timeout:2 attempts:2"
_NO_DATABASE = "postgresql://not-given-to-flower.invalid/none"


class ProcessName(StrEnum):
    """Every kind of process, in the best order of starting."""

    GPU_WORKER = "gpu-worker"
    CPU_WORKER = "cpu-worker"
    BEAT = "beat"
    FLOWER = "flower"
    GATEWAY = "gateway"
    DASHBOARD = "dashboard"


PROCESSES = tuple(ProcessName)


def _gpu_worker(settings: Settings) -> list[str]:
    # One task at a time, always: a training step needs the whole device and the trainer.
    # Queue gpu: what processes of an older release send while they are being replaced.
    queues = f"gpu,gpu.{settings.lineage}"
    name = f"gpu.{settings.lineage}@%h"  # two lineages may have their workers on one machine
    return ["worker", *_ALONE, "--pool=prefork", "-c", "1", "-Q", queues, "-n", name]


def _cpu_worker(settings: Settings) -> list[str]:
    pool = ["--pool=prefork", "-c", str(settings.cpu_concurrency)]
    return ["worker", *_ALONE, *pool, "-Q", "cpu,upkeep", "-n", "cpu@%h"]


def _beat(_: Settings) -> list[str]:
    # The schedule is two entries in the code, each minute: it needs no file and no writable folder.
    # (Celery by default keeps a shelve in the working directory.)
    return ["beat", "--scheduler=babylon_tasks.tasks.health.bootsteps:BeatScheduler"]


def _flower(settings: Settings) -> list[str]:
    address = [f"--address={settings.flower_host}", f"--port={settings.flower_port}"]
    return ["flower", f"--conf={_FLOWER_CONFIG}", *address]


# Without Celery and without Redis, as modules that can be run.
OWN_PROGRAMS: Mapping[ProcessName, str] = {
    ProcessName.GATEWAY: "babylon_tasks.gateway",
    ProcessName.DASHBOARD: "babylon_tasks.dashboard",
}
_CELERY: Mapping[ProcessName, Callable[[Settings], list[str]]] = {
    ProcessName.GPU_WORKER: _gpu_worker,
    ProcessName.CPU_WORKER: _cpu_worker,
    ProcessName.BEAT: _beat,
    ProcessName.FLOWER: _flower,
}


def command(name: ProcessName, settings: Settings) -> list[str]:
    """Build the arguments that start a process; they contain no secret."""
    if name in OWN_PROGRAMS:
        return [sys.executable, "-m", OWN_PROGRAMS[name]]
    # --quiet: Celery's banner would be the only lines of the log that are not JSON.
    return [sys.executable, "-m", "celery", "--quiet", "-A", APP, *_CELERY[name](settings)]


def withheld(name: ProcessName) -> dict[str, str]:
    """Return what replaces settings that a process does not need, whatever its environment says.

    Flower needs Redis only; the required DATABASE_URL becomes an address that leads nowhere.
    """
    return {"DATABASE_URL": _NO_DATABASE} if name is ProcessName.FLOWER else {}


def prepare(name: ProcessName, settings: Settings) -> dict[str, str]:
    """Prepare and return the environment that a process needs beside the settings.

    The caller becomes that process, or outlives it: a worker's folder is its own until it ends.
    """
    extra = withheld(name)
    if "RES_OPTIONS" not in os.environ:  # an operator's own
        extra["RES_OPTIONS"] = _RESOLVER
    if name is ProcessName.FLOWER and settings.flower_basic_auth is not None:
        # Flower reads its login from the environment only; ours may be in a file.
        extra["FLOWER_BASIC_AUTH"] = settings.flower_basic_auth.get_secret_value()
    if settings.metrics_port and name in (ProcessName.CPU_WORKER, ProcessName.GPU_WORKER):
        # Each child counts in its own file, and needs the folder when it first counts.
        extra["PROMETHEUS_MULTIPROC_DIR"] = str(make_owned_folder(_COUNTERS))
    return extra
