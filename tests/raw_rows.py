"""Rows as the decoder gets them."""

from __future__ import annotations

import json
from typing import Any

from factories import llm_call, step

from babylon_tasks.decode import decode
from babylon_tasks.records import RawTrajectory, Trajectory


def raw(steps: Any, **fields: Any) -> RawTrajectory:
    """A row; ``steps`` as JSON text, bytes, or as what json.dumps makes text of."""
    text = steps if isinstance(steps, str | bytes | None) else json.dumps(steps)
    values = {
        "trajectory_id": "t-1",
        "agent_id": "agent-1",
        "scenario_id": None,
        "steps_json": text,
        "steps_bytes": len(text or ""),
        "final_pnl": None,
        "is_evaluation": False,
        "is_training_data": True,
        "already_used": False,
    }
    return RawTrajectory(**{**values, **fields})


def decoded(steps: Any, **fields: Any) -> Trajectory:
    found = decode(raw(steps, **fields))
    assert isinstance(found, Trajectory), found
    return found


def one_call(**keys: Any) -> Any:
    [call] = decoded([step(calls=[llm_call(**keys)])]).calls
    return call
