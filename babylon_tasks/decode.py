"""From a recorded row to a Trajectory or a Rejection: pure, and never an exception.

Both recorded shapes are read (Babylon's recorder and its plugin); keys that are not listed here
are skipped without being built.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any, cast

import msgspec
from msgspec import Struct

from babylon_tasks.records import Decision, LlmCall, RawTrajectory, Rejection, Trajectory
from babylon_tasks.vocabulary import kind

STAGE = "decode"
_DETAIL = 200
# A log-probability is never positive; servers round, so a hair above zero is let through.
_LOGPROB_ROUNDING = 1e-3


class _Environment(Struct, gc=False):
    agentPnL: float | None = None
    agentBalance: Any = None


class _Message(Struct, gc=False):
    role: str
    content: str | None = None


class _TokenLogprob(Struct, gc=False):
    logprob: float | None
    token: str | None = None


class _Call(Struct, gc=False):
    response: str
    model: str | None = None
    systemPrompt: str | None = None
    userPrompt: str | None = None
    messages: list[_Message] | None = None
    temperature: float | None = None
    logprobs: list[float | _TokenLogprob | None] | None = None
    tokenIds: list[int] | None = None
    policyStep: int | None = None
    topP: float | None = None
    finishReason: str | None = None
    promptTokens: int | None = None
    completionTokens: int | None = None
    callId: Any = None
    purpose: Any = None
    actionType: Any = None


# Facts for scoring only are taken as they come (Any): an odd one is unknown, not a reason to
# throw away a trajectory whose calls are sound.
class _Parameters(Struct, gc=False):
    marketId: Any = None
    ticker: Any = None
    side: Any = None
    marketType: Any = None
    amount: Any = None
    price: Any = None


class _Done(Struct, gc=False):
    marketId: Any = None
    ticker: Any = None
    shares: Any = None
    avgPrice: Any = None


class _Correctness(Struct, gc=False):
    predictionCorrect: Any = None
    predictedOutcome: Any = None
    actualOutcome: Any = None
    perpCorrect: Any = None
    expectedDirection: Any = None
    priceChange: Any = None


class _Action(Struct, gc=False):
    actionType: str = ""
    success: bool = False
    llmCallId: Any = None
    parameters: _Parameters | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    correctness: _Correctness | None = None


class _Step(Struct, gc=False):
    environmentState: _Environment | None = None
    llmCalls: list[_Call] | None = None
    action: _Action | None = None


# An answer that nothing came of: it could not be read, or was cut off.
_NOTHING_DONE = Decision("pending", success=False)

_steps = msgspec.json.Decoder(list[_Step])
_results = msgspec.json.Decoder(_Done | None)
_well_formed = msgspec.json.Decoder(msgspec.Raw)
_POLICY = re.compile(r"@(\d{1,9})\Z")
# Possessive: an 8 MB string must not leave 8 million states to go back to.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?Infinity|NaN', re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL)


class _Unusable(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def decode(raw: RawTrajectory) -> Trajectory | Rejection:
    """Decode one row; whatever is wrong with it comes back as a Rejection with a stable reason.

    Reasons: evaluation_row, not_training_data, already_used, too_large, malformed_json,
    too_deep, bad_shape, unstorable_text, not_finite, bad_logprobs, no_steps, no_llm_calls.
    """
    try:
        return _decode(raw)
    except _Unusable as unusable:
        return Rejection(raw.trajectory_id, STAGE, unusable.reason, bounded(unusable.detail))


def bounded(text: str) -> str:
    """Text from anywhere, made fit for a Postgres column and for a human's patience."""
    return text[:_DETAIL].replace("\0", "\\0").encode("utf-8", "replace").decode()


def content_hash(raw: RawTrajectory) -> str:
    """SHA-256 of all that a score was made from: what differs now was changed since."""
    text = raw.steps_json
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    digest = hashlib.sha256(data or b"")
    about = (raw.agent_id, raw.scenario_id, raw.archetype, raw.final_pnl)
    digest.update(repr(about).encode())
    return digest.hexdigest()


