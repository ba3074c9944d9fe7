"""The calls of a recorded row as questions: each with the action that its answer became."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.decode.action import read_action
from babylon_tasks.decode.call import read_call
from babylon_tasks.decode.trajectory import acted_upon, steps_decoder, was_asked
from babylon_tasks.records import AgentAction, LlmCall, RawTrajectory


class AskedCall(Struct, frozen=True, gc=False):
    """A call that was acted upon; ``place`` is its index among those of the trajectory.

    ``max_tokens``: what the agent allowed for the answer; None where that is not recorded.
    ``action`` is None where none was recorded.
    """

    place: int
    call: LlmCall
    max_tokens: int | None
    action: AgentAction | None


def asked_calls(raw: RawTrajectory) -> list[AskedCall]:
    """List the calls of a row that ``decode`` accepts, in order."""
    found: list[AskedCall] = []
    for number, step in enumerate(steps_decoder.decode(raw.steps_json or "[]")):
        if not step.llmCalls:
            continue
        recorded, state = step.action, step.environmentState
        balance = None if state is None else state.agentBalance
        call = acted_upon(step.llmCalls, recorded)
        if not was_asked(call):
            continue
        most = call.maxTokens
        found.append(
            AskedCall(
                place=len(found),
                call=read_call(call, number, "" if recorded is None else recorded.actionType),
                max_tokens=most if type(most) is int and most > 0 else None,
                action=None if recorded is None else read_action(recorded, balance),
            )
        )
    return found
