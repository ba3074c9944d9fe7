"""The newest checkpoints of a report as a tree: from which each came, and when it served. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from babylon_tasks.cli.html_page import text
from babylon_tasks.cli.report_links import Links
from babylon_tasks.dataset.checkpoint_tree import path
from babylon_tasks.run_history import RunHistory, RunMarkKind, ServedFrom
from babylon_tasks.run_records import RunCheckpoint

_SPANS = 3  # of one checkpoint's service
_REFUSED = frozenset({RunMarkKind.REFUSED, RunMarkKind.ROLLED_BACK})


def tree(found: Sequence[RunCheckpoint], history: RunHistory, links: Links) -> list[str]:
    """Write the checkpoints, the oldest first: what leads to the serving one is one list, and what
    was trained beside it stands further in."""
    if not found:
        return ["<p>There is no checkpoint yet.</p>"]
    by_step = {one.step: one for one in found}
    parents = {one.step: one.parent for one in found if one.parent is not None}
    serving = next((one.step for one in found if one.serves), max(by_step))
    main = frozenset(path(serving, parents))
    children: dict[int | None, list[int]] = defaultdict(list)
    for step in sorted(by_step):
        parent = parents.get(step)
        children[parent if parent in by_step else None].append(step)
    words = {step: _words(one, history, links) for step, one in by_step.items()}
    return ['<ul class="tree">', *_branches(children[None], children, main, words), "</ul>"]


def _branches(
    begin: Sequence[int],
    children: Mapping[int | None, list[int]],
    main: frozenset[int],
    words: Mapping[int, str],
) -> Iterator[str]:
    """Follow each branch along its main child, so that a long one is no deep one."""
    for first in begin:
        step: int | None = first
        while step is not None:
            below = children.get(step, [])
            on = next((one for one in below if one in main), below[-1] if below else None)
            beside = [one for one in below if one != on]
            yield f"<li>{words[step]}"
            if beside:
                yield "<ul>"
                yield from _branches(beside, children, main, words)
                yield "</ul>"
            yield "</li>"
            step = on


def _words(one: RunCheckpoint, history: RunHistory, links: Links) -> str:
    parts = ["the base model" if one.step == 0 else f"from {one.parent}"]
    if one.value is not None:
        parts.append(f"value {one.value:.3f}")
    parts += _kinds(one.step, history)
    if one.dead_at is not None:
        parts.append(f"of a dead branch since {one.dead_at:%F %T}")
    if one.pruned_at is not None:
        parts.append(f"pruned {one.pruned_at:%F %T}")
    served = _served(one, history.served, links)
    return f"{links.checkpoint(one.step, f'step {one.step}')}: {text('; '.join(parts))}{served}"


def _kinds(step: int, history: RunHistory) -> list[str]:
    found = (one.kind.value for one in history.marks if one.step == step and one.kind in _REFUSED)
    return list(dict.fromkeys(found))


def _served(one: RunCheckpoint, served: Sequence[ServedFrom], links: Links) -> str:
    spans = [
        (begin.window, served[place + 1].window if place + 1 < len(served) else None)
        for place, begin in enumerate(served)
        if begin.step == one.step
    ]
    written = [_span(begin, end, links) for begin, end in spans[-_SPANS:]]
    if len(spans) > _SPANS:
        written.insert(0, f"{len(spans) - _SPANS} times before")
    if one.serves:
        written.append("<strong>serves now</strong>")
    return "".join(f"; {part}" for part in written)


def _span(begin: str, end: str | None, links: Links) -> str:
    since = links.window(begin) if begin else "the beginning"
    return f"served from {since}" + ("" if end is None else f" to {links.window(end)}")
