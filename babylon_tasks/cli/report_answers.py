"""The best and the worst answers of a report, side by side where there is room. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from babylon_tasks.cli.closeup import call_heading, comparable_in_words, reward_in_words
from babylon_tasks.cli.html_page import block, text
from babylon_tasks.cli.output import cell
from babylon_tasks.cli.report_links import Links
from babylon_tasks.run_records import CallCloseup, Extremes, TrajectoryCloseup

_CALLS = 2  # of a trajectory
_TEXT = 1_200  # characters of a message or an answer


def answers(found: Extremes, links: Links) -> list[str]:
    """Write the best beside the worst, in pairs."""
    if not (found.best or found.worst):
        return ["<p>None of the newest windows has rewards.</p>"]
    pairs = enumerate(zip_longest(found.best, found.worst), 1)
    return [
        f'<div class="pair">{_article("Best", number, best, links)}'
        f"{_article('Worst', number, worst, links)}</div>"
        for number, (best, worst) in pairs
    ]


def _article(heading: str, number: int, found: TrajectoryCloseup | None, links: Links) -> str:
    if found is None:
        return "<article></article>"
    reward = "" if found.reward is None else f": {found.reward.reward:.3f}"
    inner = [f"<h3>{heading} {number}{reward}</h3>", *_about(found, links)]
    for place, call in enumerate(found.calls[:_CALLS], 1):
        inner += _call(call, place, len(found.calls))
    left_out = len(found.calls) - _CALLS
    if left_out > 0:
        command = f"babylon-tasks show {found.trajectory_id}"
        inner.append(f"<p>And {left_out} more calls: {text(command)}</p>")
    if found.unreadable is not None:
        inner.append(f"<p>No prompt and no answer: {text(found.unreadable)}</p>")
    return f"<article>{''.join(inner)}</article>"


def _about(found: TrajectoryCloseup, links: Links) -> Iterator[str]:
    where = "" if found.window is None else f" of {links.window(found.window)}"
    yield f"<p>{text(found.trajectory_id)}{where}"
    yield f"<br>{text(found.account)}: {links.in_text(found.detail)}"
    if found.reward is not None:
        yield f"<br>{text(reward_in_words(found.reward))}"
        if found.reward.parts:
            yield f"<br>made of {text(cell(found.reward.parts))}"
        if len(found.reward.comparable) > 1:
            yield f"<br>comparable ones got {comparable_in_words(found.reward)}"
    yield "</p>"


def _call(call: CallCloseup, number: int, of: int) -> Iterator[str]:
    yield f"<p>{text(call_heading(call, number, of))}</p>"
    for message in call.prompt:
        yield _quoted(message.role, message.text)
    yield _quoted("answer", call.answer)
    yield f"<p>done: {text(call.action or 'nothing is recorded')}</p>"


def _quoted(name: str, written: str) -> str:
    left_out = len(written) - _TEXT
    more = f"<p>And {left_out} more characters.</p>" if left_out > 0 else ""
    return f"<p>{text(name)}:</p>{block(written[:_TEXT])}{more}"
