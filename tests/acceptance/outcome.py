"""What a system must look like at the end of a test: its rows, its files, its trainer's answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from acceptance.harness import PATIENCE, Babylon, until

from babylon_tasks.db import unopened_windows
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import connect
from babylon_tasks.reasons import UnopenedReason
from babylon_tasks.training.checkpoints import adapter_hash, newest_step

A_MOMENT = 10.0  # seconds: the worker that has trained the last window deletes old files after it


def assert_recovered(babylon: Babylon, windows: Sequence[str]) -> None:
    """A fault has struck, and nobody would know: agents are answered, no file is left over.

    Besides what ``assert_trained_once`` says.
    """
    assert_trained_once(babylon, windows)
    assert_nothing_harmed_was_used(babylon)
    assert_attempts_were_kept(babylon)
    assert_nothing_is_left_over(babylon)
    assert_agents_are_answered(babylon)


def assert_trained_once(
    babylon: Babylon, windows: Sequence[str], *, tries: int | None = None
) -> None:
    """Every trace of training, in both halves of the database and on disk, is of one pass.

    ``tries``: how often the steps were begun, at most, where that is known.
    """
    committed = babylon.steps("committed")
    dead = _of_dead_branches(babylon)
    living = [step for step in committed if step["id"] not in dead]
    used = sorted(window for step in living for window in step["windows"])
    assert used == sorted(windows), "each window in exactly one committed step"
    others = [step for step in babylon.steps() if step not in committed]
    # A step whose parent was then found to be damaged gave its hours back.
    harmed = tuple(f"checkpoint {int(Path(uri).name)}" for uri in babylon.harmed)
    others = [
        step
        for step in others
        if step["state"] != "failed" or not any(name in step["error"] for name in harmed)
    ]
    assert not others, [(step["state"], step["error"]) for step in others]
    assert tries is None or max(step["tries"] for step in committed) == tries
    targets = [step["target_step"] for step in committed]
    assert targets == list(range(1, len(committed) + 1))

    checkpoints = babylon.rows(
        "SELECT step, step_id, uri, content_hash FROM training.checkpoints"
        " WHERE step > 0 AND lineage = %s ORDER BY step",
        (babylon.lineage,),
    )
    assert [(row["step"], row["step_id"]) for row in checkpoints] == [
        (step["target_step"], step["id"]) for step in committed
    ]
    for row in checkpoints:
        if row["uri"] not in babylon.harmed:
            folder = babylon.on_disk(Path(row["uri"]))
            assert adapter_hash(folder) == row["content_hash"], "the files are what counted"
    folder = babylon.on_disk(Path(checkpoints[0]["uri"]).parent)
    assert newest_step(folder) == targets[-1], "backend and database are at the same step"
    (lineage,) = babylon.rows(
        "SELECT head_step FROM training.lineages WHERE name = %s", (babylon.lineage,)
    )
    assert lineage["head_step"] == targets[-1]

    others_agents = {name for one in babylon.neighbours for name in one.taught}
    recorded = babylon.rows(
        'SELECT "trajectoryId" AS id, "usedInTraining" AS used FROM trajectories'
        ' WHERE ("windowId" = ANY (%s) OR "trajectoryId" = ANY (%s))'
        ' AND "trajectoryId" <> ALL (%s)',
        [list(windows), list(babylon.late), list(others_agents)],
    )
    consumed = babylon.rows(
        "SELECT * FROM training.consumption"
        " WHERE use = 'trained' AND lineage = %s AND dead_at IS NULL",
        (babylon.lineage,),
    )
    late = _rejected_as_late(babylon)
    used_once = sorted(row["trajectory_id"] for row in consumed)
    all_of_them = sorted(row["id"] for row in recorded if row["id"] not in late)
    assert used_once == all_of_them, "each trajectory is used once, and none is lost"
    assert {row["step_id"] for row in consumed} == {step["id"] for step in living}
    marked = all(row["used"] for row in recorded if row["id"] not in late)
    assert marked, "Babylon's own rows say that they were used"
    ours = (f"{babylon.lineage}@",)
    batches = babylon.rows("SELECT id FROM training_batches WHERE starts_with(id, %s)", ours)
    assert len(batches) == len(committed)
    models = babylon.rows("SELECT id FROM trained_models WHERE starts_with(id, %s)", ours)
    assert len(models) == 1 + len(committed), "the base model, and each checkpoint"
    with connect(babylon.stack.settings) as connection:
        # Nothing is still to come: late rows were waited for above, and the hours are all trained.
        assert violations(connection, babylon.stack.settings, at_rest=True) == []
        left_out = unopened_windows.counts(connection)
    assert UnopenedReason.BEFORE_LOOKBACK not in {one.reason for one in left_out}


def _of_dead_branches(babylon: Babylon) -> set[int]:
    """The steps whose checkpoints were rolled back, and gave their hours back for another step.

    None is, but where the test has changed the files of one.
    """
    found = babylon.rows(
        "SELECT step_id FROM training.checkpoints WHERE lineage = %s AND dead_at IS NOT NULL",
        (babylon.lineage,),
    )
    assert babylon.harmed or not found, "no checkpoint was damaged, and none is rolled back"
    return {row["step_id"] for row in found}


def assert_invariants(babylon: Babylon) -> None:
    """What must hold at any moment holds now; rows that came a moment ago are still waited for."""
    with connect(babylon.stack.settings) as connection:
        assert violations(connection, babylon.stack.settings) == []


_LATE = """
SELECT given.id, EXISTS (SELECT FROM training.consumption WHERE trajectory_id = given.id) AS used,
       EXISTS (SELECT FROM training.rejections
               WHERE trajectory_id = given.id AND reason = 'late') AS rejected
