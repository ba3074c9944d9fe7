"""The page of one training step: what it took, what was measured, how it went."""

from __future__ import annotations

from collections.abc import Sequence

from babylon_tasks.cli.report_steps import steps
from babylon_tasks.dashboard.site_links import SITE
from babylon_tasks.dashboard.site_page import groups, section, site_page
from babylon_tasks.run_records import RunGroup, RunStep


def step_page(step: int, found: Sequence[RunStep], took: Sequence[RunGroup]) -> str:
    """Write it; ``found``: the newest attempt first, where earlier ones failed for good."""
    body = [
        *steps(found, SITE),
        f"<p>{SITE.checkpoint(step, f'What became of checkpoint {step}')}</p>",
        *section("What it took", groups(took)),
    ]
    return site_page(f"Step {step}", body)