def _decode(raw: RawTrajectory) -> Trajectory:
    if raw.is_evaluation:
        raise _Unusable("evaluation_row", "isEvaluation is set: never trained on")
    if not raw.is_training_data:
        raise _Unusable("not_training_data", "isTrainingData is not set")
    if raw.already_used:
        raise _Unusable("already_used", "usedInTraining is set: some training has used it")
    text = raw.steps_json
    if text is None:
        raise _Unusable("too_large", f"stepsJson has {raw.steps_bytes} bytes")
    if raw.final_pnl is not None and not math.isfinite(raw.final_pnl):
        raise _Unusable("not_finite", f"finalPnL is {raw.final_pnl}")
    try:
        steps = _steps.decode(text)
    except RecursionError:
        raise _Unusable("too_deep", "stepsJson is nested too deeply") from None
    except ValueError as error:  # msgspec's errors, and text that is not UTF-8
        raise _diagnosis(text, error) from None
    if not steps:
        raise _Unusable("no_steps", "stepsJson is an empty list")

    calls: list[LlmCall] = []
    decisions: list[Decision] = []
    passed_over = 0
    for number, step in enumerate(steps):
        action = step.action
        if step.llmCalls:
            calls.append(_call(_acted_upon(step.llmCalls, action), number))
            passed_over += len(step.llmCalls) - 1
        if action is not None:
            decisions.append(_decision(action))
        elif step.llmCalls:
            decisions.append(_NOTHING_DONE)
    if not calls:
        raise _Unusable("no_llm_calls", f"{len(steps)} steps, none with an LLM call")

    first, last = steps[0].environmentState, steps[-1].environmentState
    trajectory = Trajectory(
        trajectory_id=raw.trajectory_id,
        agent_id=raw.agent_id,
        scenario_id=raw.scenario_id,
        first_pnl=None if first is None else first.agentPnL,
        # One step tells the PnL before its action only, so it has a first value and no last.
        last_pnl=None if last is None or len(steps) == 1 else last.agentPnL,
        final_pnl=raw.final_pnl,
        decisions=tuple(decisions),
        calls=tuple(calls),
        archetype=raw.archetype,
        balance=None if first is None else _number(first.agentBalance),
        passed_over=passed_over,
    )
    if ("\\u0000" in text) if isinstance(text, str) else (b"\\u0000" in text):
        _refuse_nul(trajectory)
    return trajectory


def _acted_upon(calls: list[_Call], action: _Action | None) -> _Call:
    """The call whose answer became the step's action: only that one earned the reward.

    The plugin names it; elsewhere it is the last that was made to act: what came before it was
    rejected and asked again, or prepared it.
    """
    if action is not None and action.llmCallId is not None:
        for call in calls:
            if call.callId == action.llmCallId:
                return call
    return next((call for call in reversed(calls) if call.purpose == "action"), calls[-1])


def _call(call: _Call, step: int) -> LlmCall:
    if call.messages:
        messages = tuple([(m.role, m.content or "") for m in call.messages])
    elif call.systemPrompt is None or call.userPrompt is None:
        raise _Unusable("bad_shape", f"step {step}: a call has neither messages nor both prompts")
    else:
        messages = (("system", call.systemPrompt), ("user", call.userPrompt))
    model = call.model or ""
    logprobs = tokens = None
    if call.logprobs is not None:
        logprobs, tokens = _logprobs(call.logprobs, call.tokenIds, step)
    policy = call.policyStep
    if policy is None and "@" in model:
        named = _POLICY.search(model)
        policy = int(named[1]) if named else None
    return LlmCall(
        model,
        messages,
        call.response,
        1.0 if call.temperature is None else call.temperature,
        policy if policy is None or policy >= 0 else None,
        logprobs,
        None if call.tokenIds is None else tuple(call.tokenIds),
        tokens,
        top_p=1.0 if call.topP is None else call.topP,
        finish_reason=call.finishReason,
        prompt_tokens=call.promptTokens,
        completion_tokens=call.completionTokens,
        purpose=_purpose(call),
    )


def _purpose(call: _Call) -> str:
    """The kind of question; an ``actionType`` that is an action's word was made from the answer."""
    asked = call.actionType
    if isinstance(asked, str) and asked and not kind(asked).known:
        return asked
    return call.purpose if isinstance(call.purpose, str) else ""


def _logprobs(
    recorded: list[float | _TokenLogprob | None], token_ids: list[int] | None, step: int
) -> tuple[tuple[float, ...], tuple[str, ...] | None]:
    values: list[Any] = recorded
    tokens: list[str | None] = []
    if any(isinstance(entry, _TokenLogprob) for entry in recorded[:1]):
        tokens = [e.token if isinstance(e, _TokenLogprob) else None for e in recorded]
        values = [e.logprob if isinstance(e, _TokenLogprob) else e for e in recorded]
    if None in values:  # JSON.stringify writes NaN and Infinity as null
        raise _Unusable("not_finite", f"step {step}: logprob {values.index(None)} is null")
    try:
        highest = max(values, default=0.0)
    except TypeError:
        raise _Unusable("bad_logprobs", f"step {step}: numbers and objects are mixed") from None
    if highest > _LOGPROB_ROUNDING:
        number = values.index(highest)
        raise _Unusable("bad_logprobs", f"step {step}: logprob {number} is {highest} > 0")
    if highest > 0:
        values = [min(value, 0.0) for value in values]
    if token_ids is not None and len(token_ids) != len(values):
        raise _Unusable(
            "bad_logprobs", f"step {step}: {len(values)} logprobs for {len(token_ids)} tokenIds"
        )
    complete = bool(tokens) and None not in tokens
    return tuple(values), cast("tuple[str, ...]", tuple(tokens)) if complete else None


