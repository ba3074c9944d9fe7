"""What another version has recorded: it stops its comparison, is not shown, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString

import pytest
from command_line import Run, one_contract, sealed
from compared_hours import begun, compared_hour, lineage, taken
from peer import PeerTrainer
from psycopg.types.json import Jsonb
from scored_windows import column, hour
from structlog.testing import capture_logs

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline import compare
from babylon_tasks.pipeline.comparison_figures import comparison_figures
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings

pytestmark = one_contract
UNKNOWN: dict[str, LiteralString] = {
    "parameters": "UPDATE training.comparisons"
    " SET parameters = (parameters::jsonb || '{\"half_life\": 3}')::json",
    "state": "UPDATE training.comparison_windows"
    " SET state = (state::jsonb || '{\"half_life\": 3}')::json",
    "a metric's state": "UPDATE training.comparison_windows"
    " SET state = jsonb_set(state::jsonb, '{reward,half_life}', '3')::json",
    "evidence": "UPDATE training.comparison_windows"
    " SET evidence = (evidence::jsonb - 'run_length')::json",
}


def rewritten(connection: Connection, what: str) -> None:
    """As another version would have written it; rows are only added."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(UNKNOWN[what])


@pytest.mark.parametrize("what", ["parameters", "state", "a metric's state"])
def test_a_comparison_that_cannot_be_gone_on_with_leaves_the_rest_alone(
    connection: Connection, settings: Settings, what: str
) -> None:
    lineage(connection)
    comparison = begun(connection)
    assert taken(connection, settings, 0) is not None
    rewritten(connection, what)
    compared_hour(connection, 1)

    with capture_logs() as logged:
        assert compare.compare(connection, settings) == []
        assert reconcile(settings, actor="test").concluded == []

    first, second = (one for one in logged if one["event"] == "comparison.failed")
    assert first == second
    assert f"comparison {comparison.id}" in first["why"]
    assert "half_life" in first["why"]
    assert "babylon-tasks compare stop --reason TEXT" in first["why"]
    if what != "parameters":
        assert hour(0) in first["why"]
    assert column(connection, "SELECT window_id FROM training.comparison_windows") == [hour(0)]


@pytest.mark.parametrize("what", sorted(UNKNOWN))
def test_its_figures_say_what_was_recorded_by_another_version(
    connection: Connection, settings: Settings, run: Run, what: str, tmp_path: Path
) -> None:
    lineage(connection)
    comparison = begun(connection)
    assert taken(connection, settings, 0) is not None
    rewritten(connection, what)

    figures = comparison_figures(connection, "babylon")

    assert figures is not None
    whose = hour(0) if what == "evidence" else f"comparison {comparison.id}"
    assert figures.refused is not None
    assert whose in figures.refused
    assert figures.refused.startswith("no window is taken") == (what != "evidence")
    assert figures.windows == {"keep": 1}
    assert figures.refused in run("compare", "status").out
    assert "another version" in run("status").out
    drawn = run("compare", "picture", str(tmp_path / "x.svg"))
    needed = what in ("parameters", "evidence")
    assert (drawn.code, "another version" in drawn.err) == ((3, True) if needed else (0, False))
    assert run("compare", "stop", "--reason", "it was begun by another version").code == 0


@pytest.mark.parametrize("answers", [{"": 3}, {"": {"candidate": {"groups": 8}}}])
def test_status_and_why_say_the_rest_where_answers_were_summed_up_by_another_version(
    connection: Connection, settings: Settings, run: Run, answers: dict[str, object]
) -> None:
    window = sealed(run, connection)
    assert run("score", window).code == 0
    train_window(settings, PeerTrainer(settings.data_dir), window=window, actor="test")
    serving.promote(
        connection, "babylon", 1, reason="r", figures={"answers": answers}, actor="test"
    )
    changed = connection.execute(
        "UPDATE training.window_figures SET figures = jsonb_set(figures, '{answers}', %s)",
        (Jsonb(answers),),
    )
    assert changed.rowcount == 1

    for command, rest in ((("status",), "promotion: "), (("why", window), "step_committed")):
        told = run(*command)
        assert told.code == 0, told.err
        assert "answers: another version has recorded" in told.out
        assert rest in told.out
