"""The dashboard's queries: Prometheus answers each from the series of a real run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from prometheus import program, running
from recorded_series import LEARNING, MINUTES, at_times

from checks.alerts import Query, asked, queries

pytestmark = pytest.mark.contract(None)
BEGAN = 1769853600  # 2026-01-31T10:00Z
# What minutes of a run without outcomes, comparison, promotion and prices do not have.
NOT_IN_THE_RUN = {
    "babylon_arm_share",
    "babylon_budget_dollars",
    "babylon_comparison_difference",
    "babylon_comparison_harm",
    "babylon_comparison_impediment",
    "babylon_comparison_windows",
    "babylon_last_promoted_timestamp_seconds",
    "babylon_ramp_loss",
    "babylon_ramp_share",
    "babylon_right_share",
    "babylon_spent_dollars",
    "babylon_trial_evidence",
    "babylon_trial_windows",
}


def recorded(folder: Path) -> None:
    """The run as blocks of a Prometheus's data in ``folder``, a scrape a minute."""
    lines = [
        f"{series} {value} {BEGAN + 60 * minute}"
        for series, values in LEARNING.items()
        for minute, value in enumerate(at_times(series, values, BEGAN))
        if value is not None
    ]
    text = folder / "run.txt"
    text.write_text("\n".join([*lines, "# EOF", ""]), "utf-8")
    subprocess.run(
        [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", text, folder / "data"],
        check=True,
        capture_output=True,
    )


def test_each_query_is_answered_with_the_labels_that_it_shows(tmp_path: Path) -> None:
    recorded(tmp_path)
    unanswered: list[Query] = []
    nameless: list[Query] = []
    with running(tmp_path) as prometheus:
        for query in queries():
            found = prometheus.ask(
                "query_range",
                query=query.expression.replace("$lineage", ".*").replace("$__rate_interval", "5m"),
                start=str(BEGAN),
                end=str(BEGAN + 60 * MINUTES),
                step="60",
            )["result"]
            shown = set(re.findall(r"{{(\w+)}}", query.legend)) - {"card"}  # none: a processor
            if not found:
                unanswered.append(query)
            elif not any(shown <= set(one["metric"]) for one in found):
                nameless.append(query)

    assert nameless == []
    of_the_run = [one for one in unanswered if not set(asked(one.expression)) & NOT_IN_THE_RUN]
    # Prometheus makes ALERTS; nothing was promoted or rolled back.
    assert {one.where for one in of_the_run} <= {"Alerts", "Promotions", "Rollbacks"}
    missing = {name for one in unanswered for name in asked(one.expression)} & NOT_IN_THE_RUN
    assert missing == NOT_IN_THE_RUN, "the recorded run has them by now"
