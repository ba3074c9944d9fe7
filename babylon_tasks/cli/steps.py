"""A training step in one line, for ``status`` and ``why``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from babylon_tasks import step_metrics
from babylon_tasks.cli.output import cell, counted
from babylon_tasks.db.reports import StepReport
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
