"""The facts of a trajectory that its member in a group does not say."""

from __future__ import annotations

from babylon_tasks.dataset.tripwires.watched import MemberFacts
from babylon_tasks.records import Outcomes, Trajectory
from babylon_tasks.scoring.evidence import bets, evidence
from babylon_tasks.vocabulary import expects_rise, is_taken


def member_facts(trajectory: Trajectory, outcomes: Outcomes) -> MemberFacts:
    """Collect them, with the outcomes that its window's rewards know."""
    named = {
        name: known.yes
        for kind, name, known in bets(trajectory, outcomes)
        if kind == "market" and known.yes is not None
    }
    for action in trajectory.actions:  # what Babylon recorded itself
        rise = expects_rise(action) if is_taken(action) else None
        if action.market_id and action.correct is not None and rise is not None:
            named[action.market_id] = rise == action.correct
    found = evidence(trajectory, outcomes)
    return MemberFacts(
        agent=trajectory.agent_id,
        archetype=(trajectory.archetype or "").strip().casefold(),
        merit=found.merit,
        bets=tuple(named.items()),
        failed=found.failed,
    )
