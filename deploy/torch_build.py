"""Say which index has torch without CUDA, where pip would take that: ``torch_build.py REPORT``.

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

_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_SAID = """\
pip would take torch {version} in its CUDA build, gigabytes that are of no use here. Instead the CPU
build of {index} is taken;
TORCH_INDEX_URL names another index, for the CUDA build https://pypi.org/simple
"""


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
    """Print pip's option for the index of CPU builds, or nothing: pip's own choice is one."""
    version = cuda_build(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    if version is not None:
        sys.stderr.write(_SAID.format(version=version, index=_CPU_INDEX))
        print(f"--index-url {_CPU_INDEX}")


if __name__ == "__main__":
    main()
