"""The page of one checkpoint: what it came from, what was decided of it, when it served."""

from __future__ import annotations

from collections.abc import Sequence

from babylon_tasks.cli.checkpoint import checkpoint_lines
from babylon_tasks.cli.html_page import table, text
from babylon_tasks.cli.report_tree import tree
from babylon_tasks.dashboard.site_links import SITE
from babylon_tasks.dashboard.site_page import lines, section, site_page
from babylon_tasks.db.checkpoint_history import ArmTime, CheckpointHistory
from babylon_tasks.db.promotions import Promotion
from babylon_tasks.policy_names import policy_name
from babylon_tasks.run_history import RunHistory
from babylon_tasks.run_records import RunCheckpoint


def checkpoint_page(
    found: CheckpointHistory, checkpoints: Sequence[RunCheckpoint], run: RunHistory | None
) -> str:
    """Write it; ``checkpoints``: the newest ones of the lineage, which has a ``run``."""
    step = found.checkpoint.step
    body = [
        *lines(checkpoint_lines(found)),
        *([f"<p>{SITE.step(step, f'How step {step} went')}</p>"] if step else []),
        *section("Arms that it had", _arms(found.arms)),
        *section("What was decided of it", _decisions(found.decisions)),
        *section("The newest checkpoints", [] if run is None else tree(checkpoints, run, SITE)),
    ]
    return site_page(f"Checkpoint {policy_name(found.lineage, step)}", body)


def _arms(found: Sequence[ArmTime]) -> list[str]:
    if not found:
        return []
    rows = ((SITE.window(one.from_window), text(one.arm), f"{one.share:.0%}") for one in found)
    return table(("from", "arm", "share"), rows)


def _decisions(found: Sequence[Promotion]) -> list[str]:
    if not found:
        return []
    rows = (
        (
            f"{one.decided_at:%F %T}",
            text(one.decision),
            f"{SITE.checkpoint(one.from_step, str(one.from_step))} to "
            f"{SITE.checkpoint(one.to_step, str(one.to_step))}",
            f"{SITE.in_text(one.reason)}<br>by {text(one.actor)}",
        )
        for one in found
    )
    return table(("when (UTC)", "decision", "served, about", "why"), rows)
