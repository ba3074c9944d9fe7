"""A training step, or a decision, in one line: for ``status``, ``why`` and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from babylon_tasks import step_metrics
from babylon_tasks.cli.output import cell
from babylon_tasks.counted import counted
from babylon_tasks.db.promotions import Promotion
from babylon_tasks.db.reports import StepReport
from babylon_tasks.decisions import Decision
from babylon_tasks.states import StepMethod


def details(detail: Mapping[str, Any]) -> str:
    """Write what has a value."""
    return cell({name: value for name, value in detail.items() if value not in (None, {}, [])})


def step_in_short(step: StepReport) -> str:
    """Describe a step: its windows, what it learned, how often it was tried."""
    supervised = step.method is StepMethod.SUPERVISED
    kind = "supervised step" if supervised else "step"
    in_short = step_metrics.supervised_in_short if supervised else step_metrics.in_short
    parts = [f"{kind} {step.target_step} from {step.base_step} is {step.state}"]
    parts.append(f"windows {', '.join(step.windows)}")
    if step.gradient_steps is not None:
        parts.append(
            f"{counted(step.gradient_steps, 'gradient step')}, {step.trainable_tokens} tokens"
        )
        parts.append(in_short(step.metrics or {}))
    elif step.progress:
        parts.append(details(step.progress))
    parts.append(step_metrics.moved_in_short(step.metrics or {}, counts=not step.error))
    if step.attempts > 1:
        parts.append(f"attempt {step.attempts}")
    if step.error:
        parts.append(step.error)
    return "; ".join(filter(None, parts))


def decision_in_short(decision: Promotion) -> str:
    """Say what was decided, about which checkpoint and why."""
    about = f"step {decision.to_step}"
    if decision.decision is Decision.ROLLBACK:  # about what it took out of service
        about = f"from step {decision.from_step} to {about}"
    return f"{decision.decision} {about}: {decision.reason}"
