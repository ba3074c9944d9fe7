"""What a check finds: what is wrong, where, and what to do; and how a check ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True)
class Violation:
    """One broken rule: ``where`` is file:line, and the service or stage if there is one."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def end(name: str, violations: Sequence[Violation], passed: str) -> NoReturn:
    """Print the violations and exit with 1; without any, print ``passed`` and exit with 0."""
    for violation in violations:
        print(violation, file=sys.stderr)
    if violations:
        sys.exit(f"{name}: {len(violations)} violation(s)")
    print(f"{name}: {passed}")
    sys.exit(0)
