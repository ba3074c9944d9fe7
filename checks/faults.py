"""What a check finds wrong, where it is and what to do; and how a check ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True)
class Fault:
    """One broken law: ``where`` is file:line, and the service or stage if there is one."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def end(name: str, faults: Sequence[Fault], passed: str) -> NoReturn:
    """Print the faults and exit with 1; without any, say what holds and exit with 0."""
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(f"{name}: {len(faults)} fault(s)")
    print(f"{name}: {passed}")
    sys.exit(0)
