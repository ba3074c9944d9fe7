"""An hour that was scored anew is compared by one scoring, of all its agents.

What steps have used is mostly what serves has answered: with an earlier reward, or none, its arm
would be compared by other outcomes than the others, or by fewer agents.
"""

from __future__ import annotations

from statistics import fmean

import pytest
from betting_windows import ends, row, score, seal, upkeep
from compared_hours import arms_of
from factories import WINDOW, action, exact_call, insert, insert_trajectories, step, trajectory
from scored_windows import hour

from babylon_tasks.comparison.agents import AgentHour
from babylon_tasks.db import comparisons, lineages
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")

SERVING = [f"serving-{n}" for n in range(8)]
CONTROL = [f"control-{n}" for n in range(4)]
REST = [f"rest-{n}" for n in range(4)]


def active(connection: Connection, *, version: int, window: str = WINDOW) -> dict[str, AgentHour]:
    found = comparisons.agents(connection, "babylon", window, version, arms_of())
    return {one.agent: one for one in found}


def rewards(connection: Connection, *, version: int) -> dict[str, float | None]:
    return {name: one.reward for name, one in active(connection, version=version).items()}


def difference(rewards: dict[str, float | None]) -> float:
    """Between those who bet on YES and those who bet on NO, the rest left out."""
    return fmean(rewards[one] or 0 for one in SERVING) - fmean(rewards[one] or 0 for one in CONTROL)


@pytest.fixture
def corrected(connection: Connection, hasty: Settings) -> list[str]:
    """An hour about to be scored anew: what serves bet on YES, control on NO; it was NO after all.

    A step has used the answers of what serves, whose ids these are; control's were refused.
    """
    lineages.ensure(connection, hasty)
    sides = {**dict.fromkeys(SERVING, "YES"), **dict.fromkeys(CONTROL, "NO")}
    sides |= {name: "YES" if number % 2 else "NO" for number, name in enumerate(REST)}
    ids = insert_trajectories(
        connection,
        [
            trajectory(
                agent=name,
                steps=[step(0, [exact_call(side)], action=action(market="m-1", side=side))],
                final_pnl=None,
            )
            for name, side in sides.items()
        ],
    )
    seal(connection, WINDOW)
    ends(connection, "m-1", yes=True)
    assert score(hasty) == "scored"
    about = {"reward_version": 1, "window_id": WINDOW}
    uses = about | {"lineage": "babylon", "use": "trained"}
    refusals = about | {"stage": "dataset", "reason": "other_policy"}
    insert(connection, "training.consumption", [uses | {"trajectory_id": one} for one in ids[:8]])
    insert(
        connection, "training.rejections", [refusals | {"trajectory_id": one} for one in ids[8:12]]
    )
    ends(connection, "m-1", yes=False, at=hour(21))
    assert upkeep(hasty, connection).anew == [WINDOW]
    return ids[:8]


def test_the_arms_are_compared_with_each_other_by_the_same_outcomes(
    connection: Connection, hasty: Settings, corrected: list[str]
) -> None:
    before = rewards(connection, version=1)
    assert difference(before) > 0.3

    assert score(hasty) == "scored"

    after = rewards(connection, version=2)
    assert difference(after) == pytest.approx(-difference(before))
    assert len(after) == comparisons.asking(connection, "babylon").rewarded == 16
    assert violations(connection, hasty) == []
    # It is not used twice for that.
    kept = "SELECT trajectory_id, reward_version FROM training.consumption ORDER BY 1"
    assert connection.execute(kept).fetchall() == [(one, 1) for one in sorted(corrected)]
    assert (row(connection).scored, row(connection).agents) == (16, 16)


def test_whose_used_row_is_gone_or_shows_nothing_any_more_is_not_compared(
    connection: Connection, hasty: Settings, corrected: list[str]
) -> None:
    gone, empty = corrected[:2]
    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = %s', (gone,))
    connection.execute(
        """UPDATE trajectories SET "stepsJson" = '[]' WHERE "trajectoryId" = %s""", (empty,)
    )

    assert score(hasty) == "scored"

    found = active(connection, version=2)
    assert SERVING[0] not in found
    assert found[SERVING[1]].reward is None
    assert fmean(found[one].reward or 0 for one in SERVING[2:]) < 0.5
    assert violations(connection, hasty) == []
    standing = row(connection)
    assert (standing.trajectories, standing.scored, standing.rejected) == (16, 15, 1)


def test_an_hour_that_an_earlier_release_scored_anew_is_compared_by_the_version_before(
    connection: Connection, hasty: Settings, corrected: list[str]
) -> None:
    before = active(connection, version=1)
    score(hasty)
    leave_out(connection, corrected)

    assert active(connection, version=2) == before
    past = active(connection, version=1, window=next_hour(connection))
    assert {one: past[one].past for one in SERVING} == {one: before[one].reward for one in SERVING}


def leave_out(connection: Connection, used: list[str]) -> None:
    connection.execute(
        "DELETE FROM training.scores WHERE reward_version = 2 AND trajectory_id = ANY (%s)", (used,)
    )


def next_hour(connection: Connection) -> str:
    """Those whom serves has answered play in the next hour, too."""
    window = hour(10)
    seal(connection, window)
    connection.execute(
        "INSERT INTO training.scores (trajectory_id, reward_version, window_id, agent_id,"
        " group_key, scorer, scorer_version, reward, components, content_hash)"
        " SELECT name, 1, %s, name, '', '', '', 1, '{}', '' FROM unnest(%s::text[]) AS name",
        (window, SERVING),
    )
    return window
