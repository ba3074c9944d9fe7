"""Events of a window for people: one line each that fits the terminal, or each with all it has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from babylon_tasks.cli.output import cell, cut
from babylon_tasks.cli.steps import details
from babylon_tasks.db.reports import Event

_HASH = re.compile(r"[0-9a-f]{32,}")
_HASH_DIGITS = 8
_PADDED = 16
# Why something happened comes first; the rest as it was recorded.
_FIRST = ("reason", "why", "error", "what", "todo")
# Said by the event's name, by another line of `why`, or of use only beside the log.
_LEFT_OUT = ("state", "from", "to", "step", "windows", "rejected", "fencing_token")


def event_lines(events: list[Event], width: int) -> Iterator[str]:
    """Describe each event in one line of at most ``width`` characters."""
    names = [_name(event) for event in events]
    padded = min(_PADDED, max(map(len, names), default=0))
    for event, name in zip(events, names, strict=True):
        line = f"{event.happened_at:%m-%d %H:%M:%S}  {name:<{padded}}  {_in_short(event)}"
        yield cut(line.rstrip(), width)


def event_paragraphs(events: list[Event]) -> Iterator[str]:
    """Describe each event with everything on record, whose first line names it."""
    for event in events:
        yield f"{event.happened_at:%F %T}  {_name(event)}  by {event.actor}"
        everything = details(event.detail)
        if everything != "-":
            yield f"    {everything}"


def _name(event: Event) -> str:
    return event.kind if event.target_step is None else f"{event.kind} {event.target_step}"


def _in_short(event: Event) -> str:
    detail = event.detail
    named = [name for name in _FIRST if name in detail]
    named += [name for name in detail if name not in (*_FIRST, *_LEFT_OUT)]
    parts = [
        str(detail[name]) if name in ("reason", "why") else f"{name} {_short(detail[name])}"
        for name in named
        if _says_something(name, detail)
    ]
    by = [f"by {event.actor}"] if event.actor.startswith("cli:") else []
    return ", ".join(parts + by)


def _says_something(name: str, detail: Mapping[str, Any]) -> bool:
    if name == "attempts":
        return bool(detail[name] != 1)
    return bool(detail[name]) or name.endswith("step")  # of which 0 is one


def _short(value: object) -> str:
    return _HASH.sub(lambda found: found[0][:_HASH_DIGITS], cell(value))
