"""Summaries of what tasks did, for the engineer on call who reads them in Flower. PURE.

The worker writes how a task ended, since it knows; Flower only shows it. The window, lineage and
step are shown beside each of these texts.
"""

from __future__ import annotations

from collections.abc import Sequence

from babylon_tasks.actions import GateAction, TrainAction
from babylon_tasks.pipeline.results import (
    Discovered,
    GateResult,
    PrunedRows,
    Reconciled,
    Scoring,
    TrainOutcome,
)
from babylon_tasks.states import WindowState

_NAMED = 3  # of a list; the others are counted
NOTHING = "nothing to do"


def progress(stage: str, done: int, total: int | None, of: str, tokens: int = 0) -> str:
    """Describe the progress of a task: ``training: 3 of 8 gradient steps, 512 tokens``."""
    whole = "" if total is None else f" of {total:,}"
    read = f", {tokens:,} tokens" if tokens else ""
    return f"{stage}: {done:,}{whole} {of}{read}"


def scoring(did: Scoring) -> str:
    """Summarise a scoring; ``skipped: too_few_agents`` if the window ends there."""
    if not did.claimed:
        return f"{NOTHING}: window is {did.state}" + (f", {did.reason}" if did.reason else "")
    counted = f"scored {did.scored:,} of {did.trajectories:,} trajectories"
    if did.right_share is not None:
        counted += f", {did.right_share:.0%} of known bets right"
    if did.profit_mean is not None:
        counted += f", mean profit {did.profit_mean:,.2f}"
    if did.rejected:
        reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(did.rejected.items()))
        counted += f", rejected: {reasons}"
    if did.state == WindowState.SKIPPED:
        return f"skipped: {did.reason} · {counted}"
    if did.state == WindowState.HELD_OUT:
        counted += " · held out for evaluation"
    if did.waits_for:
        counted += f" · waits for {_count(did.waits_for, 'outcome')}"
    return counted


def training(did: TrainOutcome, gate_result: GateResult | None) -> str:
    """Summarise a call to train, and the decision about the newest checkpoint."""
    if did.result is not None:
        ended = f"{did.action}, {_count(did.result.gradient_steps, 'gradient step')}"
        ended += f", {did.result.trainable_tokens:,} tokens"
    else:
        ended = _untrained(did)
    return ended if gate_result is None else f"{ended}{_decided(gate_result)}"


def discovery(found: Discovered) -> str:
    """Summarise what was discovered in Babylon's rows."""
    text = _found(
        ("opened", found.opened),
        ("sealed", found.sealed),
        ("sent to score", found.to_score),
        ("sent to train", found.to_train),
        ("ignored, not an hour:", found.malformed),
    )
    return _and(text, [_count(found.outcomes, "outcome") + " copied"] if found.outcomes else [])


def reconciliation(reconciled: Reconciled) -> str:
    """Summarise what was restarted."""
    text = _found(
        ("released from a dead scorer", reconciled.released),
        ("failed", reconciled.failed),
        ("to be scored anew", reconciled.anew),
        ("sent to score", reconciled.to_score),
        ("sent to train", reconciled.to_train),
        ("concluded", reconciled.concluded),
    )
    more = [_count(reconciled.late, "late row") + " rejected"] if reconciled.late else []
    more += ["sent to evaluate the newest checkpoint"] if reconciled.unevaluated else []
    return _and(text, more)


def named(names: Sequence[str]) -> str | None:
    """Name a few windows or lineages and count the others."""
    if not names:
        return None
    left = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {left:,} more" if left > 0 else "")


def pruning(rows: PrunedRows, lineages: Sequence[str]) -> str:
    """Summarise what was pruned; ``lineages``: their workers have checkpoints to prune."""
    left = named(lineages)
    more = [f"old checkpoints of {left} left to the trainer's worker"] if left else []
    return _and(_found(("pruned the rows of", rows.windows)), more)


def sentence(window: str | None, lineage: str | None, step: int | None, summary: str) -> str:
    """Join all of it to one line."""
    about = (("window", window), ("lineage", lineage), ("step", step))
    return " · ".join([*(f"{word} {what}" for word, what in about if what is not None), summary])


def _untrained(did: TrainOutcome) -> str:
    match did.action:
        case TrainAction.SKIPPED if len(did.skipped) == 1:
            (reason,) = did.skipped.values()  # its window is shown beside the text
            return f"skipped: {reason}"
        case TrainAction.SKIPPED if did.skipped:
            return f"skipped: {did.reason}"
        case TrainAction.SKIPPED | TrainAction.IDLE:
            return f"{NOTHING}: {did.reason}"
        case TrainAction.BUSY | TrainAction.PAUSED:
            return f"waits: {did.reason}"
    return f"{did.action}: {did.reason or 'no reason was given'}"


def _decided(gate_result: GateResult) -> str:
    match gate_result.action:
        case GateAction.IDLE:
            return ""  # nothing was decided now
        case GateAction.HELD:
            return f" · held, step {gate_result.serving} keeps serving: {gate_result.reason}"
        case GateAction.PROMOTED:
            return f" · promoted: {gate_result.reason}"


def _found(*parts: tuple[str, Sequence[str]]) -> str:
    text = [f"{what} {named(windows)}" for what, windows in parts if windows]
    return " · ".join(text) or NOTHING


def _and(text: str, more: Sequence[str]) -> str:
    return " · ".join([*([] if text == NOTHING and more else [text]), *more])


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
