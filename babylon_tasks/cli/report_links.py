"""Where a report's page has what it names: windows and steps, each listed once. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from babylon_tasks.cli.html_page import text

_STEP = re.compile(r"\bsteps? (\d+)\b|(?<=@)(\d+)\b")


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
        """Write a sentence of ours about steps, each as a link where the page has it."""
        parts, at = list[str](), 0
        for found in _STEP.finditer(written):
            parts += [text(written[at : found.start()]), self._named(found)]
            at = found.end()
        return "".join((*parts, text(written[at:])))

    def windows_of(self, names: Iterable[str]) -> str:
        """Write windows one after the other."""
        return ", ".join(map(self.window, names))

    def _named(self, found: re.Match[str]) -> str:
        return self.step(int(found[1] or found[2]), found[0])


def window_id(name: str) -> str:
    """Return the id of the element about a window."""
    return f"window-{text(name)}"


def step_id(number: int) -> str:
    """Return the id of the element about a step."""
    return f"step-{number}"


def _link(to: str, written: str) -> str:
    return f'<a href="#{to}">{written}</a>'
