"""Read what scoring needs of a row, faster than ``decode``: its conversations are not built.

``decode`` alone decides what is valid. What is read here it accepts; anything odd is left to it.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from babylon_tasks.decode.action import (
    NOTHING_DONE,
    Done,
    RecordedAction,
    money_in,
    number_in,
    read_action,
)
from babylon_tasks.decode.call import (
    LOGPROB_ROUNDING,
    Call,
    TokenLogprob,
    count_all_ids,
    ids_beside,
    named_ids,
    read_messages,
    read_purpose,
)
from babylon_tasks.decode.errors import Undecodable
from babylon_tasks.decode.trajectory import RecordedStep, acted_upon, decode, was_asked
from babylon_tasks.records import AgentAction, Facts, RawTrajectory, Rejection, Trajectory

# The bounds that ``decode`` checks one by one are checked while the JSON is parsed.
_Logprob = Annotated[float, Meta(le=LOGPROB_ROUNDING)]


class _Token(TokenLogprob, gc=False):
    logprob: _Logprob
    bytes: list[Annotated[int, Meta(ge=0, le=255)]] | None = None


class _Logprobs(Struct, gc=False):
    content: list[_Token] | None = None


class _Call(Call, gc=False):
    # Narrower than in a recorded call, which is also a list that mixes numbers, objects and null.
    logprobs: list[_Logprob] | _Logprobs | None = None  # type: ignore[assignment]


class _Action(RecordedAction, gc=False):
    # Elsewhere it may be anything: it is then looked into on its own, and only for a trade.
    result: Done | None = None  # type: ignore[assignment]


class _Step(RecordedStep, gc=False):
    llmCalls: list[_Call] | None = None  # type: ignore[assignment]
    action: _Action | None = None


_steps = msgspec.json.Decoder(list[_Step])


def decode_facts(raw: RawTrajectory) -> Facts | Rejection:
    """Read the facts of one row, or the Rejection that ``decode`` makes of it."""
    found = quick_facts(raw)
    if found is not None:
        return found
    whole = decode(raw)
    return whole if isinstance(whole, Rejection) else facts_of(whole)


def facts_of(trajectory: Trajectory) -> Facts:
    """Leave out the conversations of a decoded row."""
    first = trajectory.calls[0]
    return Facts(
        trajectory_id=trajectory.trajectory_id,
        agent_id=trajectory.agent_id,
        scenario_id=trajectory.scenario_id,
        first_pnl=trajectory.first_pnl,
        last_pnl=trajectory.last_pnl,
        final_pnl=trajectory.final_pnl,
        actions=trajectory.actions,
        purpose=first.purpose,
        question=_last_of_user(first.messages),
        archetype=trajectory.archetype,
        balance=trajectory.balance,
    )


def quick_facts(raw: RawTrajectory) -> Facts | None:
    """Read the facts of a row in the usual form; None: it is for ``decode`` to say what it is."""
    try:
        return _facts(raw)
    except (ValueError, RecursionError, Undecodable):
        return None


def _facts(raw: RawTrajectory) -> Facts | None:
    text, final = raw.steps_json, raw.final_pnl
    if raw.is_evaluation or not raw.is_training_data or raw.already_used or text is None:
        return None
    if final is not None and not math.isfinite(final):
        return None
    steps = _steps.decode(text)
    actions: list[AgentAction] = []
    asked: tuple[str, str] | None = None  # the first call's purpose and question
    for number, step in enumerate(steps):
        action, calls, state = step.action, step.llmCalls, step.environmentState
        if calls:
            call = calls[0] if len(calls) == 1 else acted_upon(calls, action)
            for other in calls if len(calls) > 1 else ():
                count_all_ids(other)
            if not _sound(call) or _has_nul(call):
                return None
            if asked is None and was_asked(call):
                done = "" if action is None else action.actionType
                question = _last_of_user(read_messages(call, number))
                asked = read_purpose(call, done), question
        if action is not None:
            read = read_action(action, None if state is None else state.agentBalance)
            if "\0" in f"{read.action_type}{read.market_id}{read.ticker}{read.side}":
                return None
            actions.append(read)
        elif calls:
            actions.append(NOTHING_DONE)
    if asked is None:
        return None
    first, last = steps[0].environmentState, steps[-1].environmentState
    return Facts(
        raw.trajectory_id,
        raw.agent_id,
        raw.scenario_id,
        None if first is None else money_in(first.agentPnL),
        None if last is None or len(steps) == 1 else money_in(last.agentPnL),
        money_in(final),
        tuple(actions),
        *asked,
        raw.archetype,
        None if first is None else number_in(first.agentBalance),
    )


def _sound(call: _Call) -> bool:
    """Check what ``decode`` checks of the call that was acted upon, beyond types and bounds."""
    if not call.messages and (call.systemPrompt is None or call.userPrompt is None):
        return False
    count = count_all_ids(call)
    recorded = call.logprobs
    entries = recorded.content if isinstance(recorded, _Logprobs) else recorded
    if entries is None or count is None:
        return True
    if len(entries) != count:
        return False
    if not isinstance(recorded, _Logprobs) or not recorded.content:
        return True
    named = named_ids(recorded.content)[0]
    return named is None or named == ids_beside(call)


def _has_nul(call: _Call) -> bool:
    """Look for NUL in all text that ``decode`` may keep: looking through the JSON takes longer."""
    if "\0" in (
        f"{call.response}{call.model}{call.systemPrompt}{call.userPrompt}"
        f"{call.purpose}{call.actionType}"
    ):
        return True
    if call.messages and any(
        "\0" in text for message in read_messages(call, 0) for text in message
    ):
        return True
    recorded = call.logprobs
    if not isinstance(recorded, _Logprobs) or not recorded.content:
        return False
    return "\0" in "".join([entry.token for entry in recorded.content if entry.token])


def _last_of_user(messages: tuple[tuple[str, str], ...]) -> str:
    return next((text for role, text in reversed(messages) if role == "user"), "")
