"""What the dashboard's pages of single things have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from babylon_tasks.cli.html_page import document, table, text
from babylon_tasks.dashboard.site_links import SITE
from babylon_tasks.run_records import RunGroup

MOST_GROUPS = 200
_MOST_MEMBERS = 64  # of a group: what was asked the same may be a whole hour
_KEY = 300  # characters
WAYS = '<p><a href="/">the run</a> · <a href="/answers">best and worst answers</a></p>'


def site_page(title: str, body: Iterable[str]) -> str:
    """Write a page; ``body`` is HTML, the title is text."""
    return document(title, [WAYS, *body])


def lines(found: Iterable[str]) -> list[str]:
    """Write a paragraph for each line of text, what it names as links."""
    return [f"<p>{SITE.in_text(line)}</p>" for line in found]


def section(heading: str, body: Sequence[str]) -> list[str]:
    """Write a part with a heading; nothing where there is nothing in it."""
    return [f"<h2>{text(heading)}</h2>", *body] if body else []


def groups(found: Sequence[RunGroup]) -> list[str]:
    """Write groups with their members, each with what it got."""
    if not found:
        return []
    return [
        *table(("asked", "who got what"), map(_group, found[:MOST_GROUPS])),
        *(["<p>And more.</p>"] if len(found) > MOST_GROUPS else []),
    ]


def _group(found: RunGroup) -> tuple[str, str]:
    pairs = list(zip(found.members, found.rewards, strict=True))
    members = [f"{reward:.3f} {SITE.trajectory(name)}" for name, reward in pairs[:_MOST_MEMBERS]]
    if len(pairs) > _MOST_MEMBERS:
        members.append(f"and {len(pairs) - _MOST_MEMBERS} more")
    return text(found.key[:_KEY] or "the same hour"), "<br>".join(members)
