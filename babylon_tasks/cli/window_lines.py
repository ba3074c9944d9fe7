"""A window's history in lines: where it stands, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cli.answers import sampled_answers
from babylon_tasks.cli.output import cell
from babylon_tasks.cli.steps import step_in_short
from babylon_tasks.cli.tripwires import sentence
from babylon_tasks.db.reports import WindowHistory
from babylon_tasks.db.reward_versions import RewardVersion
from babylon_tasks.states import WindowState

# States in which later outcomes still count.
UNFINISHED = (WindowState.SCORED, WindowState.TRAINING, WindowState.HELD_OUT)


def state_lines(history: WindowHistory) -> Iterator[str]:
    """Say in which state it is, for whom, and what it waits for."""
    window = history.window
    reason = f" ({window.reason})" if window.reason else ""
    idle = window.why_idle if window.state in UNFINISHED else None
    and_idle = "" if idle is None else f" and {idle}"
    yield f"{window.window_id} is {window.state}{reason}{and_idle}"
    if window.state is WindowState.FAILED and window.scored_at is None:
        yield f"none of its rows is scored; `babylon-tasks windows retry {window.window_id}`"
    for one in history.lineages:
        done = f" ({one.reason})" if one.reason else ""
        yield f"for lineage {one.lineage} it is {one.state}{done}"
    if history.trouble is not None:
        yield f"the lineage's checkpoints: {history.trouble}"
    if history.waits_for and window.state in UNFINISHED:
        yield f"outcomes not known yet: {', '.join(history.waits_for)}"
    if len(history.reward_versions) > 1:  # a single one is covered by the events
        for version in history.reward_versions:
            yield _version(version)


def outcome_lines(history: WindowHistory) -> Iterator[str]:
    """Say what tripped, what was used up, its steps, its answers and its values."""
    for trip in history.tripwires:
        yield f"tripwire {sentence(trip)}"
    if history.uses:
        yield "used up: " + cell(history.uses)
    for step in history.steps:
        yield step_in_short(step)
    yield from sampled_answers(history.answers)
    for found in history.evaluations:
        yield (
            f"step {found.step} has value {found.value:.3f} on {found.groups} held-out groups "
            f"(recorded answers cover {found.coverage:.2f})"
        )


def _version(made: RewardVersion) -> str:
    parts = [f"reward version {made.version} of {made.scored_at:%F %T}: {made.scored} scored"]
    if made.because is not None:
        came = f": {cell(made.came)}" if made.came else ""
        parts.append(f"made since {made.because}{came}")
    if made.used:
        parts.append(f"{made.used} used")
    return "; ".join(filter(None, parts))
