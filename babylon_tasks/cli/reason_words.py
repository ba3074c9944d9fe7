"""Why no step took a window, in words; docs/recording.md has them all, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from babylon_tasks.reasons import Reason, UsedAs, WindowReason
from babylon_tasks.states import WindowState

_STATES: Mapping[str, str] = {
    WindowState.HELD_OUT: "kept for evaluation, and so never trained on",
    WindowState.OPEN: "its hour is not over",
    WindowState.SEALED: "it waits to be scored",
    WindowState.SCORED: "a step may take it",
}
# Of a scored window, by what it waits for; its reason, if any, is a decision postponed until then.
_IDLE: Mapping[str, str] = {
    "outcomes": "it waits for the outcomes of its bets",
    "new_rewards": "it waits to be scored anew",
    "tripwire": "a tripwire keeps it from training: `babylon-tasks tripwires list --open`",
}
_REASONS: Mapping[str, str] = {
    WindowReason.TOO_FEW_AGENTS: "usable rows of fewer agents than BABYLON_MIN_AGENTS",
    WindowReason.NOTHING_USABLE: "no row that could be rewarded",
    WindowReason.NO_SPREAD: "the answers of each group earned the same: nothing to learn from",
    WindowReason.ONLY_ACTIVITY: "its groups differ in activity alone, which earns nothing",
    WindowReason.NOTHING_TRAINABLE: "nothing was left for a step",
    WindowReason.ROWS_CHANGED: "Babylon changed its rows: it is scored anew",
    UsedAs.TOO_SMALL: "its groups had a single member",
    UsedAs.SETTLED: "hardly any answer to its questions lost: nothing to learn from",
    Reason.NO_EVIDENCE: "no row shows what its agent achieved",
    Reason.NO_LOGPROBS: "log-probabilities were neither recorded nor captured",
    Reason.NO_TOKEN_IDS: "the ids of the sampled tokens are not known",
    Reason.OTHER_POLICY: "another model answered",
    Reason.UNKNOWN_POLICY_STEP: "which checkpoint answered is not known",
    Reason.STALE: "the checkpoint that answered is too many steps behind",
    Reason.TEMPERED: "the answers were sampled at another temperature than 1",
    Reason.SHAPED: "the answers were sampled with parameters that change the policy",
    Reason.NOT_PARENT: "another checkpoint than the parent answered",
    Reason.DELETED: "Babylon deleted its rows",
    Reason.CHANGED: "Babylon changed its rows after they were scored",
    Reason.OUT_OF_MEMORY: "a group of it needs more memory than there is",
}


def why_not_used(state: str, reason: str | None, idle: str | None = None) -> str | None:
    """Say it; None where there is nothing to say, or the words are the reason's own.

    ``idle``: as a report's window has it.
    """
    if idle is not None:
        return _IDLE.get(idle)
    return _STATES.get(state) if reason is None else _REASONS.get(reason)
