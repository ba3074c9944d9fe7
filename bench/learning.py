"""What the demo's loop learns where something is otherwise: python -m bench.learning --seeds 3

Each case plays the demo with one thing changed, by real processes and steps, one run after the
other, and all cases of a seed see the same questions. At the end the base model and what serves are
asked about the same markets, which no window had, and what serves also in phrasings that no window
had. A run takes as long as a demo: 7 to 15 minutes of two cores. What is finished is
in ``--folder``, and a second call with it goes on from there.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import msgspec
from msgspec import Struct

from babylon_tasks.errors import SandboxError
from babylon_tasks.sandbox import miniature
from babylon_tasks.sandbox.variation import Variation
from bench.demos import DemoRun, play
from bench.other_work import OtherWork


class Case(Struct, frozen=True):
    """A name, and what is otherwise than in the demo; ``halfway``: it reverses at half-time."""

    name: str
    variation: Variation = Variation()
    halfway: bool = False

    def variation_of(self, windows: int) -> Variation:
        """Return what a run of so many windows varies."""
        reverse_at = windows // 2 + 1 if self.halfway else None
        return msgspec.structs.replace(self.variation, reverse_at=reverse_at, unseen_phrasings=True)


_RATE = miniature.OPTIONS["BABYLON_LEARNING_RATE"]
CASES = (
    Case("defaults"),
    Case("no-kl", Variation(options={"BABYLON_KL_COEFFICIENT": "0"})),
    Case(
        "no-schedule",
        Variation(
            options={
                "BABYLON_FINAL_LEARNING_RATE": _RATE,
                "BABYLON_LEARNING_RATE_WARMUP_STEPS": "0",
                "BABYLON_LEARNING_RATE_SPREAD_POWER": "0",
            }
        ),
    ),
    Case("stale", Variation(stale=0.5)),
    Case("flipped", Variation(flipped=0.3)),
    Case("reversal", halfway=True),
)
_HEAD = ("case", "runs", "valid", "right", "difference", "", "unseen", "in a row", "right again")


def runs_of(seeds: Sequence[int], only: Sequence[str]) -> list[tuple[int, Case]]:
    """List the runs in their order: all cases of a seed, then those of the next."""
    return [(seed, case) for seed in seeds for case in CASES if not only or case.name in only]


def right_of_all(run: DemoRun) -> float:
    """Return the share of what serves' answers that are valid and right."""
    served = run.evaluation["served"]
    return float(served["valid"] * served["right_of_valid"])


def table(found: dict[str, dict[int, DemoRun]]) -> list[str]:
    """Format means by case, and the difference from the defaults of the same seeds."""
    lines = [f"| {' | '.join(_HEAD)} |", "|---" * len(_HEAD) + "|"]
    for name, runs in found.items():
        of_defaults = found.get(CASES[0].name, {})
        differences = [
            right_of_all(run) - right_of_all(of_defaults[seed])
            for seed, run in runs.items()
            if name != CASES[0].name and seed in of_defaults
        ]
        cells = (
            name,
            str(len(runs)),
            f"{fmean(run.evaluation['served']['valid'] for run in runs.values()):.3f}",
            f"{fmean(map(right_of_all, runs.values())):.3f}",
            *_verdict(differences),
            f"{fmean(_unseen(run) for run in runs.values()):.3f}",
            str(max(run.most_refused_in_a_row for run in runs.values())),
            _again(runs.values()),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _verdict(differences: Sequence[float]) -> tuple[str, str]:
    """Say a mean difference with twice its standard error, and what it says."""
    if not differences:
        return "", ""
    mean = fmean(differences)
    if len(differences) == 1:
        return f"{mean:+.3f}", "cannot tell"
    error = 2 * stdev(differences) / math.sqrt(len(differences))
    says = "cannot tell" if abs(mean) <= error else "better" if mean > 0 else "worse"
    return f"{mean:+.3f} ± {error:.3f}", says


def _unseen(run: DemoRun) -> float:
    asked = run.evaluation["unseen_phrasings"]
    return float(asked["valid"] * asked["right_of_valid"])


def _again(runs: Iterable[DemoRun]) -> str:
    """List after how many windows each run was right again."""
    found: list[dict[str, Any]] = [run.reversal for run in runs if run.reversal is not None]
    return ", ".join(str(one["right_again_after"] or "never") for one in found)


def curve(run: DemoRun, every: int = 5) -> list[str]:
    """Format the share of right decisions of a run, by so many windows."""
    lines = []
    for first in range(0, len(run.windows), every):
        some = run.windows[first : first + every]
        right = fmean(window["right"] for window in some)
        lines.append(
            f"{first + 1:>4} to {first + len(some):>3}  {right:>4.0%}  {'#' * round(50 * right)}"
        )
    return lines


def main() -> None:
    """Play what is asked for, and print the table; exit code 1 if a run broke off."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=3, help="play seeds 0 to this one less 1")
    asked.add_argument("--windows", type=int, default=miniature.WINDOWS)
    asked.add_argument("--only", nargs="*", choices=[case.name for case in CASES], default=())
    asked.add_argument("--folder", type=Path, help="keep reports there, and use those that are")
    given = asked.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="babylon-learning-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"reports in {folder}", file=sys.stderr)
    found: dict[str, dict[int, DemoRun]] = {}
    broken, other = [], OtherWork()
    for seed, case in runs_of(range(given.seeds), given.only):
        try:
            varied = case.variation_of(given.windows)
            run = play(seed, given.windows, folder, varied, name=case.name)
        except SandboxError as error:
            broken.append(f"{case.name}, seed {seed}, broke off: {error}")
            continue
        found.setdefault(case.name, {})[seed] = run
        if run.reversal is not None:
            print(f"{case.name}, seed {seed}: right, of all decisions, by window")
            print("\n".join(curve(run)))
    print("\n".join([*table(found), *broken]))
    print(f"{given.seeds} seeds, {given.windows} windows; {other}")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
