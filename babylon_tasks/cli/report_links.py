"""Where a report's page has what it names: windows and steps, each listed once. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from babylon_tasks.cli.html_page import text

_NAMED = re.compile(
    r"\b(?:step|checkpoint) (?P<step>[0-9]{1,9})\b"
    r"|\b(?P<window>[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}:00)"
)


class Links(Struct, frozen=True):
    """What the page lists, and so can be pointed at."""

    windows: frozenset[str]
    steps: frozenset[int]

    def window(self, name: str) -> str:
        """Write a window, as a link where the page has it."""
        return _link(window_id(name), text(name)) if name in self.windows else text(name)

    def step(self, number: int, words: str | None = None) -> str:
        """Write a step, as a link where the page has it."""
        written = text(str(number) if words is None else words)
        return _link(step_id(number), written) if number in self.steps else written

    def in_text(self, written: str) -> str:
        """Write a sentence, its steps and windows as links where the page has them."""
        parts, at = list[str](), 0
        for found in _NAMED.finditer(written):
            parts += [text(written[at : found.start()]), self._named(found)]
            at = found.end()
        return "".join((*parts, text(written[at:])))

    def windows_of(self, names: Iterable[str]) -> str:
        """Write windows one after the other."""
        return ", ".join(map(self.window, names))

    def _named(self, found: re.Match[str]) -> str:
        if found["step"] is None:
            return self.window(found["window"])
        return self.step(int(found["step"]), found[0])


def window_id(name: str) -> str:
    """Return the id of the element about a window."""
    return f"window-{text(name)}"


def step_id(number: int) -> str:
    """Return the id of the element about a step."""
    return f"step-{number}"


def _link(to: str, written: str) -> str:
    return f'<a href="#{to}">{written}</a>'
