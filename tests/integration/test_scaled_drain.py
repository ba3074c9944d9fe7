"""While a backlog drains, KEDA counts what is left: what waits, and what is in hand."""

from __future__ import annotations

import pytest
import yaml
from copies import ROOT
from factories import EVER, insert_trajectories, step, trajectory
from scored_windows import hour
from scoring_runs import MakeSettings

from babylon_tasks.db import due_windows
from babylon_tasks.db.session import Connection, session
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window

WINDOWS = 4


@pytest.fixture(scope="module")
def query() -> str:
    """What KEDA asks for the workers that score."""
    parts = yaml.safe_load_all((ROOT / "k8s/overlays/production/scaling.yaml").read_text("utf-8"))
    (scaled,) = (part for part in parts if part["kind"] == "ScaledObject")
    return str(scaled["spec"]["triggers"][0]["metadata"]["query"])


def test_each_scored_window_is_one_less_and_the_one_in_hand_counts(
    make_settings: MakeSettings, connection: Connection, query: str
) -> None:
    settings = make_settings(
        lookback_hours=int(EVER), grace_seconds=0, held_out_share=0, outcome_wait_hours=0
    )

    def left() -> int:
        ((count,),) = connection.execute(query).fetchall()  # type: ignore[call-overload]
        return int(count)

    insert_trajectories(
        connection,
        [
            trajectory(hour(n), f"agent-{agent}", [step(0, window=hour(n))], final_pnl=agent)
            for n in range(WINDOWS)
            for agent in range(2)
        ],
    )
    discover(settings, actor="test")
    counts = [left()]
    # A message that is lost leaves its window where KEDA sees it.
    connection.execute("UPDATE training.windows SET enqueued_at = NULL")
    in_hand: list[int] = []
    for _ in range(WINDOWS):
        with session(settings) as other, other.transaction():
            (window,) = due_windows.pick_to_score(other, settings, limit=1)
        score_window(settings, window, actor="test", on_progress=lambda *_: in_hand.append(left()))
        counts.append(left())
    assert counts == [4, 3, 2, 1, 0]
    assert sorted(set(in_hand)) == [1, 2, 3, 4], "the window in hand keeps its worker"
