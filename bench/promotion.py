"""The tables of docs/promotion.md: ``python -m bench.promotion --runs 200``.

Simulated agents, nothing recorded: values with a deviation of 0.2 per agent and hour, what an hour
does to the difference of two arms with one of 0.02. The rule is the package's own. Beside it, for
harm, false rollbacks, trials, a collapse and whole runs, is what 0.1.0 had: the interval of a fixed
sample, here looked at every hour. Everything follows from
the seeds 0, 1, 2 and so on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import inf
from statistics import fmean, median
from typing import Any

from babylon_tasks.comparison.parameters import (
    ComparisonParameters,
    MetricParameters,
    control_share,
)
from bench.other_work import OtherWork
from bench.promotion_paths import (
    DEFAULTS,
    FIGURES,
    GUARD,
    MONTH,
    chosen_block,
    collapse,
    collapse_by_interval,
    fall,
    fall_by_interval,
    looks,
    quiet,
    ramp,
    trial,
    whole,
)
from bench.promotion_runs import EVENTS

CROWDS = (50, 500, 5000)
INTERVAL = "0.1.0's interval"


class Tables:
    """Each method yields the lines of a table."""

    def __init__(self, pool: ProcessPoolExecutor, runs: int) -> None:
        self._pool, self._runs = pool, runs

    def harm(self) -> Iterator[str]:
        """Hours to a rollback."""
        drops = [(0.0, 0.02), (0.0, 0.05), (0.0, 0.1), (0.0, 0.2), (0.03, 0.05), (0.03, 0.1)]
        yield row("agents", "control", *(f"{d:g} from {b:+g}" for b, d in drops))
        for agents in CROWDS:
            for control in (0.05, 0.1, 0.2):
                if agents * control < 5:
                    continue
                cells = []
                for before, drop in drops:
                    found = self._each(fall, agents, control, before, drop)
                    cells.append(
                        f"{delay([ours for ours, _ in found])} ({delay([o for _, o in found])})"
                    )
                yield row(f"{agents:,}", f"{control:.0%}", *cells)
            given = (agents, control_share(agents))
            old = (delay(self._each(fall_by_interval, *given, b, d)) for b, d in drops)
            yield row(f"{agents:,}, {INTERVAL}", f"{given[1]:.0%}", *old)

    def quiet(self) -> Iterator[str]:
        """Hours from one false rollback to the next; at least 1440 are promised."""
        edge = -DEFAULTS.reward.tolerance
        yield row("", *(f"{agents:,} agents" for agents in CROWDS))
        slow = ComparisonParameters(reward=MetricParameters(collapse=None))
        blocks = {block: ComparisonParameters(block=block) for block in (4, 12)}
        cases: list[tuple[str, ComparisonParameters | None, float, dict[str, Any]]] = [
            ("D = -0.01", DEFAULTS, edge, {}),
            (f"D = -0.01, {INTERVAL}", None, edge, {}),
            ("D = 0", DEFAULTS, 0.0, {}),
            (f"D = 0, {INTERVAL}", None, 0.0, {}),
            ("-0.01, what hours do 0.04 instead of 0.02", DEFAULTS, edge, {"hour": 0.04}),
            ("-0.01, heavy tails", DEFAULTS, edge, {"tails": True}),
            ("-0.01, heavy tails, no fast detector", slow, edge, {"tails": True}),
        ]
        for correlation in (0.5, 0.8):
            cases.append((f"-0.01, hours correlated {correlation}", DEFAULTS, edge, {}))
            cases.append(
                (
                    f"... blocks of {4 if correlation == 0.5 else 12}",
                    blocks[4 if correlation == 0.5 else 12],
                    edge,
                    {},
                )
            )
            for case in cases[-2:]:
                case[3]["correlation"] = correlation
        for name, parameters, serving, given in cases:
            cells = []
            for agents in CROWDS:
                crowd = {"agents": agents, "control": control_share(agents), **given}
                count = sum(self._each(quiet, parameters, serving, **crowd))
                hours = 2000 * self._runs
                cells.append(f"{hours / count:,.0f}" if count else f"> {hours:,}")
            yield row(name, *cells)

    def trial(self) -> Iterator[str]:
        """Try a frozen checkpoint."""
        yield row(
            *("agents", "each arm", "alpha", "known of the past"),
            *("hours at 0", "hours at +0.02", "false at -0.021"),
        )
        arms = ((50, 0.2), (500, 0.05), (500, 0.1), (5000, 0.05), (5000, 0.1))
        cases = [(agents, share, alpha, 0.0) for agents, share in arms for alpha in (0.05, 0.01)]
        cases += [(50, 0.2, 0.05, 0.5), (50, 0.2, 0.05, 0.75), (500, 0.1, 0.05, 0.5)]
        for agents, share, alpha, lasting in cases:
            given = ComparisonParameters(alpha=alpha, max_windows=10000)
            crowd = {"agents": agents, "control": share, "examinee": share, "lasting": lasting}
            equal, better, worse = (
                self._each(trial, given, truth, **crowd) for truth in (0.0, 0.02, -0.021)
            )
            yield row(
                *(f"{agents:,}", f"{share:.0%}", f"{alpha:g}", f"{lasting:.0%}"),
                *(f"{median([h for won, h in one if won]):.0f}" for one in (equal, better)),
                rate([won for won, _ in worse]),
            )

    def blocks(self) -> Iterator[str]:
        """Hours that are alike: false proofs at -0.021, hours to proven at 0."""
        yield row(
            "agents",
            "correlation",
            *(f"blocks of {b}" for b in (1, 4, 12)),
            "chosen after 100 h: 1 / 4 / 12",
            "after 500 h",
        )
        for agents, correlation in (
            (50, 0.0),
            (500, 0.0),
            (500, 0.5),
            (500, 0.8),
            (5000, 0.0),
            (5000, 0.5),
            (5000, 0.8),
        ):
            crowd = {"agents": agents, "correlation": correlation}
            cells = []
            for block in (1, 4, 12):
                given = ComparisonParameters(block=block, max_windows=10000)
                worse = self._each(trial, given, -0.021, **crowd)
                equal = self._each(trial, given, 0.0, **crowd)
                hours = median([hours for won, hours in equal if won])
                cells.append(f"{rate([won for won, _ in worse])} ({hours:.0f})")
            for windows in (100, 500):
                found = self._each(chosen_block, windows, **crowd)
                cells.append(" / ".join(f"{found.count(b) / len(found):.2f}" for b in (1, 4, 12)))
            yield row(f"{agents:,}", f"{correlation:g}", *cells)

    def looks(self) -> Iterator[str]:
        """0.1.0's interval looked at every hour of a week, and the rule: promoted / retired;
        hours to either."""
        yield row("agents", "truth", INTERVAL, "the rule")
        for agents in CROWDS:
            for truth in (-0.021, 0.0, 0.02):
                old = self._each(looks, agents, truth)
                crowd = {"agents": agents, "control": 0.2, "examinee": 0.2}
                week = DEFAULTS.max_windows
                new = [
                    (won if won or hours < week else None, hours)
                    for won, hours in self._each(trial, DEFAULTS, truth, **crowd)
                ]
                cells = (
                    f"{rate([one is True for one, _ in found])} / "
                    f"{rate([one is False for one, _ in found])}; "
                    f"{delay([hours for one, hours in found if one is not None])}"
                    for found in (old, new)
                )
                yield row(f"{agents:,}", f"{truth:+g}", *cells)

    def ramp(self) -> Iterator[str]:
        """Let a policy rise for 720 hours."""
        yield row(
            "agents",
            "truth",
            "loss per agent in 100 h",
            "ever 20 / 50 / 90 %",
            "hours to 90 %: median (90 %)",
        )
        truths = (-0.1, -0.05, -0.021, 0.0, 0.02, 0.05)
        cases = [(agents, truth, False) for agents in CROWDS for truth in truths]
        for agents, truth, drawn in (*cases, (50, 0.0, True)):
            found = self._each(ramp, agents, truth, drawn=drawn)
            ever = (fmean(highest >= stage for _, highest, _ in found) for stage in (1, 2, 3))
            yield row(
                f"{agents:,}, drawn" if drawn else f"{agents:,}",
                f"{truth:+g}",
                f"{fmean(one[0] for one in found):.2f}",
                " / ".join(f"{one:.2f}" for one in ever),
                delay([hours for *_, hours in found]),
            )

    def guard(self) -> Iterator[str]:
        """Compare without the guard, and with one that is as good in all arms: hours."""
        found = (f"{drop:g} rolled back" for drop in (0.05, 0.1, 0.2))
        proven = ("equal proven", "false at -0.021", "+0 to 90 %", "+0.02 to 90 %")
        yield row("agents", "guard", *found, *proven)
        for agents in CROWDS:
            share = control_share(agents)
            crowd = {"agents": agents, "control": share, "examinee": share}
            for guard in (None, GUARD):
                given = ComparisonParameters(max_windows=10000, guard=guard)
                falls = [
                    [h for h, _ in self._each(fall, agents, share, 0.0, drop, guard=guard)]
                    for drop in (0.05, 0.1, 0.2)
                ]
                equal = [h for won, h in self._each(trial, given, 0.0, **crowd) if won]
                worse = [won for won, _ in self._each(trial, given, -0.021, **crowd)]
                climbs = [
                    [h for *_, h in self._each(ramp, agents, truth, guard=guard)]
                    for truth in (0.0, 0.02)
                ]
                yield row(
                    f"{agents:,}",
                    "no" if guard is None else "yes",
                    *map(delay, falls),
                    delay(equal),
                    rate(worse),
                    *map(delay, climbs),
                )

    def collapse(self) -> Iterator[str]:
        """Let a policy fall that nine in ten use: hours to the floor, loss per agent until then."""
        drops = (0.05, 0.1, 0.2, 0.4)
        yield row("agents", *(f"by {drop:g}" for drop in drops))
        for agents in CROWDS:
            for name, what in (("", collapse), (f", {INTERVAL}", collapse_by_interval)):
                cells = []
                for drop in drops:
                    found = self._each(what, agents, drop)
                    hours = delay([hours for hours, _ in found])
                    cells.append(f"{hours}, {fmean(loss for _, loss in found):.2f}")
                yield row(f"{agents:,}{name}", *cells)

    def whole(self) -> Iterator[str]:
        """60 days: quality / regret / share of agent-hours 0.05 below the best; anchors (wrong);
        rollbacks; share of runs that were paused."""
        yield row("", *EVENTS)
        cases = [
            (rule, 500)
            for rule in (
                "evidence waived",
                INTERVAL,
                "two models",
                "the rule",
                "with a guard",
            )
        ]
        cases += [(rule, agents) for agents in (50, 5000) for rule in (INTERVAL, "the rule")]
        for rule, agents in cases:
            cells = []
            for scenario in EVENTS:
                found = self._each(whole, scenario, rule, agents)
                means = [fmean(one[name] for one in found) for name in FIGURES]
                cells.append(
                    "{:.3f} / {:.3f} / {:.3f}; {:.1f} ({:.2f}); {:.1f}; {:.2f}".format(*means)
                )
            yield row(rule if agents == 500 else f"{rule}, {agents:,} agents", *cells)

    def _each(self, what: Callable[..., Any], *given: Any, **crowd: Any) -> list[Any]:
        calls = [(what, seed, given, crowd) for seed in range(self._runs)]
        return list(self._pool.map(_call, calls, chunksize=max(1, self._runs // 16)))


def _call(call: tuple[Callable[..., Any], int, Sequence[Any], dict[str, Any]]) -> Any:
    what, seed, given, crowd = call
    return what(seed, *given, **crowd)


def delay(hours: Sequence[int]) -> str:
    """Format the median and the 90th percentile."""
    ordered = [inf if one > MONTH else one for one in sorted(hours)]
    at = [ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.9)]
    return "/".join(f"{one:.0f}" if one < inf else f">{MONTH}" for one in at)


def rate(found: Sequence[bool]) -> str:
    """Format the share of true ones."""
    return f"{sum(found) / len(found):.3f}"


def row(*cells: str) -> str:
    """Format a line of a table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables that are asked for."""
    names = ["harm", "quiet", "trial", "blocks", "looks", "ramp", "guard", "collapse", "whole"]
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=200, help="of each cell")
    asked.add_argument("--jobs", type=int, default=1)
    asked.add_argument("--tables", nargs="*", choices=names, default=names)
    given = asked.parse_args()
    with ProcessPoolExecutor(given.jobs) as pool:
        tables = Tables(pool, given.runs)
        for name in given.tables:
            began, other = time.monotonic(), OtherWork()
            make = getattr(tables, name)
            print("\n" + " ".join(str(make.__doc__).split()), flush=True)
            for number, line in enumerate(make()):
                print(line, flush=True)
                if not number:
                    print("|---" * (line.count("|") - 1) + "|")
            print(f"{given.runs} runs; {time.monotonic() - began:.0f} s; {other}", flush=True)


if __name__ == "__main__":
    main()
