"""One trajectory while it is being recorded: steps, calls and actions in Babylon's shape A."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import structlog

from babylon_tasks.policy_names import policy_step
from babylon_tasks.recorder.completion import (
    Completion,
    carried,
    plain,
    read_completion,
    read_messages,
    request_body,
)
from babylon_tasks.shaped_sampling import shaping

log = structlog.get_logger(__name__)
_UNFINISHED = {"actionType": "pending", "parameters": {}, "success": False}


class AgentStep:
    """One step; created by ``Recording.step``."""

    def __init__(self, recording: Recording, recorded: dict[str, Any]) -> None:
        self._recording = recording
        self._recorded = recorded

    def llm_call(
        self,
        completion: Any = None,
        *,
        messages: Iterable[Any],
        temperature: float,
        max_tokens: int,
        purpose: str = "action",
        action_type: str | None = None,
        policy: int | None = None,
        model: str | None = None,
        model_version: str | None = None,
        response: str | None = None,
        reasoning: str | None = None,
        logprobs: Sequence[float] | None = None,
        token_ids: Sequence[int] | None = None,
        top_p: float | None = None,
        finish_reason: str | None = None,
        tools: Iterable[Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,
        choice: int = 0,
        keep_prompt_ids: bool = False,
    ) -> None:
        """Record a call: an unchanged OpenAI ChatCompletion, or its parts by keyword.

        A keyword wins over the completion. ``temperature``, ``top_p`` and ``tools`` are those of
        the request, ``parameters`` all its others: one that changes what is sampled, such as
        ``top_k``, is recorded by name, and no step takes the call as ``exact``. ``policy`` is the
        checkpoint that answered; without it, it is read from a model name such as ``lineage@12``.
        ``keep_prompt_ids`` keeps the prompt's token ids, where the server reports them: ART 0.5.23
        needs them, and they double the record.
        """
        with self._recording.guarded("llm_call"):
            read = Completion("", "") if completion is None else read_completion(completion, choice)
            name = model or read.model
            chat = read_messages(messages := list(messages))
            definitions = [plain(tool) for tool in tools or ()]
            by_tool = definitions or read.tool_calls
            call: dict[str, Any] = {
                "model": name,
                "modelVersion": model_version,
                "systemPrompt": _last(chat, "system"),
                "userPrompt": _last(chat, "user"),
                "response": read.response if response is None else response,
                "reasoning": reasoning or read.reasoning,
                "temperature": float(temperature),
                "maxTokens": int(max_tokens),
                "latencyMs": latency_ms,
                "purpose": purpose,
                "actionType": action_type,
                "topP": None if top_p is None else float(top_p),
                "finishReason": finish_reason or read.finish_reason,
                "promptTokens": read.prompt_tokens,
                "promptTokenIds": list(read.prompt_ids)
                if keep_prompt_ids and read.prompt_ids
                else None,
                "completionTokens": read.completion_tokens,
                "policyStep": policy_step(name) if policy is None else int(policy),
                "tools": definitions or None,
                "shaped": shaping(request_body(parameters or {})) or None,
                "toolCalls": list(read.tool_calls) or None,
                "carries": "tools" if by_tool else carried(messages),
            }
            if [one["role"] for one in chat] != ["system", "user"] or not chat[0]["content"]:
                call["messages"] = chat  # what two prompts cannot express
            call |= _tokens(read, logprobs, token_ids)
            # Optional keys are absent, not null, as with JSON.stringify.
            present = {key: value for key, value in call.items() if value is not None}
            self._recorded["llmCalls"].append(present)

    def action(
        self,
        action_type: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        success: bool,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        reasoning: str | None = None,
        correctness: Mapping[str, Any] | None = None,
    ) -> None:
        """Record what the agent did with the answer; the last action of a step counts."""
        with self._recording.guarded("action"):
            optional = {
                "result": None if result is None else dict(result),
                "error": error,
                "reasoning": reasoning,
                "correctness": None if correctness is None else dict(correctness),
            }
            self._recorded["action"] = {
                "actionType": action_type,
                "parameters": dict(parameters or {}),
                "success": bool(success),
            } | {key: value for key, value in optional.items() if value is not None}

    def reward(self, value: float) -> None:
        """Record the environment's own reward for this step."""
        with self._recording.guarded("reward"):
            self._recorded["reward"] = float(value)


