"""Read the newest held-out questions of a lineage, for a screen."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.dataset.eligibility import PolicyNames, policy_step
from babylon_tasks.dataset.questions import HeldOutQuestion, choose, question_of
from babylon_tasks.dataset.row_changes import compare_with_score
from babylon_tasks.db import lineages, old_rows, scored_trajectories, screens
from babylon_tasks.db.outcomes import OutcomeBook
from babylon_tasks.db.session import Connection
from babylon_tasks.decode import asked_calls
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Trajectory
from babylon_tasks.settings import Settings

_CALLS = 4  # of one trajectory: others are as good, and of other agents


def held_out_questions(connection: Connection, settings: Settings) -> tuple[HeldOutQuestion, ...]:
    """Read at most ``screen_questions`` questions, of the newest held-out hours.

    An hour gives half of them at most. Rows that Babylon has rewritten since are left out.
    """
    wanted = settings.screen_questions
    found: list[HeldOutQuestion] = []
    windows = screens.held_out_windows(connection, old_rows.HELD_OUT_WINDOWS)
    for window, version in windows.items():
        of_window = choose(_of_window(connection, settings, window, version), -(-wanted // 2))
        found += of_window
        if len(found) >= wanted:
            break
    return choose(found, wanted)


def answered_by_others(
    connection: Connection, settings: Settings, questions: tuple[HeldOutQuestion, ...]
) -> bool:
    """Check whether the recorded answers of most questions are another model's."""
    names = PolicyNames(
        lineage=settings.lineage,
        base_model=settings.base_model,
        base_model_aliases=settings.base_model_names[1:],
        inference_names=lineages.inference_names(connection, settings.lineage),
    )
    others = sum(policy_step(one.answered, names) is Reason.OTHER_POLICY for one in questions)
    return 2 * others > len(questions)


def _of_window(
    connection: Connection, settings: Settings, window: str, version: int
) -> Iterator[HeldOutQuestion]:
    listed = screens.listed(connection, window, version, settings.screen_questions)
    trained = screens.markets_trained_on(connection, window, settings.lineage)
    book = OutcomeBook(connection, window)
    for portion in scored_trajectories.portions(listed):
        ids = [one.trajectory_id for one in portion]
        rows = scored_trajectories.rows(connection, ids, settings.max_steps_bytes)
        for one in portion:
            raw = rows.get(one.trajectory_id)
            current = compare_with_score(one.trajectory_id, window, one.content_hash, raw)
            if raw is None or not isinstance(current, Trajectory):
                continue
            outcomes = book.covering([current])
            made = (
                question_of(window, one.trajectory_id, asked, outcomes, trained)
                for asked in asked_calls(raw)
            )
            yield from [question for question in made if question is not None][:_CALLS]
