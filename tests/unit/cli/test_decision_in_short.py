"""What was decided last, as ``status`` and the report say it."""

from __future__ import annotations

import pytest
from factories import WINDOW

from babylon_tasks.cli.steps import decision_in_short
from babylon_tasks.db.promotions import Promotion
from babylon_tasks.decisions import Decision
from babylon_tasks.windows import window_start


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Decision.PROMOTE, "promote step 1: because"),
        (Decision.HOLD, "hold step 1: because"),
        # "rollback step 1" would name the one that serves again as the one that was bad.
        (Decision.ROLLBACK, "rollback from step 2 to step 1: because"),
    ],
)
def test_a_decision_names_the_checkpoint_that_it_is_about(decision: Decision, words: str) -> None:
    made = Promotion(decision, 2, 1, "because", {}, "test", window_start(WINDOW))
    assert decision_in_short(made) == words
