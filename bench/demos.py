"""The demo on random seeds: python -m bench.demos --count 5

The seeds are drawn from the system's entropy, printed before the first run, and none is left out.
Each run is the README's demo, one after the other: two at once would disturb each other. At the end
what serves is also asked about the same markets in phrasings that no window had. What is finished
is in ``--folder``, and a second call with the same ``--seeds`` goes on from there.

Exit code 1 if a seed misses the target, or stands more than five windows behind its gate without a
change: refused, and the rate of what serves not halved in between.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babylon_tasks.sandbox import demo, miniature
from babylon_tasks.sandbox.demo_report import write
from babylon_tasks.sandbox.variation import Variation

VALID, RIGHT = 0.95, 0.80  # of all held-out decisions, and of the valid ones
THE_DEMO = Variation(unseen_phrasings=True)
MOST_UNCHANGED = 5  # windows in a row that the gate refuses at the same rate


@dataclass(frozen=True)
class DemoRun:
    """One seed's report: shares on held-out markets, and the decisions of its gate."""

    seed: int
    windows: list[dict[str, Any]]
    evaluation: dict[str, Any]
    seconds: float
    phases: dict[str, float]
    reversal: dict[str, Any] | None = None

    @property
    def reached(self) -> bool:
        """Whether the last serving checkpoint reaches the target."""
        served = self.evaluation["served"]
        return bool(served["valid"] >= VALID and served["right_of_valid"] >= RIGHT)

    @property
    def held(self) -> list[dict[str, Any]]:
        """The windows whose checkpoint was refused."""
        return [window for window in self.windows if window["decision"] == "hold"]

    @property
    def most_refused_in_a_row(self) -> int:
        """The most windows in a row in which nothing was promoted although steps were taken."""
        most = refused = 0
        for window in self.windows:
            if window["decision"] == "promote":
                refused = 0
            elif window["decision"] == "hold":
                refused += 1
            most = max(most, refused)
        return most

    @property
    def most_unchanged_in_a_row(self) -> int:
        """The most of these between which the rate was not halved."""
        most = refused = 0
        halved: int | None = None
        for window in self.windows:
            if window["decision"] is None:
                continue  # no step came of it
            same = window["rate_halved"] == halved
            halved = window["rate_halved"]
            again = refused + 1 if same else 1
            refused = again if window["decision"] == "hold" else 0
            most = max(most, refused)
        return most

    @property
    def stuck(self) -> str | None:
        """Say that the run stood too long behind its gate; None if it did not."""
        most = self.most_unchanged_in_a_row
        if most <= MOST_UNCHANGED:
            return None
        return (
            f"seed {self.seed} stood {most} windows in a row behind its gate without a change, "
            f"more than {MOST_UNCHANGED}: the refusals above say why"
        )


def play(
    seed: int, windows: int, folder: Path, variation: Variation = THE_DEMO, *, name: str = "seed"
) -> DemoRun:
    """Play a run, or read what an earlier call has left of it; its windows go to standard error."""
    kept = folder / f"{name}-{seed}-{windows}.json"
    if not kept.exists():
        watcher = demo.DemoWatcher(
            settings=lambda _: None,
            news=lambda text: print(text, file=sys.stderr),
            window=lambda done, tally: print(
                f"{name} {seed}  {done.window}  right {tally.right / tally.n:.0%}",
                file=sys.stderr,
            ),
        )
        write(demo.run(watcher, windows=windows, seed=seed, variation=variation), kept)
    return DemoRun(seed, **json.loads(kept.read_bytes()))


def line(run: DemoRun) -> str:
    """Format one row of the table."""
    base, served = run.evaluation["base"], run.evaluation["served"]
    low, high = run.evaluation["difference"].values()
    unseen = run.evaluation["unseen_phrasings"]
    return (
        f"{run.seed:>10}  {base['valid']:>6.1%}  {base['right_of_valid']:>6.1%}  "
        f"{served['valid']:>6.1%}  {served['right_of_valid']:>6.1%}  "
        f"{unseen['valid']:>6.1%}  {unseen['right_of_valid']:>6.1%}  "
        f"{low:+7.1%} … {high:+7.1%}  {len(run.held):>4}  {run.most_refused_in_a_row:>7}  "
        f"{run.seconds:>7.0f}  {'yes' if run.reached else 'NO'}"
    )


def main() -> None:
    """Draw seeds, play them, and print the results."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--count", type=int, default=5, help="how many seeds to draw")
    asked.add_argument("--windows", type=int, default=miniature.WINDOWS)
    asked.add_argument("--seeds", type=int, nargs="*", help="these instead, to repeat a run")
    asked.add_argument("--folder", type=Path, help="keep reports and outputs there")
    given = asked.parse_args()
    # Ended like Ctrl-C, which ends a demo's processes too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    draw = random.SystemRandom()
    seeds = given.seeds or [draw.randrange(10**6) for _ in range(given.count)]
    folder = given.folder or Path(tempfile.mkdtemp(prefix="babylon-demos-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seeds drawn: {' '.join(map(str, seeds))}; reports in {folder}", flush=True)
    print(
        f"{'seed':>10}  {'base':>6}  {'right':>6}  {'served':>6}  {'right':>6}  "
        f"{'unseen':>6}  {'right':>6}  "
        f"{'valid and right, 95 %':>19}  held  in a row  seconds  aim",
        flush=True,
    )
    runs = []
    for seed in seeds:
        runs.append(play(seed, given.windows, folder))
        print(line(runs[-1]), flush=True)
    for run in runs:
        for window in run.held:
            print(f"seed {run.seed}, {window['window']}: held @{window['step']}: {window['why']}")
    stuck = [run.stuck for run in runs if run.stuck]
    for text in stuck:
        print(text)
    sys.exit(bool(stuck) or not all(run.reached for run in runs))


if __name__ == "__main__":
    main()
