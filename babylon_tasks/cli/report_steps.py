"""The steps of a report: what each took, what was measured, how long it ran. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from babylon_tasks import step_metrics
from babylon_tasks.cli.html_page import text
from babylon_tasks.cli.output import cell
from babylon_tasks.cli.report_links import Links, step_id
from babylon_tasks.counted import counted
from babylon_tasks.run_records import RunStep
from babylon_tasks.states import StepMethod, StepState

_HASH = 12  # digits that tell manifests and adapters apart


def steps(found: Sequence[RunStep], links: Links) -> list[str]:
    """Write a section for each; a number that failed before it was committed has several."""
    if not found:
        return ["<p>No step has been planned yet.</p>"]
    seen = set[int]()
    written = list[str]()
    for one in found:
        written += _step(one, links, first=one.step not in seen)
        seen.add(one.step)
    return written


def _step(one: RunStep, links: Links, *, first: bool) -> list[str]:
    kind = "Supervised step" if one.method is StepMethod.SUPERVISED else "Step"
    heading = f"{kind} {one.step} from {one.parent}: {one.state}"
    named = f' id="{step_id(one.step)}"' if first else ""
    lines = [
        f"windows {links.windows_of(one.windows)}",
        text(_manifest(one)),
        text(_learned(one)),
        text(_measured(one)),
        text(step_metrics.moved_in_short(one.metrics, counts=one.state is not StepState.FAILED)),
        text(_took(one)),
        text(one.error or ""),
    ]
    return [
        f"<h3{named}>{links.own_step(one.step, heading)}</h3>",
        f"<p>{'<br>'.join(line for line in lines if line)}</p>",
        *_metrics(one.metrics),
    ]


def _manifest(one: RunStep) -> str:
    listed = "what it took is no longer listed"
    if one.groups is not None:
        listed = f"{counted(one.groups, 'group')} of {counted(one.trajectories or 0, 'trajectory')}"
    return f"manifest {one.manifest_hash[:_HASH]}: {listed}"


def _learned(one: RunStep) -> str:
    if one.gradient_steps is None:
        return ""
    adapter = "" if one.adapter_hash is None else f"; adapter {one.adapter_hash[:_HASH]}"
    steps = counted(one.gradient_steps, "gradient step")
    return f"{steps} on {one.trainable_tokens or 0} tokens{adapter}"


def _measured(one: RunStep) -> str:
    if one.method is StepMethod.SUPERVISED:
        return step_metrics.supervised_in_short(one.metrics)
    return step_metrics.in_short(one.metrics)


def _took(one: RunStep) -> str:
    parts = [f"planned {one.planned_at:%F %T}"]
    if one.seconds is not None:
        parts.append(f"ran {one.seconds:.1f} s on {one.backend}")
    if one.attempts > 1:
        parts.append(f"attempt {one.attempts}")
    return ", ".join(parts)


def _metrics(metrics: Mapping[str, Any]) -> list[str]:
    """All figures by name, folded."""
    if not metrics:
        return []
    rows = (f"{text(name)} {text(cell(value))}" for name, value in sorted(metrics.items()))
    return [f"<details><summary>all figures</summary><p>{'<br>'.join(rows)}</p></details>"]
