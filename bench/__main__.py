"""Run the benchmarks, one after the other: ``python -m bench``, and ``--full`` for the large sizes.

Each is a module with a process of its own, whose figures are ratios of that run; at the end stand
the seconds of each and what else the machine did meanwhile. ``--only backlog plan`` runs these.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from msgspec import Struct

from bench.other_work import OtherWork

ROOT = Path(__file__).resolve().parent.parent


class Part(Struct, frozen=True):
    """A module of this package, and its arguments for the two sizes."""

    module: str
    about: str
    small: tuple[str, ...] = ()
    full: tuple[str, ...] = ()


PARTS = (
    Part("score", "scoring by kind of row", ("--rounds", "3"), ("--rounds", "7", "--full")),
    Part("backlog", "a window, by how many wait", full=("--hours", "100", "1000", "10000")),
    Part("drain", "windows a second, by workers", full=("--hours", "3000")),
    Part("plan", "planning, by agents", full=("--agents", "1000", "2000", "4000", "8000")),
    Part("overhead", "a step around ART's train()", full=("--rounds", "7")),
    Part(
        "big_database",
        "what runs each minute or for each window, by age and size",
        ("--small",),
        ("--trajectories", "100000"),
    ),
    Part("recorder", "recording, against bare inserts", full=("--trajectories", "20000")),
    Part("gateway", "what the gateway adds", ("--brief",)),
)


def run(part: Part, *, full: bool) -> tuple[int, float, str]:
    """Run a part; returns its exit code, its seconds, and what else the machine did."""
    arguments = part.full if full else part.small
    print(f"\n== {part.module}: {part.about}", *arguments, flush=True)
    others, began = OtherWork(), time.monotonic()
    command = [sys.executable, "-m", f"bench.{part.module}", *arguments]
    code = subprocess.run(command, cwd=ROOT, env=os.environ, check=False).returncode
    return code, time.monotonic() - began, str(others)


def main() -> None:
    """Run the parts; exit code 1 if one has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="large sizes: an hour or more")
    parser.add_argument("--only", nargs="+", choices=[part.module for part in PARTS])
    given = parser.parse_args()
    parts = [part for part in PARTS if part.module in (given.only or part.module)]
    ended = [(part, *run(part, full=given.full)) for part in parts]
    print("\nseconds")
    for part, code, seconds, others in ended:
        failed = f"; FAILED with exit code {code}" if code else ""
        print(f"{seconds:7.0f}  {part.module}: {part.about}; {others}{failed}")
    print(f"{sum(seconds for _, _, seconds, _ in ended):7.0f}  in all, on {os.cpu_count()} cores")
    sys.exit(any(code for _, code, _, _ in ended))


if __name__ == "__main__":
    main()
