"""The metrics of a lineage's comparison with its anchor, for beat's export."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.db import pauses
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.begin_comparison import comparison_outlook
from babylon_tasks.pipeline.comparison_figures import ComparisonFigures, comparison_figures
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.metric_sample import Sample

_OF_LINEAGE = ("lineage",)
# Name: help text and labels. A figure that does not exist yet is left out.
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "babylon_comparison_running": (
        "Whether a comparison with an anchor runs: 1 or 0.",
        _OF_LINEAGE,
    ),
    "babylon_training_paused": (
        "Whether training is paused, after too many rollbacks, until a person lifts it: 1 or 0.",
        _OF_LINEAGE,
    ),
    "babylon_comparison_impediment": (
        "1 while no comparison can begin by itself, by what is missing; docs/promotion.md.",
        ("lineage", "lack"),
    ),
    "babylon_arm_share": (
        "Share of the agents of this hour that an arm of the running comparison has.",
        ("lineage", "arm"),
    ),
    "babylon_comparison_windows": (
        "Windows of the running comparison, by what they led to.",
        ("lineage", "conclusion"),
    ),
    "babylon_comparison_difference": (
        "Mean reward of what serves less that of the anchor, in the last window compared.",
        _OF_LINEAGE,
    ),
    "babylon_comparison_harm": (
        "Evidence that what serves is worse than the anchor, as a part of what rolls it back.",
        _OF_LINEAGE,
    ),
    "babylon_trial_evidence": (
        "The e-value of the checkpoint on trial, as a part of what proves it.",
        _OF_LINEAGE,
    ),
    "babylon_trial_windows": ("Windows of the running trial.", _OF_LINEAGE),
    "babylon_ramp_share": (
        "Share of the agents that the policy has on a ramp against an external model.",
        _OF_LINEAGE,
    ),
    "babylon_ramp_loss": (
        "What the ramp has cost so far, per agent, as a part of BABYLON_RAMP_BUDGET; below 0: "
        "gained.",
        _OF_LINEAGE,
    ),
}


def samples(connection: Connection, settings: Settings) -> Iterator[Sample]:
    """Read a lineage's figures."""
    of_it = {"lineage": settings.lineage}
    paused = pauses.in_force(connection, settings.lineage) is not None
    yield Sample("babylon_training_paused", paused, of_it)
    found = comparison_figures(connection, settings.lineage)
    yield Sample("babylon_comparison_running", found is not None, of_it)
    if found is not None:
        yield from _of(found, of_it)
        if found.arms:
            return
    lacks = comparison_outlook(connection, settings).lacks
    if lacks is not None:
        yield Sample("babylon_comparison_impediment", 1, of_it | {"lack": lacks.lack.value})


def _of(found: ComparisonFigures, of_it: dict[str, str]) -> Iterator[Sample]:
    for one in found.arms:
        yield Sample("babylon_arm_share", one.share, of_it | {"arm": one.arm.value})
    for conclusion, count in found.windows.items():
        yield Sample("babylon_comparison_windows", count, of_it | {"conclusion": conclusion})
    if found.difference is not None:
        yield Sample("babylon_comparison_difference", found.difference, of_it)
    if found.harm is not None:
        yield Sample("babylon_comparison_harm", found.harm, of_it)
    yield Sample("babylon_trial_windows", found.trial_windows, of_it)
    if found.trial_windows and found.trial is not None:
        yield Sample("babylon_trial_evidence", found.trial / found.needed, of_it)
    if found.ramp is not None:
        yield Sample("babylon_ramp_share", found.ramp.share, of_it)
        yield Sample("babylon_ramp_loss", found.ramp.loss / found.ramp.budget, of_it)