def _decision(action: _Action) -> Decision:
    parameters, correctness = action.parameters or _Parameters(), action.correctness
    done = _done(action)
    market, ticker = _name(parameters.marketId), _name(parameters.ticker)
    if market is None and ticker is None:
        market, ticker = _name(done.marketId), _name(done.ticker)
    if market is not None and ticker is None and parameters.marketType == "perp":
        market, ticker = None, market  # today a perpetual's ticker stands where its market would
    staked = _number(parameters.amount)
    if staked is not None and staked <= 0:
        staked = None
    return Decision(
        action.actionType,
        action.success,
        market,
        ticker,
        parameters.side if type(parameters.side) is str else None,
        None if correctness is None else _correct(correctness),
        None if ticker is not None else _price(parameters, done, staked),
        staked,
    )


def _done(action: _Action) -> _Done:
    if not kind(action.actionType).trade:
        return _Done()
    try:
        return _results.decode(action.result) or _Done()
    except ValueError:  # anything may stand here; what is no object tells nothing
        return _Done()


def _name(value: Any) -> str | None:
    # Ids are snowflakes: some writers leave them as numbers.
    if type(value) is int:
        return str(value)
    return value if type(value) is str and value else None


def _price(parameters: _Parameters, done: _Done, staked: float | None) -> float | None:
    """What a share cost; what is no probability is no price."""
    shares = _number(done.shares)
    bought = staked / shares if staked is not None and shares is not None and shares > 0 else None
    for price in (_number(done.avgPrice), _number(parameters.price), bought):
        if price is not None and 0 < price < 1:
            return price
    return None


def _number(value: Any) -> float | None:
    if type(value) not in (int, float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond every float
        return None


def _correct(recorded: _Correctness) -> bool | None:
    for flag in (recorded.predictionCorrect, recorded.perpCorrect):
        if isinstance(flag, bool):
            return flag
    predicted, actual = recorded.predictedOutcome, recorded.actualOutcome
    if isinstance(predicted, bool) and isinstance(actual, bool):
        return predicted is actual
    change, expected = recorded.priceChange, recorded.expectedDirection
    if isinstance(change, int | float) and change and expected in ("up", "down"):
        return bool(change > 0) is (expected == "up")
    return None


def _refuse_nul(trajectory: Trajectory) -> None:
    """NUL cannot be stored in Postgres nor sent to it as a parameter."""
    for call in trajectory.calls:
        texts = [call.model, call.response, *(part for pair in call.messages for part in pair)]
        if any("\0" in text for text in (*texts, *(call.tokens or ()))):
            raise _Unusable("unstorable_text", "a NUL character in the text of an LLM call")
    for d in trajectory.decisions:
        if any(text and "\0" in text for text in (d.action_type, d.market_id, d.ticker, d.side)):
            raise _Unusable("unstorable_text", "a NUL character in an action")


def _diagnosis(text: bytes | str, error: ValueError) -> _Unusable:
    """Tell apart what the fast decoder cannot: broken JSON, NaN, half a character, wrong types."""
    found: set[bytes] = set()

    def repaired(match: re.Match[bytes]) -> bytes:
        token = match[0]
        if not token.startswith(b'"'):
            found.add(b"constant")
            return b"null"
        return _ESCAPE.sub(escape, token) if b"\\u" in token else token

    def escape(match: re.Match[bytes]) -> bytes:
        if len(match[0]) == 2:
            return match[0]
        found.add(b"surrogate")
        return b"?"

    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    cleaned = _TOKEN.sub(repaired, data)
    try:
        _well_formed.decode(cleaned)
    except RecursionError:
        return _Unusable("too_deep", "stepsJson is nested too deeply")
    except ValueError as fault:
        return _Unusable("malformed_json", str(fault))
    if isinstance(error, msgspec.ValidationError):
        reason = "not_finite" if "Number out of range" in str(error) else "bad_shape"
        if b"constant" in found and reason == "bad_shape":
            return _Unusable("not_finite", "NaN or Infinity in stepsJson")
        return _Unusable(reason, str(error))
    if b"constant" in found:
        return _Unusable("not_finite", "NaN or Infinity in stepsJson")
    if b"surrogate" in found:
        return _Unusable("unstorable_text", f"half of a surrogate pair in stepsJson: {error}")
    return _Unusable("malformed_json", str(error))
