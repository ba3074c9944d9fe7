"""What a demo is doing now, in one line."""

from __future__ import annotations

from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.states import WindowState

_DOING = {
    WindowState.OPEN: "waits until it is sealed",
    WindowState.SEALED: "waits to be scored",
    WindowState.SCORING: "is scored",
    WindowState.SCORED: "waits for its step",
    WindowState.TRAINING: "is trained on",
    WindowState.TRAINED: "has a new checkpoint, which is evaluated",
}


def stage(number: int, windows: int, doing: str, elapsed: float) -> str:
    """Describe where a run is: its ``number``-th window of all, after ``elapsed`` seconds."""
    left = ""
    if number > 1:
        minutes = elapsed / (number - 1) * (windows - number + 1) / 60
        left = f"; about {minutes:.0f} min left" if minutes >= 1 else "; less than a minute left"
    return f"window {number} of {windows} {doing}{left}"


def doing(found: WindowProgress | None) -> str:
    """Describe what happens to a window."""
    if found is None:
        return "waits to be opened"
    what = _DOING.get(found.state, str(found.state))
    at = found.step_progress
    if found.state is WindowState.TRAINING and at and at.get("total"):
        what += f", {at['done']} of {at['total']} {at['counted']}"
    return what
