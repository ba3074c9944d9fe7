"""Where a report's page has what it names: windows and steps, each listed once. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from babylon_tasks.cli.html_page import text

_NAMED = re.compile(
    r"\b(?:step|checkpoint) (?P<step>[0-9]{1,9})\b(?!\.[0-9])"
    r"|\b(?P<window>[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}:00)"
)


class Links(Struct, frozen=True):
    """What the page lists, and so can be pointed at."""

    windows: frozenset[str]
    steps: frozenset[int]

    def to_window(self, name: str) -> str | None:
        """Return where a window is; None if that is nowhere. It is escaped, as all of these."""
        return f"#{window_id(name)}" if name in self.windows else None

    def to_step(self, number: int) -> str | None:
        """Return where a step is."""
        return f"#{step_id(number)}" if number in self.steps else None

    def to_checkpoint(self, number: int) -> str | None:
        """Return where a checkpoint is: in a file, with its step."""
        return self.to_step(number)

    def to_trajectory(self, trajectory: str) -> str | None:
        """Return where a trajectory is: in no file."""
        del trajectory
        return None

    def window(self, name: str) -> str:
        """Write a window, as a link where there is something about it."""
        return _link(self.to_window(name), text(name))

    def step(self, number: int, words: str | None = None) -> str:
        """Write a step likewise."""
        return _link(self.to_step(number), text(str(number) if words is None else words))

    def checkpoint(self, number: int, words: str) -> str:
        """Write a checkpoint likewise."""
        return _link(self.to_checkpoint(number), text(words))

    def trajectory(self, trajectory: str) -> str:
        """Write a trajectory likewise."""
        return _link(self.to_trajectory(trajectory), text(trajectory))

    def own_window(self, name: str) -> str:
        """Write a window where the page lists it."""
        return f'<span id="{window_id(name)}">{text(name)}</span>'

    def own_step(self, number: int, words: str) -> str:
        """Write the heading of a step where the page lists it."""
        del number  # its element has the id
        return text(words)

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


def _link(to: str | None, written: str) -> str:
    return written if to is None else f'<a href="{to}">{written}</a>'