class Recording:
    """One trajectory; created by ``Recorder.start``. Nothing here raises into the agent.

    As a context manager it finishes itself at the end of the block, unless the block has done so.
    A block that raises is recorded up to that point, with the status ``timeout`` (TimeoutError),
    ``error`` (any other Exception) or ``terminated`` (cancelled, interrupted).
    """

    def __init__(
        self, facts: dict[str, Any], started: datetime, hand_over: Callable[[Recording], None]
    ) -> None:
        self.facts = facts
        self.started = started
        self.steps: list[dict[str, Any]] = []
        self.ending: dict[str, Any] = {}
        self.broken: str | None = None
        self.finished = False
        self.raised = False
        self._hand_over = hand_over
        self._clock = time.monotonic()

    @property
    def trajectory_id(self) -> str:
        """The id under which the trajectory is stored."""
        return str(self.facts["trajectory_id"])

    @property
    def window(self) -> str:
        """The window, fixed at the start: an hour may end while the agent still works."""
        return str(self.facts["window"])

    def step(
        self,
        *,
        balance: float | None = None,
        pnl: float | None = None,
        open_positions: int | None = None,
        active_markets: int | None = None,
        providers: Iterable[Mapping[str, Any]] = (),
        now: datetime | None = None,
        **environment: str | float | bool | None,
    ) -> AgentStep:
        """Begin the next step with the world as the agent sees it, before it acts.

        ``pnl`` is cumulative over the agent's life. ``providers``: providerName, data, purpose.
        """
        recorded: dict[str, Any] = {
            "stepNumber": len(self.steps),
            "timestamp": 0,
            "environmentState": {},
            "providerAccesses": [],
            "llmCalls": [],
            "action": _UNFINISHED,
            "reward": 0.0,
        }
        with self.guarded("step"):
            recorded["timestamp"] = int((now or datetime.now(UTC)).timestamp() * 1000)
            state = {
                "agentBalance": None if balance is None else float(balance),
                "agentPnL": None if pnl is None else float(pnl),
                "openPositions": open_positions,
                "activeMarkets": active_markets,
                **environment,
            }
            recorded["environmentState"] = {k: v for k, v in state.items() if v is not None}
            recorded["providerAccesses"] = [dict(provider) for provider in providers]
            self.steps.append(recorded)
        return AgentStep(self, recorded)

    def finish(
        self,
        *,
        final_balance: float | None = None,
        final_pnl: float | None = None,
        status: str | None = None,
        now: datetime | None = None,
    ) -> None:
        """End the trajectory and pass it to the writer; returns at once. Ignored if repeated."""
        if self.finished:
            log.warning("recorder.finish_ignored", trajectory=self.trajectory_id)
            return
        self.finished = True
        with self.guarded("finish"):
            elapsed = time.monotonic() - self._clock
            self.ending = {
                "elapsed_ms": int(elapsed * 1000)
                if now is None
                else max(0, int((now - self.started).total_seconds() * 1000)),
                "final_balance": None if final_balance is None else float(final_balance),
                "final_pnl": None if final_pnl is None else float(final_pnl),
                "status": status,
            }
        self._hand_over(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.finished:
            return
        if error is None:
            self.finish()
            return
        self.raised = True
        log.warning(
            "recorder.block_failed",
            trajectory=self.trajectory_id,
            agent=self.facts["agent_id"],
            steps=len(self.steps),
            why=type(error).__name__,  # its message may contain what must not be logged
        )
        self.finish(status=_status(error))

    @contextmanager
    def guarded(self, doing: str) -> Iterator[None]:
        """Catch every error in recording: it costs this trajectory, never the agent."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  the agent goes on; the loss is logged, counted
            self.broken = f"{doing}: {type(error).__name__}: {error}"
            log.warning("recorder.recording_failed", trajectory=self.trajectory_id, why=self.broken)


def _status(error: BaseException) -> str:
    """Choose Babylon's final status for an exception."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return "error" if isinstance(error, Exception) else "terminated"


def _tokens(
    read: Completion, logprobs: Sequence[float] | None, token_ids: Sequence[int] | None
) -> dict[str, Any]:
    """Make the recorded keys of the sampled tokens, from the completion or from the keywords."""
    ids = read.token_ids if token_ids is None else tuple(map(int, token_ids))
    keys: dict[str, Any] = {"tokenIds": None if ids is None else list(ids)}
    if logprobs is not None:
        # They may differ from the completion's tokens, so its texts and bytes are dropped.
        return keys | {"logprobs": list(map(float, logprobs))}
    if read.logprobs is None:
        return keys
    if read.tokens is None and read.token_bytes is None:
        return keys | {"logprobs": list(read.logprobs)}
    entries: list[dict[str, Any]] = [{"logprob": value} for value in read.logprobs]
    for key, column in (("token", read.tokens), ("bytes", read.token_bytes)):
        for entry, value in zip(entries, column or (), strict=False):
            entry[key] = value
    return keys | {"logprobs": entries}


def _last(messages: list[dict[str, Any]], role: str) -> str:
    texts = [str(message["content"]) for message in messages if message["role"] == role]
    return texts[-1] if texts else ""
