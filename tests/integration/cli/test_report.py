"""``report``: what is read of a real run, in words, as JSON and as a page."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from command_line import Run, one_contract
from documents import ROOT
from drawn_words import words
from evaluated_checkpoints import evaluated, held_out_windows, trained
from page_elements import Elements
from peer import PeerTrainer
from psycopg.types.json import Jsonb
from reported_run import run_rows
from scored_windows import hour
from scoring_runs import MakeSettings

from babylon_tasks.cli.report_curves import draw
from babylon_tasks.db import promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.decisions import Decision
from babylon_tasks.registry import serving
from babylon_tasks.run_history import run_history

pytestmark = one_contract
PICTURE = ROOT / "docs" / "pictures" / "report.svg"
REJECT = """
    INSERT INTO training.rejections (trajectory_id, window_id, reward_version, stage, reason,
                                     lineage)
    SELECT 't-' || n, %s, 1, 'dataset', 'no_logprobs', %s FROM generate_series(1, %s) AS n
"""


@pytest.fixture
def learned(connection: Connection, make_settings: MakeSettings) -> None:
    """Two steps: the first is promoted, the second refused; later somebody rolls back."""
    settings = make_settings(min_eval_groups=3)
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.7, 2: 0.4})
    held_out_windows(connection)
    for n, action in ((1, "promoted"), (2, "held")):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == action
    serving.rollback(connection, "babylon", reason="it looked odd", actor="test")
    connection.execute("UPDATE training.windows SET reward_mean = 0.5, right_share = 0.6")
    connection.execute(REJECT, [hour(1), "babylon", 3])
    connection.execute(REJECT, [hour(2), "another", 5])


@pytest.mark.usefixtures("learned")
def test_a_run_is_reported_as_it_is_on_record(run: Run) -> None:
    found = run("report", "--json").document

    assert found["windows"] == 5
    assert [(one["window"], one["kind"], one["step"]) for one in found["marks"]] == [
        (hour(1), "promoted", 1),
        (hour(2), "refused", 2),
        (hour(2), "rolled back", 1),
    ]
    assert [tuple(one.values()) for one in found["held_out"]] == [
        (hour(1), pytest.approx(0.7), pytest.approx(0.5), pytest.approx(0.5)),
        (hour(2), pytest.approx(0.4), pytest.approx(0.7), pytest.approx(0.5)),
    ]
    assert found["rejected"] == {"no_logprobs": 3}  # what another lineage refuses is not ours
    assert {one["right"] for one in found["points"]} == {0.6}


@pytest.mark.usefixtures("learned")
def test_it_is_told_in_words_and_written_as_a_page(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "run.html"

    said = run("report", "--html", str(file))

    assert said.code == 0, said.err
    for one in (
        "Is it better than yesterday? ",
        "Step 0 serves, as it did 2 windows ago",
        f"5 windows from 2026-01-30T00:00 to {hour(2)}",
        "step 0 of 2 serves",
        "it looked odd",
        "new checkpoint 0.400, what served 0.700, base model 0.500",
        "decided: 1 promoted, 1 refused, 1 rolled back",
        f"last rolled back: step 1, at {hour(2)}: it looked odd",
        f"last refused: step 2, at {hour(2)}: ",
        "trajectories not used: 3 no_logprobs",
        "cost: not known (training not known",
        f"{file}: 5 windows",
    ):
        assert one in said.out
    words = Elements(file.read_text("utf-8")).words
    for one in ("it looked odd", "Step 2 from 1: committed", "Best 1: 1.000", "Worst 1: 0.000"):
        assert one in words
    assert "Will ACME close higher?" in words
    assert "By the prices that are set; answers to agents are not in it" in words
    assert "step 1: from 0; value 0.700; rolled back" in words


@pytest.mark.usefixtures("learned")
@pytest.mark.parametrize("figures", [{}, {"refused": False, "candidate": None}])
def test_a_hold_without_figures_is_no_refusal(
    run: Run, connection: Connection, figures: dict[str, object]
) -> None:
    promotions.record(
        connection,
        "babylon",
        Decision.HOLD,
        from_step=0,
        to_step=2,
        reason="2 held-out groups of at least 3",
        figures=figures,
        actor="test",
    )

    found = run("report", "--json").document

    assert (found["marks"][-1]["kind"], found["marks"][-1]["step"]) == ("not promoted", 2)
    assert len(found["held_out"]) == 2


@pytest.mark.usefixtures("learned")
def test_what_was_rejected_of_pruned_rows_is_still_counted(
    run: Run, connection: Connection
) -> None:
    kept = [
        {"reward_version": 1, "stage": "decode", "reason": "no_steps", "count": 7},
        {"reward_version": 2, "stage": "decode", "reason": "no_steps", "count": 8},
    ]
    connection.execute(
        "UPDATE training.windows SET rows_pruned_at = now(), row_counts = %s WHERE window_id = %s",
        [Jsonb({"rejections": kept}), hour(1)],
    )

    assert run("report", "--json").document["rejected"] == {"no_steps": 7}


@pytest.mark.usefixtures("learned")
def test_since_leaves_out_what_is_older(run: Run) -> None:
    found = run("report", "--since", hour(2), "--json").document

    assert (found["windows"], found["first"], found["left_out"]) == (1, hour(2), 0)
    assert [one["step"] for one in found["marks"]] == [2, 1]
    assert found["rejected"] == {}


def test_where_there_is_no_window_nothing_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.html"

    found = run("report", "--html", str(file))

    assert (found.code, "no window" in found.err) == (3, True)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as where it is not installed
    lacking = run("report", "--html", str(file))
    assert "pip install 'babylon-tasks[pictures]'" in lacking.err
    assert not file.exists()


@pytest.mark.usefixtures("learned")
def test_a_file_that_cannot_be_written_is_named(run: Run, tmp_path: Path) -> None:
    found = run("report", "--html", str(tmp_path / "nowhere" / "run.html"))

    assert (found.code, "nowhere" in found.err) == (2, True)


@pytest.mark.contract(None)
def test_the_picture_in_the_documents_is_what_the_command_draws(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chosen: str | None = request.config.getoption("--pictures")
    history = run_history(run_rows(60))
    assert history is not None
    svg = tmp_path / PICTURE.name
    svg.write_text(draw(history), "utf-8")

    if chosen is not None:
        shutil.copyfile(svg, Path(chosen) / PICTURE.name)
    assert words(PICTURE.read_text("utf-8")) == words(svg.read_text("utf-8")), "run `make pictures`"
