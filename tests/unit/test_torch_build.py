"""`make` takes no CUDA build of torch unless its index is named, and needs nobody to name one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "torch_build.py"
# As pip reports PyPI's and PyTorch's builds for x86-64.
CUDA = [
    "filelock",
    'cuda-bindings<14,>=13.0.3; platform_system == "Linux" and python_version < "3.15"',
    'nvidia-cudnn-cu13==9.20.0.48; platform_system == "Linux"',
    'triton==3.7.1; platform_system == "Linux" and python_version < "3.15"',
]
CPU = ["filelock", "sympy>=1.13.3", 'optree>=0.13.0; extra == "optree"']
ELSEWHERE = ["filelock", 'nvidia-nccl-cu13==2.29.7; platform_machine == "another"']


def judged(folder: Path, *asked: list[str]) -> subprocess.CompletedProcess[str]:
    """What the script says of a report in which torch asks for this."""
    installed: list[dict[str, Any]] = [
        {"metadata": {"name": "torch", "version": "2.13.0", "requires_dist": one}} for one in asked
    ]
    report = folder / "report.json"
    report.write_text(json.dumps({"install": installed}), "utf-8")
    return subprocess.run(
        [sys.executable, SCRIPT, report], capture_output=True, text=True, check=False
    )


def test_instead_of_the_cuda_build_that_of_pytorchs_index_is_taken(tmp_path: Path) -> None:
    found = judged(tmp_path, CUDA)
    assert (found.returncode, found.stdout) == (
        0,
        "--index-url https://download.pytorch.org/whl/cpu\n",
    )
    assert "torch 2.13.0 in its CUDA build" in found.stderr
    assert "TORCH_INDEX_URL names another index" in found.stderr


@pytest.mark.parametrize("asked", [[CPU], [ELSEWHERE], []], ids=["cpu", "elsewhere", "installed"])
def test_any_other_is_taken(tmp_path: Path, asked: list[list[str]]) -> None:
    taken = judged(tmp_path, *asked)
    assert (taken.returncode, taken.stdout, taken.stderr) == (0, "", "")
