"""Decode a recorded row as a whole: steps, calls, actions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from babylon_tasks.decode.action import (
    NOTHING_DONE,
    RecordedAction,
    money_in,
    number_in,
    read_action,
)
from babylon_tasks.decode.call import Call, check_ids, read_call
from babylon_tasks.decode.errors import Undecodable, bounded, diagnosis
from babylon_tasks.reasons import Reason, Stage
from babylon_tasks.records import AgentAction, LlmCall, RawTrajectory, Rejection, Trajectory


class _Environment(Struct, gc=False):
    agentPnL: float | None = None
    agentBalance: Any = None


class RecordedStep(Struct, gc=False):
    environmentState: _Environment | None = None
    llmCalls: list[Call] | None = None
    action: RecordedAction | None = None


AnyCall = TypeVar("AnyCall", bound=Call)

# Babylon's market engine asks for the decisions of all traders at once, and records each afterwards
# as a call of this model, with a prompt that nobody was asked and a reason in place of an answer.
_NO_MODEL = "market-decision-model"

steps_decoder = msgspec.json.Decoder(list[RecordedStep])


def decode(raw: RawTrajectory) -> Trajectory | Rejection:
    """Decode one row; anything wrong with it makes a Rejection with a stable reason.

    Reasons: evaluation_row, not_training_data, already_used, too_large, malformed_json,
    too_deep, bad_shape, unstorable_text, not_finite, bad_logprobs, no_steps, no_llm_calls.
    """
    try:
        return _decode(raw)
    except Undecodable as unusable:
        return Rejection(raw.trajectory_id, Stage.DECODE, unusable.reason, bounded(unusable.detail))


def content_hash(raw: RawTrajectory) -> str:
    """Hash all that a score was made from (SHA-256), to detect later changes."""
    text = raw.steps_json
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    digest = hashlib.sha256(data or b"")
    about = (raw.agent_id, raw.scenario_id, raw.archetype, raw.final_pnl)
    digest.update(repr(about).encode())
    return digest.hexdigest()


def _decode(raw: RawTrajectory) -> Trajectory:
    if raw.is_evaluation:
        raise Undecodable(Reason.EVALUATION_ROW, "isEvaluation is set: never trained on")
    if not raw.is_training_data:
        raise Undecodable(Reason.NOT_TRAINING_DATA, "isTrainingData is not set")
    if raw.already_used:
        raise Undecodable(Reason.ALREADY_USED, "usedInTraining is set: another training used it")
    text = raw.steps_json
    if text is None:
        raise Undecodable(Reason.TOO_LARGE, f"stepsJson has {raw.steps_bytes} bytes")
    if raw.final_pnl is not None and not math.isfinite(raw.final_pnl):
        raise Undecodable(Reason.NOT_FINITE, f"finalPnL is {raw.final_pnl}")
    try:
        steps = steps_decoder.decode(text)
    except RecursionError:
        raise Undecodable(Reason.TOO_DEEP, "stepsJson is nested too deeply") from None
    except ValueError as error:  # msgspec's errors, and text that is not UTF-8
        raise diagnosis(text, error) from None
    if not steps:
        raise Undecodable(Reason.NO_STEPS, "stepsJson is an empty list")

    calls: list[LlmCall] = []
    actions: list[AgentAction] = []
    passed_over = 0
    for number, step in enumerate(steps):
        action, state = step.action, step.environmentState
        if step.llmCalls:
            done = "" if action is None else action.actionType
            check_ids(step.llmCalls, number)
            call = acted_upon(step.llmCalls, action)
            if was_asked(call):
                calls.append(read_call(call, number, done))
            passed_over += len(step.llmCalls) - 1
        if action is not None:
            actions.append(read_action(action, None if state is None else state.agentBalance))
        elif step.llmCalls:
            actions.append(NOTHING_DONE)
    if not calls:
        raise Undecodable(Reason.NO_LLM_CALLS, f"{len(steps)} steps, none with a call of a model")

    first, last = steps[0].environmentState, steps[-1].environmentState
    trajectory = Trajectory(
        trajectory_id=raw.trajectory_id,
        agent_id=raw.agent_id,
        scenario_id=raw.scenario_id,
        first_pnl=None if first is None else money_in(first.agentPnL),
        # One step has only the PnL before its action, so there is a first value and no last.
        last_pnl=None if last is None or len(steps) == 1 else money_in(last.agentPnL),
        final_pnl=money_in(raw.final_pnl),
        actions=tuple(actions),
        calls=tuple(calls),
        archetype=raw.archetype,
        balance=None if first is None else number_in(first.agentBalance),
        passed_over=passed_over,
    )
    if has_nul(text):
        _refuse_nul(trajectory)
    return trajectory


def has_nul(text: str | bytes) -> bool:
    """Check whether there may be a NUL character in the text, as JSON escapes it."""
    return ("\\u0000" in text) if isinstance(text, str) else (b"\\u0000" in text)


def acted_upon(calls: Sequence[AnyCall], action: RecordedAction | None) -> AnyCall:
    """Find the call whose answer became the step's action: only that one earned the reward.

    The plugin names it; elsewhere it is the last call made to act: those before it were rejected
    and asked again, or prepared it.
    """
    if action is not None and action.llmCallId is not None:
        for call in calls:
            if call.callId == action.llmCallId:
                return call
    return next((call for call in reversed(calls) if call.purpose == "action"), calls[-1])


def was_asked(call: Call) -> bool:
    """Check whether a model was asked, rather than its answer written for the record."""
    return call.model != _NO_MODEL


def _refuse_nul(trajectory: Trajectory) -> None:
    """Refuse NUL characters, which Postgres neither stores nor accepts as a parameter."""
    for call in trajectory.calls:
        texts = [
            call.model,
            call.response,
            call.purpose,
            *(part for pair in call.messages for part in pair),
        ]
        if any("\0" in text for text in (*texts, *(call.tokens or ()))):
            raise Undecodable(Reason.UNSTORABLE_TEXT, "a NUL character in the text of an LLM call")
    for d in trajectory.actions:
        if any(text and "\0" in text for text in (d.action_type, d.market_id, d.ticker, d.side)):
            raise Undecodable(Reason.UNSTORABLE_TEXT, "a NUL character in an action")
