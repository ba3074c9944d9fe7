"""The best and the worst answers of a report, side by side where there is room. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from msgspec import Struct

from babylon_tasks.cli.closeup import call_heading, comparable_in_words, reward_in_words
from babylon_tasks.cli.html_page import block, text
from babylon_tasks.cli.output import cell
from babylon_tasks.cli.report_links import Links
from babylon_tasks.run_records import CallCloseup, Extremes, TrajectoryCloseup


class Most(Struct, frozen=True):
    """How many calls of a trajectory are written, and characters of each message and answer."""

    calls: int
    characters: int


_BESIDE = Most(calls=2, characters=1_200)


def answers(
    found: Extremes, links: Links, none: str = "None of the newest windows has rewards."
) -> list[str]:
    """Write the best beside the worst, in pairs; ``none``: what to say where there is neither."""
    if not (found.best or found.worst):
        return [f"<p>{text(none)}</p>"]
    pairs = enumerate(zip_longest(found.best, found.worst), 1)
    return [
        f'<div class="pair">{_placed("Best", number, best, links)}'
        f"{_placed('Worst', number, worst, links)}</div>"
        for number, (best, worst) in pairs
    ]


def article(found: TrajectoryCloseup, links: Links, heading: str, most: Most = _BESIDE) -> str:
    """Write one of them: what became of it, its reward, its prompts and answers."""
    inner = [f"<h3>{heading}</h3>", *_about(found, links)]
    for place, call in enumerate(found.calls[: most.calls], 1):
        inner += _call(call, place, len(found.calls), most)
    left_out = len(found.calls) - most.calls
    if left_out > 0:
        command = f"babylon-tasks show {found.trajectory_id}"
        inner.append(f"<p>And {left_out} more calls: {text(command)}</p>")
    if found.unreadable is not None:
        inner.append(f"<p>No prompt and no answer: {text(found.unreadable)}</p>")
    return f"<article>{''.join(inner)}</article>"


def _placed(place: str, number: int, found: TrajectoryCloseup | None, links: Links) -> str:
    if found is None:
        return "<article></article>"
    reward = "" if found.reward is None else f": {found.reward.reward:.3f}"
    return article(found, links, f"{place} {number}{reward}")


def _about(found: TrajectoryCloseup, links: Links) -> Iterator[str]:
    where = "" if found.window is None else f" of {links.window(found.window)}"
    yield f"<p>{links.trajectory(found.trajectory_id)}{where}"
    yield f"<br>{text(found.account)}: {links.in_text(found.detail)}"
    if found.reward is not None:
        yield f"<br>{text(reward_in_words(found.reward))}"
        if found.reward.parts:
            yield f"<br>made of {text(cell(found.reward.parts))}"
        if len(found.reward.comparable) > 1:
            yield f"<br>comparable ones got {comparable_in_words(found.reward)}"
    yield "</p>"


def _call(call: CallCloseup, number: int, of: int, most: Most) -> Iterator[str]:
    yield f"<p>{text(call_heading(call, number, of))}</p>"
    for message in call.prompt:
        yield _quoted(message.role, message.text, most)
    yield _quoted("answer", call.answer, most)
    yield f"<p>done: {text(call.action or 'nothing is recorded')}</p>"


def _quoted(name: str, written: str, most: Most) -> str:
    left_out = len(written) - most.characters
    more = f"<p>And {left_out} more characters.</p>" if left_out > 0 else ""
    return f"<p>{text(name)}:</p>{block(written[: most.characters])}{more}"
