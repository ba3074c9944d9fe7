"""Record what agents do, in Babylon's own tables, without ever blocking or failing an agent.

with Recorder(database_url) as recorder:
    with recorder.record("agent-7", scenario_id="open") as trajectory:
        step = trajectory.step(balance=1000, pnl=0, open_positions=0)
        step.llm_call(completion, messages=messages, temperature=1.0, max_tokens=16)
        step.action("BUY_SHARES", {"marketId": "m-1", "side": "YES"}, success=True)
        trajectory.finish(final_pnl=12.5)
"""

from babylon_tasks.recorder.recorder import Recorder
from babylon_tasks.recorder.recording import AgentStep, Recording

__all__ = ["AgentStep", "Recorder", "Recording"]
