"""What tasks did, in the words that an engineer on call reads in Flower. PURE.

The worker says how a task ended, since it knows; Flower only shows it. The window, lineage and
step stand beside each of these texts.
"""

from __future__ import annotations

from collections.abc import Sequence

from babylon_tasks.pipeline.discover import Discovered
from babylon_tasks.pipeline.evaluate import GateResult
from babylon_tasks.pipeline.reconcile import Reconciled
from babylon_tasks.pipeline.score import Scoring
from babylon_tasks.pipeline.train import TrainOutcome
from babylon_tasks.states import WindowState

_NAMED = 3  # windows of a list that are named; the rest is counted
NOTHING = "nothing to do"


def progress(stage: str, done: int, total: int | None, of: str, tokens: int = 0) -> str:
    """How far a running task has come: ``training: 3 of 8 gradient steps, 512 tokens``."""
    whole = "" if total is None else f" of {total:,}"
    read = f", {tokens:,} tokens" if tokens else ""
    return f"{stage}: {done:,}{whole} {of}{read}"


def scoring(did: Scoring) -> str:
    """What scoring came to; ``skipped: too_few_agents`` where the window ends there."""
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
    """What a call to train came to, and what was decided of the newest checkpoint."""
    if did.result is not None:
        ended = f"{did.action}, {_count(did.result.gradient_steps, 'gradient step')}"
        ended += f", {did.result.trainable_tokens:,} tokens"
    else:
        ended = _untrained(did)
    return ended if gate_result is None else f"{ended}{_decided(gate_result)}"


def discovery(found: Discovered) -> str:
    """What a look at Babylon's rows found."""
    said = _found(
        ("opened", found.opened),
        ("sealed", found.sealed),
        ("sent to score", found.to_score),
        ("sent to train", found.to_train),
        ("no hour, never read", found.malformed),
    )
    return _and(said, [_count(found.outcomes, "outcome") + " copied"] if found.outcomes else [])


def reconciliation(found: Reconciled) -> str:
    """What had stood still and was set in motion again."""
    said = _found(
        ("lost while scoring, freed", found.released),
        ("failed", found.failed),
        ("to be scored anew", found.anew),
        ("sent to score", found.to_score),
        ("sent to train", found.to_train),
    )
    more = [_count(found.late, "late row") + " rejected"] if found.late else []
    more += ["sent to evaluate the newest checkpoint"] if found.unevaluated else []
    return _and(said, more)


def named(windows: Sequence[str]) -> str | None:
    """A few windows by name, the others by number."""
    if not windows:
        return None
    left = len(windows) - _NAMED
    return ", ".join(windows[:_NAMED]) + (f" and {left:,} more" if left > 0 else "")


def sentence(window: str | None, lineage: str | None, step: int | None, summary: str) -> str:
    """All of it in a line."""
    about = (("window", window), ("lineage", lineage), ("step", step))
    return " · ".join([*(f"{word} {what}" for word, what in about if what is not None), summary])


def _untrained(did: TrainOutcome) -> str:
    if did.action == "idle" or (
        did.action == "skipped" and (did.reason or "").startswith("window")
    ):
        return f"{NOTHING}: {did.reason}"
    if did.action == "busy":
        return f"waits: {did.reason}"
    reason = did.reason or "no reason was given"
    if len(did.windows) == 1:
        reason = reason.removeprefix(f"{did.windows[0]}: ")
    return f"{did.action}: {reason}"


def _decided(gate_result: GateResult) -> str:
    if gate_result.action == "idle":
        return ""  # nothing was decided now
    if gate_result.action == "held":
        return f" · held, step {gate_result.serving} serves on: {gate_result.reason}"
    return f" · {gate_result.action}: {gate_result.reason}"


def _found(*parts: tuple[str, Sequence[str]]) -> str:
    said = [f"{what} {named(windows)}" for what, windows in parts if windows]
    return " · ".join(said) or NOTHING


def _and(said: str, more: Sequence[str]) -> str:
    return " · ".join([*([] if said == NOTHING and more else [said]), *more])


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
