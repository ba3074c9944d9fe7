"""The cores and the memory that affinity and cgroups leave to this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from babylon_tasks.training.machine import (
    choose_threads,
    kills_for_memory,
    usable_cores,
    usable_memory,
)

ALL = len(os.sched_getaffinity(0))


def machine(root: Path, cgroup: str, **files: str) -> Path:
    """The files of a machine on which this process is in these groups."""
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (16, 15)])
def test_one_core_is_left_to_others_where_there_is_one(cores: int, threads: int) -> None:
    assert choose_threads(None, cores, {})[0] == threads


def test_the_setting_overrules_openmps_variable_and_that_the_cores() -> None:
    assert choose_threads(4, 2, {"OMP_NUM_THREADS": "3"}) == (4, "BABYLON_TORCH_THREADS=4")
    assert choose_threads(None, 2, {"OMP_NUM_THREADS": "3,2"}) == (3, "OMP_NUM_THREADS=3")
    for unusable in ("", "0", "many"):
        assert choose_threads(None, 2, {"OMP_NUM_THREADS": unusable})[0] == 1


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/cpu.max": "50000 100000\n"},  # in a container the path is the host's
        {"sys/fs/cgroup/pods/one/cpu.max": "50000 100000\n"},
        {"sys/fs/cgroup/pods/one/cpu.max": "max 100000\n", "sys/fs/cgroup/pods/cpu.max": "1 2\n"},
    ],
)
def test_the_smallest_quota_of_its_groups_counts(tmp_path: Path, files: dict[str, str]) -> None:
    assert usable_cores(machine(tmp_path, "0::/pods/one\n", **files)) == 1


def test_quotas_of_the_first_version_count_too(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/cpu/pods"
    files = {f"{group}/cpu.cfs_quota_us": "80000\n", f"{group}/cpu.cfs_period_us": "100000\n"}

    assert usable_cores(machine(tmp_path, "2:cpuacct,cpu:/pods\n0::/\n", **files)) == 1
    assert usable_cores(machine(tmp_path, "2:memory:/pods\n", **files)) == ALL


@pytest.mark.parametrize("quota", ["max 100000", "nonsense", "640000000 100000", ""])
def test_without_a_quota_or_with_a_larger_one_affinity_counts(tmp_path: Path, quota: str) -> None:
    files = {"sys/fs/cgroup/cpu.max": quota}

    assert usable_cores(machine(tmp_path, "0::/\n", **files)) == ALL


def test_a_machine_without_cgroups_is_counted(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == ALL


MIB = 2**20
MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 4096 kB\nHugePages_Total: 0\n"}


def test_free_memory_is_the_machines_where_no_group_is_narrower(tmp_path: Path) -> None:
    here = {"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1\n"}

    assert usable_memory(machine(tmp_path, "0::/\n", **MEMINFO, **here)) == 4 * MIB


@pytest.mark.parametrize(
    ("cgroup", "names"),
    [
        ("0::/pods\n", ("memory.max", "memory.current", "inactive_file")),
        (
            "4:memory:/pods\n",
            ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_what_a_group_may_still_take_counts_with_the_files_it_has_read(
    tmp_path: Path, cgroup: str, names: tuple[str, str, str]
) -> None:
    limit, usage, cache = names
    here = {
        f"sys/fs/cgroup/{limit}": f"{3 * MIB}\n",
        f"sys/fs/cgroup/{usage}": f"{2 * MIB}\n",
        f"sys/fs/cgroup/{Path(limit).parent}/memory.stat": f"anon 7\n{cache} {MIB}\n",
    }

    assert usable_memory(machine(tmp_path, cgroup, **MEMINFO, **here)) == 2 * MIB


def test_a_machine_that_says_nothing_has_unknown_memory(tmp_path: Path) -> None:
    assert usable_memory(tmp_path) is None


def test_the_kernels_kills_for_memory_are_counted_where_it_says_them(tmp_path: Path) -> None:
    assert kills_for_memory(tmp_path) == 0
    vmstat = {"proc/vmstat": "nr_free_pages 7\noom_kill 3\n"}
    assert kills_for_memory(machine(tmp_path, "", **vmstat)) == 3
