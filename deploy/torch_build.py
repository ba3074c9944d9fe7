"""Refuse the CUDA build of torch before it is fetched: ``torch_build.py REPORT``.

REPORT is of ``pip install --dry-run --no-deps --report``, for which pip reads what torch asks for:
in PyPI's build for x86-64 that is gigabytes of NVIDIA's libraries, of no use on a processor alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# pip's own copy: nothing else is installed yet.
from pip._vendor.packaging.requirements import Requirement

_REFUSED = """\
pip would take torch {version} in its CUDA build, gigabytes that are of no use here.
  the CPU build:         make {goals} TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
  this one all the same: make {goals} TORCH_INDEX_URL=https://pypi.org/simple"""


def cuda_build(report: Mapping[str, Any]) -> str | None:
    """Return the version of torch that would be installed if it is a CUDA build, else None."""
    for one in report["install"]:
        about = one["metadata"]
        if any(map(_cuda, about.get("requires_dist", ()))):
            return str(about["version"])
    return None


def _cuda(requirement: str) -> bool:
    asked = Requirement(requirement)
    here = asked.marker is None or asked.marker.evaluate({"extra": ""})
    return here and asked.name.startswith(("nvidia-", "cuda-"))


def main() -> None:
    """Exit with 1 and the way out if it is one."""
    report, *goals = sys.argv[1:]
    version = cuda_build(json.loads(Path(report).read_text("utf-8")))
    if version is not None:
        sys.exit(_REFUSED.format(version=version, goals=" ".join(goals) or "setup"))


if __name__ == "__main__":
    main()
