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
# From here on the date and columns leave enough of a line for what happened.
_WIDE = 80
# Why something happened comes first, what to do about it last; the rest as it was recorded.
_FIRST = ("reason", "why", "error", "what")
_LAST = ("todo",)
# Said by the event's name, by another line of `why`, or of use only beside the log.
_LEFT_OUT = ("state", "from", "to", "step", "windows", "rejected", "fencing_token")


def event_lines(events: list[Event], width: int) -> Iterator[str]:
    """Describe each event in one line of at most ``width`` characters."""
    names = [_name(event) for event in events]
    wide = width >= _WIDE
    padded = min(_PADDED, max(map(len, names), default=0)) if wide else 0
    known: set[tuple[object, ...]] = set()
    for event, name in zip(events, names, strict=True):
        when = f"{event.happened_at:%m-%d %H:%M:%S}" if wide else f"{event.happened_at:%m-%d %H:%M}"
        yield cut(f"{when}  {name:<{padded}}  {_in_short(event, known)}".rstrip(), width)


def event_paragraphs(events: list[Event]) -> Iterator[str]:
    """Describe each event with everything on record, whose first line names it."""
    for event in events:
        yield f"{event.happened_at:%F %T}  {_name(event)}  by {event.actor}"
        everything = details(event.detail)
        if everything != "-":
            yield f"    {everything}"


def _name(event: Event) -> str:
    return event.kind if event.target_step is None else f"{event.kind} {event.target_step}"


def _in_short(event: Event, known: set[tuple[object, ...]]) -> str:
    """Say what an event adds to those before it; ``known`` is what they said of their steps."""
    detail = event.detail
    named = [name for name in _FIRST if name in detail]
    for name in detail:
        fact = (event.lineage, event.target_step, name, str(detail[name]))
        if name not in (*_FIRST, *_LAST, *_LEFT_OUT) and fact not in known:
            named.append(name)
            if event.target_step is not None:
                known.add(fact)
    named += [name for name in _LAST if name in detail]
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
