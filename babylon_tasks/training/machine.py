"""What of this machine the trainer may use: cores and memory, by affinity and by cgroups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

OPENMP = "OMP_NUM_THREADS"
_ROOT = Path("/")


def choose_threads(
    wanted: int | None, cores: int, environment: Mapping[str, str] = os.environ
) -> tuple[int, str]:
    """Choose torch's number of threads, and say why: the setting's, OpenMP's, or cores less one.

    With any other busy process as many threads as cores are slower than one fewer: each operation
    ends with its slowest thread (measured, 13.5 s became 22.6 s with two on two cores).
    """
    if wanted is not None:
        return wanted, f"BABYLON_TORCH_THREADS={wanted}"
    given = environment.get(OPENMP, "").split(",")[0]  # a list is by level of nesting
    if given.isdecimal() and int(given):
        return int(given), f"{OPENMP}={given}"
    return max(1, cores - 1), f"of {cores} usable cores one is left to others"


def usable_cores(root: Path = _ROOT) -> int:
    """Count the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = [
        _quota_of_version_1(group) if old else _quota_of_version_2(group)
        for old, group in _groups(root, "cpu")
    ]
    known = [math.ceil(quota) for quota in quotas if quota is not None]
    return max(1, min([cores or 1, *known]))


def usable_memory(root: Path = _ROOT) -> int | None:
    """Return how many bytes of memory are free for this process; None where nothing says it.

    What the kernel keeps of files and can drop at once counts as free.
    """
    free = [
        _room(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        if old
        else _room(group, "memory.max", "memory.current", "inactive_file")
        for old, group in _groups(root, "memory")
    ]
    try:
        fields = _fields(root / "proc/meminfo")
        free.append(fields["MemAvailable:"] * 1024)
    except (OSError, ValueError, KeyError):
        free.append(None)
    return min((room for room in free if room is not None), default=None)


def kills_for_memory(root: Path = _ROOT) -> int:
    """Count the processes that the kernel has killed since its start for want of memory.

    Of the whole machine, whatever the container; 0 where nothing says it.
    """
    try:
        return _fields(root / "proc/vmstat").get("oom_kill", 0)
    except (OSError, ValueError):
        return 0


def _groups(root: Path, controller: str) -> Iterator[tuple[bool, Path]]:
    """List the cgroups that limit this process, as (of version 1, folder)."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        group = Path(path.lstrip("/"))
        # In a container the mounted root is its own group, whatever the path says.
        for place in (group, *group.parents):
            yield bool(controllers), mounted / (controller if controllers else "") / place


def _quota_of_version_2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_of_version_1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _room(group: Path, limit: str, usage: str, cache: str) -> int | None:
    try:
        used = int((group / usage).read_text())
        most = int((group / limit).read_text())  # "max" in version 2: no limit
        return max(0, most - used + _fields(group / "memory.stat").get(cache, 0))
    except (OSError, ValueError):
        return None


def _fields(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}
