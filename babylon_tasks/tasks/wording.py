"""What a task came to, in one line of plain words: its result in Flower and in Celery's log."""

from __future__ import annotations

from babylon_tasks.pipeline.discover import Discovered
from babylon_tasks.pipeline.judge import Judgement
from babylon_tasks.pipeline.reconcile import Reconciled
from babylon_tasks.pipeline.score import Scoring
from babylon_tasks.pipeline.train import TrainOutcome
from babylon_tasks.training.protocol import Progress

_SHOWN = 3  # windows named; the others are counted


def scoring(window: str, done: int, total: int | None) -> str:
    """A window that is being scored."""
    return (
        f"{window} · scoring, {done:,} of {total:,}" if total else f"{window} · scoring, {done:,}"
    )


def scored(found: Scoring) -> str:
    """A window's score, or why it was left alone."""
    if not found.claimed:
        why = f": {found.reason}" if found.reason else ""
        return f"{found.window} · left alone, it is {found.state}{why}"
    parts = [
        f"{found.window} · {found.state}" + (f" ({found.reason})" if found.reason else ""),
        f"{found.scored:,} of {found.trajectories:,} trajectories of {found.agents:,} agents",
    ]
    if found.reward_mean is not None:
        parts.append(f"mean reward {found.reward_mean:.2f}")
    if found.rejected:
        parts.append(f"rejected {_counted(found.rejected)}")
    return ", ".join(parts)


def training(window: str | None, lineage: str, step: int | None, progress: Progress) -> str:
    """A step that is being trained, or checkpoints that are being valued."""
    done = f"{progress.done} of {progress.total}"
    loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
    begun = "begins" if step is None else f"step {step}"
    return f"{window or 'what waits'} · {lineage} {begun} · training, {done}{loss}"


def trained(lineage: str, outcome: TrainOutcome, judgement: Judgement | None) -> str:
    """What a call to train came to, and what the judgement of the newest checkpoint was."""
    about = f"{_named(outcome.windows)} · {lineage}" if outcome.windows else lineage
    if outcome.action in ("committed", "adopted"):
        done = (
            f"{about} step {outcome.step} · {outcome.action}, "
            f"{outcome.gradient_steps} gradient steps over {outcome.trainable_tokens:,} tokens"
        )
    else:
        done = f"{about} · {outcome.action}: {outcome.reason}"
    if judgement is None or judgement.action == "idle":
        return done
    said = f"step {judgement.candidate} {judgement.action}: {judgement.reason}"
    return f"{done} · {said}; step {judgement.serving} serves"


def discovered(found: Discovered) -> str:
    """What beat's look for new hours found."""
    return _listed(
        opened=found.opened,
        sealed=found.sealed,
        sent_to_score=found.to_score,
        sent_to_train=found.to_train,
        never_read=found.malformed,
    )


def reconciled(found: Reconciled) -> str:
    """What beat's look for what stands still found."""
    said = _listed(
        released=found.released,
        failed=found.failed,
        sent_to_score=found.to_score,
        sent_to_train=found.to_train,
    )
    more = [f"{found.late} rows came late"] if found.late else []
    more += ["the newest checkpoint is sent to be judged"] if found.unjudged else []
    return ", ".join(([said] if said != _NOTHING else []) + more) or _NOTHING


_NOTHING = "nothing to do"


def _listed(**windows: list[str]) -> str:
    said = (f"{what.replace('_', ' ')} {_named(names)}" for what, names in windows.items() if names)
    return ", ".join(said) or _NOTHING


def _named(windows: list[str]) -> str:
    more = len(windows) - _SHOWN
    return ", ".join(windows[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
