"""A run as one HTML file: its curves, what was decided and why, its windows and steps, and its best
and worst answers. Pure.

It stays light: each part lists the newest and says how many there are besides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from babylon_tasks.cli.comparison_curves import draw as draw_comparison
from babylon_tasks.cli.comparison_page import concluded
from babylon_tasks.cli.html_page import document, paragraphs, picture, table, text
from babylon_tasks.cli.reason_words import why_not_used
from babylon_tasks.cli.report_answers import answers
from babylon_tasks.cli.report_cost import costs
from babylon_tasks.cli.report_curves import draw
from babylon_tasks.cli.report_links import Links
from babylon_tasks.cli.report_steps import steps
from babylon_tasks.cli.report_tree import tree
from babylon_tasks.comparison.history import ComparisonHistory
from babylon_tasks.cost.ledger import Ledger
from babylon_tasks.counted import counted
from babylon_tasks.run_history import RunHistory, RunMark
from babylon_tasks.run_records import Extremes, RunRejections, RunRows, RunWindow

_MARKS = 60  # in the table; the picture has all
_WINDOWS = 168  # a week
_PARTS = {
    "decisions": "What was decided",
    "answers": "The best and the worst answers",
    "cost": "What it has cost",
    "comparison": "The newest comparison",
    "checkpoints": "The newest checkpoints",
    "windows": "The newest windows",
    "steps": "The newest steps",
    "rejections": "Trajectories that are not used",
}


def page(
    title: str,
    lines: Iterable[str],
    history: RunHistory,
    rows: RunRows,
    extremes: Extremes,
    *,
    comparison: tuple[list[str], ComparisonHistory] | None = None,
    cost: Ledger | None = None,
    above: Iterable[str] = (),
    links: Links | None = None,
) -> str:
    """Write the page; ``lines``: where the lineage stands, ``extremes``: of its newest windows,
    ``comparison``: the newest one, in words and as curves, ``cost``: of the run, ``above``: HTML to
    begin with, ``links``: to other pages than this one."""
    alt = f"Curves of {counted(history.windows, 'window')}; what was decided is listed below"
    drawn = picture(lambda screen: draw(history, screen=screen), alt)
    newest = rows.windows[::-1][:_WINDOWS]
    links = links or Links(
        frozenset(one.window for one in newest), frozenset(one.step for one in rows.steps)
    )
    parts = {
        "decisions": _decided(history.marks, links),
        "answers": answers(extremes, links),
        "comparison": _compared(comparison),
        "checkpoints": [
            *tree(rows.checkpoints, history, links),
            *_more(rows.checkpoints_left_out, "older ones: `babylon-tasks models list`"),
        ],
        "cost": [] if cost is None else costs(cost, links),
        "windows": [
            *_windows(newest, _reasons(rows.rejections), links),
            *_more(len(rows.windows) - len(newest), "earlier ones: `babylon-tasks windows list`"),
        ],
        "steps": [
            *steps(rows.steps, links),
            *_more(rows.steps_left_out, "earlier ones: `babylon-tasks why STEP`"),
        ],
        "rejections": _rejected(history),
    }
    body = [*above, *(f"<p>{links.in_text(line)}</p>" for line in lines), _contents(), drawn]
    for name, heading in _PARTS.items():
        body += [f'<h2 id="{name}">{heading}</h2>', *parts[name]]
    return document(title, body)


def _compared(found: tuple[list[str], ComparisonHistory] | None) -> list[str]:
    if found is None:
        return ["<p>No comparison has compared a window yet.</p>"]
    lines, history = found
    alt = f"Curves of the comparison's {counted(history.windows, 'window')}"
    marks = history.marks[-_MARKS:]
    return [
        *paragraphs(lines),
        picture(lambda screen: draw_comparison(history, screen=screen), alt),
        *concluded(marks),
        *_more(len(history.marks) - len(marks), "earlier ones: `babylon-tasks compare picture`"),
    ]


def _contents() -> str:
    links = (f'<a href="#{name}">{heading}</a>' for name, heading in _PARTS.items())
    return f"<p>{' · '.join(links)}</p>"


def _decided(marks: Sequence[RunMark], links: Links) -> list[str]:
    if not marks:
        return ["<p>Nothing has been decided yet.</p>"]
    newest = marks[::-1][:_MARKS]
    return [
        *table(("window", "what, why"), (_mark(one, links) for one in newest)),
        *_more(len(marks) - len(newest), "earlier ones are in the picture alone"),
    ]


def _mark(mark: RunMark, links: Links) -> tuple[str, str]:
    when = "" if mark.when is None else f" ({mark.when:%F %T})"
    what = text(mark.kind)
    if mark.step is not None:
        what += f": {links.step(mark.step, f'step {mark.step}')}"
    return links.window(mark.window or "before any"), f"{what}{when}<br>{links.in_text(mark.why)}"


def _windows(
    newest: Sequence[RunWindow], reasons: dict[str, Counter[str]], links: Links
) -> list[str]:
    heads = ("window", "reward", "right", "scored of", "state, why")
    return table(heads, (_window(one, reasons.get(one.window), links) for one in newest))


def _window(window: RunWindow, reasons: Counter[str] | None, links: Links) -> tuple[str, ...]:
    state = window.state if window.reason is None else f"{window.state}: {window.reason}"
    reward, right = window.reward_mean, window.right_share
    cells = (
        "-" if reward is None else f"{reward:.2f}",
        "-" if right is None else f"{right:.0%}",
        f"{_number(window.scored)} of {_number(window.trajectories)}",
    )
    counted = ", ".join(f"{n} {reason}" for reason, n in (reasons or Counter()).most_common())
    words = why_not_used(window.state, window.reason, window.idle)
    why = "<br>".join(
        text(part) for part in (state, words, counted and f"not used: {counted}") if part
    )
    return links.own_window(window.window), *map(text, cells), why


def _reasons(rejections: Iterable[RunRejections]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for one in rejections:
        found.setdefault(one.window, Counter())[one.reason] += one.count
    return found


def _rejected(history: RunHistory) -> list[str]:
    if not history.rejected:
        return ["<p>All were scored, and none was refused.</p>"]
    rows = ((str(count), text(reason)) for reason, count in history.rejected.items())
    return table(("how many", "reason"), rows)


def _more(number: int, what: str) -> list[str]:
    return [f"<p>And {number} more: {text(what)}.</p>"] if number > 0 else []


def _number(count: int | None) -> str:
    return "-" if count is None else str(count)
