"""Where the dashboard has what a page names: each thing has a page of its own."""

from __future__ import annotations

from urllib.parse import quote

from babylon_tasks.cli.report_links import Links
from babylon_tasks.windows import is_window_id


class SiteLinks(Links, frozen=True):
    """Links to other pages; whether these are there shows when one is asked for."""

    windows: frozenset[str] = frozenset()
    steps: frozenset[int] = frozenset()

    def to_window(self, name: str) -> str | None:
        """Return the page of an hour; other words stand where one is expected, too."""
        return f"/windows/{quote(name, safe=':')}" if is_window_id(name) else None

    def to_step(self, number: int) -> str:
        """Return the page of a step; of the base model, which none has made, its checkpoint."""
        return f"/steps/{number}" if number else self.to_checkpoint(number)

    def to_checkpoint(self, number: int) -> str:
        """Return the page of a checkpoint."""
        return f"/checkpoints/{number}"

    def to_trajectory(self, trajectory: str) -> str:
        """Return the page of a trajectory, whatever is in its id."""
        return f"/trajectories/{quote(trajectory, safe='')}"

    def own_window(self, name: str) -> str:
        """Write a window as a link, also where a page lists it."""
        return self.window(name)

    def own_step(self, number: int, words: str) -> str:
        """Write a step's heading as a link."""
        return self.step(number, words)


SITE = SiteLinks()
