"""Where a comparison stands, in lines for people."""

from __future__ import annotations

from babylon_tasks.counted import counted
from babylon_tasks.db.comparisons import Comparison
from babylon_tasks.pipeline.comparison_figures import ComparisonFigures


def lines(found: Comparison, figures: ComparisonFigures) -> list[str]:
    """Say it: which anchor, arms, windows, evidence and ramp."""
    described = [f"comparison {found.id} with {figures.anchor}, from {found.began_window} on"]
    if found.ended_at is not None:
        described.append(f"ended by {found.ended_by} at {found.ended_at:%F %T}: {found.ended_why}")
    if figures.refused is not None:
        described.append(figures.refused)
    for arm in figures.arms:
        described.append(f"{arm.share:.0%} of the agents are {arm.arm}: {arm.policy}")
    concluded = ", ".join(f"{name} {count}" for name, count in figures.windows.items())
    described.append(f"windows: {concluded or 'none yet'}")
    if figures.last_window is not None and figures.harm is not None:
        gap = figures.difference
        seen = "" if gap is None else f"; what serves against the anchor: {gap:+.3f}"
        described.append(f"{figures.last_window}: {figures.conclusion}: {figures.reason}{seen}")
        described.append(f"harm: {figures.harm:.2%} of what rolls back")
    if figures.trial_windows:
        described.append(
            f"trial: after {counted(figures.trial_windows, 'window')} e-values "
            f"{figures.trial:.3g} (not worse by the margin), {figures.gain:.3g} (better), "
            f"{figures.worse:.3g} (worse); {figures.needed:.3g} is needed"
        )
    if figures.ramp is not None:
        ramp = figures.ramp
        described.append(
            f"ramp: at {ramp.stage}, {ramp.share:.0%} of the agents; it has cost {ramp.loss:.3g} "
            f"per agent, of {ramp.budget:g}"
        )
    return described


def last_evidence(figures: ComparisonFigures) -> str:
    """Say in one line what the last compared window showed, and what a trial still needs."""
    if figures.refused is not None:
        return figures.refused
    if figures.last_window is None:
        return "no window was compared"
    line = f"last, {figures.last_window}: {figures.conclusion}: {figures.reason}"
    if not figures.trial_windows or figures.trial is None:
        return line
    return (
        f"{line}; after {counted(figures.trial_windows, 'window')} the trial's e-value is "
        f"{figures.trial:.3g} of the {figures.needed:.3g} needed"
    )
