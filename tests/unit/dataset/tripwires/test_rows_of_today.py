"""Rows as Babylon's own recorder writes them: nothing trips, but for an outcome in them."""

from __future__ import annotations

from collections import Counter
from statistics import fmean

import today
from honest_windows import Honest

from babylon_tasks.dataset.tripwires.examine import examine
from babylon_tasks.dataset.tripwires.facts import member_facts
from babylon_tasks.decode import decode
from babylon_tasks.records import (
    Group,
    Member,
    Outcome,
    Outcomes,
    RawTrajectory,
    Rejection,
    Trajectory,
)
from babylon_tasks.tripwires import Trip, Tripwire

# What prompts of these rows end with, and what a leak puts there: how m-1 to m-3 end.
ASKED = "Choose one action as JSON."
OUTCOMES = Outcomes({f"m-{n}": Outcome(yes=n != 2) for n in (1, 2, 3)}, {})


def window(hour: str, asked: str = ASKED) -> Honest:
    """An hour of the rows in one group, rewarded by what their bets earned."""
    trajectories = [one for one in decoded(asked) if one[0] == hour]
    facts = {one.trajectory_id: member_facts(one, OUTCOMES) for _, one in trajectories}
    members = tuple(
        Member(one.trajectory_id, 0.5 + (facts[one.trajectory_id].merit or 0) / 2, one.calls)
        for _, one in trajectories
    )
    return Honest([Group(hour, "", members)], facts)


def decoded(asked: str) -> list[tuple[str, Trajectory]]:
    (rows,) = [block for block in today.blocks() if block[0] == "trajectories"]
    found = []
    for row in rows[1]:
        steps = row["stepsJson"].replace("\\\\", "\\").replace(ASKED, asked)
        made = decode(
            RawTrajectory(
                trajectory_id=row["trajectoryId"],
                agent_id=row["agentId"],
                scenario_id=None,
                steps_json=steps,
                steps_bytes=len(steps),
                final_pnl=None,
                is_evaluation=False,
                is_training_data=True,
                archetype=row["archetype"],
            )
        )
        if not isinstance(made, Rejection):
            found.append((row["windowId"], made))
    return found


def trips(found: Honest) -> list[Trip]:
    return list(examine(found.groups, found.facts, "default", []).trips)


def test_nothing_in_the_rows_of_today_trips_and_their_facts_are_read() -> None:
    archetypes: Counter[str] = Counter()
    for hour in today.HOURS:
        found = window(hour)
        assert trips(found) == []
        for facts in found.facts.values():
            archetypes[facts.archetype] += 1
    merits = [f.merit for hour in today.HOURS for f in window(hour).facts.values()]
    known = [merit for merit in merits if merit is not None]

    assert len(known) == 17
    assert -1 < fmean(known) < 1
    assert "trader" in archetypes


def test_how_their_markets_end_in_the_prompts_of_today_trips() -> None:
    record = r"gameKnowledge: {\"actualOutcomes\":{\"m-1\":\"YES\"}}. Choose."
    ended = "m-1 resolved YES\\nm-2 resolved NO\\nm-3 resolved YES\\nChoose."
    for leak in (record, ended):
        (trip,) = trips(window(today.HOURS[0], leak))
        assert trip.kind is Tripwire.OUTCOME_WORDS
        assert trip.measured > 0.5


def test_other_ends_of_these_markets_are_no_leak() -> None:
    """What is made up about them: the opposite of what happened."""
    rumour = "m-1 resolved NO\\nm-2 resolved YES\\nm-3 resolved NO\\nChoose."
    assert trips(window(today.HOURS[0], rumour)) == []