FROM unnest(%s::text[]) AS given (id)
"""


def _rejected_as_late(babylon: Babylon) -> set[str]:
    """Which of the late rows no step has used; each is rejected for it, by now or soon."""

    def found() -> list[dict[str, Any]] | None:
        rows = babylon.rows(_LATE, (sorted(babylon.late),))
        return rows if all(row["used"] != row["rejected"] for row in rows) else None

    until("late rows are used or rejected", lambda: found() is not None)
    return {row["id"] for row in found() or [] if row["rejected"]}


def assert_nothing_harmed_was_used(babylon: Babylon) -> None:
    """No committed step was begun from a checkpoint after its files had been changed, nor again."""
    begun_from = """
    SELECT s.target_step FROM training.steps s
    JOIN training.checkpoints c ON c.lineage = s.lineage AND c.step = s.parent_step
    WHERE s.state = 'committed' AND c.uri = %s
      AND %s < (SELECT max(happened_at) FROM training.events e
                WHERE e.step_id = s.id AND e.kind = 'step_running')
    """
    found = [babylon.rows(begun_from, one) for one in babylon.harmed.items()]
    steps = [row["target_step"] for rows in found for row in rows]
    assert not steps, f"steps {steps} were begun from a checkpoint whose files were damaged"


def assert_attempts_were_kept(babylon: Babylon) -> None:
    """No fault but a worker that vanishes uses up an attempt, and it one of what it had in hand."""
    scored = {
        row["window_id"]: row["attempt"]
        for row in babylon.rows("SELECT window_id, attempt FROM training.windows")
        if row["attempt"] > 1 + babylon.bereaved[row["window_id"]]
    }
    assert not scored, f"scored, with attempts used up that no worker took along: {scored}"
    tried = [
        (step["windows"], step["tries"])
        for step in babylon.steps("committed")
        if step["tries"] > 1 + max(babylon.bereaved[window] for window in step["windows"])
    ]
    assert not tried, f"trained, with attempts used up that no worker took along: {tried}"


def assert_nothing_is_left_over(babylon: Babylon) -> None:
    """The data folder has the lineage's committed checkpoints, and nothing of dead workers."""
    assert_soon_none("nothing needs what is left", lambda: left_over(babylon), A_MOMENT)


def assert_soon_none(what: str, found: Callable[[], Sequence[object]], seconds: float) -> None:
    """Ask again and again until nothing is found; fails with what was found last."""
    deadline = time.monotonic() + seconds
    while (last := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not last, f"{what}: {last}"


def left_over(babylon: Babylon) -> list[str]:
    """Files and folders that nothing needs once all windows are trained."""
    folder = babylon.on_disk(babylon.stack.settings.data_dir.absolute()) / babylon.lineage
    places = ("inspections/*", "evaluations/*", "steps/*/*")
    asked = [path for place in places for path in folder.glob(place)]
    rows = babylon.rows(
        "SELECT step, uri FROM training.checkpoints WHERE lineage = %s AND step > 0",
        (babylon.lineage,),
    )
    checkpoints = {babylon.on_disk(Path(row["uri"]).parent) for row in rows}
    known = {f"{row['step']:04d}" for row in rows} | {"0000"}
    other = [path for one in checkpoints for path in one.iterdir() if path.name not in known]
    return sorted(str(path) for path in asked + other)


def assert_agents_are_answered(babylon: Babylon, seconds: float = PATIENCE) -> None:
    """The trainer answers for the checkpoint that serves, or does so within these seconds."""
    until("agents are answered by what serves", lambda: is_answered(babylon), seconds)


def is_answered(babylon: Babylon, step: int | None = None) -> bool:
    """Whether an agent that asks a checkpoint, by default the one that serves, is answered now."""
    settings = babylon.stack.settings
    if step is None:
        serving = "SELECT serving_step FROM training.lineages WHERE name = %s"
        (row,) = babylon.rows(serving, (babylon.lineage,))
        step = row["serving_step"]
    try:
        answer = httpx.post(
            f"http://127.0.0.1:{settings.inference_port}/v1/chat/completions",
            headers={"Authorization": f"Bearer {settings.inference_api_key.get_secret_value()}"},
            json={
                "model": f"{babylon.lineage}@{step}",
                "messages": [{"role": "user", "content": "Yes or no?"}],
                "max_tokens": 1,
            },
            timeout=30,
        )
    except httpx.TransportError:
        return False
    return answer.status_code == 200


def undecided(babylon: Babylon) -> list[int]:
    """Committed steps that the gate has neither promoted nor held; what is damaged may wait."""
    return [row["step"] for row in _decisions(babylon) if row["decisions"] == 0]


def assert_evaluated_once(babylon: Babylon) -> None:
    """Each step has one evaluation and one decision on record, of the one held-out set there is."""
    wrong = [row for row in _decisions(babylon) if (row["evaluations"], row["decisions"]) != (1, 1)]
    assert not wrong, f"evaluated or decided not exactly once: {wrong}"


def _decisions(babylon: Babylon) -> list[dict[str, Any]]:
    query = """
    SELECT c.step, (SELECT count(*) FROM training.evaluations e
                    WHERE (e.lineage, e.step) = (c.lineage, c.step)) AS evaluations,
           (SELECT count(*) FROM training.promotions p
            WHERE (p.lineage, p.to_step) = (c.lineage, c.step)
              AND p.decision IN ('promote', 'hold')) AS decisions
    FROM training.checkpoints c
    WHERE c.lineage = %s AND c.step > 0 AND c.uri <> ALL (%s)
    ORDER BY c.step
    """
    return babylon.rows(query, (babylon.lineage, list(babylon.harmed)))
