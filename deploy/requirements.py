"""Print what the package and some of its extras ask for: ``requirements.py cpu flower``.

One requirement a line, for pip. pip checks no hash of a folder, so with hashes it cannot install
``.[cpu,flower]``: it installs these first, and then the package without dependencies.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_OWN_EXTRAS = re.compile(r"babylon-tasks\[(.+)\]")


def requirements(project: Mapping[str, Any], extras: Sequence[str]) -> list[str]:
    """List each requirement once; raises KeyError for an extra that the project has not."""
    found = [*project["dependencies"]]
    for extra in extras:
        found += _of_extra(project["optional-dependencies"], extra)
    return list(dict.fromkeys(found))


def _of_extra(all_extras: Mapping[str, Sequence[str]], extra: str) -> Iterator[str]:
    for requirement in all_extras[extra]:
        own = _OWN_EXTRAS.fullmatch(requirement)
        if own is None:
            yield requirement
        else:
            for name in own[1].split(","):
                yield from _of_extra(all_extras, name)


def main() -> None:
    """Print the requirements of the extras that are named."""
    text = Path("pyproject.toml").read_text("utf-8")
    print("\n".join(requirements(tomllib.loads(text)["project"], sys.argv[1:])))


if __name__ == "__main__":
    main()
